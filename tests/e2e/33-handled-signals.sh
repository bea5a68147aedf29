# A signal that is handled ends no wait; one that ends the process does.

start() {
	image 1M a.img
	mount_dmfs "$T/mnt" "$@"
	new_volume v "0 2048 linear $T/a.img 0"
}

CALLS=(read write sync)
# A process in each of the calls, each at a suspended volume of its own: the kernel lets no fsync in
# beside a write.
begin_calls() { # -> IDS
	local call
	IDS=()
	for call in "${CALLS[@]}"; do
		new_volume $call "0 2048 linear $T/a.img 0"
		echo suspend >mnt/.control/$call/state
		probe alarm $call mnt/$call >said.$call & IDS+=($!)
	done
	for call in "${CALLS[@]}"; do until_true 10 parks $call 1; done
	sleep 1
	for call in "${CALLS[@]}"; do parks $call 1 || fail "the alarm has ended the wait: $(<said.$call)"; done
}

test_handled_signals_end_no_wait() {
	start
	begin_calls
	local call
	new_volume slow "0 2048 delay $T/a.img 0 1500"
	for call in read write; do
		probe alarm $call mnt/slow >slow.$call & IDS+=($!)
	done
	for call in "${CALLS[@]}"; do echo resume >mnt/.control/$call/state; done
	wait "${IDS[@]}"
	same "$(cat said.read said.write said.sync slow.read slow.write | xargs)" \
		'alarm 4096 alarm 4096 alarm 0 alarm 4096 alarm 4096'
}

# FUSE tells of the first signal only.
test_killed_behind_a_handled_signal() {
	start
	begin_calls
	kill -9 "${IDS[0]}"
	kill -TERM "${IDS[1]}"
	kill -ABRT "${IDS[2]}" # a signal that dumps core
	local id call
	for id in "${IDS[@]}"; do until_true 5 gone "$id" || fail "one outlives its end, in $(cat "/proc/$id/wchan")"; done
	for call in "${CALLS[@]}"; do parks $call 0; echo resume >mnt/.control/$call/state; done
}

# A signal that is ignored, and one that stops: the wait goes on behind both.
test_ignored_and_stopped() {
	start
	echo suspend >mnt/.control/v/state
	(trap '' HUP; exec dd if=mnt/v of=got bs=4096 count=1 status=none) & local ignores=$!
	dd if=mnt/v of=got2 bs=4096 count=1 status=none & local stops=$!
	until_true 10 parks v 2
	kill -HUP $ignores
	kill -STOP $stops
	kill -CONT $stops
	sleep 0.5
	parks v 2 || fail "a wait has ended"
	echo resume >mnt/.control/v/state
	wait $ignores $stops
	cmp got <(head -c 4096 a.img)
	cmp got2 <(head -c 4096 a.img)
}

# Control files: a handled signal aborts nothing, but SIGINT, SIGTERM, SIGHUP and SIGQUIT ask for an
# end, also where a shell handles them.
test_control_operations() {
	image 1M a.img
	mount_dmfs "$T/mnt"
	# A table that owes its device a last write, which is held: whoever swaps it waits.
	new_volume slow "0 2048 delay $T/a.img 0 0 $T/a.img 0 3600000"
	new_volume v "0 1024 log-writes $T/a.img slow"
	bash -c "trap 'echo came >said' USR1; trap 'exit 1' TERM; echo '0 1024 zero' >mnt/.control/v/table" 2>/dev/null & local shell=$!
	sleep 1
	kill -USR1 $shell
	sleep 1
	[[ ! -e said ]] || fail "a handled signal has ended a swap"
	kill -TERM $shell
	until_true 5 gone $shell || fail "a shell that handles SIGTERM waits on"
	kill -TERM "$SERVER"
	ended "$SERVER" 0
}

# News: who waits for an event or a trace goes with any signal.
test_waits_for_news_end_at_any_signal() {
	start
	same "$(probe alarm again mnt/.control/v/events)" 'alarm EINTR'
	same "$(probe alarm read mnt/.control/v/trace)" 'alarm EINTR'
}
