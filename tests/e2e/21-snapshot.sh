# Snapshots, by their commands: what they do, what they refuse; an origin with many names;
# users without rights, filesystems, configurations.

start() { # [MOUNT-OPTION...]
	random_file $((2 << 20)) a.img
	cp a.img old
	[[ -z ${AS[*]} ]] || chown "$E2E_USER" a.img
	mount_dmfs "$T/mnt" "$@"
	new_volume disk "0 4096 linear $T/a.img 0"
}
# Writes all over a volume; what it holds then, and has to hold, is in NAME.want.
scribble() { # VOLUME-FILE
	cp "$1" scribbled.base
	rm -f scribbled.known
	local witness=(witness -b scribbled.base -k scribbled.known)
	{ "${witness[@]}" -n 4 -w 40 -o mixed "$1" && "${witness[@]}" -c "$1"; } 2>scribbled || fail "$(<scribbled)"
	cp "$1" "${1##*/}.want"
}
status_of() { "${AS[@]}" "$DMFS" status "$1" | cut -d ' ' -f 4-; }
left_in() { local words; read -r -a words <"mnt/.control/$1/status"; echo $((${words[3]%%/*} - ${words[4]})); }
merges_still() { (($(left_in "$1") > 0)); }
is_merged() { ! merges_still "$1"; }

# All that a refused command may not change: volumes, tables, what is in the files.
world() {
	dmfs table; dmfs table --inactive; dmfs status; dmfs info -c --noheadings -o name,attr,open,minor
	find . -name mnt -prune -o -type f ! -name said ! -name world -printf '%p %s\n' | sort
	find . -name mnt -prune -o -type f -name '*.[ci][om][wg]' -print0 | sort -z | xargs -0 cksum
	cksum mnt/* 2>/dev/null
}
# Refused, in these words, with 1, soon, and nothing else has happened.
refuses() { # PATTERN COMMAND...
	local pattern=$1 code=0 id; shift
	[[ -e world ]] || world >world || true
	"$@" >said.out 2>said & id=$!
	# Who waits for a mount that waits for itself can't be killed: the daemon has to be.
	until_true 10 gone $id || { kill -9 "$SERVER"; fail "it hangs: $*"; }
	wait $id || code=$?
	((code != 0)) || fail "not refused: $*"
	same $code 1
	matches "$(<said)" "$pattern"
	[[ ! -s said.out ]] || fail "$* said: $(<said.out)"
	rm said.out
	diff world <(world) || fail "refused, and yet something is different: $*"
}
changed() { rm -f world; }

# The commands.

test_snapshot_and_drop() {
	start
	same "$(dmfs snapshot disk before)" "before is a snapshot of disk; what it keeps goes to $T/before.cow, 4 MiB at most"
	same "$(stat -c '%a %s %b' before.cow | cut -d ' ' -f 1-2)" "600 $((4 << 20))"
	same "$(dmfs table)" "before: 0 4096 snapshot disk-real $T/before.cow PO 8
disk: 0 4096 snapshot-origin disk-real
disk-real: 0 4096 linear $T/a.img 0"
	same "$(dmfs snapshot disk tried --json --cow elsewhere --size 3M --chunk 64K)" '{
  "volume": "tried",
  "origin": "disk",
  "cow": "'"$T"'/elsewhere",
  "bytes": 3145728
}'
	dmfs snapshot disk light --transient >/dev/null
	same "$(dmfs table tried)$(dmfs table light)" \
		"0 4096 snapshot disk-real $T/elsewhere PO 1280 4096 snapshot disk-real $T/light.cow N 8"
	same "$(status_of before) $(status_of tried) $(status_of light)" '16/8192 16 256/6144 256 0/8192 0'
	# Each goes its own way.
	scribble mnt/disk
	cmp mnt/disk disk.want
	for each in before tried light; do
		cmp mnt/$each old
	done
	dd if=/dev/urandom of=mnt/light bs=10000 seek=3 count=20 conv=notrunc status=none
	cp mnt/light light.want
	scribble mnt/before
	cmp mnt/disk disk.want; cmp mnt/light light.want; cmp mnt/before before.want; cmp mnt/tried old
	# Of a snapshot, too.
	dmfs snapshot before again >/dev/null
	same "$(dmfs table before-real)" "0 4096 snapshot disk-real $T/before.cow PO 8"
	cmp mnt/again before.want
	scribble mnt/before
	scribble mnt/disk
	cmp mnt/before before.want; cmp mnt/disk disk.want; cmp mnt/light light.want
	same "$(dmfs drop again)" $'again is gone\n'"deleted $T/again.cow"
	same "$(dmfs table before)" "0 4096 snapshot disk-real $T/before.cow PO 8"
	cmp mnt/before before.want

	same "$(dmfs drop before --keep-cow)" 'before is gone'
	[[ -s before.cow ]]
	same "$(dmfs drop tried --json)" '{
  "volume": "tried",
  "removed": true,
  "deleted": [
    "'"$T"'/elsewhere"
  ]
}'
	[[ ! -e elsewhere ]]
	cmp mnt/light light.want
	same "$(dmfs drop light | tail -n 1)" "deleted $T/light.cow"
	same "$(dmfs table)" "disk: 0 4096 linear $T/a.img 0"
	cmp mnt/disk disk.want; cmp a.img disk.want
	# What was kept is of use: the table says what it is of.
	cp before.want want
	dmfs create before --table "0 4096 snapshot a.img before.cow P 8"
	cmp -n 4096 mnt/before want
}

# Where snapshots were removed by another command an origin remains one, until it is said.
test_origin_without_snapshots() {
	start
	dmfs snapshot disk one >/dev/null
	dmfs snapshot disk two >/dev/null
	scribble mnt/disk
	dmfs remove one
	refuses "there are snapshots of 'disk'" dmfs drop disk
	changed
	dmfs remove two
	same "$(dmfs table disk)" '0 4096 snapshot-origin disk-real'
	[[ -e one.cow && -e two.cow ]]
	same "$(dmfs drop disk --json)" '{
  "volume": "disk",
  "removed": false,
  "deleted": []
}'
	same "$(dmfs table)" "disk: 0 4096 linear $T/a.img 0"
	refuses "'disk' is neither a snapshot nor a copy" dmfs drop disk
	cmp mnt/disk disk.want
}
test_renamed_origin() {
	start
	dmfs snapshot disk before >/dev/null
	dmfs snapshot disk tried >/dev/null
	dmfs rename disk other
	dmfs rename tried new
	scribble mnt/other; scribble mnt/new
	cmp mnt/before old; cmp mnt/new new.want
	matches "$(dmfs merge new)" "^other has .*
deleted $T/tried.cow\$"
	cmp mnt/other new.want; cmp mnt/before old
	same "$(dmfs drop before)" $'before is gone\n'"deleted $T/before.cow"
	cmp mnt/other new.want
	same "$(dmfs table)" "other: 0 4096 linear $T/a.img 0"
}

# A COW file of the usual size has room for everything, whatever the chunks; one that is full says so.
test_sizes() {
	start
	local chunk
	for chunk in 512 4K 32K 1M; do
		dmfs snapshot disk s --chunk $chunk >/dev/null
		dd if=/dev/urandom of=mnt/s bs=64K count=16 conv=notrunc status=none
		cp mnt/s want
		dd if=/dev/urandom of=mnt/disk bs=64K count=32 conv=notrunc status=none
		matches "$(status_of s)" "^[0-9]+/$(($(stat -c %s s.cow) / 512)) [0-9]+$"
		cmp mnt/s want
		dmfs drop s >/dev/null
	done
	# An empty file gets a size, one with a size keeps it.
	: >s.cow
	dmfs snapshot disk s >/dev/null
	same "$(stat -c %s s.cow)" $((4 << 20))
	dmfs drop s >/dev/null
	truncate -s 1536K s.cow
	matches "$(dmfs snapshot disk s)" '1.5 MiB at most'
	same "$(stat -c %s s.cow)" $((1536 << 10))
}

test_sizes_in_percent() {
	start
	local each
	for each in 3=1 100=2 150=3 199=3 1000=20; do
		dmfs snapshot disk s --size "${each%=*}%" >/dev/null
		same "${each%=*}%: $(stat -c %s s.cow)" "${each%=*}%: $((${each#*=} << 20))"
		dmfs drop s >/dev/null
	done
}

test_full() {
	start
	dmfs snapshot disk s --size 1M >/dev/null
	dmfs snapshot disk other >/dev/null
	dd if=/dev/urandom of=mnt/s bs=64K count=8 conv=notrunc status=none
	cp mnt/s want
	refused 'Input/output error' dd if=/dev/zero of=mnt/s bs=64K seek=16 count=16 conv=notrunc
	same "$(status_of s)" Overflow
	cmp -n $((1 << 20)) mnt/s want
	# The disk does not care, and its other snapshot neither.
	scribble mnt/disk
	same "$(status_of s)" Invalid
	refused 'Input/output error' cat mnt/s
	cmp mnt/disk disk.want; cmp mnt/other old
	refuses "'s' is invalid|s'? .*Invalid" dmfs merge s
	refuses "'s'" dmfs merge s --background
	changed
	dmfs drop s >/dev/null
	[[ ! -e s.cow ]]
	cmp mnt/disk disk.want; cmp mnt/other old
}

# A snapshot that took no more has lost nothing by that, and is merged as any other.
test_full_and_merged() {
	start
	dmfs snapshot disk s --size 1M >/dev/null
	dd if=/dev/urandom of=mnt/s bs=64K count=8 conv=notrunc status=none
	refused 'Input/output error' dd if=/dev/zero of=mnt/s bs=64K seek=16 count=16 conv=notrunc
	same "$(status_of s)" Overflow
	cp mnt/s want
	dmfs merge s
	cmp mnt/disk want
	same "$(dmfs table)" "disk: 0 4096 linear $T/a.img 0"
	[[ ! -e s.cow ]]
}

test_merge() {
	start
	dmfs snapshot disk before >/dev/null
	dmfs snapshot disk other --chunk 32K >/dev/null
	scribble mnt/disk
	cp mnt/disk other.want
	dmfs drop other >/dev/null
	dmfs snapshot disk other --chunk 32K >/dev/null
	scribble mnt/before
	# Who has the disk open sees the other contents at once.
	exec 5<mnt/disk
	matches "$(dmfs merge before)" "^disk has .* of changes merged into it
deleted $T/before.cow\$"
	cmp before.want - <&5
	exec 5<&-
	cmp mnt/disk before.want; cmp a.img before.want; cmp mnt/other other.want
	[[ ! -e before.cow && ! -e mnt/before ]]
	same "$(dmfs table disk)" '0 4096 snapshot-origin disk-real'
	# In the background, and then waited for; nothing to merge.
	dmfs snapshot disk none --chunk 4K --cow kept >/dev/null
	same "$(dmfs merge none --background --json)" '{
  "volume": "disk",
  "merging": true
}'
	[[ ! -e mnt/none && -e kept ]]
	same "$(dmfs merge disk --keep-cow --json)" '{
  "volume": "disk",
  "bytes": null,
  "deleted": []
}'
	[[ -e kept ]]
	same "$(dmfs table disk)" '0 4096 snapshot-origin disk-real'
	refuses "there are snapshots of 'disk'" dmfs merge disk
	changed
	# The other one now, which has the state of long ago, is the last.
	local bytes; bytes=$(($(left_in other) * 512))
	same "$(dmfs merge other --json)" '{
  "volume": "disk",
  "bytes": '$bytes',
  "deleted": [
    "'"$T"'/other.cow"
  ]
}'
	cmp a.img other.want
	same "$(dmfs table)" "disk: 0 4096 linear $T/a.img 0"
}

# A disk that can be mapped, full of what is in `old`; its snapshot s is full of what is in `new`.
snapshot_of_a_mapped_disk() {
	(set +o pipefail; yes 'this is old ... ' | head -c 2M >old)
	cp old a.img
	mount_dmfs "$T/mnt" -o cache=auto
	new_volume disk "0 4096 linear $T/a.img 0"
	need_mappable mnt/disk
	dmfs snapshot disk s >/dev/null
	(set +o pipefail; yes 'this is new ... ' | head -c 2M >new)
	dd if=new of=mnt/s bs=64K conv=notrunc status=none
}

# What is mapped of the disk is what was there before.
test_merge_behind_a_mapping() {
	snapshot_of_a_mapped_disk
	coproc probe map shared mnt/disk
	local line
	read -r line <&"${COPROC[0]}"
	cmp mnt/disk old
	echo merge >mnt/.control/s/state
	cmp mnt/disk new || fail "what is read behind a merge is stale"
	echo >&"${COPROC[1]}"
	IFS= read -r line <&"${COPROC[0]}"
	same "$line" 'this is new ... '
	dmfs merge disk >/dev/null
	cmp mnt/disk new
	exec {COPROC[1]}>&-
	wait "$COPROC_PID"
	cmp a.img new
}

# What was stored there before the merge was stored in what the merge overwrites, whoever begins it.
test_merge_behind_a_store() {
	snapshot_of_a_mapped_disk
	coproc probe store 'this is stored ...' mnt/disk
	local line
	read -r line <&"${COPROC[0]}"
	same "$line" stored
	echo merge >mnt/.control/s/state
	cmp mnt/disk new || fail 'a store from before the merge lies over it'
	exec {COPROC[1]}>&-
	wait "$COPROC_PID"
	dmfs merge disk >/dev/null
	cmp mnt/disk new
	unmount_dmfs
	cmp a.img new
}

# Slow enough to be seen in the middle: a batch takes as long as two delays.
slow_merge() { # VOLUME: some chunks of its snapshot `before` are to be merged into it
	local i
	dmfs create below --table "0 4096 delay $T/a.img 0 0 $T/a.img 0 30"
	dmfs create "$1" --table '0 4096 linear below 0'
	dmfs snapshot "$1" before >/dev/null
	for i in {0..30}; do dd if=/dev/urandom of=mnt/before bs=4096 seek=$((i * 37 % 500)) count=1 conv=notrunc status=none; done
	cp mnt/before want
}

# A merge that is waited for, and the one who waits gets a signal.
interrupted() { # SIGNAL VOLUME
	local id code=0
	dmfs merge "$2" >said 2>&1 & id=$!
	waits() { ((0x$(sed -n 's/^SigCgt:\s*//p' "/proc/$1/status") >> 14 & 1)); }
	until_true 10 waits $id
	kill -s "$1" $id
	wait $id || code=$?
	[[ $1 == KILL ]] || same $code 130
}
test_interrupted_merge_goes_on() {
	start
	slow_merge slow
	local signal left
	interrupted TERM before
	same "$(<said)" 'dmfs: merge: it goes on; `dmfs merge slow` waits for the end'
	[[ ! -e mnt/before ]]
	cmp mnt/slow want
	for signal in INT HUP KILL; do interrupted $signal slow; done
	merges_still slow
	left=$(left_in slow)
	refused 'is merging into' dmfs snapshot slow more
	refused "neither a snapshot nor a copy" dmfs drop slow
	[[ ! -e more.cow ]]
	# Suspended it waits, too.
	dmfs suspend slow
	left=$(left_in slow)
	sleep 0.3
	same "$(left_in slow)" "$left"
	interrupted TERM slow
	dmfs resume slow
	cmp mnt/slow want
	# Two who wait: one of them ends it.
	dmfs merge slow >said.1 2>&1 & local other=$! code=0
	dmfs merge slow >said.2 2>&1 || code=$?
	wait $other && same $code 1 || same $code 0
	same "$(cat said.? | grep -c "^deleted $T/before.cow\$")" 1
	cmp a.img want
	same "$(dmfs table slow)" '0 4096 linear below 0'
}

test_overlay() {
	start
	head -c $((300 * 512 + 52)) /dev/urandom >odd.img
	cp odd.img odd.old
	same "$(dmfs overlay old o)" "o shows $T/old; what is written to it goes to $T/o.cow"
	cmp mnt/o old
	same "$(dmfs overlay odd.img odd --json --chunk 16K --size 1M 2>said)" '{
  "volume": "odd",
  "file": "'"$T"'/odd.img",
  "cow": "'"$T"'/odd.cow",
  "bytes": 1048576,
  "goes_on": false
}'
	matches "$(<said)" 'the last 52 bytes'
	scribble mnt/o; scribble mnt/odd
	cmp old a.img; cmp odd.img odd.old
	cmp mnt/odd odd.want
	# It goes on another time.
	dmfs remove o
	refuses 'has the exceptions of another snapshot' dmfs overlay old o
	refuses 'has the exceptions of another snapshot' dmfs overlay old o --cow o.cow --transient
	changed
	same "$(dmfs overlay old o --cow o.cow)" "o shows $T/old; what is written to it goes on in $T/o.cow"
	cmp mnt/o o.want
	# Two of one file, one in memory.
	dmfs overlay old two --transient --cow two.cow >/dev/null
	scribble mnt/two
	cmp mnt/o o.want; cmp mnt/two two.want
	same "$(dmfs drop two)" $'two is gone\n'"deleted $T/two.cow"
	refuses 'o.cow is in use: by .o.*busy' dmfs overlay old more --cow o.cow
	refuses 'mnt/o is a volume.*dmfs snapshot' dmfs overlay mnt/o more
	refuses 'cannot open nowhere: No such file' dmfs overlay nowhere more
	refuses 'neither a file nor a block device' dmfs overlay /dev/null more
	refuses 'neither a file nor a block device' dmfs overlay mnt more
	: >empty
	changed
	refuses 'has no sector' dmfs overlay empty more
	refuses "the name 'o' is taken" dmfs overlay old o
	changed
	# And is the file in the end, but for what is no sector.
	matches "$(dmfs merge odd)" "^odd has .* of changes merged into it
deleted $T/odd.cow\$"
	cmp -n $((300 * 512)) odd.img odd.want
	same "$(tail -c 52 odd.img)" "$(tail -c 52 odd.old)"
	same "$(dmfs table odd)" "0 300 linear $T/odd.img 0"
	dmfs merge o --json >/dev/null
	cmp old o.want
}

test_fork() {
	start
	random_file $((2 << 20)) b.img
	dmfs create low --table "0 4096 linear b.img 0"
	dmfs create top --table $'0 4096 linear low 0\n4096 4096 linear disk 0'
	cp mnt/top top.old
	dmfs table >tables.old
	same "$(dmfs fork top copy)" 'copy is a copy of top; what is written to either goes to memory'
	same "$(dmfs table copy)" $'0 4096 linear copy-low 0\n4096 4096 linear copy-disk 0'
	scribble mnt/copy; scribble mnt/top
	cmp mnt/copy copy.want; cmp mnt/top top.want
	mkdir forks
	same "$(dmfs fork top two --cow forks --json --size 200%)" '{
  "volume": "two",
  "original": "top",
  "cows": [
    "'"$T"'/forks/two-disk.cow",
    "'"$T"'/forks/two-low.cow"
  ]
}'
	cmp mnt/two top.want
	mv top.want two.keep
	scribble mnt/top; scribble mnt/copy
	cmp mnt/two two.keep
	# Refused in the middle: all of it is taken back.
	cp a.img forks/three-low.cow
	refuses 'three-low.cow has data in it' dmfs fork top three --cow forks
	rm forks/three-low.cow; changed
	dmfs create three-low --table '0 8 zero'
	refuses "the name 'three-low' is taken" dmfs fork top three
	refuses "the name 'three-low' is taken" dmfs fork top three --cow forks
	refuses "the name 'copy' is taken" dmfs fork top copy
	refuses 'nowhere.*No such file' dmfs fork top three --cow nowhere
	refuses 'a.img is no folder' dmfs fork top three --cow a.img
	refuses '--chunk is not for fork' dmfs fork top three --chunk 8K
	refuses '--transient is not for fork' dmfs fork top three --transient
	refuses 'neither a snapshot nor a copy' dmfs drop top
	refuses "copy-low' is open 1 time, by the tables of: copy" dmfs drop copy-low
	changed
	cmp mnt/top top.want; cmp mnt/copy copy.want; cmp mnt/two two.keep
	dmfs remove three-low
	same "$(dmfs drop two)" "two is gone
deleted $T/forks/two-disk.cow
deleted $T/forks/two-low.cow"
	cmp mnt/copy copy.want
	same "$(dmfs drop copy --json)" '{
  "volume": "copy",
  "removed": true,
  "deleted": []
}'
	dmfs table | diff tables.old -
	cmp mnt/top top.want
	cat b.img a.img | cmp - top.want
}

