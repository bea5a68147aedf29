# Names that may not clash, files that are not replaced, and whose mount a command talks to.

# The kernel's own documents make volumes called `log` and `reverse`.
test_names_of_control_files() {
	mount_dmfs "$T/mnt"
	local name all=(version targets log error create options reverse graph keyring .volumes volumes table)
	for name in "${all[@]}"; do
		dmfs create "$name" --table '0 8 zero'
		same "$(dmfs table "$name")" '0 8 zero '
		same "$(stat -c %s "mnt/$name")" 4096
		same "$(<"mnt/.control/.volumes/$name/state")" active
	done
	same "$(dmfs ls | cut -f 1)" "$(printf '%s\n' "${all[@]}" | LC_ALL=C sort)"
	# What .control had before is there, under the names it had.
	[[ -f mnt/.control/log && -f mnt/.control/error && -d mnt/.control/volumes && -d mnt/.control/table ]]
	matches "$(<mnt/.control/version)" '[0-9]'
	# By hand: made, written, renamed, removed.
	dmfs remove "${all[@]}"
	mkdir mnt/.control/.volumes/log
	echo '0 16 zero' >mnt/.control/.volumes/log/table
	same "$(<mnt/.control/.volumes/log/table)" '0 16 zero '
	refused 'File exists' mkdir mnt/.control/log
	refused 'File exists' mkdir mnt/.control/.volumes/log
	mv mnt/.control/.volumes/log mnt/.control/.volumes/graph
	[[ -f mnt/graph && ! -e mnt/log && -f mnt/.control/log ]]
	mv mnt/graph mnt/disk
	# One volume, two places, one owner of both.
	same "$(<mnt/.control/disk/table)" "$(<mnt/.control/.volumes/disk/table)"
	chmod 750 mnt/.control/disk
	same "$(stat -c %a mnt/.control/.volumes/disk)" 750
	refused '' mv mnt/.control/disk mnt/.control/log
	refused '' mv mnt/.control/log mnt/.control/other
	refused "rmdir .control/.volumes/error" unlinking error
	rmdir mnt/.control/.volumes/disk
	same "$(dmfs ls)" 'No devices found'
	# Kept in a configuration, too.
	dmfs create log --table '0 8 zero'
	dmfs save kept.toml
	dmfs remove log
	mkdir again
	dmfs mount again --config kept.toml
	same "$(dmfs --mount again table log)" '0 8 zero '
	dmfs umount again
}
# What .control/error says of an attempt to remove a volume as a file.
unlinking() {
	dmfs create "$1" --table '0 8 zero'
	rm -f "mnt/$1" 2>/dev/null
	cat mnt/.control/error
	dmfs remove "$1"
	return 1
}

test_save_replaces_only_files() {
	mount_dmfs "$T/mnt"
	dmfs create z --table '0 8 zero'
	dmfs save plain
	matches "$(<plain)" 'name = "z"'
	same "$(stat -c %a plain)" 600
	# A link stays, and what it leads to is replaced: whoever has it open has the old text.
	echo precious >real; ln -s real link
	exec 5<real
	dmfs save link
	[[ -L link ]]
	same "$(<real)" "$(<plain)"
	same "$(cat <&5)" precious
	exec 5<&-
	mkfifo pipe
	timeout 10 cat pipe >got & local reader=$!
	dmfs save pipe
	wait $reader
	[[ -p pipe ]]
	same "$(<got)" "$(<plain)"
	same "$(dmfs save -)" "$(<plain)"
	same "$(dmfs save /dev/stdout)" "$(<plain)"
	same "$(dmfs save /dev/stdout | cat)" "$(<plain)"
	dmfs save >kept; same "$(<kept)" "$(<plain)"
	# An open file stays the one that others write to.
	echo first >log
	dmfs save /dev/stderr 2>>log
	dmfs save /dev/fd/7 7>>log
	same "$(<log)" "first
$(<plain)
$(<plain)"
	[[ ! -e - ]]
	ln -s nosuch dangling
	refused 'a link to a file that is not there' dmfs save dangling
	mkdir folder
	refused 'Is a directory' dmfs save folder
	refused 'No such file' dmfs save nosuch/file
	# A picture goes the same ways.
	ln -s picture picture.svg; : >picture
	dmfs graph --svg picture.svg
	[[ -L picture.svg ]]
	matches "$(<picture)" '<svg'
	matches "$(dmfs graph --svg /dev/stdout)" '<svg'
	same "$(find . -name '*.??????' ! -name daemon.log)" ''
	if ((UID == 0)) && mknod nul c 1 3 2>/dev/null && (: >nul) 2>/dev/null; then
		dmfs save nul
		[[ -c nul ]]
	fi
}
test_block_devices_are_not_written() {
	need_loop
	image 1M a.img
	mount_dmfs "$T/mnt"
	local loop; loop=$(losetup --find --show a.img)
	refused 'is a block device' dmfs save "$loop"
	cmp -n 65536 a.img /dev/zero
	detach_loop "$loop"
}

