# A backing file that never answers: a volume of another mount whose daemon is stopped, as a server
# that is gone. It takes nothing with it but its own volume.

LOW= TOP=
dead_file() { # MOUNT-OPTION...: `hung` stands on it, `good` does not
	image 8M low.img good.img
	mount_dmfs "$T/low"; LOW=$SERVER
	new_volume l "0 16384 linear $T/low.img 0"
	mount_dmfs "$T/top" "$@"; TOP=$SERVER
	new_volume good "0 16384 linear $T/good.img 0"
	new_volume hung "0 16384 linear $T/low/l 0"
	timeout 5 cmp -n 8192 top/hung /dev/zero
}
die() { kill -STOP "$LOW"; }
come_back() { kill -CONT "$LOW"; }
others_go_on() {
	timeout 6 cat top/.control/version >/dev/null
	timeout 6 dmfs status good >/dev/null
	timeout 6 dd if=top/good of=/dev/null bs=4k count=4 iflag=direct status=none
	timeout 6 dd if=/dev/zero of=top/good bs=4k count=4 oflag=direct conv=notrunc,fsync status=none
	timeout 6 ls -l top >/dev/null
	timeout 6 stat top/good >/dev/null
	timeout 6 dmfs suspend good
	timeout 6 dmfs resume good
}
CLIENTS=()
clients() { # COUNT COMMAND...: side by side
	local i count=$1; shift
	for ((i = 0; i < count; i++)); do "$@" >/dev/null 2>&1 & CLIENTS+=($!); done
}
all_gone() { local id; for id; do gone "$id" || return 1; done; }
killable() {
	kill -9 "${CLIENTS[@]}" 2>/dev/null || true
	until_true 5 all_gone "${CLIENTS[@]}" || fail "who waits for the dead file outlives SIGKILL"
	wait "${CLIENTS[@]}" 2>/dev/null || true
	CLIENTS=()
}
# Serving ends at once, also where the process has to stay for the kernel.
ends_on_term() {
	local reader
	dd if=top/hung of=/dev/null bs=4k count=1 skip=900 iflag=direct >/dev/null 2>&1 & reader=$!
	sleep 0.3
	kill -TERM "$TOP"
	not_mounted() { ! mounted "$T/top"; }
	until_true 8 not_mounted || fail 'still mounted after SIGTERM'
	until_true 8 gone "$reader" || fail 'a reader has no answer after SIGTERM'
	come_back
	ended_somehow "$TOP"
}

test_reads_of_a_dead_file() {
	dead_file
	exec 7<top/hung
	die
	clients 40 dd if=top/hung of=/dev/null bs=4k count=1 iflag=direct
	clients 8 dd if=top/hung of=/dev/null bs=1M count=1
	clients 4 dd if=/dev/zero of=top/hung bs=64k count=1 oflag=direct conv=notrunc
	clients 2 dd if=/dev/zero of=top/hung bs=4k count=1 conv=notrunc,fsync
	exec 7<&-
	sleep 1.5
	others_go_on
	killable
	ends_on_term
}
# Its queue of workers was full before it died.
test_reads_on_the_way_when_it_dies() {
	dead_file -o cache=auto
	local i
	clients 12 bash -c "while dd if=$T/top/hung of=/dev/null bs=64k count=100 iflag=direct; do :; done"
	sleep 0.5
	die
	sleep 1.5
	others_go_on
	killable
	ends_on_term
}
test_stat_and_seek_of_a_dead_file() {
	local i
	dead_file
	for i in 1 2 3 4; do new_volume "h$i" "0 16384 linear $T/low/l 0"; done
	die
	for i in 1 2 3 4; do clients 2 stat "top/h$i"; done
	clients 8 python3 -c "import os; os.lseek(os.open('$T/top/h1', os.O_RDONLY), 0, os.SEEK_DATA)"
	others_go_on
	timeout 6 stat "$T"/top/h? >/dev/null
	killable
	ends_on_term
}
# Threads instead of io_uring, and few of them.
test_reads_of_a_dead_file_by_threads() {
	dead_file -o executor=threads,threads=2
	die
	clients 40 dd if=top/hung of=/dev/null bs=4k count=1 iflag=direct
	sleep 1
	others_go_on
	killable
	ends_on_term
}

