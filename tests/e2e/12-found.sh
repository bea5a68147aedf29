# What a review found, so that it does not come back.

test_upper_of_a_volume_that_shrank() {
	mount_dmfs "$T/mnt"
	new_volume lower '0 2048 zero'
	new_volume upper '0 1024 linear lower 1024'
	echo '0 512 zero' >mnt/.control/lower/table
	stat mnt/upper >/dev/null
	refused 'Input/output' dd if=mnt/upper of=/dev/null bs=4096 count=1 status=none
	# What doesn't fit any more is refused at the next resume; the volume stays as it was.
	dmfs info upper >/dev/null
}

# A mount whose standard files are closed: nothing it opens may stand in their place.
test_closed_standard_files() {
	local executor pid
	for executor in threads auto; do
		image 1M a.img
		printf '[mount]\nexecutor = "%s"\n[[volume]]\nname = "v"\ntable = "0 2048 linear %s/a.img 0"\n' $executor "$T" >c.toml
		mkdir -p mnt
		timeout 10 "$DMFS" mount mnt --config c.toml <&- >&- 2>&- || fail "the parent ended with $?"
		random_file 65536 data
		dd if=data of=mnt/v bs=4096 conv=notrunc,fsync status=none
		cmp data <(head -c 65536 a.img)
		"$DMFS" umount mnt
		cmp data <(head -c 65536 a.img)
	done
}

# A process that is killed in the middle of a table has said nothing.
test_killed_in_the_middle_of_a_table() {
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume v '0 8 zero'
	mkfifo go
	bash -c 'exec 3>mnt/.control/v/table; printf "0 10 zero\n10 20 linear %s/a.img 10" "$PWD" >&3; echo >wrote; exec sleep 100' &
	local pid=$!
	until_true 5 test -e wrote
	kill -KILL $pid
	wait $pid 2>/dev/null || true
	sleep 0.2
	same "$(<mnt/.control/v/table)" '0 8 zero '
}

# Every volume on a file hears of its lost writes: each has the file open by itself.
test_two_volumes_on_one_file() {
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 linear $T/a.img 0"
	new_volume w "0 2048 linear $T/a.img 0"
	echo hello | dd of=mnt/v conv=notrunc status=none
	same "$(head -c 5 mnt/w)" hello
	same "$(ls -l /proc/"$SERVER"/fd | grep -c a.img)" 2
	same "$(dmfs ls --tree -o ascii,inverted | head -n 1)" " ($T/a.img)"
}

test_late_requests_end() {
	mount_dmfs "$T/mnt" -o park_timeout=1
	new_volume v '0 8 zero'
	dmfs suspend v
	refused 'Input/output' timeout 10 dd if=mnt/v of=/dev/null bs=512 count=1 status=none
	# Waiting for an event is no failure, however long it takes.
	timeout 10 dmfs wait v 0 &
	sleep 2.5
	dmfs resume v
	dmfs rename v w
	wait $! || fail "dmfs wait ended with $?"
}

# Zeroing a terabyte region by region: the process can be killed, others are served.
test_long_zeroing_can_be_killed() {
	need fallocate
	mount_dmfs "$T/mnt"
	new_volume big '0 2147483648 zero'
	new_volume routed '0 2147483648 switch 1 8 0 big 0'
	fallocate -z -l 1T mnt/routed &
	local zeroing=$!
	sleep 0.5
	timeout 5 cat mnt/.control/big/status >/dev/null
	kill -KILL $zeroing
	until_true 5 gone $zeroing || fail 'fallocate was not killed'
	wait $zeroing || true
}

# A reader of a trace that was told that nothing happens is still listened to.
test_idle_trace_can_be_killed() {
	mount_dmfs "$T/mnt" -o park_timeout=1
	new_volume v '0 8 zero'
	: >told
	cat mnt/.control/v/trace >>told 2>cat.log &
	local reader=$!
	until_true 10 contains told idle || fail "told: $(<told)"
	kill -KILL $reader
	until_true 5 gone $reader || fail 'the reader was not killed'
	wait $reader || true
}

# What a table writes at its end is not held by a volume below that holds writes.
test_the_end_is_not_held_below() {
	image 1M a.img l.img
	mount_dmfs "$T/mnt"
	new_volume below "0 2048 chaos $T/l.img 0 1 h:hang,on=write"
	new_volume logged "0 2048 log-writes $T/a.img below"
	dmfs suspend --noflush logged
	dmfs umount mnt
	ended "$SERVER" 0
}

# Whoever waits for a log that hangs can be killed, and the log is whole when it goes on.
test_who_waits_for_a_log_can_be_killed() {
	image 1M a.img l.img
	mount_dmfs "$T/mnt"
	new_volume below "0 2048 chaos $T/l.img 0 1 h:hang,on=write"
	new_volume logged "0 2048 log-writes $T/a.img below"
	local id wait i=0
	for wait in 'sync -d mnt/logged' 'dmfs message logged 0 mark here' 'dmfs suspend logged' \
		'dmfs message logged 0 mark again'; do
		$wait 2>/dev/null & id=$!
		sleep 0.3
		kill -0 $id || fail "does not wait: $wait"
		kill -KILL $id
		until_true 5 gone $id || fail "outlives SIGKILL: $wait"
		wait $id 2>/dev/null || true
	done
	timeout 5 dd if=mnt/logged of=/dev/null bs=4096 count=1 status=none
	# The swap takes place, and what it still owes holds up requests.
	dmfs suspend --noflush logged
	dmfs load logged --table "0 2048 linear $T/a.img 0"
	dmfs resume logged 2>/dev/null & id=$!
	sleep 0.3
	kill -KILL $id
	until_true 5 gone $id || fail 'resume outlives SIGKILL'
	wait $id 2>/dev/null || true
	dd if=mnt/logged of=/dev/null bs=4096 count=1 iflag=direct status=none & id=$!
	sleep 0.3
	kill -0 $id || fail 'a request overtook the end of the log'
	dmfs message below 0 clear
	until_true 5 gone $id
	wait $id
	same "$(<mnt/.control/logged/state)" active
	matches "$("$DMFS" replay l.img | tr '\n' ' ')" 'mark here.*mark again.*mark dm-log-writes-end'
}

# Explaining and drawing a disk of very many good blocks takes no time.
test_many_good_blocks_are_explained_at_once() {
	mount_dmfs "$T/mnt"
	new_volume big '0 2147483648 zero'
	new_volume v '0 2147483648 dust big 0 512'
	dmfs message v 0 addbadblock 77777
	dmfs message v 0 enable
	same "$(timeout 2 dmfs explain v 0+2147483648 | grep -c bad)" 1
	timeout 2 cat mnt/.control/graph >/dev/null
}
