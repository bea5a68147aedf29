# delay and flakey under programs: who is held by a delay can be killed, suspended, swapped
# and unmounted; a disk that fails by the clock.

HOUR=3600000
start() { # ROW-WORDS
	random_file $((1 << 20)) a.img
	mount_dmfs "$T/mnt" "${@:2}"
	new_volume v "0 2048 $1"
}
held() { [[ $(<mnt/.control/v/status) == "0 2048 delay $1" ]]; } # COUNTS
readers() { # COUNT -> READERS
	local i
	READERS=()
	for ((i = 0; i < $1; i++)); do
		dd if=mnt/v of="got.$i" bs=4096 skip="$i" count=1 iflag=direct status=none 2>/dev/null & READERS+=($!)
	done
	until_true 10 held "$1 0 0" || fail "status: $(<mnt/.control/v/status)"
}
all_got() {
	local i
	for i in "${!READERS[@]}"; do
		wait "${READERS[i]}"
		dd if=a.img bs=4096 skip="$i" count=1 status=none | cmp - "got.$i"
	done
}
milliseconds() { echo $((${EPOCHREALTIME/./} / 1000)); }

test_delayed_requests_take_their_time() {
	start "delay $T/a.img 0 300 $T/a.img 0 100 $T/a.img 0 0"
	local begin
	begin=$(milliseconds)
	dd if=mnt/v of=got bs=4096 count=1 iflag=direct status=none
	(($(milliseconds) - begin >= 300)) || fail "a read was early"
	cmp got <(head -c 4096 a.img)
	begin=$(milliseconds)
	dd if=got of=mnt/v bs=4096 seek=8 count=1 oflag=direct conv=notrunc status=none
	(($(milliseconds) - begin >= 100)) || fail "a write was early"
	cmp got <(dd if=a.img bs=4096 skip=8 count=1 status=none)
	# Those that wait do so beside one another.
	begin=$(milliseconds)
	readers 20
	all_got
	(($(milliseconds) - begin < 3000)) || fail "twenty reads waited one behind another"
}

# As long as it takes anybody to notice, and far less than an hour.
test_killed_reader_in_a_delay() {
	start "delay $T/a.img 0 $HOUR"
	readers 5
	local id
	for id in "${READERS[@]}"; do
		kill -9 "$id"
		until_true 1 gone "$id" || fail "a held reader outlives SIGKILL"
		wait "$id" 2>/dev/null || true
	done
	until_true 1 held '0 0 0'
	# A write that was killed is not done.
	local sum; sum=$(md5sum <a.img)
	dd if=/dev/zero of=mnt/v bs=4096 count=1 oflag=direct conv=notrunc status=none & id=$!
	until_true 10 held '0 1 0'
	kill -9 $id
	until_true 1 gone $id
	wait $id 2>/dev/null || true
	sync -d mnt/v & id=$!
	until_true 10 held '0 0 1'
	kill -9 $id
	until_true 1 gone $id
	same "$(md5sum <a.img)" "$sum"
}

test_suspend_lets_go_of_a_delay() {
	start "delay $T/a.img 0 $HOUR"
	readers 40
	timeout 5 tee mnt/.control/v/state <<<suspend >/dev/null
	all_got
	echo resume >mnt/.control/v/state
	# And holds again.
	readers 3
	timeout 5 tee mnt/.control/v/table <<<"0 2048 linear $T/a.img 0" >/dev/null
	all_got
	timeout 5 cmp mnt/v a.img
}

test_suspend_lets_go_of_a_delay_one_thread() {
	start "delay $T/a.img 0 $HOUR" -o threads=1
	readers 40
	timeout 5 dmfs suspend v
	all_got
}

# In use it stays; forced, its requests are answered and it fails what comes.
test_remove_under_a_delay() {
	start "delay $T/a.img 0 $HOUR"
	readers 3
	refused busy timeout 10 dmfs remove v
	held '3 0 0' || fail "the refusal let go"
	timeout 10 dmfs remove --force v || true
	all_got
	removed() { [[ ! -e mnt/.control/v ]]; }
	removed || until_true 5 timeout 5 dmfs remove v
}

test_umount_under_a_delay() {
	start "delay $T/a.img 0 $HOUR"
	readers 3
	refused "busy.*process [0-9]+ \\(dd\\) uses $T/mnt/v" timeout 10 dmfs umount mnt
	timeout 10 dmfs umount mnt --lazy
	! mounted "$T/mnt"
	kill -9 "${READERS[@]}"
	ended "$SERVER" 0
}

