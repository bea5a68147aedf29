# Sourced by every lesson. A lesson tells a story in five words:
#
#     say    'prose'                    what the reader should know now
#     run    'command'                  shows it, runs it, shows its output; it has to succeed
#     refused 'command'                 the same, and it has to fail
#     so     'sentence' test words...   what this shows; the lesson fails if the test does
#     skip   'reason'                   this cannot be shown here: ends with 77
#
# `run` and `refused` read a command of several lines from standard input.
# The output of the last one is in $out.
#
# A lesson runs in an empty folder of its own, with dmfs mounted on ./dm. What it
# leaves behind is taken away when it ends, however it ends.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

bold='' green='' red='' plain=''
if [[ -t 1 && ${TERM:-dumb} != dumb && -z ${NO_COLOR:-} ]]; then
	bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

# Which dmfs: $DMFS, the one that was built here, or the one that is installed.
if [[ -n ${DMFS:-} ]]; then
	DMFS=$(realpath "$DMFS")
elif [[ -x $here/../build/src/dmfs ]]; then
	DMFS=$(realpath "$here/../build/src/dmfs")
else
	DMFS=$(command -v dmfs) || {
		echo "There is no dmfs: build it (./demo does), or set DMFS to its path." >&2
		exit 1
	}
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/${story:-lesson}.XXXXXX")
cd "$work"
mkdir .bin
ln -s "$DMFS" .bin/dmfs
PATH=$work/.bin:$PATH
out=

skip() {
	echo "This lesson is skipped: $*"
	exit 77
}

clean_up() {
	trap - EXIT INT TERM
	set +e
	cd "$work"
	{
		# Nobody can be ended who waits on a suspended volume's loop device.
		for state in dm/.control/*/state; do echo resume >"$state"; done
		jobs -p | xargs -r kill
		wait
		mountpoint -q mnt && { umount mnt || { sleep 1; umount mnt || umount --lazy mnt; }; }
		for control in dm/.control/*/; do
			[[ $(id -u) == 0 ]] && dmfs detach "$(basename "$control")"
		done
		mountpoint -q dm && { dmfs umount dm || dmfs umount --lazy dm; }
	} >/dev/null 2>&1
	cd /
	rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() {
	echo
	fold -s -w 78 <<<"$*" | sed 's/ *$//'
}

execute() { # COMMAND: its output goes to the reader and to $out, its exit status to $status
	echo
	sed "s/.*/    $bold&$plain/; 1s/^    /  \$ /" <<<"$1"
	status=0
	set +o pipefail  # as at the reader's prompt
	eval "$1" >"$work/.output" 2>&1 </dev/null || status=$?
	set -o pipefail
	out=$(sed 's/^[^ ]*lesson\.sh: line [0-9]*: /bash: /' "$work/.output")  # as if it had been typed
	[[ -z $out ]] || sed 's/^/    /' <<<"$out"
}

run() {
	execute "${1-$(cat)}"
	((status == 0)) || wrong "the command above failed with exit status $status"
}

refused() {
	execute "${1-$(cat)}"
	((status != 0)) || wrong 'the command above ought to have failed'
}

so() {
	local sentence=$1
	shift
	"$@" || wrong "$sentence: this is not so ($*)"
	echo
	echo "  $green=> $sentence$plain"
}

wrong() {
	echo "  $red!! $1$plain" >&2
	exit 1
}

has() { [[ $out == *"$1"* ]]; }
has_not() { [[ $out != *"$1"* ]]; }

# As `so`, for what needs a moment.
soon() {
	local sentence=$1 tries
	shift
	for ((tries = 0; tries < 100; tries++)); do
		"$@" && break
		sleep 0.05
	done
	so "$sentence" "$@"
}

mount_dmfs() { # [OPTION...]
	mkdir -p dm
	export DMFS_MOUNT=$work/dm
	run "dmfs mount dm${*:+ $*}"
}

# A loop device needs root, and a kernel or container that lends some.
can_loop() {
	local probe=$work/.probe loop
	[[ $(id -u) == 0 ]] || return 1
	truncate -s 1M "$probe"
	loop=$(losetup --find --show "$probe" 2>/dev/null) || return 1
	losetup --detach "$loop"
}
