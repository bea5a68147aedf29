# Commands that let people see: graph, top, doctor.

browser() { type -P chromium chromium-browser google-chrome | head -n 1; }
dump_dom() { # FILE
	timeout 60 "$(browser)" --headless --no-sandbox --disable-gpu --user-data-dir="$T/browser" --dump-dom "file://$1" 2>/dev/null
}
well_formed() { # FILE
	if type -P xmllint >/dev/null; then xmllint --noout "$1"; else python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$1"; fi
}
hostile_stack() {
	image 1M a.img 'b"];<b>.img'
	mount_dmfs "$T/mnt"
	new_volume low "0 2048 linear $T/a.img 0"
	new_volume striped "0 4096 striped 2 8 $T/b\"];<b>.img 0 low 0"
	new_volume "<|title><script>alert(1)<|script> & \"quoted\" 'it'" '0 1024 linear striped 0
1024 8 zero'
	new_volume $'bytes\xff\xfe\nline\x1b[31m' '0 8 zero'
}

test_graph() {
	image 1M a.img b.img
	mount_dmfs "$T/mnt"
	new_volume low "0 2048 striped 2 8 $T/a.img 0 $T/b.img 0"
	new_volume top '0 1024 linear low 0
1024 8 error'
	new_volume alone '0 8 zero'
	same "$(dmfs graph top)" "top  516 KiB, active, 0:1
|- [0, 1024) linear
|  \`- low [0, 1024)  volume, 1 MiB
|     \`- [0, 2048) striped
|        |- $T/a.img [0, 1024)  file, 1 MiB (0 B of it allocated)
|        \`- $T/b.img [0, 1024)  file, 1 MiB (0 B of it allocated)
\`- [1024, 1032) error"
	matches "$(dmfs graph)" 'alone'
	python3 - mnt/.control/graph <<-'END'
		import json, sys
		graph = json.load(open(sys.argv[1]))
		volumes = {v["name"]: v for v in graph["volumes"]}
		assert set(volumes) == {"low", "top", "alone"}, volumes
		row = volumes["low"]["rows"][0]
		assert [a["kind"] for a in row["areas"]] == ["file", "file"], row
		assert len(row["pieces"]) == 256 and row["known"] == 2048, row
		assert volumes["top"]["rows"][0]["areas"][0]["kind"] == "volume"
	END
	same "$(dmfs graph --json low | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["volumes"]))')" 1
	dmfs graph -o x.svg -S 'name=top'
	contains x.svg 'under top'
	dmfs graph --dot >x.dot
	contains x.dot 'v2 -> v1 [label="linear\n[0, 1024) at [0, 1024)"]'
	refused 'names no form' dmfs graph -o x.png
	refused 'cannot write' dmfs graph --svg /nosuch/x.svg
	refused 'no volume' dmfs graph nosuch
	# Nobody writes it; a suspended volume is no reason to wait.
	dmfs suspend low
	matches "$(timeout 10 dmfs graph)" 'suspended'
	refused '' tee mnt/.control/graph <<<x
	dmfs resume low
}

test_graph_of_hostile_names() {
	need python3
	hostile_stack
	dmfs graph --svg x.svg --html x.html -o x.dot
	well_formed x.svg
	dmfs graph >x.txt
	same "$(tr -d '\n\40-\176' <x.txt | LC_ALL=C tr -d '\200-\377' | wc -c)" 0
	contains x.txt '\x0aline\x1b[31m'
	same "$(grep -c '<script' x.html)" 1
	same "$(grep -c '<script' x.svg)" 0
	same "$(grep -cE '(href|src)="?(http|//)' x.html)" 0
	! type -P dot >/dev/null || dot -Tsvg x.dot >/dev/null
	dmfs graph --json | python3 -c 'import json, sys; json.load(sys.stdin)'
}

test_graph_in_a_browser() {
	[[ -n $(browser) ]] || skip "no chromium"
	hostile_stack
	dmfs graph --svg x.svg --html x.html
	dump_dom "$T/x.html" >dom
	[[ -s dom ]] || skip "chromium does not run here"
	python3 - dom x.svg <<-'END'
		import html.parser, sys
		class Titles(html.parser.HTMLParser):
		    def __init__(self):
		        super().__init__()
		        self.titles, self.texts, self.inside, self.scripts = [], [], None, 0
		    def handle_starttag(self, tag, attributes):
		        self.inside = tag
		        self.scripts += tag == "script"
		        if tag == "title": self.titles.append("")
		    def handle_data(self, data):
		        if self.inside == "title": self.titles[-1] += data
		        if self.inside == "text": self.texts.append(data)
		page = Titles()
		page.feed(open(sys.argv[1]).read())
		assert page.scripts == 1, page.scripts
		texts = "\n".join(page.texts)
		for name in ("low", "striped", "<|title><script>alert(1)<|script> & \"quoted\" 'it'", "\\x0aline\\x1b[31m"):
		    assert name in texts, (name, texts)
		titles = "\n".join(page.titles)
		for words in ("sectors [0, 8), 4 KiB, striped", 'b"];<b>.img [0, 8)', "nothing below"):
		    assert words in titles, words
	END
	dump_dom "$T/x.svg" >dom
	contains dom '<title>sectors [0, 8), 4 KiB, striped'
}

test_graph_of_many_rows() {
	image 40M a.img
	mount_dmfs "$T/mnt"
	awk -v f="$T/a.img" 'BEGIN { for (i = 0; i < 8000; i++) print i * 8, 8, (i % 2 ? "zero" : "linear " f " " (7999 - i) * 8) }' >rows
	dmfs create v rows
	timeout 20 dmfs graph --svg x.svg
	(($(stat -c %s x.svg) < 500000))
	contains x.svg '8000 pieces are too thin'
	same "$(timeout 20 dmfs graph | tail -n 1)" '`- and 7984 more rows'
	same "$(timeout 20 dmfs graph -v | grep -c '\[.*) zero')" 4000
}

