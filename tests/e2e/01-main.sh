# The main job: a table makes a volume, the volume a block device, that one a filesystem;
# what was copied into it is there again after every way of taking it all down.

# Two rows on two files, one of them striped over two more.
main_table() {
	cat <<END
0 131072 linear $T/a.img 2048
131072 131072 striped 2 128 $T/b.img 0 $T/c.img 0
END
}

copy_and_compare() { # LOOP
	mkdir fs
	mkfs.ext4 -q "$1"
	mount "$1" fs
	make_tree tree
	cp -a tree fs/
	sync -f fs
	diff -r --no-dereference tree fs/tree
	echo 3 >/proc/sys/vm/drop_caches
	diff -r --no-dereference tree fs/tree
}

test_block_device() {
	need_loop; need fstrim
	image 80M a.img b.img c.img
	mount_dmfs "$T/mnt"
	mkdir mnt/.control/disk
	main_table >mnt/.control/disk/table
	same "$(cat mnt/.control/disk/table)" "$(main_table)"
	same "$(stat -c %s mnt/disk)" $((128 << 20))
	random_file $((8 << 20)) data
	dd if=data of=mnt/disk bs=1M seek=60 conv=notrunc,fsync status=none
	dd if=mnt/disk bs=1M skip=60 count=8 status=none | cmp - data
	# Below they are where the table says: 4 MiB behind a.img's offset of 1 MiB, the rest dealt out.
	dd if=a.img bs=1M skip=61 count=4 status=none | cmp - <(head -c 4M data)
	dd if=b.img bs=64K count=1 status=none | cmp - <(dd if=data bs=64K skip=64 count=1 status=none)
	dd if=c.img bs=64K count=1 status=none | cmp - <(dd if=data bs=64K skip=65 count=1 status=none)

	attach_loop mnt/disk
	copy_and_compare "$LOOP"
	local before after
	before=$(du -k --total a.img b.img c.img | tail -n 1 | cut -f 1)
	rm fs/tree/deep/er/large; rm tree/deep/er/large
	sync -f fs
	matches "$(fstrim -v fs)" 'trimmed'
	after=$(du -k --total a.img b.img c.img | tail -n 1 | cut -f 1)
	((after < before - 8000)) || fail "fstrim freed too little below: $before KiB before, $after behind it"
	diff -r --no-dereference tree fs/tree
	umount fs
	e2fsck -fn "$LOOP" >fsck.log 2>&1
	detach_loop "$LOOP"

	# Down, and up again from what `save` wrote.
	dmfs save dmfs.toml
	local sum; sum=$(md5sum <mnt/disk)
	unmount_dmfs
	mount_dmfs "$T/mnt" --config dmfs.toml
	same "$(cat mnt/.control/disk/table)" "$(main_table)"
	same "$(md5sum <mnt/disk)" "$sum"
	attach_loop mnt/disk
	e2fsck -fn "$LOOP" >fsck.log 2>&1
	mount -o ro "$LOOP" fs
	diff -r --no-dereference tree fs/tree
	umount fs
	detach_loop "$LOOP"
}

# `attach` does what losetup does.
test_attach() {
	need_loop
	image 64M a.img
	mount_dmfs "$T/mnt"
	new_volume disk "0 131072 linear $T/a.img 0"
	LOOP=$(dmfs attach disk)
	same "$(<"/sys/block/${LOOP##*/}/loop/dio")" 1
	same "$(<"/sys/block/${LOOP##*/}/loop/backing_file")" "$T/mnt/disk"
	copy_and_compare "$LOOP"
	refused 'is open' dmfs remove disk
	umount fs
	e2fsck -fn "$LOOP" >fsck.log 2>&1
	dmfs detach disk
	[[ ! -e /sys/block/${LOOP##*/}/loop/backing_file ]]
	refused 'no loop device' dmfs detach disk
	e2fsck -fn mnt/disk >fsck.log 2>&1
	unmount_dmfs
	e2fsck -fn a.img >fsck.log 2>&1
}

# Volumes of every kind come back from dmfs.toml as they were.
test_save_roundtrip() {
	image 1M a.img b.img
	mount_dmfs "$T/mnt" -o cache=auto
	dmfs create plain -u demo-uuid -m 7 --table "0 2048 linear $T/a.img 0"
	dmfs create readonly -r --table "0 1024 linear $T/b.img 0"
	dmfs create 'on top' --table '0 1024 linear plain 1024'
	dmfs create empty -n
	dmfs create stopped --table '0 8 zero'
	dmfs create $'odd\\\'"#name' --table '0 8 error'
	dmfs suspend stopped
	dmfs save one.toml
	same "$(stat -c %a one.toml)" 600
	dmfs info -c --noheadings -o name,minor,uuid,attr,segments -O name >info.1
	dmfs table >table.1
	random_file 1048576 data
	dd if=data of=mnt/plain conv=notrunc status=none
	unmount_dmfs
	cmp data a.img
	mount_dmfs "$T/mnt" --config one.toml
	contains mnt/.control/options 'cache = auto'
	dmfs info -c --noheadings -o name,minor,uuid,attr,segments -O name >info.2
	dmfs table >table.2
	diff info.1 info.2
	diff table.1 table.2
	dmfs save | diff one.toml -
	dd if=mnt/'on top' bs=512K count=1 status=none | cmp - <(tail -c 512K data)
	refused 'not permitted' dd if=data of=mnt/readonly bs=512 count=1 conv=notrunc
	dmfs resume stopped
	# A mistake in the file mounts nothing.
	sed 's/^table =/tabel =/' one.toml >wrong.toml
	mkdir other
	refused "wrong.toml:[0-9]+: unknown key 'tabel'" dmfs mount other --config wrong.toml
	! mounted "$T/other"
	sed "s,$T/b.img,$T/nosuch.img," one.toml >wrong.toml
	refused "No such file.*nosuch.img" dmfs mount other --config wrong.toml
	! mounted "$T/other"
}
