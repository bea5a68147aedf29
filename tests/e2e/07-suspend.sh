# A suspended volume: who reads or writes it waits, can be killed, and hurts nobody else.

start() {
	random_file $((4 << 20)) a.img
	mount_dmfs "$T/mnt" "$@"
	new_volume v "0 8192 linear $T/a.img 0"
	new_volume other "0 8192 linear $T/a.img 0"
}
readers() { # COUNT -> READERS
	local i
	READERS=()
	for ((i = 0; i < $1; i++)); do
		dd if=mnt/v of="got.$i" bs=4096 skip="$i" count=1 status=none 2>/dev/null & READERS+=($!)
	done
}

# More of them than the mount has threads, than libfuse would start.
parked_readers() { # MOUNT-OPTION...
	start "$@"
	echo suspend >mnt/.control/v/state
	readers 100
	until_true 10 parks v 100
	same "$(<mnt/.control/v/inflight)" '0 0 100'
	same "$(<mnt/.control/v/state)" suspended
	matches "$(dmfs info v)" 'State: +SUSPENDED'
	# Everything else goes on.
	timeout 5 dmfs status >/dev/null
	timeout 5 cmp mnt/other a.img
	timeout 5 dmfs create third --table '0 8 linear other 0'
	timeout 5 ls -l mnt >/dev/null
	# SIGKILL ends a waiting reader at once, and no other.
	local id
	for id in "${READERS[@]:0:10}"; do kill -9 "$id"; done
	for id in "${READERS[@]:0:10}"; do
		until_true 5 gone "$id" || fail "a parked reader outlives SIGKILL"
		wait "$id" 2>/dev/null || true
	done
	until_true 5 parks v 90
	timeout 5 tee mnt/.control/v/state <<<resume >/dev/null
	local i
	for ((i = 10; i < 100; i++)); do
		wait "${READERS[i]}"
		dd if=a.img bs=4096 skip=$i count=1 status=none | cmp - got.$i
	done
	same "$(<mnt/.control/v/inflight)" '0 0 0'
}
test_parked_readers() { parked_readers; }
test_parked_readers_one_thread() { parked_readers -o threads=1; }
# Requests that nobody sits and waits for (aio, a loop device, read-ahead) are counted by
# the kernel for the whole mount. Those of a suspended volume may not use up what others need.
test_parked_aio_leaves_room() {
	start
	echo suspend >mnt/.control/v/state
	probe aio 300 mnt/v >aio.said & local id=$!
	enough() { (($(parked v) >= 100)); }
	until_true 5 enough
	timeout 5 cmp mnt/other a.img || fail "reads of another volume wait, too"
	timeout 5 probe aio 8 mnt/other >aio.other || fail "aio on another volume waits for the suspended one ($(parked v) parked)"
	echo resume >mnt/.control/v/state
	wait $id
	same "$(tail -n 1 aio.said)" 300
	same "$(tail -n 1 aio.other)" 8
}

test_parked_writers() {
	start
	echo suspend >mnt/.control/v/state
	local sum; sum=$(md5sum <a.img)
	random_file 20000 data
	# Overlapping, unaligned: they also wait for each other.
	local i ids=()
	for i in 1 2 3 4; do
		dd if=data of=mnt/v bs=20000 seek=1 conv=notrunc status=none & ids+=($!)
		dd if=data of=mnt/v bs=5000 seek=4 conv=notrunc status=none & ids+=($!)
	done
	somebody_waits() { (($(parked v) > 0)); }
	until_true 5 somebody_waits
	same "$(md5sum <a.img)" "$sum"
	kill -9 "${ids[0]}" "${ids[3]}"
	until_true 5 gone "${ids[0]}" && until_true 5 gone "${ids[3]}"
	echo resume >mnt/.control/v/state
	for i in 1 2 4 5 6 7; do wait "${ids[i]}"; done
	dd if=a.img bs=20000 skip=1 count=1 status=none | cmp - data
	# fsync and fallocate wait, too, and can be killed. (One at a time: behind another
	# they wait for the kernel's lock of the file, which is out of dmfs's hands.)
	echo suspend >mnt/.control/v/state
	local id
	for i in 'sync -d mnt/v' 'probe fallocate 3 0 4096 mnt/v'; do
		$i >/dev/null & id=$!
		until_true 5 parks v 1 || fail "not parked: $i"
		kill -9 $id
		until_true 5 gone $id || fail "outlives SIGKILL: $i"
		wait $id 2>/dev/null || true
		until_true 5 parks v 0
	done
	echo resume >mnt/.control/v/state
	local left; left=$(head -c 4096 a.img | tr -d '\0' | wc -c)
	((left > 4000)) || fail "the killed discard was done"
}

