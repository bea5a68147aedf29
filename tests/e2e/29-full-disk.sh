# A full disk below a COW file: what was written stays, writes wait for room and are refused,
# a snapshot that somebody needs is lost as in the kernel, and no fsync hides it.

# tmp, a file system of 16 MiB, of which a file takes all but this.
start() { # ROOM [MOUNT-OPTION...]
	need_root
	random_file $((16 << 20)) a.img
	cp a.img old
	mkdir tmp
	mount -t tmpfs -o size=16m tmpfs tmp
	fallocate -l "$((16 - $1))M" tmp/ballast
	mount_dmfs "$T/mnt" "${@:2}"
}
finish() { unmount_dmfs; umount tmp; }
status_of() { dmfs status "$1" | cut -d ' ' -f 4-; }
is_short() { [[ $(status_of "$1") == *" out_of_data_space" ]]; }
fill() { dd if=/dev/zero of="mnt/$1" bs=1M seek=1 count=14 conv=notrunc status=none; }

# The file gets its room ahead, and as much as was asked for.
test_room_ahead() {
	need_root
	image 64M a.img
	mkdir tmp
	mount -t tmpfs -o size=128m tmpfs tmp
	mount_dmfs "$T/mnt" -o space_ahead=1M
	dmfs overlay a.img v --cow tmp/v.cow >/dev/null
	dd if=/dev/urandom of=mnt/v bs=4K count=1 conv=notrunc status=none
	has_room() { (($(stat -c %b tmp/v.cow) >= 2048)); }
	until_true 10 has_room
	(($(stat -c %b tmp/v.cow) <= 6144)) || fail "it takes $(stat -c %b tmp/v.cow) blocks"
	dd if=/dev/zero of=mnt/v bs=1M count=8 conv=notrunc status=none
	(($(stat -c %b tmp/v.cow) >= 8 * 2048)) || fail 'it took no more'
	matches "$(<mnt/.control/options)" $'space_ahead = 1048576\nspace_wait = 60'
	finish
}

# Nobody changes the image: the overlay stays what it was, whatever is refused.
test_overlay_keeps_what_it_has() {
	start 8 -o space_wait=1
	dmfs overlay a.img v --cow tmp/v.cow >/dev/null
	printf precious | dd of=mnt/v conv=notrunc,fsync status=none
	refused 'No space left' fill v
	is_short v || fail "$(status_of v)"
	contains mnt/.control/log 'the file system of '
	# Later ones are refused at once.
	local began=$SECONDS
	refused 'No space left' fill v
	((SECONDS - began < 10)) || fail 'it waited again'
	same "$(head -c 8 mnt/v)" precious
	sync mnt/v
	# What has its place is written as before.
	printf PRECIOUS | dd of=mnt/v conv=notrunc,fsync status=none
	dmfs remove v
	dmfs overlay a.img v --cow tmp/v.cow >/dev/null
	same "$(head -c 8 mnt/v)" PRECIOUS
	cmp -i 15M mnt/v old
	finish
}

# Who waits goes on when there is room, and can be killed.
test_writers_wait() {
	start 4
	dmfs overlay a.img v --cow tmp/v.cow >/dev/null
	fill v & local writer=$!
	until_true 30 is_short v || fail "$(status_of v)"
	sleep 1
	! gone $writer || fail 'it did not wait'
	kill -9 $writer
	until_true 5 gone $writer || fail 'it was not killed'
	wait $writer || true
	fill v & writer=$!
	sleep 1
	! gone $writer || fail 'it did not wait'
	rm tmp/ballast
	until_true 30 gone $writer || fail 'it waits although there is room'
	wait $writer || fail 'the write was refused'
	! is_short v || fail "$(status_of v)"
	cmp -i 1M -n 14M mnt/v /dev/zero
	contains mnt/.control/log 'there is room for '
	finish
}

# An empty file system would be too small: nobody waits for it.
test_filesystem_too_small() {
	start 15
	rm tmp/ballast
	image 17M big.img
	dmfs overlay big.img v --cow tmp/v.cow >/dev/null
	refused 'No space left' timeout 30 dd if=/dev/zero of=mnt/v bs=1M count=17 conv=notrunc status=none
	finish
}

# The suspend of a volume, and the end of the mount, wait for nobody who waits for room.
test_suspend_ends_the_wait() {
	start 4
	dmfs overlay a.img v --cow tmp/v.cow >/dev/null
	fill v 2>said & local writer=$!
	until_true 30 is_short v || fail "$(status_of v)"
	timeout 20 dmfs suspend v
	dmfs resume v
	kill -TERM "$SERVER"
	ended "$SERVER" 0
	wait $writer || true
	umount tmp
}

# The origin changes: its snapshot is lost, as in the kernel; and every fsync says so.
test_origin_needs_the_snapshot() {
	start 4 -o space_wait=1
	cp a.img base.img
	dmfs create disk --table "0 32768 linear $T/base.img 0"
	dmfs snapshot disk snap --cow tmp/s.cow >/dev/null
	printf precious | dd of=mnt/snap conv=notrunc,fsync status=none
	fill disk
	same "$(status_of snap)" Invalid
	refused 'Input/output' sync mnt/snap
	refused 'Input/output' head -c 8 mnt/snap
	cmp -i 1M -n 14M mnt/disk /dev/zero
	finish
}
