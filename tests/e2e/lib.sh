# lib.sh: what the tests share. Sourced by `run` for each test, in a shell of its own,
# with T, the folder of the test. A command that fails ends the test and is shown.
set -Eeuo pipefail
trap 'blame $? "$BASH_COMMAND"' ERR
cd "$T"

AS=()        # how to run a command as the user of the mount; empty: as this one
SERVER=      # the process of the mount that mount_dmfs made last
SERVERS=()   # those that have to end well when the test is over

blame() {
	local i
	((BASH_SUBSHELL == 0)) || exit "$1"
	echo "exit code $1: $2"
	for ((i = 1; i < ${#FUNCNAME[@]} - 1; i++)); do
		echo "  at $(basename "${BASH_SOURCE[i]}"):${BASH_LINENO[i - 1]}, in ${FUNCNAME[i]}"
	done
	exit 1
} >&2
fail() { trap - ERR; echo "$*"; local i; for ((i = 0; i < ${#FUNCNAME[@]} - 1; i++)); do echo "  at $(basename "${BASH_SOURCE[i + 1]}"):${BASH_LINENO[i]}"; done; kill -USR1 $$ 2>/dev/null; exit 1; } >&2
skip() { trap - ERR; echo "$*"; exit 77; }
note() { echo "note: $*"; }
# `fail` in a subshell has to end the test, too.
trap 'exit 1' USR1

# The test, and then what every test has to leave: mounts that go, processes that end with 0.
one_test() {
	local server
	"$1"
	for server in "${SERVERS[@]}"; do
		[[ -n $server ]] || continue
		unmount_dmfs "$server"
	done
	trap - ERR
}

until_true() { # SECONDS COMMAND...
	local until=$((${EPOCHREALTIME/./} + $1 * 1000000)); shift
	until "$@"; do
		((${EPOCHREALTIME/./} < until)) || return 1
		sleep 0.02
	done
}
# The command is refused, and says what stands in the regular expression.
refused() { # PATTERN COMMAND...
	local pattern=$1 said; shift
	if said=$("$@" 2>&1); then fail "not refused: $*"; fi
	[[ $said =~ $pattern ]] || fail "$* said: '$said', and not: '$pattern'"
}
same() { [[ $1 == "$2" ]] || fail "'$1', and not '$2'"; }
matches() { [[ $1 =~ $2 ]] || fail "'$1' does not match '$2'"; }
gone() { ! kill -0 "$1" 2>/dev/null; }
contains() { [[ $(<"$1") == *"$2"* ]]; } # FILE TEXT

# Who may what.
need_root() { ((UID == 0)) || skip "needs root"; }
need() { local tool; for tool; do [[ -n $(type -P "$tool") ]] || skip "no $tool"; done; }
need_loop() { need_root; need losetup mkfs.ext4 e2fsck; [[ -e /dev/loop-control ]] || skip "no loop devices"; }
# From here on mounts are those of a user without rights, and so is what runs behind "${AS[@]}".
as_user() {
	need fusermount3
	[[ -u $(type -P fusermount3) || $UID != 0 ]] || skip "fusermount3 is not set-user-id"
	[[ -e /etc/mtab ]] || skip "no /etc/mtab, which fusermount3 -u reads"
	if ((UID == 0)); then
		need setpriv
		id "$E2E_USER" >/dev/null 2>&1 || skip "no user $E2E_USER"
		allow_fuse
		AS=(setpriv --reuid "$E2E_USER" --regid "$(id -g "$E2E_USER")" --clear-groups --)
		chown "$E2E_USER" "$T"
	fi
}
# `run` puts it back behind the test.
allow_fuse() {
	local mode; mode=$(stat -c %a /dev/fuse)
	(((8#$mode & 6) != 6)) || return 0
	echo "$mode" >"$RUN/fuse-mode"
	chmod 0666 /dev/fuse
}

# Mounts.
mounted() { grep -qF " $1 " /proc/self/mountinfo; }
mount_dmfs() { # FOLDER [ARGUMENT...]: in the foreground of a background job, so its id is known
	local folder=$1; shift
	[[ -d $folder ]] || "${AS[@]}" mkdir "$folder"
	: >>"$T/daemon.log"
	"${AS[@]}" "$DMFS" mount "$folder" --foreground "$@" </dev/null >>"$T/daemon.log" 2>&1 &
	SERVER=$!
	SERVERS+=("$SERVER")
	export DMFS_MOUNT=$folder
	stands_or_gone() { mounted "$1" || gone "$2"; }
	until_true 10 stands_or_gone "$folder" "$SERVER"
	mounted "$folder" || fail "dmfs did not mount: $(tail -n 5 "$T/daemon.log")"
	eval "FOLDER_$SERVER=\$folder"
}
# Unmounts and expects the daemon to end with 0.
unmount_dmfs() { # [SERVER]
	local server=${1:-$SERVER} folder
	folder=FOLDER_$server; folder=${!folder}
	"${AS[@]}" "$DMFS" umount "$folder"
	ended "$server" 0
}
# The daemon ends by itself, with this code.
ended() { # SERVER CODE
	local code=0 i
	until_true 15 gone "$1" || fail "dmfs is still there: $(cat "/proc/$1/wchan" 2>/dev/null)"
	wait "$1" || code=$?
	((code == $2)) || fail "dmfs ended with $code, and not $2: $(tail -n 5 "$T/daemon.log")"
	for i in "${!SERVERS[@]}"; do [[ ${SERVERS[i]} != "$1" ]] || SERVERS[i]=; done
}
# The daemon ends by itself, well or since something below did not answer.
ended_somehow() { # SERVER
	local i
	until_true 15 gone "$1" || fail "dmfs is still there: $(cat "/proc/$1/wchan" 2>/dev/null)"
	wait "$1" || true
	for i in "${!SERVERS[@]}"; do [[ ${SERVERS[i]} != "$1" ]] || SERVERS[i]=; done
}
# Not by `dmfs`, whose refusals are tested elsewhere.
new_volume() { # NAME TABLE
	"${AS[@]}" mkdir "$DMFS_MOUNT/.control/$1"
	"${AS[@]}" tee "$DMFS_MOUNT/.control/$1/table" <<<"$2" >/dev/null ||
		fail "$("${AS[@]}" cat "$DMFS_MOUNT/.control/$1/error")"
}
image() { "${AS[@]}" truncate -s "$1" "${@:2}"; } # SIZE FILE...
random_file() { head -c "$1" /dev/urandom >"$2"; } # BYTES FILE
# Shared mappings: with cache=auto, and Linux 6.6.
need_mappable() { [[ $(probe map shared "$1" </dev/null) == mapped ]] || skip "no shared mappings here"; } # VOLUME
parked() { local all; all=$(<"$DMFS_MOUNT/.control/$1/inflight"); echo "${all##* }"; }
parks() { (($(parked "$1") == $2)); } # VOLUME COUNT

# Loop devices.
attach_loop() { # FILE [OPTION...] -> LOOP
	LOOP=$(losetup --find --show --direct-io=on "${@:2}" "$1")
	same "$(<"/sys/block/${LOOP##*/}/loop/dio")" 1
}
detach_loop() {
	losetup -d "$1"
	loop_is_free() { [[ ! -e /sys/block/${1##*/}/loop/backing_file ]]; }
	until_true 5 loop_is_free "$1"
}
# A tree with files of many lengths, holes among them.
make_tree() { # FOLDER
	local i
	mkdir -p "$1/deep/er"
	for i in {1..200}; do head -c $((i * i * 13)) /dev/urandom >"$1/deep/file$i"; done
	head -c 9000001 /dev/urandom >"$1/deep/er/large"
	truncate -s 5M "$1/sparse"
	echo text | dd of="$1/sparse" bs=1 seek=3000000 conv=notrunc status=none
	ln -s deep/file7 "$1/link"
}
