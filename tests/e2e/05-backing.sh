# What is wrong with a device below: said at once where it can be known, and an error for
# those who need the bytes, not for others.

# The table is refused with this errno's text and this reason, and what was live stays.
bad() { # ERRNO-TEXT REASON TABLE
	local before after
	before=$(see mnt/.control/v/table)
	"${AS[@]}" tee mnt/.control/v/table <<<"$3" >/dev/null 2>said & local id=$!
	# Who waits for a mount that waits for itself can't be killed: the daemon has to be.
	until_true 5 gone $id || { kill -9 "$SERVER"; fail "the mount waits for itself: $3"; }
	if wait $id; then fail "not refused: $3"; fi
	matches "$(<said)" "$1"
	matches "$(see mnt/.control/v/error)" "$1"
	matches "$(see mnt/.control/v/error)" "$2"
	after=$(see mnt/.control/v/table)
	same "$after" "$before"
	same "$(see mnt/.control/v/state)" active
}
see() { "${AS[@]}" cat "$1"; }
start() {
	image 1M a.img
	mount_dmfs "$T/mnt" "$@"
	new_volume v "0 2048 linear $T/a.img 0"
}

test_refused_at_once() {
	start
	mkdir dir; mkfifo fifo; head -c 1000 /dev/zero >short
	bad 'No such file' 'nosuch' "0 8 linear $T/nosuch 0"
	bad 'No such file' 'a.img/x|nosuch' "0 8 linear $T/nosuch/x 0"
	bad 'Invalid argument' '2049|2048|end' "0 2049 linear $T/a.img 0"
	bad 'Invalid argument' '2047|2048|end' "0 2048 linear $T/a.img 1"
	bad 'Invalid argument' 'short' "0 2 linear $T/short 0"
	bad 'Block device required' '/dir is' "0 8 linear $T/dir 0"
	bad 'Block device required' 'neither a file nor a block device' "0 8 linear $T/fifo 0"
	bad 'Block device required' 'neither a file nor a block device' "0 8 linear /dev/null 0"
	bad 'Block device required' 'neither a file nor a block device' "0 8 linear /dev/tty 0"
	bad 'Block device required|Invalid argument' '' "0 8 linear $T/mnt 0"
	bad 'Invalid argument' 'into this mount' "0 8 linear $T/mnt/.control 0"
	bad 'Invalid argument' 'into this mount' "0 8 linear $T/mnt/.control/v/table 0"
	bad 'No such file' "no volume 'w'" "0 8 linear $T/mnt/w 0"
	ln -s loop1 loop2; ln -s loop2 loop1
	bad 'Too many levels' 'loop1' "0 8 linear $T/loop1 0"
	head -c 1M mnt/v | cmp - a.img
}

test_read_only_file() {
	as_user
	start
	image 1M ro.img; chmod 444 ro.img
	bad 'Permission denied' "can't be written" "0 2048 linear $T/ro.img 0"
	"${AS[@]}" "$DMFS" create ro -r --table "0 2048 linear ro.img 0"
	"${AS[@]}" cmp mnt/ro ro.img
	refused 'not permitted' "${AS[@]}" dd if=a.img of=mnt/ro conv=notrunc
	same "$("${AS[@]}" probe fallocate 3 0 4096 mnt/ro)" EPERM
}

test_read_only_filesystem() {
	need_root
	mkdir tmp
	mount -t tmpfs -o size=4m tmpfs tmp
	image 1M tmp/ro.img
	mount -o remount,ro tmp
	start
	bad 'Read-only file system' "can't be written" "0 2048 linear $T/tmp/ro.img 0"
	dmfs create ro -r --table "0 2048 linear $T/tmp/ro.img 0"
	cmp mnt/ro tmp/ro.img
	unmount_dmfs
	umount tmp
}

# A file of no bytes has no sectors to map.
test_empty_file() {
	start
	: >empty
	bad 'Invalid argument' 'empty' "0 1 linear $T/empty 0"
}