# Held reads and writes go on, and are answered, before the mount is gone.
test_sigterm_under_a_delay() {
	start "delay $T/a.img 0 $HOUR"
	new_volume top '0 2048 linear v 0'
	readers 20
	dd if=/dev/zero of=mnt/top bs=4096 seek=200 count=1 oflag=direct conv=notrunc status=none & local writer=$!
	until_true 10 held '20 1 0'
	local begin; begin=$(milliseconds)
	kill -TERM "$SERVER"
	ended "$SERVER" 0
	(($(milliseconds) - begin < 5000)) || fail "the mount waited for a delay"
	! mounted "$T/mnt"
	local id
	for id in "${READERS[@]}" $writer; do
		until_true 5 gone "$id" || fail "a reader still waits though the mount is gone"
	done
	all_got
	cmp <(dd if=a.img bs=4096 skip=200 count=1 status=none) <(head -c 4096 /dev/zero) ||
		fail "the held write was lost"
}

# A suspended delay, where some wait outside and nobody inside.
test_sigterm_suspended_delay() {
	start "delay $T/a.img 0 $HOUR"
	echo suspend >mnt/.control/v/state
	dd if=mnt/v of=/dev/null bs=4096 count=1 iflag=direct status=none 2>/dev/null & local id=$!
	until_true 5 parks v 1
	kill -TERM "$SERVER"
	ended "$SERVER" 0
	until_true 5 gone $id
	! wait $id
}

test_many_held_by_a_delay() {
	start "delay $T/a.img 0 $HOUR"
	probe aio 200 mnt/v >aio.said & local id=$!
	some() { (($(cut -d ' ' -f 4 mnt/.control/v/status) >= 100)); }
	until_true 10 some || fail "status: $(<mnt/.control/v/status)"
	timeout 5 dmfs status >/dev/null
	# The kernel sends the rest as the first are answered.
	let_go() { echo suspend >mnt/.control/v/state && echo resume >mnt/.control/v/state && gone $id; }
	until_true 20 let_go
	wait $id
	same "$(tail -n 1 aio.said)" 200
}

test_flakey_by_the_clock() {
	start "flakey $T/a.img 0 2 2"
	local good=0 bad=0 i
	for ((i = 0; i < 60; i++)); do
		if dd if=mnt/v of=got bs=4096 count=1 iflag=direct status=none 2>said; then
			cmp got <(head -c 4096 a.img)
			((++good))
		else
			contains said 'Input/output error'
			((++bad))
		fi
		sleep 0.1
	done
	((good > 10 && bad > 10)) || fail "$good reads were good, $bad bad"
}

# What a program was told is on the disk is not.
test_flakey_drops_writes() {
	start "flakey $T/a.img 0 0 60 1 drop_writes"
	local sum; sum=$(md5sum <a.img)
	random_file 8192 data
	dd if=data of=mnt/v bs=8192 conv=notrunc,fsync oflag=direct status=none
	same "$(probe fallocate 3 0 4096 mnt/v)" 0
	dd if=data of=mnt/v bs=1 count=1000 seek=4000 conv=notrunc status=none
	same "$(md5sum <a.img)" "$sum"
	cmp mnt/v a.img
}

test_flakey_fails_a_sync() {
	start "flakey $T/a.img 0 0 60 1 error_writes"
	refused 'Input/output error' sync -d mnt/v
	refused 'Input/output error' dd if=/dev/zero of=mnt/v bs=4096 count=1 conv=notrunc status=none
	same "$(probe fallocate 3 0 4096 mnt/v)" EIO
	timeout 5 cmp mnt/v a.img
	# The last flush fails as well, and the mount goes all the same.
	unmount_dmfs
	contains daemon.log 'the last flush of v: Input/output error'
}

test_flakey_corrupts() {
	start "flakey $T/a.img 0 0 60 5 corrupt_bio_byte 3 r 88 0"
	dd if=mnt/v of=got bs=4096 count=1 iflag=direct status=none
	cp got wanted
	dd if=a.img of=wanted bs=4096 count=1 conv=notrunc status=none
	printf X | dd of=wanted bs=1 seek=2 conv=notrunc status=none
	cmp got wanted
	echo "0 2048 flakey $T/a.img 0 0 60 5 corrupt_bio_byte 3 w 88 0" >mnt/.control/v/table
	head -c 4096 /dev/zero >zeros
	dd if=zeros of=mnt/v bs=4096 count=1 oflag=direct conv=notrunc status=none
	same "$(head -c 4 a.img | od -An -tx1)" ' 00 00 58 00'
	# O_DSYNC writes are told apart.
	echo "0 2048 flakey $T/a.img 0 0 60 5 corrupt_bio_byte 3 w 89 131072" >mnt/.control/v/table
	dd if=zeros of=mnt/v bs=4096 count=1 oflag=direct conv=notrunc status=none
	same "$(head -c 4 a.img | od -An -tx1)" ' 00 00 00 00'
	dd if=zeros of=mnt/v bs=4096 count=1 oflag=direct,dsync conv=notrunc status=none
	same "$(head -c 4 a.img | od -An -tx1)" ' 00 00 59 00'
}