# Refusals.

test_refused_snapshots() {
	start
	mkdir dir; mkfifo fifo; : >empty; truncate -s 1M zeros.cow; ln -s zeros.cow link.cow
	printf x | dd of=zeros.cow bs=1 seek=70000 conv=notrunc status=none
	dmfs create none --notable
	refuses 'what is made needs a name.*usage: dmfs snapshot VOLUME NAME' dmfs snapshot disk
	refuses 'usage: dmfs snapshot VOLUME NAME' dmfs snapshot
	refuses 'too many arguments' dmfs snapshot disk s t
	refuses 'unrecognized option' dmfs snapshot disk s --nonsense
	refuses 'no volume nowhere here: No such device' dmfs snapshot nowhere s
	refuses "the name 'disk' is taken: Device or resource busy" dmfs snapshot disk disk
	refuses "the name 'none' is taken" dmfs snapshot disk none
	refuses "contains '/'" dmfs snapshot disk a/b
	refuses 'reserved' dmfs snapshot disk .control
	refuses 'cannot be empty' dmfs snapshot disk ''
	refuses "No such device or address.*'none' has no live table" dmfs snapshot none s
	refuses "'0' is no size.*512M" dmfs snapshot disk s --size 0
	refuses "'5x' is no size" dmfs snapshot disk s --size 5x
	refuses "'1001%' is no size" dmfs snapshot disk s --size 1001%
	refuses "'3000' is no size of chunks.*power of two" dmfs snapshot disk s --chunk 3000
	refuses "'256' is no size of chunks" dmfs snapshot disk s --chunk 256
	refuses "'2G' is no size of chunks" dmfs snapshot disk s --chunk 2G
	refuses "1 MiB can't keep a single chunk of 1 MiB.*--size" dmfs snapshot disk s --chunk 1M --size 1M
	refuses "a.img has data in it: File exists.*not there yet" dmfs snapshot disk s --cow a.img
	refuses 'zeros.cow has data in it' dmfs snapshot disk s --cow zeros.cow
	refuses 'zeros.cow has data in it' dmfs snapshot disk s --cow link.cow
	refuses 'zeros.cow is there, and has a size.*--size' dmfs snapshot disk s --cow zeros.cow --size 1M
	refuses 'cannot make the COW file .*dir: Is a directory' dmfs snapshot disk s --cow dir
	refuses 'nowhere/s.cow: No such file' dmfs snapshot disk s --cow nowhere/s.cow
	refuses 'neither a file nor a block device' dmfs snapshot disk s --cow fifo
	refuses 'neither a file nor a block device' dmfs snapshot disk s --cow /dev/null
	# The name of what goes below.
	dmfs create disk-real --table '0 8 zero'; changed
	refuses "'disk-real' is taken" dmfs snapshot disk s
	refuses "'disk-real' is taken" dmfs fork disk s
	dmfs remove disk-real
	dmfs load disk --table '0 8 zero'; changed
	refuses "Device or resource busy.*'disk' has a table that waits for the next resume" dmfs snapshot disk s
	refuses 'has a table that waits' dmfs fork disk s
	dmfs clear disk; changed
	cmp mnt/disk old
	# Too large for any file.
	dmfs create exa --table "0 $((1 << 51)) zero"
	dmfs table >before
	refused 's.cow of 1 EiB: File too large.*--size' dmfs snapshot exa s
	dmfs table | diff before -
	[[ ! -e s.cow ]]
	dmfs snapshot exa s --size 1M >/dev/null
	dmfs drop s >/dev/null
}

