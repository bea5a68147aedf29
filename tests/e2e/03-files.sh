# A volume is a file: every operation, at any position and of any length, against a copy
# in memory. `stress` prints its seed: repeat with SEED=... in the environment.

stress_volume() { # FILE [OPTION...]
	"${AS[@]}" stress -t "${STRESS_SECONDS:-3}" ${SEED:+-s "$SEED"} -o shadow "${@:2}" "$1"
	cmp shadow "$1"
}

# The volume, and after another mount: what it ended with.
stress_and_remount() { # TABLE MOUNT-OPTIONS STRESS-OPTION...
	mount_dmfs "$T/mnt" -o "$2"
	new_volume v "$1"
	[[ $2 != *cache=auto* ]] || need_mappable mnt/v
	stress_volume mnt/v "${@:3}"
	unmount_dmfs
	mount_dmfs "$T/mnt" -o "$2"
	new_volume v "$1"
	cmp shadow mnt/v
}

striped_3() { image 6M a.img b.img c.img; echo "0 32760 striped 3 $1 $T/a.img 8 $T/b.img 16 $T/c.img 24"; }

test_stress_linear() {
	image 17M a.img
	# Neither does the volume begin at a page, nor do its rows end at one.
	stress_and_remount "0 9999 linear $T/a.img 3
9999 23 linear $T/a.img 33000
10022 20000 linear $T/a.img 10003" backing=cached -D
}
test_stress_striped_3_sectors() { stress_and_remount "$(striped_3 3)" backing=cached -D; }
test_stress_backing_direct() {
	local table; table=$(striped_3 8)
	direct_works || skip "no O_DIRECT here"
	stress_and_remount "$table" backing=direct -D
}
test_stress_backing_direct_3_sectors() {
	local table; table=$(striped_3 3)
	direct_works || skip "no O_DIRECT here"
	mount_dmfs "$T/mnt" -o backing=direct
	dmfs create probe --table "0 8 linear $T/a.img 0"
	# Where O_DIRECT takes whole pages only, chunks of 3 sectors can't be had, and that is said.
	if ! grep -q '^logical_block_size 512$' mnt/.control/probe/limits; then
		refused 'Invalid argument' dmfs create v --table "$table"
		return 0
	fi
	new_volume v "$table"
	stress_volume mnt/v -D
}
test_stress_cache_auto() { stress_and_remount "$(striped_3 3)" cache=auto -D -m; }
test_stress_cache_auto_direct() {
	local table; table=$(striped_3 8)
	direct_works || skip "no O_DIRECT here"
	stress_and_remount "$table" cache=auto,backing=direct -D -m
}
test_stress_threads() { STRESS_SECONDS=2 stress_and_remount "$(striped_3 24)" executor=threads -D; }
test_stress_io_uring() {
	mkdir try
	# Containers often forbid io_uring; then that is said, and the way out.
	if ! dmfs mount try -o executor=io_uring 2>said; then
		matches "$(<said)" "io_uring can't be had here.*executor=threads"
		skip "no io_uring"
	fi
	dmfs umount try
	STRESS_SECONDS=2 stress_and_remount "$(striped_3 24)" executor=io_uring -D
}
test_stress_one_thread() { STRESS_SECONDS=2 stress_and_remount "$(striped_3 24)" threads=1 -D; }
test_stress_stacked() {
	image 17M a.img
	mount_dmfs "$T/mnt"
	new_volume low1 "0 32768 linear $T/a.img 1000"
	new_volume low2 "0 32768 striped 1 32 low1 0"
	new_volume v "0 10001 linear low2 0
10001 22767 linear low2 10001"
	stress_volume mnt/v -D
	cmp -n $((16 << 20)) shadow <(tail -c +512001 a.img)
}
direct_works() { dd if=a.img of=/dev/null bs=4096 count=1 iflag=direct status=none 2>/dev/null; }

# Many stresses beside each other, each on its own volume; the volumes share their files.
test_stress_side_by_side() {
	image 32M a.img b.img
	mount_dmfs "$T/mnt"
	local i ids=()
	for i in 0 1 2 3 4 5; do
		new_volume v$i "0 6720 striped 2 $((3 + i)) $T/a.img $((i * 4100)) $T/b.img $((i * 4100))"
		stress -t 3 -D -o shadow$i mnt/v$i & ids+=($!)
	done
	for i in "${ids[@]}"; do wait "$i"; done
	for i in 0 1 2 3 4 5; do cmp shadow$i mnt/v$i; done
}

# Threads that share a file, to the byte: blocks written in part are not torn by neighbours.
test_writers_share_a_volume() {
	image 32M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 65536 linear $T/a.img 0"
	writers -n 16 -t 3 -y mnt/v
}

