# All of it without a right: mount, tables, a filesystem in a volume. And nobody else gets in.

test_filesystem_without_root() {
	need mkfs.ext4 debugfs e2fsck
	as_user
	image 80M a.img b.img
	mount_dmfs "$T/mnt"
	new_volume disk "0 262144 striped 2 128 a.img 0 b.img 0"
	"${AS[@]}" mkfs.ext4 -q -F mnt/disk
	"${AS[@]}" sh -c 'head -c 5000001 /dev/urandom >data'
	"${AS[@]}" debugfs -w -R 'write data copied' mnt/disk 2>/dev/null
	"${AS[@]}" debugfs -R 'cat copied' mnt/disk 2>/dev/null | cmp - data
	"${AS[@]}" e2fsck -fn mnt/disk >fsck.log 2>&1
	"${AS[@]}" "$DMFS" save dmfs.toml
	unmount_dmfs
	mount_dmfs "$T/mnt" --config dmfs.toml
	"${AS[@]}" e2fsck -fn mnt/disk >fsck.log 2>&1
	"${AS[@]}" debugfs -R 'cat copied' mnt/disk 2>/dev/null | cmp - data
}

test_fuse2fs() {
	need mkfs.ext4 fuse2fs fusermount3
	as_user
	image 64M a.img
	mount_dmfs "$T/mnt"
	new_volume disk "0 131072 linear a.img 0"
	"${AS[@]}" mkfs.ext4 -q -F mnt/disk
	"${AS[@]}" mkdir fs
	"${AS[@]}" fuse2fs -f -o fakeroot mnt/disk fs >fuse2fs.log 2>&1 & local above=$!
	until_true 20 mounted "$T/fs"
	make_tree tree
	"${AS[@]}" cp -r tree fs/
	"${AS[@]}" diff -r tree fs/tree
	"${AS[@]}" fusermount3 -u fs
	wait $above # it writes until it ends
	"${AS[@]}" e2fsck -fn mnt/disk >fsck.log 2>&1
}

# Without allow_root and allow_other a mount is its user's: not even root sees into it.
test_others_are_kept_out() {
	need_root
	as_user
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume disk "0 2048 linear a.img 0"
	local other=(setpriv --reuid 54321 --regid 54321 --clear-groups --) who
	for who in '' other; do
		[[ -z $who ]] && set -- env || set -- "${other[@]}"
		refused 'Permission denied' "$@" cat mnt/disk
		refused 'Permission denied' "$@" cat mnt/.control/disk/table
		refused 'Permission denied' "$@" mkdir mnt/.control/evil
		refused 'Permission denied' "$@" sh -c 'echo suspend >mnt/.control/disk/state'
		refused 'Permission denied' "$@" "$DMFS" --mount mnt table disk
	done
	refused 'allow_root' "$DMFS" attach disk
	same "$("${AS[@]}" cat mnt/.control/disk/state)" active
}

# Root's own mount is not open to a user either; allow_other opens it as far as the modes say.
test_modes_hold_with_allow_other() {
	need_root
	image 1M a.img
	mount_dmfs "$T/mnt" -o allow_other
	new_volume disk "0 2048 linear $T/a.img 0"
	local other=(setpriv --reuid 54321 --regid 54321 --clear-groups --)
	refused 'Permission denied' "${other[@]}" cat mnt/disk
	refused 'Permission denied' "${other[@]}" cat mnt/.control/disk/table
	refused 'Permission denied' "${other[@]}" mkdir mnt/.control/evil
	refused 'Permission denied' "${other[@]}" tee mnt/.control/disk/state </dev/null
	# What the owner opens is open, and only that.
	chmod 0755 mnt
	chmod 0644 mnt/disk
	"${other[@]}" cat mnt/disk | cmp - a.img
	refused 'Permission denied' "${other[@]}" dd if=a.img of=mnt/disk conv=notrunc
	chown 54321 mnt/disk
	chmod 0600 mnt/disk
	"${other[@]}" dd if=a.img of=mnt/disk conv=notrunc status=none
	refused 'Permission denied' "${other[@]}" cat mnt/.control/disk/table
}

# allow_root is root's to allow, in /etc/fuse.conf. Here the answer is laid over that
# file, in a mount namespace of the test's own.
test_allow_root() {
	need_root; need unshare
	as_user
	refused 'user_allow_other in /etc/fuse.conf' "${AS[@]}" sh -c \
		"cd $T && mkdir no && grep -q ^user_allow_other /etc/fuse.conf && { echo user_allow_other in /etc/fuse.conf; false; } || $DMFS mount no -o allow_root"
	unshare -m true || skip "no mount namespaces"
	image 1M a.img
	echo user_allow_other >conf
	chmod 644 conf
	cat >inside.sh <<-'END'
		set -Eeuo pipefail
		# Mounts of others have no business here, and would live as long as this does.
		awk '/ - fuse.dmfs / { print $5 }' /proc/self/mountinfo | while read -r where; do umount -l "$where"; done
		[[ -e /etc/fuse.conf ]] || touch /etc/fuse.conf
		mount --bind conf /etc/fuse.conf
		mkdir mnt; chown "$E2E_USER" mnt
		as=(setpriv --reuid "$E2E_USER" --regid "$(id -g "$E2E_USER")" --clear-groups --)
		"${as[@]}" "$DMFS" mount mnt -o allow_root
		"${as[@]}" "$DMFS" create disk --table "0 2048 linear $PWD/a.img 0"
		head -c 1M /dev/urandom >data
		dd if=data of=mnt/disk conv=notrunc status=none
		cmp data a.img
		"$DMFS" --mount mnt table disk | grep -q a.img
		if [[ -e /dev/loop-control ]]; then
			loop=$("$DMFS" attach "$PWD/mnt/disk")
			cmp "$loop" data
			"$DMFS" detach mnt/disk
		fi
		if setpriv --reuid 54321 --regid 54321 --clear-groups -- cat mnt/disk 2>said; then echo "a third user can read it"; exit 1; fi
		grep -q 'Permission denied' said
		"${as[@]}" "$DMFS" umount mnt
	END
	unshare -m --propagation private bash inside.sh
}

# What a user may not open is refused, and says so.
test_backing_of_another() {
	need_root
	as_user
	image 1M a.img mine.img
	chown root a.img; chmod 600 a.img
	mount_dmfs "$T/mnt"
	refused 'Permission denied' "${AS[@]}" "$DMFS" create v --table "0 2048 linear $T/a.img 0"
	chmod 644 a.img
	refused "can't be written.*read-only table" "${AS[@]}" "$DMFS" create v --table "0 2048 linear $T/a.img 0"
	"${AS[@]}" "$DMFS" create v -r --table "0 2048 linear $T/a.img 0"
	cmp a.img <("${AS[@]}" cat mnt/v)
	refused 'not permitted|Permission denied' "${AS[@]}" dd if=mine.img of=mnt/v conv=notrunc
	[[ ! -b /dev/loop0 ]] || refused 'Permission denied' "${AS[@]}" "$DMFS" create w --table "0 8 linear /dev/loop0 0"
}
