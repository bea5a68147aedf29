# What grows has a limit: payload that waits, requests that go round in a circle.

memory_of() { awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$1/status"; } # MiB

test_payload_of_parked_writes() {
	need fio
	image 4G big.img
	mount_dmfs "$T/mnt"
	new_volume v "0 8388608 linear $T/big.img 0"
	dmfs suspend v
	fio --name=a --filename="$T/mnt/v" --filesize=4G --size=1500M --rw=write --bs=1M --ioengine=libaio --iodepth=1500 \
		--direct=1 --verify=crc32c --do_verify=0 >fio.out 2>&1 & local fio=$!
	many_wait() { (($(parked v) >= 900)); }
	until_true 30 many_wait || fail "only $(parked v) wait"
	(($(memory_of "$SERVER") < 600)) || fail "the daemon has $(memory_of "$SERVER") MiB"
	timeout 5 dmfs resume v
	wait "$fio" || fail "$(cat fio.out)"
	contains fio.out 'err= 0'
	fio --name=a --filename="$T/mnt/v" --filesize=4G --size=1500M --rw=write --bs=1M --ioengine=psync --direct=1 \
		--verify=crc32c --verify_only >fio.out 2>&1 || fail "what waited is not what was written: $(tail -n 5 fio.out)"
}

# Two mounts that stand on each other: refused, or it holds still.
test_circle_of_two_mounts() {
	image 1M a.img b.img
	mount_dmfs "$T/a"; local a=$SERVER
	new_volume good "0 2048 linear $T/a.img 0"
	mount_dmfs "$T/b"; local b=$SERVER
	new_volume good "0 2048 linear $T/b.img 0"
	new_volume y "0 2048 linear $T/b.img 0"
	DMFS_MOUNT=$T/a new_volume x "0 2048 linear $T/b/y 0"
	if ! timeout 8 dmfs --mount "$T/b" load y --table "0 2048 linear $T/a/x 0" 2>circle.out; then
		note "refused: $(head -n 1 circle.out)"
		return
	fi
	timeout 8 dmfs --mount "$T/b" resume y
	local reader before spent
	dd if=a/x of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null & reader=$!
	sleep 2
	ticks() { cat "/proc/$a/stat" "/proc/$b/stat" | awk '{ n += $14 + $15 } END { print n }'; }
	before=$(ticks)
	sleep 1
	spent=$(($(ticks) - before))
	((spent < 30)) || fail "it goes round: $spent ticks in a second"
	(($(memory_of "$a") < 300 && $(memory_of "$b") < 300)) || fail 'it takes memory'
	kill -9 "$reader"
	until_true 5 gone "$reader" || fail 'the reader outlives SIGKILL'
	local each
	for each in a b; do
		timeout 6 cat "$each/.control/version" >/dev/null
		timeout 6 ls "$each" >/dev/null
		timeout 6 dd if="$each/good" of=/dev/null bs=4k count=1 iflag=direct status=none
	done
	named() { timeout 5 grep -q 'does not answer' "$1/.control/log"; }
	until_true 10 named a || fail 'the log of one mount does not name it'
	kill -TERM "$a" "$b"
	ended_somehow "$a"
	ended_somehow "$b"
}
