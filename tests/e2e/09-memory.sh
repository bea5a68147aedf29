# A daemon below a block device may not need, to write its pages, memory that only writing
# these pages frees.

# The kernel gives this to nobody without CAP_SYS_RESOURCE, not even to root.
may_be_flusher() { ((0x$(sed -n 's/^CapEff:\s*//p' /proc/self/status) >> 24 & 1)); }

test_io_flusher() {
	need_root
	may_be_flusher || skip "no CAP_SYS_RESOURCE"
	image 1M a.img
	local executor id flags name
	for executor in auto threads; do
		mount_dmfs "$T/mnt" -o executor=$executor
		new_volume v "0 2048 linear $T/a.img 0"
		stress -t 1 mnt/v 2>/dev/null
		for id in /proc/"$SERVER"/task/*; do
			# PF_MEMALLOC_NOIO, behind the name, which may hold blanks.
			flags=$(sed 's/.*) //' "$id/stat" | cut -d ' ' -f 7)
			((flags & 0x00080000)) || fail "thread ${id##*/} ($(<"$id/comm")) of executor=$executor may wait for its own volumes"
		done
		note "executor=$executor: $(ls /proc/"$SERVER"/task | wc -l) threads are I/O flushers"
		unmount_dmfs
	done
}

# The daemon has 384 MiB, of which payload that waits may take 256, and so has who writes 2 GiB of
# files through a loop device: both together where the daemon may be an I/O flusher. Where it may not,
# no daemon can live in the group of its own writer: its memory is reclaimed by waiting for pages it
# has to write.
under_pressure() { # MOUNT-OPTIONS MEGABYTES
	need_loop
	local group=/sys/fs/cgroup/memory
	[[ -w $group/cgroup.procs && -e $group/memory.limit_in_bytes ]] || skip "no memory controller of cgroup v1"
	group=$group/dmfs-e2e-$$
	mkdir "$group" 2>/dev/null || skip "no cgroup can be made"
	echo "$group" >cgroup
	echo 384M >"$group/memory.limit_in_bytes"
	image $(($2 + 512))M a.img
	mount_dmfs "$T/mnt" -o "$1"
	new_volume v "0 $((($2 + 512) * 2048)) linear $T/a.img 0"
	echo "$SERVER" >"$group/cgroup.procs"
	attach_loop mnt/v
	mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1 "$LOOP"
	mkdir fs
	mount "$LOOP" fs
	local begin=$EPOCHSECONDS i
	random_file $((1 << 20)) data
	local join=:
	if may_be_flusher; then join="echo \$\$ >$group/cgroup.procs"; fi
	if ! timeout -s KILL 75 sh -c "
		$join
		i=0
		while [ \$i -lt $(($2 / 64)) ]; do
			dd if=/dev/zero bs=1M count=63 status=none | cat data - >fs/file\$i || exit 1
			[ \$((i % 8)) != 7 ] || sync -f fs || exit 1
			i=\$((i + 1))
		done
		sync -f fs"; then
		fail "after $((EPOCHSECONDS - begin)) s: $(ls fs | wc -l) files, daemon in $(cat /proc/"$SERVER"/task/*/wchan 2>/dev/null | xargs), failcnt $(<"$group/memory.failcnt"), $(tr '\n' ' ' <"$group/memory.oom_control")"
	fi
	note "$2 MiB in $((EPOCHSECONDS - begin)) s; the limit was met $(<"$group/memory.failcnt") times"
	for ((i = 0; i < $2 / 64; i += 7)); do
		cmp -n $((1 << 20)) data fs/file$i
		same "$(stat -c %s fs/file$i)" $((64 << 20))
	done
	umount fs
	e2fsck -fn "$LOOP" >fsck.log 2>&1
	detach_loop "$LOOP"
}
test_writes_under_pressure() { under_pressure backing=cached 2048; }
test_writes_under_pressure_direct() {
	image 1M a.img
	dd if=a.img of=/dev/null bs=4096 count=1 iflag=direct status=none 2>/dev/null || skip "no O_DIRECT here"
	under_pressure backing=direct 512
}