# suspend --noflush gives what is on its way up; then the volume can do without the file, and
# the file is not taken again before the late writes have landed.
test_rescue() {
	dead_file
	die
	local writer code=0
	dd if=/dev/zero of=top/hung bs=4k count=1 seek=7 oflag=direct conv=notrunc >writer.out 2>&1 & writer=$!
	clients 3 dd if=top/hung of=/dev/null bs=4k count=1 iflag=direct
	sleep 0.5
	timeout 20 dmfs suspend --noflush hung
	wait "$writer" || code=$?
	same $code 1
	contains writer.out 'Input/output error'
	timeout 6 dmfs load hung --table '0 16384 error'
	timeout 6 dmfs resume hung
	refused 'Input/output error' timeout 6 dd if=top/hung of=/dev/null bs=4k count=1 iflag=direct status=none
	timeout 6 dmfs remove hung
	others_go_on
	come_back
	taken_again() { timeout 6 dmfs create again --table "0 16384 linear $T/low/l 0" 2>again.out; }
	until_true 10 taken_again || fail "$(cat again.out)"
	timeout 6 dd if=top/again of=/dev/null bs=4k count=1 iflag=direct status=none
	unmount_dmfs "$TOP"
}

# Readers and writers of other volumes and control operations, all the time, with the dead file
# in the same mount. ${E2E_HAMMER:-8} seconds.
test_hammer_beside_a_dead_file() {
	local i until codes=()
	dead_file
	for i in 1 2 3 4; do image 8M "file$i"; new_volume "v$i" "0 16384 linear $T/file$i 0"; done
	die
	clients 20 dd if=top/hung of=/dev/null bs=4k count=1 iflag=direct
	until=$((SECONDS + ${E2E_HAMMER:-8}))
	worker() { # NUMBER
		local n=0
		while ((SECONDS < until)); do
			case $(($1 % 4)) in
			0) timeout 20 dd if="top/v$((1 + n % 4))" of=/dev/null bs=64k count=8 iflag=direct status=none ;;
			1) timeout 20 dd if=/dev/zero of="top/v$((1 + n % 4))" bs=64k count=8 oflag=direct conv=notrunc status=none ;;
			2) # 1: one that ls saw was removed before it looked closer
			timeout 20 ls -l top >/dev/null 2>&1 || (($? == 1)) && timeout 20 cat "top/.control/v1/status" >/dev/null ;;
			3) timeout 20 mkdir "top/.control/w$1" && timeout 20 rmdir "top/.control/w$1" ;;
			esac || { echo "worker $1, turn $n: $?" >>failed; return 1; }
			n=$((n + 1))
		done
		echo "$n" >>turns
	}
	local workers=()
	for ((i = 0; i < 64; i++)); do worker "$i" & workers+=($!); done
	for i in "${workers[@]}"; do wait "$i" || true; done
	[[ ! -e failed ]] || fail "$(head -n 3 failed)"
	same "$(wc -l <turns)" 64
	killable
	ends_on_term
}

# The command looks at no mount that is not its subject without a limit.
test_doctor_beside_a_mount_that_hangs() {
	local said
	dead_file
	die
	said=$(timeout 40 "$DMFS" doctor 2>&1) || true
	matches "$said" 'low +it does not answer'
	matches "$said" 'low/l +it does not answer'
	come_back
	unmount_dmfs "$TOP"
}

# A local disk that hangs has the write on the thread that brought it. When its writer is killed it is
# given up as any other: the file is not taken again, and what comes to the same place comes behind it.
test_killed_write_of_a_local_disk() {
	need_loop; need fsfreeze
	local writer later said code=0
	image 64M disk.img
	mkfs.ext4 -q disk.img
	attach_loop disk.img
	mkdir fs
	mount "$LOOP" fs
	head -c 8M /dev/zero >fs/a.img
	head -c 4096 /dev/zero | tr '\0' o >old
	head -c 4096 /dev/zero | tr '\0' n >new
	mount_dmfs "$T/mnt"
	new_volume v "0 16384 linear $T/fs/a.img 0"
	fsfreeze -f fs
	trap 'fsfreeze -u "$T/fs" 2>/dev/null || true' EXIT
	dd if=old of=mnt/v bs=4k count=1 seek=7 conv=notrunc status=none & writer=$!
	sleep 1
	kill -9 "$writer"
	until_true 5 gone "$writer" || fail 'who waits for the disk outlives SIGKILL'
	wait "$writer" 2>/dev/null || true
	said=$(timeout 6 dmfs create again --table "0 16384 linear $T/fs/a.img 0" 2>&1) || code=$?
	dd if=new of=mnt/v bs=4k count=1 seek=7 conv=notrunc status=none & later=$!
	sleep 0.5
	fsfreeze -u fs
	wait "$later"
	((code != 0)) || fail 'the file is taken again while a write of it is still under way'
	matches "$said" 'nobody waits for any more may still land'
	dd if=mnt/v bs=4k count=1 skip=7 status=none | cmp - new
	timeout 6 dmfs create again --table "0 16384 linear $T/fs/a.img 0"
	unmount_dmfs
	umount fs
	detach_loop "$LOOP"
}