# What another uses must not become somebody's COW device, by whichever name.
test_refused_cow_in_use() {
	: >zeros.img; truncate -s 2M zeros.img
	ln -s zeros.img soft.img; mkdir sub
	mount_dmfs "$T/mnt"
	dmfs create disk --table '0 4096 linear zeros.img 0'
	dmfs create other --table '0 4096 linear ram:2M:1 0'
	local name
	for name in zeros.img "$T/zeros.img" sub/../zeros.img soft.img; do
		refuses "zeros.img is in use: by 'disk': Device or resource busy" dmfs snapshot disk s --cow $name
		refuses "zeros.img is in use: by 'disk'" dmfs snapshot other s --cow $name --transient
	done
	dmfs snapshot disk light --transient --cow light.cow >/dev/null
	dmfs snapshot disk s >/dev/null; changed
	refuses "light.cow is in use: by 'light'" dmfs snapshot disk more --cow light.cow
	refuses "light.cow is in use: by 'light'" dmfs snapshot other more --cow light.cow
	refuses 's.cow has the exceptions of another snapshot' dmfs snapshot disk more --cow s.cow
}
# A hard link is another path, and the same file.
test_refused_cow_by_another_link() {
	truncate -s 2M zeros.img; ln zeros.img hard.img
	mount_dmfs "$T/mnt"
	dmfs create disk --table '0 4096 linear zeros.img 0'
	dmfs create other --table '0 4096 linear ram:2M:1 0'
	refuses 'in use' dmfs snapshot other s --cow hard.img
	refuses 'in use' dmfs snapshot disk s --cow hard.img
	dmfs snapshot disk light --transient --cow light.cow >/dev/null; ln light.cow hard.cow; changed
	refuses 'in use' dmfs snapshot other more --cow hard.cow
	refuses 'in use' dmfs snapshot disk more --cow hard.cow
}
# A volume can be a COW device, if nobody else has it.
test_refused_cow_is_a_volume() {
	mount_dmfs "$T/mnt"
	dmfs create disk --table '0 4096 linear ram:2M:1 0'
	dmfs create other --table '0 4096 linear ram:2M:2 0'
	dmfs create third --table '0 4096 linear ram:4M:3 0'
	dmfs create over --table '0 4096 linear third 0'
	dmfs snapshot disk s --cow mnt/other >/dev/null
	same "$(dmfs table s)" '0 4096 snapshot disk-real other PO 8'
	refuses "has the exceptions|in use" dmfs snapshot third t --cow mnt/other
	refuses "in use.* 'over'|in use.*over" dmfs snapshot disk t --cow mnt/third
	refuses "in use" dmfs snapshot third t --cow mnt/disk-real
	changed
	same "$(dmfs drop s)" 's is gone'
	[[ -e mnt/other ]]
}
test_refused_cow_is_the_origin() {
	mount_dmfs "$T/mnt"
	dmfs create disk --table '0 4096 linear ram:2M:1 0'
	dmfs create over --table '0 4096 linear disk 0'
	refuses 'origin|itself|stands on|in use' dmfs snapshot disk s --cow mnt/disk
	refuses 'origin|itself|stands on|in use' dmfs snapshot disk s --cow mnt/over
	refuses 'origin|itself|stands on|in use' dmfs snapshot disk s --cow mnt/disk --transient
	changed
	dmfs snapshot disk one >/dev/null
	refuses 'origin|itself|stands on|in use' dmfs snapshot disk s --cow mnt/disk
	refuses 'origin|itself|stands on|in use' dmfs snapshot disk s --cow mnt/disk-real
}

