# Verbs of a scenario. A scenario is a bash file of these verbs and little
# else; running it prints a transcript. The same scenario runs against the
# kernel's device mapper (backend-kernel.sh) and against dmfs (backend-dmfs.sh).
#
# Names: `disk a 4M 1` makes a backing disk, written @a in tables and in
# transcripts; a volume v is written @v where a table stacks on it. A @name that
# is neither is handed on as it stands.
#
#   disk NAME SIZE [SEED]           a disk whose every sector says seed:sector (0: zeros)
#   create NAME [OPTION...] <<TABLE     make the volume and load its table
#   reload NAME <<TABLE             load an inactive table and swap it in (suspend, resume)
#   load NAME [OPTION...] <<TABLE   load the inactive table only
#   suspend|resume|clear|remove NAME    rename NAME NEW
#   table|status|inactive NAME      what the table and the status read back
#   message NAME SECTOR WORD...     a target message, with its answer
#   stats NAME WORDS...             @stats_print or @stats_print_clear, its times as `t`
#   dm ARGUMENT...                  any other dmsetup command: its output
#   lines REGEX ARGUMENT...         the same, only the lines that match, sorted
#   await NAME REGEX                wait (60 s) until the status matches
#   write NAME SECTOR COUNT SEED    zero|read|discard|zeroout NAME SECTOR COUNT
#   runs NAME [SECTOR COUNT]        what data stands where        size|flush NAME
#   dump NAME SECTOR COUNT          its bytes, 16 a line; lines of zeros are left out
#   hold NAME | release NAME        keep the volume open (read-only), and let go
#   held VERB NAME [...]            I/O through the descriptor that hold opened
#   begin VERB NAME [...]           I/O in the background; `pending` says whether it
#   pending | finish                still waits, `finish` waits for it and shows its answer
#   flip NAME BYTE                  damage one byte of a disk
#   check COMMAND...                a tool run on @names: its exit status only
#   show COMMAND...                 a tool run on @names: its output too
#   note TEXT                       a comment in the transcript
#   departs ANSWER WHY              dmfs answers the next verb with ANSWER, on purpose
#   limits NAME                     block sizes, and whether it takes discards
#   key add TYPE NAME TEXT          a key that tables can name; key remove TYPE NAME
#   pause SECONDS
# A verb that the implementation refuses prints `refused: ERRNO` (or `refused`,
# where the tool knew no errno), and the scenario goes on.

say() { printf '%s\n' "$*"; }
verb() { local t="$*"; printf '$ %s\n' "${t//$WORKDIR\//}"; }
quoted() { # the words as they were written: quotes around those that need them
	local w t=
	for w; do case $w in *[!A-Za-z0-9_@%+=:,./-]* | '') w="'$w'" ;; esac; t+=${t:+ }$w; done
	printf '%s\n' "$t"
}
table_in() { [[ " $* " != *" --notable "* ]] || { : >"$WORKDIR/table"; return; }; cat >"$WORKDIR/table"; sed 's/^/| /' "$WORKDIR/table"; }

