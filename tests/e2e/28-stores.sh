# Whose a store or a block device is, and what stands on whom: two mounts with one COW file would
# lose what was synced; a circle would wait for itself.

at() { dd if="$1" bs=4k skip="$2" count=1 status=none | head -c 4 | tr -d '\0'; }
put() { printf '%s' "$1" | dd of="$2" bs=4k seek="$3" conv=notrunc,fsync status=none; }
two_mounts() {
	image 1M disk
	image 2M cow log
	mount_dmfs "$T/other"
	OTHER=$SERVER
	mount_dmfs "$T/mnt"
}
in_use() { # TABLE: the other mount may not have it
	refused "is in use: process $OTHER \(.*dmfs mount $T/other" dmfs --mount "$T/mnt" create s --table "$1"
}

test_one_store_twice() {
	two_mounts
	local snapshot="0 2048 snapshot $T/disk $T/cow PO 8"
	dmfs --mount "$T/other" create s --table "$snapshot"
	in_use "$snapshot"
	in_use "0 2048 snapshot $T/disk $T/./cow P 8"
	put AAAA other/s 100
	# The same daemon may, where its own rules allow it: a reload, a merge.
	dmfs --mount "$T/other" load s --table "$snapshot"
	dmfs --mount "$T/other" suspend s
	dmfs --mount "$T/other" resume s
	same "$(at other/s 100)" AAAA
	# A file that is only mapped belongs to nobody.
	dmfs --mount "$T/mnt" create d --table "0 2048 linear $T/disk 0"
	dmfs --mount "$T/other" remove s
	dmfs --mount "$T/mnt" create s --table "$snapshot"
	same "$(at mnt/s 100)" AAAA
}
test_one_log_twice() {
	two_mounts
	dmfs --mount "$T/other" create s --table "0 2048 log-writes $T/disk $T/log"
	in_use "0 2048 log-writes $T/disk $T/log"
	dmfs --mount "$T/mnt" create -r s --table "0 2048 log-writes $T/disk $T/log"
}
# The mount is gone, but its daemon still serves an open file.
test_lazily_unmounted() {
	need_root
	image 1M disk; image 2M cow
	mount_dmfs "$T/mnt"
	local first=$SERVER
	dmfs create s --table "0 2048 snapshot $T/disk $T/cow PO 8"
	dmfs save "$T/saved.toml"
	exec 5<>mnt/s
	dmfs umount --lazy mnt
	refused "process $first" dmfs mount "$T/mnt" --config "$T/saved.toml"
	printf BBBB >&5
	exec 5>&-
	ended "$first" 0
	mount_dmfs "$T/mnt" --config "$T/saved.toml"
	dmfs status s >/dev/null
}
# And mounted again at once, while the old daemon may still close its tables.
test_mounted_again() {
	image 1M disk; image 2M cow
	local i
	mount_dmfs "$T/mnt"
	dmfs create s --table "0 2048 snapshot $T/disk $T/cow PO 8"
	dmfs save saved.toml
	for i in {1..5}; do
		put "A$i" mnt/s 7
		dmfs umount mnt
		mount_dmfs "$T/mnt" --config "$T/saved.toml"
		same "$(at mnt/s 7)" "A$i"
	done
	for i in "${!SERVERS[@]}"; do [[ ${SERVERS[i]} == "$SERVER" ]] || { ended "${SERVERS[i]}" 0; }; done
}

test_block_device() {
	need_loop
	image 20M blk
	attach_loop "$T/blk"
	two_mounts
	# Several tables of one daemon share it; nobody else has it meanwhile.
	dmfs create one --table "0 2048 linear $LOOP 0"
	dmfs create two --table "0 2048 linear $LOOP 4096"
	dmfs create -r three --table "0 2048 linear $LOOP 0"
	refused 'busy' dmfs --mount "$T/other" create s --table "0 2048 linear $LOOP 0"
	refused '' mkfs.ext4 -q -F "$LOOP"
	dmfs remove one two three
	mkfs.ext4 -q -F "$LOOP"
	mkdir fs
	mount "$LOOP" fs
	refused "busy.*mounted on $T/fs" dmfs create one --table "0 2048 linear $LOOP 0"
	# To ask what it is changes nothing.
	dmfs create file --table "0 2048 linear $T/disk 0"
	dmfs reverse "$LOOP" 0 >/dev/null || true
	umount fs
	dmfs create one --table "0 2048 linear $LOOP 0"
	dmfs remove one
	detach_loop "$LOOP"
}

# A file system on a loop device over an own volume, by ways that stat(2) does not show.
own_disk() { # MKFS
	need_loop
	truncate -s 300M img
	mount_dmfs "$T/mnt"
	new_volume v "0 614400 linear $T/img 0"
	attach_loop "$T/mnt/v"
	mkdir x
	$1 "$LOOP" >/dev/null 2>&1
	mount "$LOOP" x || skip "it cannot be mounted"
}
stands_on_own() { # FILE
	truncate -s 20M "$1"
	refused "stands on this mount's own" dmfs create w --table "0 40960 linear $1 0"
}
test_circle_by_overlay() {
	own_disk 'mkfs.ext4 -q -F'
	mkdir x/up x/wk low ov
	local layers="upperdir=$T/x/up,workdir=$T/x/wk" bad
	mount -t overlay overlay -o "lowerdir=low,$layers" ov || { umount x; detach_loop "$LOOP"; skip "no overlayfs"; }
	stands_on_own "$T/ov/f"
	umount ov
	mount -t overlay overlay -o lowerdir=low,upperdir=x/up,workdir=x/wk ov
	stands_on_own "$T/ov/g"
	umount ov
	umount x
	detach_loop "$LOOP"
	# Without such a disk an overlay is as good as any.
	mkdir up wk
	mount -t overlay overlay -o lowerdir=low,upperdir=up,workdir=wk ov
	truncate -s 20M ov/f
	dmfs create w --table "0 40960 linear $T/ov/f 0"
	dmfs remove w
	umount ov
}
test_circle_by_btrfs() {
	need mkfs.btrfs
	grep -qw btrfs /proc/filesystems || modprobe btrfs 2>/dev/null || skip "no btrfs"
	own_disk 'mkfs.btrfs -f'
	stands_on_own "$T/x/f"
	umount x
	detach_loop "$LOOP"
}
# x of one mount stands on y of another, and y is to stand on x.
test_circle_of_two_mounts() {
	two_mounts
	dmfs --mount "$T/other" create y --table "0 2048 linear $T/disk 0"
	dmfs --mount "$T/mnt" create low --table "0 2048 linear $T/other/y 0"
	dmfs --mount "$T/mnt" create x --table "0 2048 linear low 0"
	refused "stands on this mount's own" dmfs --mount "$T/other" load y --table "0 2048 linear $T/mnt/x 0"
	# What is no circle is taken.
	dmfs --mount "$T/mnt" create plain --table "0 2048 linear $T/log 0"
	dmfs --mount "$T/other" create z --table "0 2048 linear $T/mnt/plain 0"
	dmfs --mount "$T/other" remove z
	unmount_dmfs  # the upper one first
}
