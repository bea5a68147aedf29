# The back end that asks the kernel's device mapper, through dmsetup and loop devices.
export DM_DISABLE_UDEV=1
be_begin() { DM_MAJOR=$(sed -n 's/^ *\([0-9]*\) device-mapper$/\1/p' /proc/devices); }
be_end() {
	local i n rc=0
	for ((i = 0; i < 20; i++)); do
		n=$(dmsetup ls --manglename none | grep -v '^No devices' | cut -f1); [[ -z $n ]] && break
		dmsetup remove_all -f >/dev/null 2>&1
		while IFS= read -r n; do dmsetup remove -f --manglename none "$n" >/dev/null 2>&1; done <<<"$n"; sleep 0.1
	done
	[[ -z $(dmsetup ls | grep -v '^No devices') ]] || rc=1
	losetup -D
	return $rc
}
be_disk() {
	"$BLK" fill "$WORKDIR/$1.disk" $(($2 / 512)) "$3"
	PATH_OF[$1]=$(losetup -f --show "$WORKDIR/$1.disk")
}
be_path() { # not /dev/mapper/NAME, which is there only while dmsetup thinks it should be
	local d n
	for d in /sys/block/dm-*; do
		{ read -r n <"$d/dm/name"; } 2>/dev/null && [[ $n == "$1" ]] && { REPLY=/dev/${d##*/}; return; }
	done
	REPLY=/dev/mapper/$1
}
be_dropcache() { blockdev --flushbufs "${PATH_OF[$1]}"; }
be_settle() { :; }
be_dm() {
	local rc=0; limited dmsetup "$@" || rc=$?
	[[ " $* " != *" create "* ]] || dmsetup mknodes >/dev/null 2>&1 # for a volume without a table
	return $rc
}
be_table_file() { local l; while IFS= read -r l || [[ -n $l ]]; do outward "$l"; printf '%s\n' "$REPLY"; done <"$WORKDIR/table" >"$WORKDIR/table.out"; }
be_create() { local n=$1; shift; be_table_file; [[ " $* " == *" --notable "* ]] || set -- "$@" "$WORKDIR/table.out"; be_dm create "$n" "$@"; }
be_load() { local n=$1; shift; be_table_file; be_dm load "$n" "$@" "$WORKDIR/table.out"; }
be_reload() { be_load "$@" && be_dm suspend "$1" && be_dm resume "$1"; }
be_limits() {
	path_of "$1"
	local f queue=/sys/block/${REPLY#/dev/}/queue
	for f in logical_block_size physical_block_size minimum_io_size; do echo "$f $(<"$queue/$f")"; done
	echo "discards $(($(<"$queue/discard_max_bytes") > 0))"
}
be_key() { # add|remove TYPE NAME [TEXT]
	if [[ $1 == add ]]; then printf %s "$4" | keyctl padd "$2" "$3" @u >/dev/null; else keyctl unlink "$(keyctl search @u "$2" "$3")" @u; fi
}
volumes() { # NODE NAME NUMBER of each
	local f n num
	for f in /sys/block/dm-*; do
		{ read -r n <"$f/dm/name" && read -r num <"$f/dev"; } 2>/dev/null && echo "/dev/${f##*/} $n $num"
	done
	# a volume that never had a table is not in /sys; what is in /dev/mapper can be stale, so it comes last
	stat -L -c '%n %n %Hr:%Lr' /dev/mapper/* | sed 's# /dev/mapper/# #'
}
inward() {
	local n f num seen=' ' e=(-e '/: open failed: /d')
	for n in "${!PATH_OF[@]}"; do
		num=$(stat -L -c '%Hr:%Lr' "${PATH_OF[$n]}")
		e+=(-e "s#\((${num/:/, }|${PATH_OF[$n]#/dev/})\)#(@$n)#g" -e "s#(^|[^0-9:.])$num\b#\1@$n#g" -e "s#${PATH_OF[$n]}\b#@$n#g")
	done
	while read -r f n num; do
		[[ $n != *[!A-Za-z0-9_]* && $seen != *" $num "* ]] || continue
		seen+="$num "
		e+=(-e "s#\(${num/:/, }\)#(@$n)#g" -e "s#(^|[^0-9:.])$num\b#\1@$n#g" -e "s#(/dev/mapper/$n|$f)\b#@$n#g" -e "/ dependencies/s#\($n\)#(@$n)#g")
	done < <(volumes)
	while read -r n; do e+=(-e "$n"); done < <(number_rules "$DM_MAJOR")
	sed -E "${e[@]}"
}