test_top_in_lines() {
	need python3
	image 4M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 8192 linear $T/a.img 0"
	new_volume idle '0 8 zero'
	while [[ ! -e stop ]]; do sleep 0.02; dd if=mnt/v of=/dev/null bs=4096 count=50 status=none; dd if=/dev/zero of=mnt/v bs=4096 count=10 conv=notrunc status=none; done &
	local load=$!
	timeout 20 dmfs top --json -d 0.5 -n 2 >samples
	timeout 20 dmfs top -b -d 0.3 -n 1 -O name >lines
	: >stop
	wait $load
	python3 - samples <<-'END'
		import json, sys
		samples = [json.loads(line) for line in open(sys.argv[1])]
		assert len(samples) == 2, samples
		for sample in samples:
		    assert 0.4 < sample["seconds"] < 5, sample
		    v, idle = sample["volumes"]
		    assert v["name"] == "v" and idle["name"] == "idle"  # the busiest first
		    assert v["reads"] > 50 and v["writes"] > 5, v
		    assert abs(v["bytes_read"] / v["reads"] - 4096) < 1, v
		    assert idle["reads"] == 0 and idle["parked"] == 0
	END
	matches "$(sed -n 1p lines)" '^NAME +READ/S'
	matches "$(sed -n 2p lines)" '^idle'
	matches "$(sed -n 3p lines)" '^v +[0-9]'
	# Nothing of a terminal in them.
	same "$(grep -c $'\e' lines)" 0
	# A volume that is gone in between, and a mount that is.
	timeout 20 dmfs top -b -d 0.3 -n 3 >lines &
	sleep 0.5; dmfs remove idle
	wait $! || fail "top ended with $?"
	refused 'no volume' dmfs top -n 1 nosuch
	refused 'sorted by' dmfs top -n 1 -O colour
	# -n stays the flag it was for the other commands.
	dmfs create -n empty
	timeout 10 dmfs top -b -n 1 -d 0.1 empty >/dev/null
}

test_top_counts_what_waits() {
	mount_dmfs "$T/mnt"
	new_volume v '0 8 zero'
	dmfs suspend v
	dd if=mnt/v of=/dev/null bs=512 count=1 status=none &
	until_true 5 parks v 1
	same "$(timeout 10 dmfs top --json -d 0.1 -n 1 | grep -o '"parked":1')" '"parked":1'
	dmfs resume v
	wait $!
}

# dm's statistics, where the mount has them: a region while top runs, none behind it.
test_top_latency() {
	need python3
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 linear $T/a.img 0"
	dmfs message v 0 @stats_list >/dev/null 2>&1 || skip "this dmfs has no @stats messages"
	regions() { dmfs message v 0 @stats_list dmfs-top; }
	region_is_there() { [[ -n $(regions) ]]; }
	while [[ ! -e stop ]]; do sleep 0.02; dd if=mnt/v of=/dev/null bs=4096 count=50 status=none; done &
	local load=$! top
	timeout 20 dmfs top --json -d 0.3 -n 2 | tail -n 1 |
		python3 -c 'import json, sys; v = json.load(sys.stdin)["volumes"][0]; assert 0 < v["latency"] < 1 and 0 < v["utilisation"] <= 1, v'
	same "$(regions)" ''
	# One that was killed leaves its region; the next takes it away, and not that of one that runs.
	"$DMFS" top -b -d 0.1 >/dev/null &
	top=$!
	until_true 5 region_is_there
	kill -KILL $top; wait $top 2>/dev/null || true
	same "$(regions | wc -l)" 1
	"$DMFS" top -b -d 0.1 >/dev/null &
	top=$!
	sleep 0.5
	timeout 10 dmfs top -b -n 1 -d 0.1 >/dev/null
	same "$(regions | wc -l)" 1
	kill -TERM $top; wait $top 2>/dev/null || true
	same "$(regions)" ''
	: >stop  # killed, it would leave its dd behind, on the mount
	wait $load
}

