# The back end that asks dmfs, through its command line and the files of its mount.
# $DMFS is the binary, $DMFS_MOUNT the mount. A disk is a plain file, called by its
# absolute path in a table; a volume is called by its name, and I/O goes to MNT/NAME.
be_begin() { :; }
be_end() {
	local f n
	"$DMFS" remove_all -f >/dev/null 2>&1
	for f in "$DMFS_MOUNT"/.control/*/; do
		n=${f%/}; n=${n##*/}; [[ -e $f/table ]] && limited "$DMFS" remove -f --manglename none "$n"
	done
	for f in "$DMFS_MOUNT"/.control/*/table; do [[ ! -e $f ]] || { echo "left: $f"; return 1; }; done
}
be_disk() { "$BLK" fill "$WORKDIR/$1.disk" $(($2 / 512)) "$3"; PATH_OF[$1]=$WORKDIR/$1.disk; }
be_path() { REPLY=$DMFS_MOUNT/$1; }
be_dropcache() { :; }
be_settle() { sleep 0.05; } # the kernel tells FUSE of a close when it finds the time
be_dm() { limited "$DMFS" "$@"; }
be_table_file() { local l; while IFS= read -r l || [[ -n $l ]]; do outward "$l"; printf '%s\n' "$REPLY"; done <"$WORKDIR/table" >"$WORKDIR/table.out"; }
be_create() { local n=$1; shift; be_table_file; [[ " $* " == *" --notable "* ]] || set -- "$@" "$WORKDIR/table.out"; be_dm create "$n" "$@"; }
be_load() { local n=$1; shift; be_table_file; be_dm load "$n" "$@" "$WORKDIR/table.out"; }
be_reload() { be_load "$@" && be_dm suspend "$1" && be_dm resume "$1"; }
be_limits() { sed -nE '/^(logical_block_size|physical_block_size|minimum_io_size) /p; s/^discard_granularity 0$/discards 0/p; s/^discard_granularity .*/discards 1/p' "$DMFS_MOUNT/.control/$1/limits"; }
be_key() { if [[ $1 == add ]]; then printf %s "$4" | "$DMFS" key add "$2" "$3"; else "$DMFS" key remove "$2" "$3"; fi; }
inward() {
	local n f num l e=()
	for n in "${!PATH_OF[@]}"; do e+=(-e "s#${PATH_OF[$n]}\b#@$n#g"); done
	for f in "$DMFS_MOUNT"/.control/*/info; do
		n=${f%/info}; n=${n##*/}; num=none
		case $n in *[!A-Za-z0-9_]*) continue ;; esac
		while IFS= read -r l; do [[ $l =~ ^Major,\ minor:\ *([0-9]+),\ *([0-9]+) ]] && num=${BASH_REMATCH[1]},${BASH_REMATCH[2]}; done <"$f"
		e+=(-e "s#$DMFS_MOUNT/$n\b#@$n#g" -e "s#\(${num/,/(:|, ?)}\)#(@$n)#g" -e "/ dependencies/s#\($n\)#(@$n)#g")
		# a volume's bare name, where a row of a table or of a status names a device
		l="/ (linear|striped|snapshot|snapshot-origin|snapshot-merge) /s#([ =])$n([ ,;]|\$)#\1@$n\2#g"; e+=(-e "$l" -e "$l")
	done 2>/dev/null
	while read -r n; do e+=(-e "$n"); done < <(number_rules 0)
	sed -E "${e[@]}"
}