# Folders where a text is read.
test_folders_are_no_texts() {
	mkdir folder mnt2
	refused "can't read folder: Is a directory" dmfs mount mnt2 --config folder
	! mounted "$T/mnt2"
	mount_dmfs "$T/mnt"
	refused 'cannot read the table folder: Is a directory' dmfs create v folder
	[[ ! -e mnt/v ]]
	dmfs create v <(echo '0 8 zero')
	same "$(dmfs table v)" '0 8 zero '
}

# A mount of its own for each, and of another user.
test_a_path_chooses_the_mount() {
	mount_dmfs "$T/one"; mount_dmfs "$T/two"
	unset DMFS_MOUNT
	dmfs --mount one create disk --table '0 8 zero'
	dmfs --mount two create disk --table '0 16 zero'
	same "$(dmfs table "$T/one/disk")" '0 8 zero '
	same "$(cd two && dmfs table ./disk)" '0 16 zero '
	ln -s two link
	same "$(dmfs table link/disk)" '0 16 zero '
	refused 'several dmfs are mounted' dmfs table disk
	same "$(DMFS_MOUNT=$T/one dmfs table disk)" '0 8 zero '
	same "$(DMFS_MOUNT=$T/one dmfs table two/disk)" '0 16 zero '
	refused "is not in $T/one" dmfs --mount "$T/one" table "$T/two/disk"
	dmfs remove one/disk
	[[ ! -e one/disk && -e two/disk ]]
}

# Where root may use what a user has mounted, and no other mount is there.
beside_their_mount() { # reads the script
	need_root; need unshare
	as_user
	unshare -m true || skip "no mount namespaces"
	echo user_allow_other >conf; chmod 644 conf
	{
		cat <<-'END'
			set -Eeuo pipefail
			trap 'echo "line $LINENO: $BASH_COMMAND"' ERR
			awk '/ - fuse.dmfs / { print $5 }' /proc/self/mountinfo | while read -r where; do umount -l "$where"; done
			[[ -e /etc/fuse.conf ]] || touch /etc/fuse.conf
			mount --bind conf /etc/fuse.conf
			no() { local pattern=$1 said; shift; if said=$("$@" 2>&1); then echo "not refused: $*"; exit 1; fi
				[[ $said =~ $pattern ]] || { echo "$* said '$said', and not '$pattern'"; exit 1; }; }
			they() { setpriv --reuid "$E2E_USER" --regid "$(id -g "$E2E_USER")" --clear-groups -- "$@"; }
			they mkdir theirs
			they "$DMFS" mount theirs -o allow_root
		END
		cat
		echo 'they "$DMFS" umount theirs'
	} >inside.sh
	unshare -m --propagation private bash inside.sh
}
test_foreign_mounts_are_asked_for() {
	beside_their_mount <<-'END'
		no "not yours.*--mount $PWD/theirs +$E2E_USER's" dmfs ls
		no 'not yours' dmfs create secret --table '0 8 crypt aes-xts-plain64 00 0 /dev/null 0'
		they "$DMFS" ls >/dev/null
		dmfs --mount theirs create disk --table '0 8 zero'
		[[ $(dmfs table "$PWD/theirs/disk") == '0 8 zero ' ]]
		[[ $(DMFS_MOUNT=theirs dmfs table disk) == '0 8 zero ' ]]
		# One's own is the only one that counts.
		mkdir own; dmfs mount own
		dmfs create mine --table '0 8 zero'
		[[ -e own/mine && ! -e theirs/mine ]]
		dmfs umount own
	END
}
# What another user's mount calls its COW file may be any file of the host by now.
test_foreign_files_stay() {
	beside_their_mount <<-'END'
		they mkdir cows; mkdir root; echo precious >root/s.cow
		they truncate -s 1M a.img
		(cd cows && they "$DMFS" overlay ../a.img s >/dev/null)
		they mv cows kept; they ln -s root cows
		dmfs --mount theirs drop s >said 2>&1
		grep -q 'not your mount, and no file that it names is deleted' said
		[[ $(<root/s.cow) == precious && -e kept/s.cow && ! -e theirs/s ]]
	END
}
# Whose the mount is, is asked of the one that the command spoke to, whatever leads there.
test_a_link_to_their_mount() {
	beside_their_mount <<-'END'
		they mkdir cows
		they truncate -s 1M a.img
		(cd cows && they "$DMFS" overlay ../a.img s >/dev/null)
		they ln -s theirs link
		mkdir own; dmfs mount own
		dmfs --mount link drop s >said 2>&1
		grep -q "$PWD/theirs is not your mount" said
		[[ -e cows/s.cow && ! -e theirs/s ]]
		dmfs umount own
	END
}
# The same in a mount of one's own: a link on the way, or another file by now.
test_only_the_cow_file_is_deleted() {
	image 1M a.img
	mkdir cows other
	echo precious >other/s.cow
	mount_dmfs "$T/mnt"
	(cd cows && dmfs overlay ../a.img s >/dev/null)
	mv cows kept; ln -s other cows
	dmfs drop s >said
	! contains said deleted
	same "$(<other/s.cow)" precious
	(cd kept && rm s.cow && dmfs overlay ../a.img s >/dev/null)
	dmfs drop s >said
	contains said "deleted $T/kept/s.cow"
	[[ ! -e kept/s.cow ]]
}
