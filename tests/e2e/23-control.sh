# Removal beside what else is done with a volume: whoever comes second waits, or is refused; the
# daemon lives, nothing is torn, and whoever waits can be killed.

# A disk whose flushes take a second.
slow_disk() { # NAME
	image 1M "$1.img"
	new_volume "$1-low" "0 2048 delay $T/$1.img 0 0 $T/$1.img 0 0 $T/$1.img 0 1000"
}
state() { echo "$2" >"mnt/.control/$1/state"; } # VOLUME REQUEST
is_there() { [[ -d mnt/.control/$1 ]]; }
is_gone() { ! is_there "$1"; }
lives() { dmfs ls >/dev/null || fail "the daemon does not answer: $(tail -n 3 daemon.log)"; }
entries_of() { od -A n -t u8 -j 16 -N 8 "$1" | tr -d ' '; } # LOG: in its super

test_remove_beside_snapshot() {
	mount_dmfs "$T/mnt"
	slow_disk disk
	image 2M cow.img
	new_volume disk "0 2048 linear disk-low 0"
	state disk "snapshot snap $T/cow.img" & local making=$!
	sleep 0.3
	dmfs remove disk
	wait $making
	lives
	is_gone disk || fail "the removal that came second did nothing"
	is_there snap || fail "the snapshot that came first is not there"
	is_there disk-real
	cat mnt/snap >/dev/null
}
test_remove_beside_drop() {
	mount_dmfs "$T/mnt"
	slow_disk disk
	image 2M cow.img
	new_volume disk "0 2048 linear disk-low 0"
	state disk "snapshot snap $T/cow.img"
	state snap drop & local dropping=$!
	sleep 0.3
	dmfs remove disk
	wait $dropping || true # it may find the disk gone
	lives
	is_gone disk && is_gone snap
}
test_remove_while_a_suspend_flushes() {
	mount_dmfs "$T/mnt"
	slow_disk disk
	image 4M log.img
	new_volume lw "0 2048 log-writes disk-low $T/log.img"
	dd if=/dev/zero of=mnt/lw bs=4k count=2 conv=notrunc oflag=direct status=none
	dmfs suspend lw & local suspending=$!
	sleep 0.3
	dmfs remove lw
	wait $suspending
	# Two writes, the suspend's flush, the end mark: the log goes on to its end.
	same "$(entries_of log.img)" 4
	dmfs replay log.img --list >said
	matches "$(tail -n 1 said)" 'dm-log-writes-end'
}
# The closing table's log is a suspended volume.
waits_and_is_killed() { # HOW COMMAND...
	local how=$1 waiting; shift
	new_volume lw "0 2048 log-writes $T/a.img low"
	dd if=/dev/zero of=mnt/lw bs=4k count=4 conv=notrunc status=none
	dmfs suspend low
	"$@" & waiting=$!
	sleep 0.3
	gone $waiting && fail "$how did not wait"
	kill -9 $waiting
	until_true 5 gone $waiting || fail "$how is still there after kill -9"
	wait $waiting || true
	dmfs resume low
	until_true 5 is_gone lw
}
remove_by_state() { exec bash -c 'echo remove >mnt/.control/lw/state'; }
remove_by_rmdir() { exec rmdir mnt/.control/lw; }
remove_deferred() { exec "$DMFS" remove --deferred lw; }
test_who_waits_in_a_removal_can_be_killed() {
	mount_dmfs "$T/mnt"
	image 1M a.img
	image 4M log.img
	new_volume low "0 8192 linear $T/log.img 0"
	waits_and_is_killed rmdir remove_by_rmdir
	waits_and_is_killed state remove_by_state
	waits_and_is_killed 'remove --deferred' remove_deferred
}
# A resume that is refused: the old table goes on.
test_a_refused_resume_brings_the_old_table_back() {
	mount_dmfs "$T/mnt"
	random_file 1048576 a.img
	image 1M cow.img
	new_volume cow "0 2048 flakey $T/cow.img 0 0 1 1 error_writes"
	new_volume disk "0 2048 linear $T/a.img 0"
	dmfs load disk --table "0 2048 snapshot $T/a.img cow P 8"
	dmfs suspend disk
	refused "can't be written" dmfs resume disk
	same "$(dmfs table disk)" "0 2048 linear $T/a.img 0"
	cmp mnt/disk a.img
	matches "$(dmfs info disk)" 'State: +ACTIVE'
}