test_refused_merges_and_drops() {
	start
	dmfs snapshot disk s >/dev/null
	dmfs snapshot disk light --transient >/dev/null
	dmfs snapshot disk other >/dev/null
	scribble mnt/disk; scribble mnt/s
	refuses "no volume nowhere here" dmfs merge nowhere
	refuses "no volume nowhere here" dmfs drop nowhere
	refuses "there are snapshots of 'disk'" dmfs merge disk
	refuses "'disk-real' is no snapshot" dmfs merge disk-real
	refuses "a transient store can't be merged" dmfs merge light
	refuses "a transient store can't be merged" dmfs merge light --background
	refuses "there are snapshots of 'disk'" dmfs drop disk
	refuses "'disk-real' is neither a snapshot nor a copy" dmfs drop disk-real
	exec 5<mnt/s; changed
	refuses "'s' is open, and will be gone.*close its files" dmfs merge s
	refuses "'s' is open 1 time" dmfs drop s
	exec 5<&-
	dmfs create over --table '0 4096 linear s 0'; changed
	refuses "'s' is open" dmfs merge s
	refuses "'s' is open 1 time, by the tables of: over" dmfs drop s
	dmfs remove over
	dmfs suspend disk; changed_suspended
	dmfs resume disk
	dmfs load disk --table '0 4096 snapshot-origin disk-real'; changed
	refuses "'disk' has a table that waits" dmfs merge s
	dmfs clear disk
	dmfs load s --table '0 4096 zero'; changed
	refuses "'s' has a table that waits" dmfs merge s
	dmfs clear s
	# Others' snapshot.
	dmfs snapshot s deep >/dev/null; changed
	refuses "'s' is no snapshot|there are snapshots of 's'" dmfs merge s
	refuses "there are snapshots of 's'" dmfs drop s
	dmfs drop deep >/dev/null
	cmp mnt/disk disk.want; cmp mnt/s s.want; cmp mnt/light old; cmp mnt/other old
	dmfs merge s >/dev/null
	cmp mnt/disk s.want; cmp mnt/light old; cmp mnt/other old
}
# (Nothing can be read of what is suspended.)
changed_suspended() {
	dmfs table >before; dmfs status >>before
	refused "'disk' is suspended, and nothing merges meanwhile.*resume it first" dmfs merge s
	{ dmfs table; dmfs status; } | diff before -
	# A snapshot of it is made, and it stays suspended.
	dmfs snapshot disk more >/dev/null
	same "$(<mnt/.control/disk/state)" suspended
	dmfs drop more >/dev/null
	same "$(<mnt/.control/disk/state)" suspended
}

