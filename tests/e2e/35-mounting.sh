# mount(8), fstab, and hosts on which mounting is not permitted.

# What mount -a goes by: the source, and a refusal where that does not help.
test_second_mount() {
	mkdir mnt 'a,b \c'
	echo '[mount]' >dm.toml
	mount.fuse.dmfs dm.toml mnt -o rw
	same "$(findmnt -no SOURCE "$T/mnt")" "$T/dm.toml"
	refused 'is a dmfs mount already' mount.fuse.dmfs dm.toml mnt -o rw
	refused 'is a dmfs mount already' mount.fuse.dmfs none "$T/mnt/"
	refused 'is a dmfs mount already' dmfs none mnt -o rw
	same "$(grep -cF " $T/mnt " /proc/self/mountinfo)" 1
	dmfs umount mnt
	# Whatever the path has in it.
	cp dm.toml 'a,b \c/dm.toml'
	dmfs mount mnt --config 'a,b \c/dm.toml'
	same "$(findmnt -no SOURCE "$T/mnt")" "$T/a,b \\c/dm.toml"
	dmfs umount mnt
	mount.fuse.dmfs word mnt; same "$(findmnt -no SOURCE "$T/mnt")" word; dmfs umount mnt
	dmfs mount mnt -o fsname=disks; same "$(findmnt -no SOURCE "$T/mnt")" disks; dmfs umount mnt
}
test_mount_a() {
	need_root
	need mount unshare
	[[ ! -e /sbin/mount.fuse.dmfs ]] || skip 'a dmfs is installed'
	mkdir mnt
	echo '[mount]' >dm.toml
	# The helper is found in /sbin only: in a mount namespace of our own it is there.
	mkdir upper work
	cat >fstab <<-END
		$T/dm.toml $T/mnt fuse.dmfs nofail 0 0
	END
	unshare -m --propagation private bash -euc '
		mount -t overlay overlay -o "lowerdir=$(readlink -f /sbin),upperdir=$1/upper,workdir=$1/work" "$(readlink -f /sbin)" || exit 77
		ln -s "$2" /sbin/mount.fuse.dmfs
		mount -a -T "$1/fstab"
		mount -a -T "$1/fstab"
		grep -cF " $1/mnt " /proc/self/mountinfo
		umount "$1/mnt"' mount_a "$T" "$DMFS" >said 2>&1 && code=0 || code=$?
	((code != 77)) || skip 'no overlay on /sbin'
	same "$(tail -n 1 said)" 1
}

# /sbin/mount.fuse calls so, where it is what mount(8) finds.
test_as_mount_fuse_calls() {
	mkdir mnt
	echo '[[volume]]' >dm.toml; printf 'name = "v"\ntable = "0 8 zero"\n' >>dm.toml
	dmfs none mnt -o rw,nosuid,nodev
	same "$(findmnt -no SOURCE "$T/mnt")" none
	dmfs umount mnt
	dmfs "$T/dm.toml" mnt -o rw,nosuid,nodev
	same "$(dmfs --mount mnt table v)" '0 8 zero '
	dmfs umount mnt
	refused 'unknown command' dmfs none nosuch -o rw
	refused 'unknown command' dmfs creat mnt
}

test_options_of_others() {
	mkdir mnt
	dmfs mount mnt -o dirsync,lazytime,silent,noatime,strictatime,group,owner
	dmfs umount mnt
	refused "no mount option 'nosuch'" mount.fuse.dmfs none mnt -o nosuch
	mount.fuse.dmfs none mnt -s -o nosuch,threads=3
	same "$(sed -n 's/^threads = //p' mnt/.control/options)" 3
	dmfs umount mnt
	refused 'fsname needs a name' dmfs mount mnt -o fsname=
}
# Each write is answered when it is durable: it is in the log of log-writes with the flag FUA.
test_sync() {
	image 1M a.img log.img
	mount_dmfs "$T/mnt" -o sync
	matches "$(<mnt/.control/options)" 'sync = true'
	dmfs create v --table "0 2048 log-writes $T/a.img $T/log.img"
	head -c 4096 /dev/zero | dd of=mnt/v bs=4096 conv=notrunc status=none
	dmfs remove v
	matches "$(dmfs replay --list log.img)" 'fua|FUA'
}
test_auto_unmount() {
	need fusermount3
	mkdir mnt
	local said; said=$(timeout 10 dmfs mount mnt -o auto_unmount 2>&1) || fail "$said"
	local id; id=$({ grep -lzsxF "E2E_TEST=$T" /proc/[0-9]*/environ || true; } | cut -d/ -f3 |
		while read -r id; do [[ $(readlink "/proc/$id/exe") != "$DMFS" ]] || echo "$id"; done)
	kill -KILL $id
	is_unmounted() { ! mounted "$T/mnt"; }
	until_true 10 is_unmounted
}

# Why not, in the words of what is missing.
test_reasons() {
	need unshare setpriv
	mkdir mnt
	if ((UID == 0)); then
		# root without the right, as in a container
		refused 'CAP_SYS_ADMIN' setpriv --bounding-set -sys_admin --inh-caps -all dmfs mount mnt
		refused 'problem +mounting +.*CAP_SYS_ADMIN' setpriv --bounding-set -sys_admin --inh-caps -all dmfs doctor
		as_user
		"${AS[@]}" mkdir theirs
		refused 'no_new_privs' "${AS[@]}" setpriv --no-new-privs "$DMFS" mount theirs
		refused 'problem +mounting +.*no_new_privs' "${AS[@]}" setpriv --no-new-privs "$DMFS" doctor
	fi
	[[ -d theirs ]] || mkdir theirs
	unshare -Um true 2>/dev/null || skip 'no user namespaces'
	refused 'root is nobody in this user namespace' "${AS[@]}" unshare -Um "$DMFS" mount theirs
	refused 'problem +mounting +root is nobody' "${AS[@]}" unshare -Um "$DMFS" doctor
	refused 'no mounts of its own' "${AS[@]}" unshare -Ur "$DMFS" mount theirs
	# Where it is permitted it works.
	"${AS[@]}" unshare -Umr bash -c '"$1" mount theirs && "$1" --mount theirs create v --table "0 8 zero" && "$1" umount theirs' x "$DMFS"
}
