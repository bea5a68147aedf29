# The daemon is stopped, or dies, under load. What was promised is there.

start() {
	image 64M a.img
	mount_dmfs "$T/mnt" "$@"
	new_volume v "0 131072 linear $T/a.img 0"
}
load() { # OPTION... -> WRITERS
	writers -n 16 -t 60 -e "$@" -b a.img mnt/v 2>writers.said >/dev/null & WRITERS=$!
	begun() { (($(stat -c %b a.img) > 8192)); }
	until_true 10 begun
	sleep 0.5
}

sigterm() {
	start "$@"
	load -y -a
	kill -TERM "$SERVER"
	ended "$SERVER" 0
	! mounted "$T/mnt"
	wait $WRITERS || fail "$(<writers.said)"
	note "$(tail -n 1 writers.said)"
}
test_sigterm_under_load() { sigterm; }
test_sigterm_under_load_direct() {
	image 1M a.img
	dd if=a.img of=/dev/null bs=4096 count=1 iflag=direct status=none 2>/dev/null || skip "no O_DIRECT here"
	sigterm -o backing=direct
}
test_sigint_ends_it_too() {
	start
	kill -INT "$SERVER"
	# A background job of a shell ignores SIGINT from its beginning, and keeps doing so.
	if ! until_true 1 gone "$SERVER"; then kill -TERM "$SERVER"; fi
	ended "$SERVER" 0
	! mounted "$T/mnt"
}

# The last flush: another mount below counts what arrives.
test_sigterm_flushes() {
	image 4M a.img
	mount_dmfs "$T/below"
	local below=$SERVER
	new_volume disk "0 8192 linear $T/a.img 0"
	mount_dmfs "$T/mnt"
	new_volume v "0 8192 linear $T/below/disk 0"
	random_file $((4 << 20)) data
	dd if=data of=mnt/v bs=64K conv=notrunc status=none
	flushes() { tail -n 1 below/.control/disk/stats | cut -d ' ' -f 9; }
	local before; before=$(flushes)
	kill -TERM "$SERVER"
	ended "$SERVER" 0
	(($(flushes) > before)) || fail "nothing was flushed at the end"
	cmp a.img data
	export DMFS_MOUNT=$T/below
	unmount_dmfs "$below"
}
# So does an unmount.
test_umount_flushes() {
	image 4M a.img
	mount_dmfs "$T/below"
	local below=$SERVER
	new_volume disk "0 8192 linear $T/a.img 0"
	mount_dmfs "$T/mnt"
	new_volume v "0 8192 linear $T/below/disk 0"
	dd if=/dev/urandom of=mnt/v bs=64K count=16 conv=notrunc status=none
	local before; before=$(tail -n 1 below/.control/disk/stats | cut -d ' ' -f 9)
	unmount_dmfs
	(($(tail -n 1 below/.control/disk/stats | cut -d ' ' -f 9) > before)) || fail "nothing was flushed at the end"
	unmount_dmfs "$below"
}

sigkill() { # OPTION...
	start "$@"
	load -y
	kill -9 "$SERVER"
	wait $WRITERS || fail "$(<writers.said)"
	note "$(tail -n 1 writers.said)"
	ended "$SERVER" 137
	# A dead mount: known as one by every command, and taken away.
	mounted "$T/mnt"
	refused 'not connected' cat mnt/v
	refused 'gone|not connected' "${AS[@]}" "$DMFS" --mount mnt status
	refused 'dmfs umount' "${AS[@]}" "$DMFS" mount mnt
	"${AS[@]}" "$DMFS" umount mnt
	! mounted "$T/mnt"
	mount_dmfs "$T/mnt"
	new_volume v "0 131072 linear $T/a.img 0"
	"${AS[@]}" cmp mnt/v a.img
}
test_sigkill_under_load() { sigkill; }
test_sigkill_under_load_as_user() {
	as_user
	start
	kill -9 "$SERVER"
	ended "$SERVER" 137
	refused 'not connected' "${AS[@]}" cat mnt/v
	"${AS[@]}" "$DMFS" umount mnt
	! mounted "$T/mnt"
	mount_dmfs "$T/mnt"
}

# A filesystem on a loop device survives the death of the daemon as it survives a crash.
test_sigkill_below_a_filesystem() {
	need_loop
	start
	attach_loop mnt/v
	mkfs.ext4 -q "$LOOP"
	mkdir fs
	mount "$LOOP" fs
	make_tree tree
	cp -a tree fs/kept
	sync -f fs
	cp -a tree fs/lost & local id=$!
	sleep 0.2
	kill -9 "$SERVER"
	ended "$SERVER" 137
	wait $id || true
	umount fs || umount -l fs
	detach_loop "$LOOP"
	dmfs umount mnt
	mount_dmfs "$T/mnt"
	new_volume v "0 131072 linear $T/a.img 0"
	attach_loop mnt/v
	e2fsck -fy "$LOOP" >fsck.log 2>&1 || (($? == 1))
	mount "$LOOP" fs
	diff -r --no-dereference tree fs/kept
	umount fs
	detach_loop "$LOOP"
}

# Cut off in the middle of a control request, the daemon neither hangs nor leaves a mount.
test_sigterm_during_controls() {
	start
	local i ids=()
	for i in 1 2 3 4; do
		(trap - ERR; while echo "0 131072 linear $T/a.img 0" >mnt/.control/v/table; do :; done) 2>/dev/null & ids+=($!)
	done
	sleep 0.5
	kill -TERM "$SERVER"
	ended "$SERVER" 0
	! mounted "$T/mnt"
	for i in "${ids[@]}"; do until_true 5 gone "$i"; wait "$i" || true; done
}