# What a terminal sees: it is given back as it was, whatever ends it.
test_top_on_a_terminal() {
	need python3
	mount_dmfs "$T/mnt"
	new_volume $'v\e[31mred' '0 8 zero'
	python3 - "$DMFS" <<-'END'
		import fcntl, os, pty, select, signal, struct, sys, termios, time
		def run(action, signal_wanted):
		    master, slave = pty.openpty()
		    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 80, 0, 0))
		    before = termios.tcgetattr(slave)
		    child = os.fork()
		    if child == 0:
		        os.setsid(); fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
		        for fd in 0, 1, 2: os.dup2(slave, fd)
		        os.environ["TERM"] = "xterm"
		        os.execv(sys.argv[1], [sys.argv[1], "top", "-d", "0.1"])
		    seen, acted, end, status = b"", None, time.time() + 20, None
		    while status is None:
		        assert time.time() < end, (action, seen[-300:])
		        if select.select([master], [], [], 0.05)[0]: seen += os.read(master, 65536)
		        if acted is None and b"READ/S" in seen:
		            assert not termios.tcgetattr(slave)[3] & termios.ECHO
		            acted = time.time()
		            if action == "resize":
		                fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 3, 30, 0, 0))
		                seen = b""
		            elif isinstance(action, bytes): os.write(master, action)
		            else: os.kill(child, action)
		        if action == "resize" and acted and time.time() > acted + 0.5:
		            action = signal.SIGTERM
		            os.kill(child, signal.SIGTERM)
		        done, code = os.waitpid(child, os.WNOHANG)
		        if done: status = code
		    while select.select([master], [], [], 0.1)[0]: seen += os.read(master, 65536)
		    assert termios.tcgetattr(slave) == before, action
		    assert seen.endswith(b"\x1b[?25h\x1b[?1049l"), seen[-100:]
		    assert b"v\x1b[31mred" not in seen
		    assert (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0) == signal_wanted, (action, status)
		    os.close(master); os.close(slave)
		    return seen
		assert b"v\\x1b[31mred" in run(b"q", 0)
		run(b"\x03", signal.SIGINT)
		run(signal.SIGTERM, signal.SIGTERM)
		run(signal.SIGHUP, signal.SIGHUP)
		for line in run("resize", signal.SIGTERM).split(b"\r\n"):
		    assert len(line) < 60, line
	END
}

# A daemon that hangs does not keep it.
test_top_of_a_daemon_that_hangs() {
	mount_dmfs "$T/mnt"
	new_volume v '0 8 zero'
	timeout 30 dmfs top -b -d 0.1 >/dev/null &
	local top=$!
	sleep 0.5
	kill -STOP "$SERVER"
	sleep 0.5
	kill "$top"  # timeout hands it on
	until_true 10 gone "$top" || { kill -CONT "$SERVER"; fail "top hangs with its mount"; }
	kill -CONT "$SERVER"
	wait "$top" || true
}

test_doctor() {
	need python3
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 linear $T/a.img 0"
	dmfs doctor --json >found.json || true
	python3 - found.json "$T/mnt" <<-'END'
		import json, sys
		found = json.load(open(sys.argv[1]))
		checks = {one["check"]: one for one in found["findings"]}
		for name in ("kernel", "fuse", "fusermount3", "io_uring", "loop devices", "memory", sys.argv[2]):
		    assert name in checks, name
		assert checks["fuse"]["grade"] == "ok"
		for one in found["findings"]:
		    assert (one["mend"] is None) == (one["grade"] == "ok"), one
	END
	matches "$(dmfs doctor || true)" "[0-9]+ ok, [0-9]+ warnings, [0-9]+ problems"
	# Another machine, that has nothing.
	mkdir -p host/proc/self
	refused 'the kernel has no FUSE' dmfs doctor --root "$T/host"
	# A file that is to be a device.
	matches "$(dmfs doctor a.img || true)" "$T/a.img"
	refused 'cannot be found' dmfs doctor "$T/nosuch"
	dmfs suspend v
	dd if=mnt/v of=/dev/null bs=512 count=1 status=none &
	until_true 5 parks v 1
	matches "$(dmfs doctor || true)" "v is suspended and 1 requests wait"
	dmfs resume v
	wait $!
}

test_doctor_sees_a_dead_mount() {
	mount_dmfs "$T/mnt"
	kill -STOP "$SERVER"
	refused 'does not answer' timeout 20 dmfs doctor
	kill -CONT "$SERVER"
	kill -KILL "$SERVER"
	until_true 5 gone "$SERVER"
	wait "$SERVER" 2>/dev/null || true
	SERVERS=()
	refused 'the mount is dead' dmfs doctor
	matches "$(dmfs doctor || true)" "dmfs umount '$T/mnt'"
	dmfs umount mnt
}

test_doctor_sees_a_buffered_loop() {
	need_loop
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 linear $T/a.img 0"
	local loop; loop=$(losetup --find --show "$T/mnt/v")
	matches "$(dmfs doctor || true)" "$loop is buffered"
	losetup --direct-io=on "$loop"
	[[ $(dmfs doctor || true) != *"$loop is buffered"* ]]
	detach_loop "$loop"
}
