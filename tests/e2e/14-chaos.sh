# chaos on a real mount: rules that come and go, requests that hang and can be killed,
# the same seed twice.

start() { # RULE...
	random_file $((1 << 20)) a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 chaos $T/a.img 0 42 $*"
}
tell() { echo "0 $*" >mnt/.control/v/message; }
ask() { tell "$@"; cat mnt/.control/v/message; }
read_at() { dd if=mnt/v bs=512 skip="$1" count="${2:-1}" status=none; }
firings() { ask log | cut -d ' ' -f 2-; }
held() { [[ $(ask list) == *"held=$1"* ]]; }

test_rules_come_and_go() {
	start
	cmp mnt/v a.img
	same "$(<mnt/.control/v/status)" '0 2048 chaos 0 0'
	tell add dead:error:ENODATA,on=read,sectors=100+8
	read_at 99 >/dev/null
	refused 'No data available' read_at 100
	matches "$(ask list)" '^dead:error:ENODATA,on=read,sectors=100\+8 looked=[0-9]+ fired=[0-9]+$'
	same "$(<mnt/.control/v/table)" "0 2048 chaos $T/a.img 0 42 dead:error:ENODATA,on=read,sectors=100+8"
	matches "$(<mnt/.control/v/status)" '^0 2048 chaos 1 ([0-9]+) dead:([0-9]+)$'
	(($(<mnt/.control/v/events) == BASH_REMATCH[1]))
	matches "$(<mnt/.control/log)" "chaos on $T/a.img: dead error read 100\+"
	# What is printed is taken again.
	dmfs table v | dmfs load v
	dmfs resume v
	matches "$(<mnt/.control/v/status)" '^0 2048 chaos 1 0 dead:0$'
	refused 'No data available' read_at 107
	tell remove dead
	cmp mnt/v a.img
	same "$(ask list)" ''
}

test_a_refused_rule_is_pointed_at() {
	start
	refused 'Invalid argument' tell add dead:eror:EIO
	matches "$(<mnt/.control/v/error)" $'dead:eror:EIO\n +\\^~~~ one of error, torn'
	refused "dead:eror:EIO"$'\n'" +\\^~~~ one of error" dmfs message v 0 add dead:eror:EIO
	refused 'No such file' tell remove dead
	tell add dead:lost,p=0
	refused 'File exists' tell add dead:lost
	refused $'sectors=9999.*\n +\\^~~~ 0 to 2047' dmfs create w --table "0 2048 chaos a.img 0 1 x:lost,sectors=9999"
}

test_lost_torn_and_flipped() {
	start lost:lost,sectors=0+8 torn:torn:ok,sectors=8+8
	random_file 8192 data
	dd if=data of=mnt/v bs=4096 conv=notrunc status=none
	head -c 4096 mnt/v | cmp - <(head -c 4096 a.img)
	! cmp -s <(head -c 4096 data) <(head -c 4096 a.img) || fail "a lost write was written"
	! cmp -s data <(head -c 8192 a.img)
	cmp <(dd if=data bs=512 skip=8 count=1 status=none) <(dd if=a.img bs=512 skip=8 count=1 status=none)
	! cmp -s <(dd if=data bs=512 skip=15 count=1 status=none) <(dd if=a.img bs=512 skip=15 count=1 status=none)
	tell clear
	cmp mnt/v a.img
	tell add flip:flip:3
	same "$(cmp -l <(dd if=mnt/v bs=4096 count=1 status=none) <(head -c 4096 a.img) | wc -l)" 3
}

# A reader that hangs: killed within a second, and no other is.
test_a_hung_reader_can_be_killed() {
	start hang:hang,on=read,sectors=0+8
	dd if=mnt/v of=/dev/null bs=4096 count=1 status=none & local killed=$!
	until_true 5 held 1
	timeout 5 cmp <(read_at 8 100) <(dd if=a.img bs=512 skip=8 count=100 status=none)
	! gone $killed
	kill -9 $killed
	until_true 1 gone $killed || fail "a hung reader outlives SIGKILL"
	wait $killed 2>/dev/null || true
	until_true 5 held 0
	same "$(<mnt/.control/v/inflight)" '0 0 0'
}

