# The commands mount and umount, and which mount the others mean.

# Of a daemon that went into the background: it holds nothing but its mark.
background() { { grep -lzsxF "E2E_TEST=$T" /proc/[0-9]*/environ || true; } | cut -d/ -f3 | while read -r id; do
	[[ $(readlink "/proc/$id/exe") != "$DMFS" ]] || echo "$id"; done; }

test_background() {
	mkdir mnt
	# It answers as soon as the command is back, and holds nobody's pipe.
	local said; said=$(timeout 10 dmfs mount mnt 2>&1)
	# Warnings there may be: of rights that the daemon lacks.
	same "$(grep -v '^dmfs: warning: ' <<<"$said" || true)" ''
	export DMFS_MOUNT=$T/mnt
	mkdir mnt/.control/v
	echo '0 8 zero' >mnt/.control/v/table
	local id; id=$(background)
	same "$(readlink "/proc/$id/cwd")" /
	same "$(sed 's/.*) //' "/proc/$id/stat" | cut -d ' ' -f 3)" "$id"  # leads a process group of its own
	matches "$(readlink "/proc/$id/fd/0") $(readlink "/proc/$id/fd/1") $(readlink "/proc/$id/fd/2")" '^/dev/null /dev/null /dev/null$'
	dmfs umount mnt
	! mounted "$T/mnt"
	until_true 5 gone "$id" || fail "the daemon outlives its mount"
}
test_foreground() {
	mount_dmfs "$T/mnt"
	! gone "$SERVER"
	umount mnt 2>/dev/null || fusermount3 -u mnt
	ended "$SERVER" 0
}

test_refusals_of_mount() {
	mkdir mnt; : >file; ln -s nosuch dangling
	refused 'mount nosuch.*No such file' dmfs mount nosuch
	matches "$(dmfs mount nosuch 2>&1 || true)" 'mkdir nosuch'
	refused 'mount file.*Not a directory' dmfs mount file
	refused 'mount dangling.*No such file' dmfs mount dangling
	refused 'usage|too few' dmfs mount
	refused 'too many' dmfs mount mnt mnt
	refused "no mount option 'cahce'.*cache" dmfs mount mnt -o cahce=none
	refused "no mount option 'nosuch'.*backing, cache, executor, threads, .*allow_other, allow_root" dmfs mount mnt -o rw,nosuch
	refused "cache can't be 'yes'.*cache=none or cache=auto" dmfs mount mnt -o cache=yes
	refused "backing can't be ''.*backing=cached or backing=direct" dmfs mount mnt -o backing
	refused "executor can't be 'x'.*auto, io_uring or threads" dmfs mount mnt -o executor=x
	refused "threads can't be '-1'.*1 to 64" dmfs mount mnt -o threads=-1
	refused "threads can't be '65'" dmfs mount mnt -o threads=65
	refused "exclude" dmfs mount mnt -o allow_other,allow_root
	refused "read-only" dmfs mount mnt -o ro
	refused "can't read nosuch.toml" dmfs mount mnt --config nosuch.toml
	refused 'unrecognized|unknown' dmfs mount mnt --nosuch
	! mounted "$T/mnt"
	same "$(background)" ''
	# What others' words mean is theirs.
	dmfs mount mnt -o rw,defaults,nofail,_netdev,x-systemd.automount,user=me,noauto -o threads=2
	dmfs umount mnt
	refused 'not a dmfs mount' dmfs umount mnt
	refused 'not a dmfs mount' dmfs umount /
	refused 'not a dmfs mount' dmfs umount nosuch
}

# Paths of the folder in every form; a folder that is not empty; names with odd bytes.
test_folders() {
	mkdir -p 'a/with blank' other
	: >other/kept
	ln -s 'a/with blank' link
	local folder
	for folder in 'a/with blank' "$T/a/with blank/" link ./a/../link other $'other/../a/new\nline'; do
		mkdir -p "$folder"
		dmfs mount "$folder"
		dmfs --mount "$folder" create v --table '0 8 zero'
		same "$(dmfs --mount "$folder/" table v)" '0 8 zero '
		[[ -f $folder/v ]]
		dmfs umount "$folder"
		[[ ! -e $folder/v ]]
	done
	[[ -e other/kept ]]
	# From inside, too; that shell stands in the folder itself, so it has to leave first.
	dmfs mount other
	(cd other && dmfs --mount . create v --table '0 8 zero' && [[ -f v ]])
	dmfs umount other
}

test_dead_mount() {
	mkdir mnt
	dmfs mount mnt
	local id; id=$(background)
	kill -9 "$id"
	until_true 5 gone "$id"
	refused "process is gone.*dmfs umount" dmfs mount mnt
	refused 'not connected|is gone' dmfs --mount mnt ls
	dmfs umount mnt
	! mounted "$T/mnt"
	dmfs mount mnt
	dmfs --mount mnt ls >/dev/null
	dmfs umount mnt
}

