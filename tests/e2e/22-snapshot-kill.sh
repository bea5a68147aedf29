# The daemon is killed under load, again and again. Snapshots show what they showed, and
# whatever was answered is there: on the disk, in a snapshot, in the middle of a merge.
#
# What is in the page cache of the files below outlives the daemon, so this is about the
# order in which things are done, not about what a loss of power takes.

# A disk with snapshots of three sizes of chunks, and one that is written and has one of its own.
new_stack() { # [MOUNT-OPTION...]
	rm -f ./*.cow known.*
	cp a.img base
	mount_dmfs "$T/mnt" "$@"
	new_volume disk "0 $(($(stat -c %s a.img) / 512)) linear $T/a.img 0"
	dmfs snapshot disk small --chunk 512 >/dev/null
	dmfs snapshot disk usual >/dev/null
	dmfs snapshot disk large --chunk 64K >/dev/null
	dmfs snapshot disk tried >/dev/null
	dmfs snapshot tried deep --chunk 16K >/dev/null
	dmfs save saved.toml
}
# Snapshots come and go meanwhile; in the middle of what, when the daemon dies, is not known.
come_and_go() {
	trap - ERR
	local i
	for ((i = 0; ; i++)); do
		rm -f extra.cow
		dmfs snapshot disk extra --chunk $((512 << i % 10)) $( ((i % 2)) && echo --transient) || return 0
		sleep 0.02
		dmfs drop extra || return 0
	done >/dev/null 2>&1
}
# And those who used the mount go, too; it is no error of theirs.
kill_daemon() { # PROCESS...
	local id
	kill -9 "$SERVER"
	ended "$SERVER" 137
	for id; do wait "$id" || fail "$(cat said*)"; done
	dmfs umount mnt
}
sum_of() { cat said.disk said.tried | grep -o "[0-9]* $1" | awk '{ n += $1 } END { print n }'; }
load_and_kill() { # HOW MILLISECONDS
	local ids=()
	witness -b base -k known.disk -o "$1" mnt/disk 2>said.disk & ids+=($!)
	witness -b base -k known.tried -n 4 -o "$1" mnt/tried 2>said.tried & ids+=($!)
	[[ -z $GO ]] || { come_and_go & ids+=($!); }
	sleep "$(printf '%d.%03d' $(($2 / 1000)) $(($2 % 1000)))"
	kill_daemon "${ids[@]}"
	WRITES=$((WRITES + $(sum_of writes))) FLUSHES=$((FLUSHES + $(sum_of flushes)))
}
compare() {
	local each
	for each in disk tried; do witness -b base -k known.$each -c mnt/$each 2>said || fail "$each: $(<said)"; done
	for each in small usual large deep; do cmp base mnt/$each || fail "$each shows something else"; done
}
rounds() { # SECONDS MEGABYTES HOW,... [MOUNT-OPTION...]
	local end=$((EPOCHSECONDS + $1)) hows count=0 i
	random_file $(($2 << 20)) a.img
	IFS=, read -r -a hows <<<"$3"
	shift 3
	WRITES=0 FLUSHES=0
	while ((EPOCHSECONDS < end)); do
		new_stack "$@"
		# First with chunks of which there is no copy, and then with such that have one.
		for i in 1 2; do
			load_and_kill "${hows[count++ % ${#hows[@]}]}" $((100 + RANDOM % (600 / i)))
			mount_dmfs "$T/mnt" --config saved.toml "$@"
			compare
		done
		unmount_dmfs
	done
	note "$count rounds, $WRITES writes, $FLUSHES flushes"
	((WRITES > 10 * count)) || fail "too few writes: $WRITES in $count rounds"
}
GO=
test_killed_under_load() { GO=1 rounds 8 16 mixed,plain,dsync; }
test_killed_under_load_direct_below() {
	image 1M b.img
	dd if=b.img of=/dev/null bs=4096 count=1 iflag=direct status=none 2>/dev/null || skip "no O_DIRECT here"
	GO=1 rounds 4 4 mixed -o backing=direct,executor=threads
}

# A merge.

left() { local words; read -r -a words <mnt/.control/disk/status; echo $((${words[3]%%/*} - ${words[4]})); }
is_done() { (($(left) == 0)); }
# What `snap` shows is in want, what `other` shows in other.want; before.toml has these, merge.toml
# the merge of `snap`, held.toml the same, suspended, and *.kept the files of before.
new_merge() {
	random_file $((16 << 20)) a.img
	cp a.img base
	mount_dmfs "$T/mnt"
	new_volume disk "0 32768 linear $T/a.img 0"
	dmfs snapshot disk snap >/dev/null
	local each
	for each in disk snap; do witness -b base -k known -w 300 mnt/$each 2>said || fail "$(<said)"; rm known; done
	dmfs snapshot disk other --chunk 64K >/dev/null
	cp mnt/snap want; cp mnt/other other.want
	ALL=$(dmfs status snap | awk '{ print $4 - $5 }')
	dmfs save before.toml
	unmount_dmfs
	for each in a.img snap.cow other.cow; do cp --sparse=always $each $each.kept; done
	mount_dmfs "$T/mnt" --config before.toml
	dmfs merge snap --background >/dev/null
	dmfs save merge.toml
	unmount_dmfs
	contains merge.toml snapshot-merge
	sed 's/^name = "disk"$/&\nsuspended = true/' merge.toml >held.toml
}
as_before() {
	local each
	for each in a.img snap.cow other.cow; do cp --sparse=always $each.kept $each; done
	rm -f known
}
load_disk() { witness -b want -k known -o mixed "$@" mnt/disk; }
test_merge_killed() {
	new_merge
	local i middle=0 writer target
	has_come() { (($(left) <= target)); }
	for i in {1..7}; do
		as_before
		mount_dmfs "$T/mnt" --config held.toml
		load_disk 2>said & writer=$!
		until_true 10 parks disk 8
		dmfs resume disk
		target=$((ALL / 100 * (RANDOM % 100)))
		until_true 20 has_come
		is_done || ((++middle))
		kill_daemon $writer
		# Again with the merge, or as a snapshot that is merged by a command.
		if ((i % 2)); then
			mount_dmfs "$T/mnt" --config merge.toml
			load_disk -c 2>said || fail "round $i, merging: $(<said)"
			load_disk -w 50 2>said || fail "round $i, merging: $(<said)"
		else
			mount_dmfs "$T/mnt" --config before.toml
			witness -b want -k known -c mnt/snap 2>said || fail "round $i, the snapshot: $(<said)"
			cmp mnt/other other.want
			dmfs merge snap --background >/dev/null
			load_disk -w 50 2>said || fail "round $i, merging again: $(<said)"
		fi
		dmfs merge disk >said
		contains said "deleted $T/snap.cow"
		load_disk -c 2>said || fail "round $i, merged: $(<said)"
		cmp mnt/other other.want || fail "round $i: the other snapshot shows something else"
		dmfs drop other >/dev/null
		same "$(dmfs table)" "disk: 0 32768 linear $T/a.img 0"
		unmount_dmfs
		witness -b want -k known -c a.img 2>said || fail "round $i, the file: $(<said)"
	done
	note "7 rounds, $middle of them in the middle of the merge"
	((middle > 1)) || fail "only $middle kills met the merge"
}

# The same slowly: a batch is on its way whenever it is.
test_slow_merge_killed() {
	random_file $((4 << 20)) a.img
	mount_dmfs "$T/mnt"
	new_volume below "0 8192 delay $T/a.img 0 0 $T/a.img 0 25"
	new_volume disk "0 8192 linear below 0"
	dmfs snapshot disk snap >/dev/null
	local i before after writer count=0
	for i in {0..40}; do dd if=/dev/urandom of=mnt/snap bs=4096 seek=$((i * 97 % 1000)) count=$((1 + i % 4)) conv=notrunc status=none; done
	cp mnt/snap want
	dmfs snapshot disk other --chunk 512 >/dev/null
	cp mnt/disk other.want
	dmfs merge snap --background >/dev/null
	dmfs save merge.toml
	while ! is_done; do
		before=$(left)
		load_disk -n 2 2>said & writer=$!
		sleep 0.3
		cmp mnt/other other.want
		kill_daemon $writer
		mount_dmfs "$T/mnt" --config merge.toml
		after=$(left)
		((after <= before)) || fail "$before sectors were left, and then $after"
		load_disk -c 2>said || fail "$(<said)"
		cmp mnt/other other.want
		((++count))
		((count < 40)) || fail "it comes to no end"
	done
	((count > 2)) || fail "only $count kills"
	note "$count kills"
	dmfs merge disk >/dev/null
	load_disk -c 2>said || fail "$(<said)"
	cmp mnt/other other.want
	dmfs drop other >/dev/null
	same "$(dmfs table disk)" '0 8192 linear below 0'
	unmount_dmfs
	witness -b want -k known -c a.img 2>said || fail "$(<said)"
}