test_removing_a_rule_lets_requests_go() {
	start hang:hang,on=read,sectors=0+8 other:hang,on=read,sectors=16+8
	dd if=mnt/v of=got bs=4096 count=1 status=none & local id=$!
	dd if=mnt/v of=got2 bs=4096 skip=2 count=1 status=none & local stays=$!
	both() { (($(ask list | grep -c held=1) == 2)); }
	until_true 5 both
	tell remove hang
	wait $id
	cmp got <(head -c 4096 a.img)
	sleep 0.1
	! gone $stays
	# So does a suspend; behind the resume it holds again.
	timeout 5 tee mnt/.control/v/state <<<suspend >/dev/null
	wait $stays
	cmp got2 <(dd if=a.img bs=4096 skip=2 count=1 status=none)
	echo resume >mnt/.control/v/state
	dd if=mnt/v of=got2 bs=4096 skip=2 count=1 status=none & stays=$!
	until_true 5 held 1
	# And a table that takes its place.
	timeout 5 tee mnt/.control/v/table <<<"0 2048 linear $T/a.img 0" >/dev/null
	wait $stays
}

# The same seed, the same requests: the same log; with another seed another.
test_the_same_seed_gives_the_same_log() {
	start flaky:error,p=0.2 bits:flip:2,p=0.3 torn:torn,p=0.3
	random_file 65536 data
	play() {
		local i
		for ((i = 0; i < 16; i++)); do
			dd if=data of=mnt/v bs=4096 skip=$i seek=$i count=1 conv=notrunc status=none 2>/dev/null || true
			dd if=mnt/v of=/dev/null bs=4096 skip=$i count=1 status=none 2>/dev/null || true
		done
	}
	play
	firings >one
	dmfs table v | dmfs load v
	dmfs resume v
	play
	firings >two
	tell reset
	play
	firings >three
	tell reset 43
	play
	firings >other
	(($(wc -l <one) > 5)) || fail "hardly anything fired: $(<one)"
	cmp one two
	cmp one three
	! cmp -s one other
	matches "$(<mnt/.control/v/table)" 'a.img 0 43 flaky'
}

test_latent_sectors_are_repaired_by_a_write() {
	start bad:latent,sectors=64+8
	refused 'Input/output error' read_at 64
	refused 'Input/output error' read_at 71
	random_file 4096 data
	dd if=data of=mnt/v bs=4096 seek=8 count=1 conv=notrunc status=none
	read_at 64 8 | cmp - data
}

test_a_mask_spares_the_other_leg() {
	image 1M a.img b.img
	mount_dmfs "$T/mnt"
	new_volume a "0 2048 chaos $T/a.img 0 1 x:error,on=read,p=0.5,mask=legs/8"
	new_volume b "0 2048 chaos $T/b.img 0 2 x:error,on=read,p=0.5,mask=legs/8"
	local i leg bad_a=0 bad_b=0
	for ((i = 0; i < 64; i++)); do
		local fine=0
		for leg in a b; do
			if dd if=mnt/$leg of=/dev/null bs=4096 skip=$i count=1 status=none 2>/dev/null; then fine=1; else eval "bad_$leg=\$((bad_$leg + 1))"; fi
		done
		((fine)) || fail "both legs fail in chunk $i"
	done
	((bad_a > 10 && bad_b > 3)) || fail "hardly anything fired: $bad_a $bad_b"
}

# A request that hangs does not keep the mount from ending, whichever way it is asked to.
test_a_hang_does_not_hold_up_the_end() {
	start stuck:hang
	read_at 0 >/dev/null 2>&1 &
	local reader=$!
	until_true 5 held 1
	kill -TERM "$SERVER"
	ended "$SERVER" 0
	wait $reader || true
}