# mount(8) runs mount.fuse.dmfs SOURCE FOLDER -o OPTIONS.
test_helper() {
	image 1M a.img
	mkdir mnt
	printf '[[volume]]\nname = "v"\ntable = "0 2048 linear a.img 0"\n' >dmfs.toml
	mount.fuse.dmfs dmfs mnt -o rw,cache=auto,nofail
	matches "$(<mnt/.control/options)" 'cache = auto'
	same "$(ls mnt)" ''
	dmfs umount mnt
	mount.fuse.dmfs dmfs.toml mnt -o rw
	same "$(<mnt/.control/v/table)" "0 2048 linear $T/a.img 0"
	dmfs umount mnt
	(cd /; mount.fuse.dmfs "$T/dmfs.toml" "$T/mnt" -n -o rw)
	same "$(<mnt/.control/v/table)" "0 2048 linear $T/a.img 0"
	dmfs umount mnt
	mount.fuse.dmfs none mnt -f
	! mounted "$T/mnt"
	refused 'usage' mount.fuse.dmfs none
	refused "mnt.*no mount option 'nosuch'" mount.fuse.dmfs none mnt -o nosuch
	refused "No such file" mount.fuse.dmfs none nosuch
	refused "nosuch.toml" mount.fuse.dmfs nosuch.toml mnt
	! mounted "$T/mnt"
}

# In a namespace where no other mounts are, so that "the only one" means something.
test_which_mount() {
	local run=(bash)
	if ((UID == 0)) && unshare -m true 2>/dev/null; then
		run=(unshare -m --propagation private bash)
	elif grep -q ' - fuse.dmfs ' /proc/self/mountinfo; then
		skip "other dmfs mounts are there"
	fi
	cat >inside.sh <<-'END'
		set -Eeuo pipefail
		trap 'echo "line $LINENO: $BASH_COMMAND"' ERR
		((UID != 0)) || awk '/ - fuse.dmfs / { print $5 }' /proc/self/mountinfo | while read -r where; do umount -l "$where"; done
		no() { local pattern=$1 said; shift; if said=$("$@" 2>&1); then echo "not refused: $*"; exit 1; fi
			[[ $said =~ $pattern ]] || { echo "$* said '$said', and not '$pattern'"; exit 1; }; }
		mkdir one two
		no 'no dmfs is mounted.*dmfs mount FOLDER' "$DMFS" ls
		"$DMFS" mount one
		"$DMFS" create in_one --table '0 8 zero'
		[[ -f one/in_one ]]
		"$DMFS" mount two
		no "several dmfs are mounted.*--mount $PWD/one.*--mount $PWD/two" "$DMFS" ls
		"$DMFS" --mount two create in_two --table '0 8 zero'
		DMFS_MOUNT=$PWD/one "$DMFS" table in_one >/dev/null
		no 'in_two' env DMFS_MOUNT="$PWD/one" "$DMFS" table in_two
		DMFS_MOUNT=$PWD/one "$DMFS" table --mount "$PWD/two" in_two >/dev/null
		DMFS_MOUNT=nosuch "$DMFS" --mount two table in_two >/dev/null
		no 'nosuch' env DMFS_MOUNT=nosuch "$DMFS" ls
		no 'file|not a dmfs' "$DMFS" --mount /etc ls
		"$DMFS" umount one
		"$DMFS" table in_two >/dev/null
		"$DMFS" umount two
	END
	"${run[@]}" inside.sh
}

test_umount_busy() {
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 linear $T/a.img 0"
	sleep 60 <mnt/v & local id=$!
	uses() { [[ $(readlink "/proc/$id/fd/0") == "$T/mnt/v" ]]; }
	until_true 5 uses
	refused "busy.*process $id \\([a-z]+\\) uses $T/mnt/v.*--lazy" dmfs umount mnt
	kill $id; wait $id || true
	(cd mnt && exec sleep 60) & id=$!
	stands() { [[ $(readlink "/proc/$id/cwd") == "$T/mnt" ]]; }
	until_true 5 stands
	refused "process $id \\([a-z]+\\) uses $T/mnt" dmfs umount mnt
	mounted "$T/mnt"
	cmp mnt/v a.img
	# Gone for everybody at once, and in truth when the last one has left.
	dmfs umount mnt --lazy
	! mounted "$T/mnt"
	! gone "$SERVER"
	kill $id; wait $id || true
	ended "$SERVER" 0
}
test_umount_busy_by_a_loop_device() {
	need_loop
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 linear $T/a.img 0"
	attach_loop mnt/v
	refused "busy.*$LOOP is attached to $T/mnt/v" dmfs umount mnt
	detach_loop "$LOOP"
}
test_umount_of_another_user() {
	need_root
	mount_dmfs "$T/mnt"
	local root=$SERVER
	as_user
	refused 'not permitted' "${AS[@]}" "$DMFS" umount "$T/mnt"
	AS=()
	unmount_dmfs "$root"
}
# What is mounted on a mount is not lost under it.
# A second mount would hide the volumes of the first.
test_mount_on_a_mount() {
	mount_dmfs "$T/mnt"
	new_volume lower '0 8 zero'
	refused 'is a dmfs mount already' "$DMFS" mount mnt
	refused 'is a dmfs mount already' "$DMFS" mount "$T/mnt/" -f
	[[ -e mnt/lower ]]
}