# The file becomes shorter under a live volume.
test_truncated_below() {
	start
	random_file 1048576 a.img
	new_volume other "0 8 zero"
	truncate -s 500K a.img
	dd if=mnt/v bs=1000K count=0 status=none
	head -c 500K mnt/v | cmp - a.img
	refused 'Input/output error' dd if=mnt/v bs=4096 skip=128 count=1
	contains mnt/.control/log "$T/a.img"
	refused 'Input/output error' cat mnt/v
	# A part of a block there can't be kept, so it can't be written.
	refused 'Input/output error' dd if=/dev/zero of=mnt/v bs=100 seek=6000 count=1 conv=notrunc
	cat mnt/other >/dev/null
	# A resume would serve what is not there.
	echo "0 2048 linear $T/a.img 0" | tee mnt/.control/v/inactive >/dev/null 2>&1 && fail "a table longer than its file was loaded"
	truncate -s 1M a.img
	cmp mnt/v a.img
	# Between load and resume.
	echo "0 2048 linear $T/a.img 0" >mnt/.control/v/inactive
	truncate -s 100K a.img
	refused 'Invalid argument' tee mnt/.control/v/state <<<resume
	contains mnt/.control/v/error "$T/a.img"
	truncate -s 1M a.img
	timeout 5 tee mnt/.control/v/state <<<resume >/dev/null
	cmp mnt/v a.img
}

# The own volumes: a way in that is seen is stacking, a hidden one is refused. Neither may
# make the mount wait for itself, even if it has only one thread.
own_paths() {
	start "$@"
	ln -s mnt/v link; ln -s "$T/mnt" way; mkdir sub; ln -s ../way/../mnt sub/deep
	local path
	for path in "$T/link" "$T/way/v" "$T/sub/deep/v" "$T/mnt/../mnt/v" "$T/sub/../link"; do
		timeout 10 tee mnt/.control/w/table <<<"0 8 linear $path 0" >/dev/null 2>&1 || {
			mkdir mnt/.control/w
			timeout 10 tee mnt/.control/w/table <<<"0 8 linear $path 0" >/dev/null
		}
		same "$(<mnt/.control/w/table)" '0 8 linear v 0'
	done
	bad 'Invalid argument' 'itself' "0 8 linear $T/link 0"
	bad 'Invalid argument' 'itself|stands on' '0 8 linear w 0'
}
test_own_volume_by_path() { own_paths; }
test_own_volume_by_path_one_thread() { own_paths -o threads=1; }

own_bind_mount() {
	need_root
	start "$@"
	mkdir bound; : >bound.file
	mount --bind mnt bound
	mount --bind mnt/v bound.file
	# It is v that is named, however the path goes.
	bad 'Invalid argument' 'itself' "0 8 linear $T/bound/v 0"
	bad 'Invalid argument' 'itself' "0 8 linear $T/bound.file 0"
	bad 'Invalid argument' 'this mount' "0 8 linear $T/bound/.control/v/table 0"
	umount bound bound.file
}
test_own_volume_by_bind_mount() { own_bind_mount; }
test_own_volume_by_bind_mount_one_thread() { own_bind_mount -o threads=1; }