# Suspend waits for those inside; it can be interrupted, and then nothing is suspended.
test_suspend_twice_and_flags() {
	start
	local i
	for i in 1 2; do echo suspend >mnt/.control/v/state; done
	same "$(<mnt/.control/v/state)" suspended
	for i in 1 2; do echo resume >mnt/.control/v/state; done
	same "$(<mnt/.control/v/state)" active
	echo 'suspend noflush nolockfs' >mnt/.control/v/state
	same "$(<mnt/.control/v/state)" suspended
	# Writing `table` is load, suspend, swap and resume.
	echo '0 16 zero' >mnt/.control/v/table
	same "$(<mnt/.control/v/state)" active
	head -c 8192 /dev/zero | cmp - mnt/v
}

# A stack: who stands on a suspended volume waits as soon as it asks.
test_stack() {
	start
	new_volume top '0 8192 linear v 0'
	echo suspend >mnt/.control/v/state
	timeout -s KILL 1 head -c 1 mnt/top >/dev/null && fail "a read through a suspended volume"
	until_true 5 parks v 0
	dd if=mnt/top bs=4096 count=1 of=got status=none & local id=$!
	until_true 5 parks v 1
	same "$(<mnt/.control/top/inflight)" '1 0 0'
	# top can't be suspended while its read is under way: that waits, and can be killed.
	timeout -s KILL 1 tee mnt/.control/top/state <<<suspend >/dev/null && fail "suspended with a read inside"
	same "$(<mnt/.control/top/state)" active
	echo resume >mnt/.control/v/state
	wait $id
	cmp got <(head -c 4096 a.img)
	echo suspend >mnt/.control/top/state
	echo resume >mnt/.control/top/state
	cmp mnt/top a.img
}

# A loop device on a suspended volume: its users wait, and go on.
test_loop_device_waits() {
	need_loop
	start
	attach_loop mnt/v
	echo suspend >mnt/.control/v/state
	dd if="$LOOP" of=got bs=4096 skip=3 count=1 iflag=direct status=none & local id=$!
	until_true 5 parks v 1
	sleep 0.2
	! gone $id
	echo resume >mnt/.control/v/state
	wait $id
	dd if=a.img bs=4096 skip=3 count=1 status=none | cmp - got
	detach_loop "$LOOP"
}

# The mount goes while readers are parked: not by itself, and not without a word.
test_umount_with_parked_readers() {
	start
	echo suspend >mnt/.control/v/state
	readers 3
	until_true 5 parks v 3
	refused "busy.*process [0-9]+ \\(dd\\) uses $T/mnt/v" timeout 10 dmfs umount mnt
	mounted "$T/mnt"
	same "$(parked v)" 3
	timeout 10 dmfs umount mnt --lazy
	! mounted "$T/mnt"
	# They still wait; when they are gone, so is the daemon.
	kill -9 "${READERS[@]}"
	ended "$SERVER" 0
}
test_sigterm_with_parked_readers() {
	start
	echo suspend >mnt/.control/v/state
	readers 20
	until_true 5 parks v 20
	kill -TERM "$SERVER"
	ended "$SERVER" 0
	! mounted "$T/mnt"
	local id
	for id in "${READERS[@]}"; do
		until_true 5 gone "$id" || fail "a reader still waits though the mount is gone"
		! wait "$id"
	done
}
# Suspended, but nobody waits: it just goes.
test_umount_suspended() {
	start
	echo suspend >mnt/.control/v/state
	unmount_dmfs
}