# @name -> what the implementation calls it (in REPLY); back is the back end's `inward`
path_of() { REPLY=${PATH_OF[$1]:-}; [[ -n $REPLY ]] || be_path "$1"; }
outward() {
	local rest=$1 to=
	while [[ $rest =~ ^([^@]*)@([A-Za-z0-9_]*)(.*)$ ]]; do
		to+=${BASH_REMATCH[1]}; rest=${BASH_REMATCH[3]}
		local n=${BASH_REMATCH[2]}
		if [[ -n $n ]] && path_of "$n" && [[ -e $REPLY ]]; then to+=$REPLY; else to+=@$n; fi
	done
	REPLY=$to$rest
}
errno_of() { sed -n -E 's/.*(Invalid argument).*/EINVAL/p; s/.*(No such device or address).*/ENXIO/p; s/.*(No such device)$/ENODEV/p; s/.*(No such file or directory).*/ENOENT/p; s/.*(Device or resource busy).*/EBUSY/p; s/.*(File exists).*/EEXIST/p; s/.*(Cannot allocate memory).*/ENOMEM/p; s/.*(Input\/output error).*/EIO/p; s/.*(Operation not permitted).*/EPERM/p; s/.*(No data available).*/ENODATA/p; s/.*(Key was rejected).*/EKEYREJECTED/p; s/.*(No space left).*/ENOSPC/p; s/.*(Numerical result out of range).*/ERANGE/p; s/.*(Read-only file system).*/EROFS/p; s/.*(Operation not supported).*/EOPNOTSUPP/p; s/.*(Invalid or incomplete multibyte).*/EILSEQ/p; s/.*(Protocol error).*/EPROTO/p; s/.*(Required key not available).*/ENOKEY/p; s/.*(Permission denied).*/EACCES/p; s/.*(File name too long).*/ENAMETOOLONG/p; s/.*(Value too large).*/EOVERFLOW/p; s/.*(Block device required).*/ENOTBLK/p; s/.*(Inappropriate ioctl).*/ENOTTY/p; s/.*(Resource temporarily unavailable).*/EAGAIN/p; s/.*(Key has been revoked).*/EKEYREVOKED/p; s/.*(Argument list too long).*/E2BIG/p; s/.*(Device does not exist|device doesn.t exist).*/ENXIO/p' | head -1; }
answer() { # answer RC FILE
	if (($1 == 0)); then [[ -s $2 ]] && inward <"$2" | sed 's/^/  /'; return 0; fi
	(($1 == 124 || $1 == 137)) && { say "  hangs"; return 0; }
	local e; e=$(errno_of <"$2"); say "  refused${e:+: $e}"
}
try() { local rc=0; "$@" >"$WORKDIR/out" 2>&1 </dev/null || rc=$?; answer $rc "$WORKDIR/out"; }
limited() { timeout -k 1 "${VERB_SECONDS:-20}" "$@"; }