own_loop() {
	need_loop
	image 64M a.img
	mount_dmfs "$T/mnt" "$@"
	new_volume v "0 131072 linear $T/a.img 0"
	new_volume w '0 8 zero'
	attach_loop mnt/v
	mkfs.ext4 -q "$LOOP"
	mkdir fs
	mount "$LOOP" fs
	image 1M fs/inside.img
	local what
	for what in "$LOOP" "$(<"/sys/block/${LOOP##*/}/dev")" "$T/fs/inside.img"; do
		refused 'Invalid argument' timeout 10 tee mnt/.control/w/table <<<"0 8 linear $what 0"
		matches "$(<mnt/.control/w/error)" "own .*mnt/v"
	done
	umount fs
	detach_loop "$LOOP"
}
test_own_volume_by_loop() { own_loop; }
test_own_volume_by_loop_one_thread() { own_loop -o threads=1; }

# No space below: the writer is told, and nobody else is hurt.
test_disk_full_below() {
	need_root
	mkdir tmp
	mount -t tmpfs -o size=8m tmpfs tmp
	image 32M tmp/big.img
	start
	new_volume full "0 65536 linear $T/tmp/big.img 0"
	random_file $((4 << 20)) data
	stress -t 4 mnt/v 2>stress.said & local id=$!
	dd if=data of=mnt/full bs=1M conv=notrunc status=none
	refused 'No space left' dd if=/dev/zero of=mnt/full bs=1M seek=4 count=28 conv=notrunc
	contains mnt/.control/log big.img
	refused 'No space left' dd if=/dev/zero of=mnt/full bs=512 seek=65000 count=1 conv=notrunc
	head -c 4M mnt/full | cmp - data
	wait $id || fail "another volume was hurt: $(<stress.said)"
	# Space comes back, by discards, and so does the volume.
	same "$(probe fallocate 3 4194304 29360128 mnt/full)" 0
	dd if=data of=mnt/full bs=1M seek=28 count=2 conv=notrunc,fsync status=none
	dd if=mnt/full bs=1M skip=28 count=2 status=none | cmp - <(head -c 2M data)
	unmount_dmfs
	umount tmp
}
test_disk_full_below_a_loop() {
	need_loop
	mkdir tmp fs
	mount -t tmpfs -o size=16m tmpfs tmp
	image 64M tmp/big.img
	start
	new_volume full "0 131072 linear $T/tmp/big.img 0"
	attach_loop mnt/full
	refused 'No space left|Input/output error' dd if=/dev/zero of="$LOOP" bs=1M count=32 oflag=direct
	dd if=a.img of=mnt/v conv=notrunc status=none
	detach_loop "$LOOP"
	unmount_dmfs
	umount tmp
}

# A file that was removed or replaced: the volume keeps the one it has open.
test_removed_below() {
	start
	random_file 1048576 a.img
	cp a.img copy
	rm a.img
	cmp mnt/v copy
	image 1M a.img
	cmp mnt/v copy
	echo "0 2048 linear $T/a.img 0" >mnt/.control/v/table
	head -c 1M /dev/zero | cmp - mnt/v
}

# A relative path begins where the one stands who writes the table.
test_relative_paths() {
	mkdir here there
	random_file 4096 here/a.img; random_file 4096 there/a.img
	mount_dmfs "$T/mnt"
	mkdir mnt/.control/v
	(cd there; echo '0 8 linear a.img 0' >../mnt/.control/v/table)
	same "$(<mnt/.control/v/table)" "0 8 linear $T/there/a.img 0"
	cmp mnt/v there/a.img
	(cd here; echo '0 8 linear ./a.img 0' >../mnt/.control/v/table)
	cmp mnt/v here/a.img
}

# The table says where the file is, also if it was elsewhere when it was opened first.
test_renamed_below() {
	mkdir here
	random_file 4096 here/a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 8 linear $T/here/a.img 0"
	mv here/a.img here/b.img
	echo "0 8 linear $T/here/b.img 0" >mnt/.control/v/table
	same "$(<mnt/.control/v/table)" "0 8 linear $T/here/b.img 0"
	cmp mnt/v here/b.img
}

test_odd_paths() {
	mkdir here
	random_file 4096 'here/with blank\ and #'
	mount_dmfs "$T/mnt"
	mkdir mnt/.control/v
	echo "0 8 linear $T/here/with\\ blank\\\\\\ and\\ \\# 0" >mnt/.control/v/table
	cmp mnt/v 'here/with blank\ and #'
	cat mnt/.control/v/table >again
	cat again >mnt/.control/v/table
	diff again mnt/.control/v/table
}