# A file system that stands on the very volume is no place for what it has to keep.
test_refused_cow_on_itself() {
	need_loop
	image 32M a.img
	mount_dmfs "$T/mnt"
	new_volume disk "0 65536 linear $T/a.img 0"
	attach_loop mnt/disk
	mkfs.ext4 -q "$LOOP"
	mkdir fs
	mount "$LOOP" fs
	refused 'fs stands on this mount.s own .*mnt/disk' timeout 20 dmfs snapshot disk s --cow fs/s.cow
	[[ ! -e fs/s.cow ]]
	same "$(dmfs table)" "disk: 0 65536 linear $T/a.img 0"
	umount fs
	detach_loop "$LOOP"
}

# A block device as a COW device is left as it is.
test_cow_on_a_block_device() {
	need_loop
	start
	truncate -s 4M cow.img
	attach_loop "$T/cow.img"
	matches "$(dmfs snapshot disk s --cow "$LOOP")" "goes to $LOOP, 4 MiB at most"
	scribble mnt/disk
	cmp mnt/s old
	same "$(dmfs merge s | tail -n 1 | grep -c deleted || true)" 0
	cmp mnt/disk old
	[[ -b $LOOP ]]
	refuses 'has the exceptions of another snapshot' dmfs snapshot disk s --cow "$LOOP"
	wipefs -qa "$LOOP"
	detach_loop "$LOOP"
}

# One origin, many names.