# An answer of ENOSYS would turn fallocate off for the whole mount.
test_fallocate_modes() {
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 linear $T/a.img 0"
	local keep=1 punch=2 zero=16 collapse=8 insert=32
	random_file 1048576 mnt/v
	same "$(probe fallocate 0 0 4096 mnt/v)" EOPNOTSUPP
	same "$(probe fallocate $keep 0 4096 mnt/v)" EOPNOTSUPP
	same "$(probe fallocate $collapse 0 4096 mnt/v)" EOPNOTSUPP
	same "$(probe fallocate $insert 0 4096 mnt/v)" EOPNOTSUPP
	same "$(probe fallocate $((punch | keep)) 4096 8192 mnt/v)" 0
	same "$(probe fallocate $((zero | keep)) 100000 77777 mnt/v)" 0
	same "$(dd if=mnt/v bs=4096 skip=1 count=2 status=none | tr -d '\0' | wc -c)" 0
	same "$(tail -c +100001 mnt/v | head -c 77777 | tr -d '\0' | wc -c)" 0
	(($(head -c 4096 mnt/v | tr -d '\0' | wc -c) > 3900)) || fail "bytes before the hole are gone"
	# Beyond the end, and of nothing.
	same "$(probe fallocate $((punch | keep)) 1044480 8192 mnt/v)" EINVAL
	same "$(probe fallocate $((punch | keep)) 0 0 mnt/v)" EINVAL
	same "$(stat -c %s mnt/v)" 1048576
	# Still alive after all the refusals.
	same "$(probe fallocate $((punch | keep)) 0 4096 mnt/v)" 0
	# A row that takes no discard: the volume takes none.
	echo '0 8 error' >mnt/.control/v/table
	matches "$(probe fallocate $((punch | keep)) 0 4096 mnt/v)" 'EIO|EOPNOTSUPP'
}

test_holes() {
	image 16M a.img
	echo data | dd of=a.img bs=1 seek=5000000 conv=notrunc status=none
	mount_dmfs "$T/mnt"
	new_volume v "0 32768 linear $T/a.img 0
32768 2048 zero"
	local data; data=$(probe seek data 0 mnt/v)
	((data <= 5000000 && data > 4900000)) || fail "SEEK_DATA: $data"
	same "$(probe seek hole 0 mnt/v)" 0
	matches "$(probe seek hole 5000000 mnt/v)" '^50[0-9]{5}$'
	same "$(probe seek data 16777216 mnt/v)" ENXIO
	same "$(probe seek hole 16777216 mnt/v)" 16777216
	same "$(probe seek data $((17 << 20)) mnt/v)" ENXIO
	same "$(probe seek data $((99 << 20)) mnt/v)" ENXIO
	same "$(probe seek hole $((17 << 20)) mnt/v)" ENXIO
	# A copy is as sparse as the original.
	cp --sparse=auto mnt/v copy
	cmp copy mnt/v
	(($(stat -c %b copy) < 200)) || fail "the copy takes $(stat -c %b copy) blocks"
}

test_attributes() {
	image 16M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 32768 linear $T/a.img 0"
	same "$(stat -c '%s %F %a %h' mnt/v)" '16777216 regular file 600 1'
	local blocks; blocks=$(stat -c %b mnt/v)
	((blocks < 100)) || fail "an empty volume has $blocks blocks"
	random_file $((4 << 20)) data
	dd if=data of=mnt/v conv=notrunc,fsync status=none
	sleep 1.1 # an estimate, renewed once a second
	blocks=$(stat -c %b mnt/v)
	((blocks >= 8000 && blocks <= 8600)) || fail "4 MiB of data are $blocks blocks"
	same "$(stat -f -c '%S %s %l' mnt)" '4096 4096 127'
	same "$(stat -f -c %b mnt)" 4096
	chmod 640 mnt/v
	same "$(stat -c %a mnt/v)" 640
	same "$(probe truncate 16777216 mnt/v)" 0
	same "$(probe truncate 1000 mnt/v)" EPERM
	same "$(probe truncate 99999999 mnt/v)" EFBIG
	dd if=mnt/v bs=1M count=4 status=none | cmp - data
	refused 'not permitted' rm -f mnt/v
	refused 'not permitted' touch mnt/another
	refused 'not permitted' mkdir mnt/another
	refused 'No space' dd if=data of=mnt/v bs=4096 seek=4096 count=1 conv=notrunc
	same "$(probe map shared mnt/v </dev/null)" ENODEV
	same "$(probe map private mnt/v </dev/null)" mapped
	# The file of a volume without a table: empty, and not to be opened.
	mkdir mnt/.control/none
	same "$(stat -c %s mnt/none)" 0
	refused 'No such device or address' cat mnt/none
}

# Links are refused as other files are, and not as a kernel's missing function.
test_no_links() {
	mount_dmfs "$T/mnt"
	new_volume v '0 8 zero'
	refused 'not permitted|not supported' ln mnt/v mnt/another
	refused 'not permitted|not supported' ln -s x mnt/another
	refused 'not permitted|not supported' mkfifo mnt/another
}

# The controls are files, too: unknown ones, and those that are only read.
test_control_files() {
	mount_dmfs "$T/mnt"
	new_volume v '0 8 zero'
	refused 'Permission denied' tee mnt/.control/v/status <<<x
	refused 'Permission denied' tee mnt/.control/version <<<x
	refused '' cat mnt/.control/v/nosuch
	refused 'not permitted' rm -f mnt/.control/v/table
	refused 'not permitted' mkdir mnt/.control/v/x
	refused 'Invalid argument' tee mnt/.control/v/state <<<'suspnd'
	contains mnt/.control/v/error suspend
	: >mnt/.control/v/inactive
	same "$(ls mnt/.control/v | xargs)" "$(ls mnt/.control/v/ | sort | xargs)"
	local file
	for file in mnt/.control/* mnt/.control/v/*; do
		[[ -d $file || $file == */create || $file == */trace ]] || timeout 5 cat "$file" >/dev/null
	done
	echo '  suspend  noflush ' >mnt/.control/v/state
	same "$(<mnt/.control/v/state)" suspended
	echo resume >mnt/.control/v/state
}
