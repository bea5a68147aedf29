# Where requests go: explain, trace, and the device mapper's statistics.

stack() {
	image 1M a.img
	image 1M 'b c.img'
	mount_dmfs "$T/mnt"
	new_volume low "0 1024 linear $T/a.img 100"
	new_volume top "0 512 linear low 64
512 512 striped 2 64 low 576 $T/b\\ c.img 0"
}

test_explain() {
	stack
	same "$(LC_ALL=C dmfs explain top 500+20 --write)" "top: write of sectors 500 to 519
|- row 0, linear: 500+12 -> low 564+12
|  \`- row 0, linear: 564+12 -> $T/a.img 664+12, byte 339968
\`- row 1, striped (chunk 0, stripe 0): 512+8 -> low 576+8
   \`- row 0, linear: 576+8 -> $T/a.img 676+8, byte 346112"
	same "$(LC_ALL=C dmfs explain top 0 flush | wc -l)" 4
	dmfs explain top 3 --json | python3 -c 'import json, sys; assert json.load(sys.stdin)["steps"][0]["steps"][0]["offset"] == 167 * 512'
	matches "$(dmfs explain top 3 --dot)" '^digraph explain'
	# What explain says is what happens: the byte it names is the byte that changes.
	printf X | dd of=mnt/top bs=1 seek=$((300 * 512)) conv=notrunc,fsync status=none
	local byte
	byte=$(dmfs explain top 300 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["steps"][0]["steps"][0]["offset"])')
	same "$(dd if=a.img bs=1 skip="$byte" count=1 status=none)" X
	refused 'has 1024 sectors' dmfs explain top 1024
	refused 'no operation' dmfs explain top 0 trim
	refused 'No such device' dmfs explain nothing 0
}

test_explain_reverse() {
	stack
	same "$(dmfs explain --reverse a.img $((164 * 512)))" "low: sector 64
top: sector 0, through low"
	same "$(dmfs explain --reverse 'b c.img' 0+40000)" 'top: sectors 576 to 639
top: sectors 704 to 718'
	same "$(dmfs explain --reverse a.img 0)" 'no volume shows these bytes'
	refused "can't open .*missing" dmfs explain --reverse missing 0
}

test_trace() {
	stack
	dmfs trace top --count 3 >told &
	local tracer=$!
	sleep 0.3
	dd if=mnt/top of=/dev/null bs=4096 count=1 iflag=direct status=none
	dd if=/dev/zero of=mnt/top bs=4096 count=1 oflag=direct conv=notrunc,fsync status=none
	until_true 10 gone $tracer || fail "still tracing: $(<told)"
	wait $tracer
	matches "$(sed -n 1p told)" "dd\\[[0-9]+\\] +read +0\\+8 +[0-9]+ us +ok +low:64\\+8>$T/a.img:164\\+8"
	matches "$(sed -n 2p told)" 'write +0\+8'
	matches "$(sed -n 3p told)" 'flush +- '
}

test_trace_of_errors_and_swaps() {
	mount_dmfs "$T/mnt"
	new_volume v '0 64 error'
	dmfs trace --json --count 1 >told &
	local tracer=$!
	sleep 0.3
	refused 'Input/output' dd if=mnt/v of=/dev/null bs=4096 count=1 iflag=direct status=none
	echo '0 64 zero' >mnt/.control/v/table
	until_true 10 gone $tracer
	python3 -c 'import json; line = json.load(open("told")); assert line["error"] == "EIO", line; assert line["count"] == 8'
}

# Whoever waits for requests is told that the volume is gone, can be killed, and does
# not hold up the end of the mount.
test_trace_ends() {
	mount_dmfs "$T/mnt"
	new_volume v '0 64 zero'
	new_volume w '0 64 zero'
	cat mnt/.control/v/trace >/dev/null &
	local removed=$!
	cat mnt/.control/w/trace >/dev/null &
	local killed=$!
	sleep 0.3
	dmfs remove v
	until_true 5 gone $removed || fail 'the reader of a removed volume still waits'
	kill $killed
	until_true 5 gone $killed || fail 'a killed reader still waits'
	cat mnt/.control/w/trace >/dev/null &
	local unmounted=$!
	sleep 0.3
	kill -TERM "$SERVER"
	ended "$SERVER" 0
	until_true 5 gone $unmounted || fail 'a reader still waits'
}

# Two who ask at once get their own answers.
test_answers_are_ones_own() {
	stack
	local i pids=()
	for i in 1 2 3 4; do
		(for n in {1..20}; do
			same "$(dmfs explain low $((i * 100 + n)) | head -n 1)" "low: read of sector $((i * 100 + n))"
		done) &
		pids+=($!)
	done
	wait "${pids[@]}"
}

test_statistics_count() {
	stack
	same "$(dmfs message top 0 @stats_create - /1 1 precise_timestamps test)" 0
	dd if=mnt/top of=/dev/null bs=4096 count=10 iflag=direct status=none
	matches "$(dmfs message top 0 @stats_print 0)" '^0\+1024 10 9 80 [0-9]+ 0 0 0 0 0 '
	same "$(dmfs message top 0 @stats_list)" '0: 0+1024 1024 test - precise_timestamps'
	dmfs message top 0 @stats_delete 0
	refused 'no region 0' dmfs message top 0 @stats_print 0
}