# A snapshot by each name keeps its contents when a volume over another one writes.
each_by_each() { # NAME...
	local names=("$@") one other i
	for ((i = 0; i < 2 * $#; i++)); do
		one=${names[i % $#]} other=${names[(i + 1 + i / $#) % $#]}
		cp "$ORIGIN" old
		dmfs create s --table "0 4096 snapshot $one s.cow N 8"
		dmfs create o --table "0 4096 snapshot-origin $other"
		dd if=/dev/urandom of=mnt/o bs=7000 count=20 seek=$((RANDOM % 200)) conv=notrunc,fsync status=none
		! cmp -s "$ORIGIN" old || fail "$other is not the origin"
		cmp mnt/s old || fail "a snapshot of $one does not know of a write to $other"
		dmfs remove s o
	done
}
test_origin_by_many_names() {
	start
	truncate -s 4M s.cow
	mkdir sub; ln a.img sub/hard; ln -s ../a.img sub/soft; ln -s "$T" way
	local names=("$T/a.img" ./a.img a.img sub/hard sub/soft way/sub/../a.img) bound=
	if ((UID == 0)) && : >bound && mount --bind a.img bound 2>/dev/null; then names+=("$T/bound") bound=1; fi
	ORIGIN=a.img each_by_each "${names[@]}"
	[[ -z $bound ]] || umount bound
	# Three volumes at once, and snapshots by three names.
	cp a.img old
	dmfs create s1 --table "0 4096 snapshot a.img ram:4M:1 N 8"
	dmfs create s2 --table "0 4096 snapshot sub/hard ram:4M:2 P 16"
	dmfs create s3 --table "0 4096 snapshot way/a.img ram:4M:3 P 1"
	dmfs create o1 --table "0 4096 snapshot-origin sub/soft"
	dmfs create o2 --table "0 4096 snapshot-origin $T/a.img"
	dmfs create m --table "0 4096 snapshot-origin sub/hard"
	writers -n 4 -t 1 mnt/o1 2>said >/dev/null || fail "$(<said)"
	scribble mnt/o2; scribble mnt/m
	cmp mnt/s1 old; cmp mnt/s2 old; cmp mnt/s3 old
	cmp a.img m.want; cmp mnt/o1 m.want
	# A merge by yet another name.
	dmfs suspend s2
	dmfs load m --table "0 4096 snapshot-merge ./a.img ram:4M:2 P 16"
	dmfs resume m
	dmfs remove s2
	until_true 10 is_merged m
	cmp a.img old; cmp mnt/o1 old; cmp mnt/s1 old; cmp mnt/s3 old
}
test_origin_volume_by_many_names() {
	start
	truncate -s 4M s.cow
	ln -s mnt/disk soft; ln -s "$T" way
	ORIGIN=mnt/disk each_by_each disk "$T/mnt/disk" mnt/disk soft way/mnt/disk 0:0
}
test_origin_device_by_many_names() {
	need_loop; need mknod
	start
	truncate -s 4M s.cow
	cp a.img b.img
	attach_loop "$T/b.img"
	ln -s "$LOOP" soft
	local numbers; numbers=$(<"/sys/block/${LOOP##*/}/dev")
	mknod node b "${numbers%:*}" "${numbers#*:}" || skip "no block devices can be made"
	ORIGIN=$LOOP each_by_each "$LOOP" soft "$numbers" ./node
	detach_loop "$LOOP"
}
# And so with the COW device: it is one's, by whichever name.
test_cow_by_many_names() {
	start
	truncate -s 4M s.cow; ln s.cow hard; ln -s s.cow soft; cp a.img b.img
	dmfs create s --table "0 4096 snapshot a.img s.cow P 8"
	scribble mnt/s
	local name
	for name in ./s.cow hard soft; do
		refused 'Device or resource busy' dmfs create t --table "0 4096 snapshot b.img $name P 8"
		refused 'Invalid argument' dmfs create t --table "0 4096 snapshot a.img $name P 8"
		[[ ! -e mnt/t ]]
	done
	cmp mnt/s s.want
	# The same devices by other names: the store is handed over.
	dmfs load s --table "0 4096 snapshot ./a.img hard PO 8"
	dmfs resume s
	cmp mnt/s s.want
}

# Under load.

test_a_snapshot_is_of_one_moment() {
	image 2M a.img b.img c.img
	mount_dmfs "$T/mnt"
	new_volume disk "0 4096 linear $T/a.img 0"
	new_volume low "0 4096 linear $T/b.img 0"
	new_volume other "0 4096 linear $T/c.img 0"
	new_volume top "0 8192 striped 2 8 disk 0 low 0"
	march mnt/top & local writer=$! i first
	local last=0
	marches() { (($(tail -n 1 mnt/.control/top/stats | cut -d ' ' -f 4) > 300)); }
	until_true 10 marches
	for i in {1..12}; do
		dmfs fork top copy >/dev/null
		first=$(march -c mnt/copy) || fail "a fork is of no one moment: $first"
		((first >= last && first > 0)) || fail "$first writes after $last"
		sleep 0.05
		last=$(march -c mnt/copy) || fail "a fork changes: $last"
		same "$last" "$first"
		dmfs drop copy >/dev/null
	done
	kill $writer
	wait $writer || true
	march mnt/other & writer=$!
	for i in {1..12}; do
		dmfs snapshot other "s$i" --chunk $((512 << i)) --transient >/dev/null
		march -c "mnt/s$i" >"moment.$i" || fail "a snapshot is of no one moment: $(<"moment.$i")"
	done
	sleep 0.1
	for i in {1..12}; do march -c "mnt/s$i" | diff "moment.$i" -; done
	kill $writer
	wait $writer || true
	march -c mnt/other >/dev/null
}

test_snapshots_come_and_go_under_writers() {
	image 16M a.img
	mount_dmfs "$T/mnt"
	new_volume disk "0 32768 linear $T/a.img 0"
	writers -n 16 -t 2 -y mnt/disk 2>writers.said >/dev/null & local writer=$! count=0 sum other
	while ! gone $writer; do
		dmfs snapshot disk s --chunk $((512 << count % 8)) >/dev/null
		sum=$(cksum <mnt/s)
		dmfs snapshot disk t --transient >/dev/null
		other=$(cksum <mnt/t)
		same "$(cksum <mnt/s)" "$sum"
		dmfs drop s >/dev/null
		same "$(cksum <mnt/t)" "$other"
		dmfs drop t >/dev/null
		((++count))
	done
	wait $writer || fail "$(<writers.said)"
	((count > 5)) || fail "only $count rounds"
	note "$(grep -o '[0-9]* writes' writers.said), $((2 * count)) snapshots"
	cmp mnt/disk a.img
	same "$(dmfs table)" "disk: 0 32768 linear $T/a.img 0"
}

# Several commands at a time: each is done, whatever the others do.
test_commands_at_once() {
	image 4M a.img
	mount_dmfs "$T/mnt"
	new_volume disk "0 8192 linear $T/a.img 0"
	writers -n 4 -t 2 -y mnt/disk 2>writers.said >/dev/null & local writer=$! each ids=() end=$((EPOCHSECONDS + 2))
	makes_and_drops() {
		trap - ERR
		while ((EPOCHSECONDS < end)); do
			timeout -s KILL 20 dmfs snapshot disk "s$1" && timeout -s KILL 20 dmfs drop "s$1" || return 1
		done >"said.$1" 2>&1
	}
	for each in 1 2 3; do makes_and_drops $each & ids+=($!); done
	for each in 1 2 3; do
		wait "${ids[each - 1]}" || echo "$(grep -hv '^deleted\|is gone\|is a snapshot' said.$each)" >>refused
	done
	wait $writer || fail "$(<writers.said)"
	[[ ! -e refused ]] || fail "$(<refused)"
	cmp mnt/disk a.img
	same "$(dmfs table)" "disk: 0 8192 linear $T/a.img 0"
	same "$(ls ./*.cow 2>/dev/null)" ''
}

# Whatever a program does to one of them, at any byte, the others don't know.
all_at_once() { # MOUNT-OPTION...
	start "$@"
	dmfs snapshot disk before --chunk 64K >/dev/null
	dmfs create zeros --table '0 4096 linear ram:2M:1 0'
	local each ids=()
	for each in tried odd large; do dmfs snapshot zeros $each --chunk ${CHUNK[$each]} >/dev/null; done
	dmfs snapshot tried deep >/dev/null
	# They read back what they wrote, and look at all of it in the end.
	for each in zeros tried odd large; do writers -n 4 -t 1 -y mnt/$each 2>said.$each >/dev/null & ids+=($!); done
	witness -b old -k known -t 1 -o mixed mnt/disk 2>said.disk & ids+=($!)
	for each in "${ids[@]}"; do wait "$each" || fail "$(tail -n 4 said.*)"; done
	note "$(cat said.* | grep -o '[0-9]* writes' | xargs)"
	witness -b old -k known -c mnt/disk 2>said || fail "$(<said)"
	cmp mnt/before old
	cmp mnt/deep <(head -c 2M /dev/zero)
	dmfs drop deep >/dev/null
	for each in tried odd large; do
		cp mnt/$each want
		dmfs merge $each >/dev/null
		cmp mnt/zeros want
	done
	cmp mnt/before old
}
declare -A CHUNK=([tried]=4K [odd]=512 [large]=256K)
test_all_at_once() { all_at_once; }

# Somebody without rights.

test_snapshots_without_root() {
	as_user
	start
	as() { "${AS[@]}" "$@"; }
	matches "$(as dmfs snapshot disk before)" '^before is a snapshot of disk'
	same "$(stat -c '%U %a' before.cow)" "$(id -un -- "${E2E_USER}" 2>/dev/null || id -un) 600"
	as dd if=/dev/urandom of=mnt/disk bs=4096 count=30 seek=7 conv=notrunc status=none
	as cmp mnt/before old
	! as cmp -s mnt/disk old || fail "nothing was written"
	matches "$(as dmfs merge before)" "merged into it
deleted $T/before.cow"
	as cmp mnt/disk old
	cmp a.img old
	as dmfs overlay old o >/dev/null
	as dd if=/dev/urandom of=mnt/o bs=4096 count=30 seek=7 conv=notrunc status=none
	as dmfs fork disk copy >/dev/null
	as cmp mnt/copy old
	as dmfs drop copy >/dev/null
	as dmfs drop o >/dev/null
	[[ ! -e o.cow ]]
	if ((UID == 0)); then
		# What may not be written is no COW device, and may be an origin.
		truncate -s 4M roots.cow; chmod 644 roots.cow; mkdir roots; chmod 644 old
		refused 'roots.cow: Permission denied' as dmfs snapshot disk s --cow roots.cow
		refused 'roots/s.cow: Permission denied' as dmfs snapshot disk s --cow roots/s.cow
		refused 'Permission denied' as dmfs create s --table "0 4096 snapshot old $T/roots.cow P 8"
		refused 'Permission denied' dmfs snapshot disk s
		[[ ! -e s.cow ]]
		as dmfs overlay old o >/dev/null
		as dd if=/dev/zero of=mnt/o bs=64K count=3 conv=notrunc status=none
		as dmfs snapshot o deep >/dev/null
		as dmfs drop deep >/dev/null
		refused 'can.t be written|Permission denied' as dmfs merge o
		same "$(as dmfs table o)" "0 4096 snapshot $T/old $T/o.cow PO 8"
		{ head -c 192K /dev/zero; tail -c +196609 old; } >want
		as cmp mnt/o want
		cmp a.img old
	fi
}

# Configurations.

test_saved_and_mounted_again() {
	start
	local each
	dmfs snapshot disk before >/dev/null
	dmfs snapshot disk tried --chunk 64K >/dev/null
	scribble mnt/tried; scribble mnt/disk
	dmfs snapshot tried deep --chunk 512 >/dev/null
	dmfs snapshot disk light --transient >/dev/null
	dmfs overlay old over >/dev/null
	scribble mnt/tried; scribble mnt/disk; scribble mnt/over
	dmfs create "a first" --table "0 4096 linear before 0"
	for each in "a first" before tried deep disk over; do cp "mnt/$each" "$each.want"; done
	dmfs table >tables; dmfs info -c --noheadings -o name,minor,attr >infos
	dmfs status | grep -v light >statuses
	dmfs save saved.toml
	unmount_dmfs
	local i
	for i in 1 2; do
		mount_dmfs "$T/mnt" --config saved.toml
		dmfs table | diff tables -
		dmfs info -c --noheadings -o name,minor,attr | diff infos -
		for each in "a first" before tried deep disk over; do cmp "mnt/$each" "$each.want"; done
		# In memory only: it begins anew.
		cmp mnt/light disk.want
		((i > 1)) || dmfs status | grep -v light | diff statuses -
		dmfs save | diff saved.toml -
		# And keeps on.
		scribble mnt/tried; scribble mnt/disk
		cmp mnt/before before.want; cmp mnt/deep deep.want
		unmount_dmfs
	done
	# Without what a snapshot needs there is no mount.
	mv before.cow elsewhere
	refused "before.cow.*|can't open.*before.cow" dmfs mount mnt --config saved.toml
	mv elsewhere before.cow
	mount_dmfs "$T/mnt" --config saved.toml
	cmp mnt/before before.want
	refused "has the exceptions|in use" dmfs snapshot disk more --cow before.cow
	dmfs remove "a first"
	dmfs merge before >/dev/null
	cmp mnt/disk before.want; cmp mnt/deep deep.want; cmp mnt/tried tried.want
}

test_merge_goes_on_in_another_mount() {
	start
	slow_merge disk.slow
	dmfs remove disk
	# The snapshots that a merge concerns stand behind it in the file.
	dmfs snapshot disk.slow other --chunk 16K >/dev/null
	dmfs snapshot disk.slow zz --chunk 512 >/dev/null
	dmfs merge before --background >/dev/null
	until_true 10 some_merged
	dmfs save saved.toml
	unmount_dmfs
	awk '/^name = /{ print $3 }' saved.toml | xargs | grep -q 'disk.slow other zz' || fail "$(grep ^name saved.toml)"
	contains saved.toml 'snapshot-merge disk.slow-real'
	! cmp -s a.img want || fail "it was merged too early"
	# Fewer than before, and again a part of them.
	mount_dmfs "$T/mnt" --config saved.toml
	merges_still disk.slow || fail "it was merged too early"
	(($(left_in disk.slow) < 31 * 8)) || fail "what was merged is to be merged again: $(left_in disk.slow)"
	cmp mnt/disk.slow want; cmp mnt/other old; cmp mnt/zz old
	dd if=/dev/urandom of=want bs=5000 seek=20 count=20 conv=notrunc status=none
	dd if=want of=mnt/disk.slow bs=5000 seek=20 skip=20 count=20 conv=notrunc,fsync status=none
	cmp mnt/disk.slow want; cmp mnt/other old; cmp mnt/zz old
	merges_still disk.slow || fail "it was merged too early"
	unmount_dmfs
	mount_dmfs "$T/mnt" --config saved.toml
	cmp mnt/disk.slow want
	dmfs merge disk.slow >said
	matches "$(<said)" "deleted $T/before.cow"
	cmp mnt/disk.slow want; cmp mnt/other old; cmp mnt/zz old; cmp a.img want
	same "$(dmfs table disk.slow)" '0 4096 snapshot-origin disk.slow-real'
	dmfs drop other >/dev/null
	dmfs drop zz >/dev/null
	same "$(dmfs table disk.slow)" '0 4096 linear below 0'
}
some_merged() { (($(left_in disk.slow) <= 26 * 8)); }
# The tables of before the merge, over a store of which a part is merged: nothing is different.
test_tables_of_before_a_merge() {
	start
	slow_merge disk.slow
	dmfs snapshot disk.slow other --chunk 16K >/dev/null
	dmfs save saved.toml
	dmfs merge before --background >/dev/null
	until_true 10 some_merged
	unmount_dmfs
	mount_dmfs "$T/mnt" --config saved.toml
	cmp mnt/before want; cmp mnt/other old
	! cmp -s mnt/disk.slow old || fail "nothing was merged"
	dmfs merge before >/dev/null
	cmp mnt/disk.slow want; cmp mnt/other old; cmp a.img want
}

# Filesystems.

# The disk at one moment, as after a crash: the journal mends it, and what was synced is there.
test_a_filesystem_in_use() {
	need_loop
	image 96M a.img
	mount_dmfs "$T/mnt"
	new_volume disk "0 196608 linear $T/a.img 0"
	attach_loop mnt/disk
	local disk=$LOOP i number writer
	mkfs.ext4 -q "$disk"
	mkdir fs snap
	mount "$disk" fs
	make_tree tree
	cp -a tree fs/kept
	sync -f fs
	(
		trap - ERR
		for ((i = 0; i < 100000; i++)); do
			echo "this is $i" | dd of=fs/synced.$i conv=fsync status=none || exit
			echo $i >synced.now && mv synced.now synced
			head -c $((i * 7919 % 300000)) /dev/zero >fs/loose.$((i % 50))
		done
	) 2>/dev/null & writer=$!
	there() { [[ -e synced ]] && (($(<synced) > $1)); }
	until_true 10 there 5
	for i in 1 2; do
		number=$(<synced)
		dmfs snapshot disk moment >/dev/null
		until_true 10 there $((number + 10))
		if ((i == 1)); then LOOP=$(dmfs attach moment); else attach_loop mnt/moment; fi
		mount "$LOOP" snap
		diff -r --no-dereference tree snap/kept
		same "$(cat snap/synced.$number)" "this is $number"
		same "$(cat snap/synced.0)" 'this is 0'
		[[ ! -e snap/synced.$((number + 10)) ]] || fail "what came later is there"
		umount snap
		e2fsck -fn "$LOOP" >fsck.log 2>&1 || fail "$(<fsck.log)"
		if ((i == 1)); then dmfs detach moment; else detach_loop "$LOOP"; fi
		((i == 2)) || { wait_until_free moment; dmfs drop moment >/dev/null; }
	done
	# Frozen it needs no journal.
	if [[ -n $(type -P fsfreeze) ]]; then
		fsfreeze -f fs
		dmfs snapshot disk frozen >/dev/null
		fsfreeze -u fs
		attach_loop mnt/frozen -r
		e2fsck -fn "$LOOP" >fsck.log 2>&1 || fail "$(<fsck.log)"
		same "$(dumpe2fs -h "$LOOP" 2>/dev/null | grep -c needs_recovery || true)" 0
		detach_loop "$LOOP"
	fi
	kill $writer; wait $writer || true
	until_true 10 umount fs 2>/dev/null
	e2fsck -fn "$disk" >fsck.log 2>&1 || fail "$(<fsck.log)"
	detach_loop "$disk"
	# Back to that moment.
	wait_until_free moment
	dmfs merge moment >/dev/null
	attach_loop mnt/disk
	mount "$LOOP" fs
	diff -r --no-dereference tree fs/kept
	same "$(cat fs/synced.$number)" "this is $number"
	[[ ! -e fs/synced.$((number + 10)) ]] || fail "what came later is there"
	umount fs
	e2fsck -fn "$LOOP" >fsck.log 2>&1 || fail "$(<fsck.log)"
	detach_loop "$LOOP"
	note "$number files were synced by then"
}
wait_until_free() { # VOLUME
	free() { same_open "$1"; }
	same_open() { [[ $(dmfs info -c --noheadings -o open "$1") -eq 0 ]]; }
	until_true 5 free "$1"
}

# Size costs nothing.

rss() { awk '/^VmRSS:/ { print $2 }' "/proc/$SERVER/status"; } # kB
test_large_and_sparse() {
	truncate -s 8T big.img 2>/dev/null || skip "no file of 8 TiB here"
	start
	dmfs create big --table "0 $((8 << 31)) linear big.img 0"
	dmfs snapshot disk s >/dev/null
	local before begin; before=$(rss) begin=${EPOCHREALTIME/./}
	dmfs snapshot big before >/dev/null
	dmfs snapshot big coarse --chunk 1M >/dev/null
	local took=$(((${EPOCHREALTIME/./} - begin) / 1000))
	((took < 1000)) || fail "two snapshots of 8 TiB took $took ms"
	(($(stat -c %s before.cow) > 8 << 40))
	# Its far end.
	dd if=old of=mnt/big bs=64K seek=$(((8 << 24) - 32)) conv=notrunc status=none
	dd if=old of=mnt/before bs=64K seek=$((4 << 24)) conv=notrunc status=none
	dd if=mnt/before bs=64K skip=$(((8 << 24) - 32)) status=none | cmp - <(head -c 2M /dev/zero)
	dd if=mnt/coarse bs=64K skip=$(((8 << 24) - 32)) status=none | cmp - <(head -c 2M /dev/zero)
	dd if=mnt/big bs=64K skip=$((4 << 24)) count=32 status=none | cmp - <(head -c 2M /dev/zero)
	dd if=mnt/before bs=64K skip=$((4 << 24)) count=32 status=none | cmp - old
	# Its room is taken ahead, 64 MiB at a time.
	note "8 TiB: $took ms, $(($(rss) - before)) kB of memory, $(($(stat -c %b before.cow) / 2)) kB of file"
	(($(rss) - before < 8192)) || fail "$(($(rss) - before)) kB of memory for snapshots of 8 TiB"
	(($(stat -c %b before.cow) <= 128 << 11)) || fail "$(stat -c %b before.cow) blocks of COW file"
	dmfs save saved.toml
	unmount_dmfs
	begin=${EPOCHREALTIME/./}
	mount_dmfs "$T/mnt" --config saved.toml
	dd if=mnt/before bs=64K skip=$((4 << 24)) count=32 status=none | cmp - old
	dmfs merge before >/dev/null
	dd if=mnt/big bs=64K skip=$((4 << 24)) count=32 status=none | cmp - old
	dd if=mnt/big bs=64K skip=$(((8 << 24) - 32)) status=none | cmp - <(head -c 2M /dev/zero)
	dd if=mnt/coarse bs=64K skip=$((4 << 24)) count=32 status=none | cmp - <(head -c 2M /dev/zero)
	dmfs drop coarse >/dev/null
	took=$(((${EPOCHREALTIME/./} - begin) / 1000))
	((took < 5000)) || fail "to mount, merge and drop 8 TiB took $took ms"
}

# What is kept costs some bytes for each chunk.
test_memory_of_exceptions() {
	mount_dmfs "$T/mnt"
	dmfs create nothing --table '0 1048576 zero'
	dmfs create large --table '0 1048576 snapshot nothing ram:128M:1 N 256'
	dd if=/dev/zero of=mnt/large bs=1M count=64 conv=notrunc status=none
	dmfs create small --table '0 1048576 snapshot nothing ram:128M:2 N 1'
	local before each; before=$(rss)
	dd if=/dev/zero of=mnt/small bs=1M count=128 conv=notrunc status=none
	same "$(status_of small)" '262144/262144 0'
	each=$((($(rss) - before) * 1024 / 262144))
	note "$each bytes for an exception"
	((each < 64)) || fail "$each bytes of memory for each of 262144 exceptions"
}