disk()    { verb disk "$@"; local n=$1; be_disk "$n" "$(numfmt --from=iec "$2")" "${3:-0}"; }
create()  { verb create "$@"; table_in "$@"; try be_create "$@"; }
load()    { verb load "$@"; table_in; try be_load "$@"; }
reload()  { verb reload "$@"; table_in; try be_reload "$@"; }
suspend() { verb suspend "$@"; try be_dm suspend "$@"; }
resume()  { verb resume "$@"; try be_dm resume "$@"; }
clear()   { verb clear "$@"; try be_dm clear "$@"; }
remove()  { verb remove "$@"; try be_dm remove "$@"; }
rename()  { verb rename "$@"; try be_dm rename "$@"; }
table()   { verb table "$@"; try be_dm table "$@"; }
inactive() { verb inactive "$@"; try be_dm table --inactive "$@"; }
status()  { verb status "$@"; try be_dm status "$@"; }
message() { verb message "$@"; local n=$1 s=$2; shift 2; outward "$*"; try be_dm message "$n" "$s" "$REPLY"; }
stats()   { verb stats "$@"; be_dm message "$1" 0 "${@:2}" 2>&1 </dev/null | awk 'NF > 9 { $5 = $9 = $11 = $12 = $13 = $14 = "t" } { print "  " $0 }'; }
dm()      { verb dm "$(quoted "$@")"; local a=() w; for w; do outward "$w"; a+=("$REPLY"); done; try be_dm "${a[@]}"; }
lines()   { verb lines "$(quoted "$@")"; local r=$1; shift; be_dm "$@" 2>&1 </dev/null | grep -E -- "$r" | sort | inward | sed 's/^/  /'; }
await()   { verb await "$@"; local i; for ((i = 0; i < 600; i++)); do be_dm status "$1" 2>&1 | inward | grep -Eq -- "$2" && return; sleep 0.1; done; say "  never"; }
blk()     { local rc=0; limited "$BLK" "$@" 2>&1 || rc=$?; ((rc == 0)) || say "  hangs"; }
io()      { verb "$@"; local v=$1 n=$2; shift 2; path_of "$n"; blk "$v" "$REPLY" "$@"; }
write()   { io write "$@"; }
zero()    { io zero "$@"; }
read_()   { io read "$@"; }
runs()    { io runs "$@"; }
dump()    { io dump "$@"; }
size()    { io size "$@"; }
flush()   { io flush "$@"; }
discard() { io discard "$@"; }
zeroout() { io zeroout "$@"; }
hold()    { verb hold "$@"; local fd; path_of "$1"; if { exec {fd}<"$REPLY"; } 2>"$WORKDIR/out"; then HELD[$1]=$fd; else answer 1 "$WORKDIR/out"; fi; }
release() { verb release "$@"; local fd=${HELD[$1]:-}; [[ -n $fd ]] || { say "  not held"; return; }; exec {fd}<&-; unset "HELD[$1]"; be_settle; }
held()    { verb held "$@"; local v=$1 n=$2; shift 2; blk "$v" "fd:${HELD[$n]}" "$@"; }
begin()   { verb begin "$@"; local v=$1 n=$2; shift 2; path_of "$n"; (blk "$v" "$REPLY" "$@") >"$WORKDIR/began" </dev/null & BEGUN=$!; }
pending() { verb pending; sleep 0.3; if kill -0 "$BEGUN" 2>/dev/null; then say "  yes"; else say "  no"; fi; }
finish()  { verb finish; wait "$BEGUN"; BEGUN=; cat "$WORKDIR/began"; }
flip()    { verb flip "$@"; "$BLK" flip "$WORKDIR/$1.disk" "$2"; be_dropcache "$1"; }
check()   { verb check "$@"; local rc=0; outward "$*"; bash -c "$REPLY" >"$WORKDIR/out" 2>&1 </dev/null || rc=$?; say "  exit $rc"; }
show()    { verb show "$@"; local rc=0; outward "$*"; bash -c "$REPLY" >"$WORKDIR/out" 2>&1 </dev/null || rc=$?; inward <"$WORKDIR/out" | sed 's/^/  /'; say "  exit $rc"; }
note()    { say "# $*"; }
departs() { say "# dmfs answers '$1': ${*:2}"; }
limits()  { verb limits "$@"; be_limits "$1" | sed 's/^/  /'; }
key()     { verb key "$@"; try be_key "$@"; }
pause()   { verb pause "$@"; sleep "$1"; }

declare -gA PATH_OF=() HELD=()
BEGUN=

# For a back end's inward: what is left of the numbers that one machine gives and
# another does not. $1: the major number of volumes, as a regular expression.
number_rules() {
	printf '%s\n' "s#^(Major, minor: +)[0-9]+, *[0-9]+#\1N, N#" \
		"/^Read Ahead: /d" \
		"s#^(.{16}) +$1 +[0-9]+ ([L-][I-][s-][rw] )#\1   N   N \2#" \
		"s#^([^:]*):$1:[0-9]+:([L-][I-][s-][rw]:)#\1:N:N:\2#" \
		"s#\(($1)(:|, ?)[0-9]+\)#(@?)#g"
}

run_scenario() { # run_scenario FILE: the transcript on standard output
	WORKDIR=$(mktemp -d); PATH_OF=() HELD=() BEGUN=
	be_begin
	# `read` is bash's own; the scenario's word is mapped to read_
	sed -E "s/^read /read_ /" "$1" >"$WORKDIR/scenario"; source "$WORKDIR/scenario"
	local fd; for fd in "${HELD[@]}"; do exec {fd}<&-; done
	be_end >"$WORKDIR/end" 2>&1 || { say "!! the volumes could not be removed"; cat "$WORKDIR/end"; }
	[[ -z $BEGUN ]] || wait "$BEGUN"
	rm -rf "$WORKDIR"
}

# Back-end functions: be_begin be_end be_disk be_path be_dm be_create be_load
# be_reload be_dropcache be_settle be_limits be_key, and the filter `inward`, which turns the
# implementation's names for disks and volumes into @name.
