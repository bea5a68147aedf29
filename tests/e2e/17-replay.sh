# The log of log-writes and `dmfs replay`, over a mount.

logged() { "$DMFS" replay log.img | awk 'NR > 1 { $1 = ""; print }' | sed 's/^ //' | paste -sd,; }

# What an fsync and a mark were answered for survives the daemon.
test_killed_daemon() {
	image 1M disk.img log.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 log-writes $T/disk.img $T/log.img"
	random_file 8192 data
	dd if=data of=mnt/v bs=4096 conv=notrunc,fsync status=none
	"$DMFS" message v 0 mark safe
	dd if=/dev/zero of=mnt/v bs=4096 count=1 conv=notrunc status=none
	kill -KILL "$SERVER"
	until_true 10 gone "$SERVER"
	SERVERS=()
	wait "$SERVER" 2>/dev/null || true
	"$DMFS" umount mnt
	matches "$(logged)" '^0 [0-9]*( write,[0-9]+ [0-9]+)* write,- - flush,- - mark safe$'
	image 1M again.img
	"$DMFS" replay log.img --onto again.img --to-mark safe
	cmp -n 8192 data again.img
	matches "$("$DMFS" replay log.img --check)" 'without the mark of its end'
}

# The mount's end closes the logs, from the top of the stack down.
test_end_of_the_mount() {
	image 1M disk.img log.img lower.img
	mount_dmfs "$T/mnt"
	new_volume lower "0 2048 log-writes $T/log.img $T/lower.img"
	new_volume v "0 2048 log-writes $T/disk.img lower"
	random_file 4096 data
	dd if=data of=mnt/v bs=4096 conv=notrunc status=none
	unmount_dmfs
	matches "$(logged)" '0 8 write.*mark dm-log-writes-end$'
	# The log of the log has all that the log has.
	image 1M again.img
	"$DMFS" replay lower.img --onto again.img
	cmp log.img again.img
}

# A stack is flushed once, from its top: from each of its levels a tall one would take for ever.
test_last_flush_of_a_stack() {
	image 1M disk.img log.img
	mount_dmfs "$T/mnt"
	new_volume v0 "0 2048 log-writes $T/disk.img $T/log.img"
	for i in 1 2 3 4; do new_volume "v$i" "0 2048 linear v$((i - 1)) 0"; done
	dd if=/dev/zero of=mnt/v4 bs=4096 count=1 conv=notrunc status=none
	unmount_dmfs
	same "$(logged | grep -o flush | wc -l)" 1
}
test_command_and_ends() {
	image 1M disk.img log.img again.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 log-writes $T/disk.img $T/log.img"
	local i
	for i in 1 2 3; do
		echo "text $i" | dd of=mnt/v bs=512 conv=notrunc,fsync,sync status=none
		"$DMFS" message v 0 mark "m$i"
	done
	"$DMFS" remove v
	same "$("$DMFS" replay log.img --find-mark m2)" 6
	local said code=0
	said=$("$DMFS" replay log.img --onto again.img --after mark --exec 'test "$DMFS_MARK" != m2 ||
		{ head -c 6 "$1"; exit 7; }; true' 2>&1) || code=$?
	same $code 7
	matches "$said" 'text 2'
	matches "$said" 'after entry 6 \(mark m2\)'
	# From there on, to an entry.
	"$DMFS" replay log.img --onto again.img --from 7 --to 8
	same "$(head -c 6 again.img)" 'text 3'
	same "$("$DMFS" replay log.img --from 2 --to 3 | wc -l)" 3
	same "$("$DMFS" replay log.img --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["entries"][5]["mark"])')" m2
	refused "no mark 'm4'" "$DMFS" replay log.img --onto new.img --to-mark m4
	[[ ! -e new.img ]] || fail 'a refused replay made a file'
	refused 'entry 99 is not in the log' "$DMFS" replay log.img --to 99
	refused 'entry 0 is not in the log' "$DMFS" replay log.img --to 0
	refused 'onto itself' "$DMFS" replay log.img --onto log.img
	refused 'no log of log-writes' "$DMFS" replay again.img
	truncate -s 2048 log.img
	refused 'beyond the end' "$DMFS" replay log.img --check
}
