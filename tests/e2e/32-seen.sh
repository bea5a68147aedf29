# What is seen of a volume is what is below it now: read, mapped, and by its times.

says() { (set +o pipefail; yes "this is $1 ...." | head -c 4M); } # 16 bytes a line
files() { local name; for name; do says "$name" >"$name.img"; done; }
put() { printf "$1" | dd of="$2" bs=4096 conv=notrunc,fsync status=none; } # TEXT FILE
mount_mappable() {
	mount_dmfs "$T/mnt" -o cache=auto
	new_volume zeros '0 8 zero'
	need_mappable mnt/zeros
}
# The first four bytes, by a new open and read, and by a new mapping; of a fault its name.
first() { # VOLUME
	local read mapped
	read=$(head -c 4 "mnt/$1" 2>/dev/null || echo EIO)
	mapped=$({ (echo | probe map shared "mnt/$1") 2>/dev/null || true; } | sed -n '2s/^\(....\).*/\1/p')
	echo "$read ${mapped:-EIO}"
}
shows() { same "$1 $(first "$1")" "$1 $2 $2"; }

test_opened_again_it_shows_what_is_below() {
	files a b
	mount_mappable
	put AAAA a.img
	put BBBB b.img
	new_volume low "0 8192 linear $T/a.img 0"
	new_volume top '0 8192 linear low 0'
	shows top AAAA
	put CCCC mnt/low
	shows top CCCC
	put DDDD mnt/top
	shows low DDDD
	new_volume f "0 8192 linear $T/b.img 0"
	shows f BBBB
	put EEEE b.img
	shows f EEEE
	new_volume s "0 8192 switch 2 128 0 $T/a.img 0 $T/b.img 0"
	shows s DDDD
	dmfs message s 0 set_region_mappings 0:1
	shows s EEEE
	new_volume d "0 8192 dust $T/b.img 0 512"
	shows d EEEE
	dmfs message d 0 addbadblock 0
	dmfs message d 0 enable
	shows d EIO
	new_volume c "0 8192 chaos $T/b.img 0 42"
	shows c EEEE
	dmfs message c 0 add bad:error,on=read
	shows c EIO
	new_volume k "0 8192 flakey $T/b.img 0 1 100"
	fails() { [[ $(first k) == 'EIO EIO' ]]; }
	until_true 10 fails
}

# Without cache=auto as before: what a mapping could hold that nobody invalidates is refused.
test_no_shared_mapping_without_cache_auto() {
	files a
	mount_dmfs "$T/mnt"
	new_volume v "0 8192 linear $T/a.img 0"
	same "$(probe map shared mnt/v </dev/null)" ENODEV
	same "$(probe map private mnt/v </dev/null)" mapped
}

# A fault below a mapped page is SIGBUS, and nothing worse.
test_faults_of_mapped_pages() {
	files a
	mount_mappable
	new_volume e '0 8192 error'
	local code=0
	(echo | exec probe map shared mnt/e) >said 2>/dev/null || code=$?
	same "$code" $((128 + 7))
	same "$(<said)" mapped
}

# The file below is the same, by ever another table; or nothing but the gate moves.
change() { # HOW SECONDS
	local end=$((EPOCHSECONDS + $2)) control=mnt/.control/v
	while ((EPOCHSECONDS < end)); do
		case $1 in
		resume) echo resume >$control/state ;;
		swap) echo "0 2048 linear $T/a.img 0" >$control/table; echo "0 2048 striped 1 8 $T/a.img 0" >$control/table ;;
		suspend) echo suspend >$control/state; echo resume >$control/state ;;
		esac
	done
}
hammered() { # HOW...
	image 1M a.img
	mount_mappable
	new_volume v "0 2048 linear $T/a.img 0"
	local how ids=()
	for how; do change "$how" "${HAMMER_SECONDS:-4}" & ids+=($!); done
	timeout "$((${HAMMER_SECONDS:-4} + 46))" hammer "${HAMMER_SECONDS:-4}" mnt/v a.img >said || fail "$(<said)"
	wait "${ids[@]}"
	note "$(tail -n 1 said)"
}
test_hammer_resume() { hammered resume resume; }
test_hammer_swap() { hammered swap; }
test_hammer_suspend() { hammered suspend; }
test_hammer_all() { hammered resume swap suspend; }

# What was stored goes to the table that was there.
test_stored_pages_go_to_their_table() {
	files a b
	mount_mappable
	new_volume v "0 8192 linear $T/a.img 0"
	local line
	coproc probe store 'STORED' mnt/v
	read -r line <&"${COPROC[0]}"
	same "$line" stored
	echo "0 8192 linear $T/b.img 0" >mnt/.control/v/table
	exec {COPROC[1]}>&-
	wait "$COPROC_PID"
	same "$(head -c 6 a.img)" STORED
	says b | cmp - b.img
}
# Also through a suspend, a load and a resume, and a merge.
test_stored_pages_are_there_behind_a_suspend() {
	files a
	mount_mappable
	new_volume v "0 8192 linear $T/a.img 0"
	local line
	coproc probe store 'STORED' mnt/v
	read -r line <&"${COPROC[0]}"
	dmfs suspend v
	same "$(head -c 6 a.img)" STORED
	cp a.img b.img
	echo "0 8192 linear $T/b.img 0" >mnt/.control/v/inactive
	dmfs resume v
	same "$(head -c 6 mnt/v)" STORED
	exec {COPROC[1]}>&-
	wait "$COPROC_PID"
	says a | tail -c +17 | cmp - <(tail -c +17 b.img)
}

# Pages of a suspended volume that are being read hold up nobody but those who read them: not an
# open, a close, a control write, another volume. Who faults can be killed.
test_suspended_while_mapped() {
	files a b
	mount_mappable
	new_volume v "0 8192 linear $T/a.img 0"
	new_volume w "0 8192 linear $T/b.img 0"
	coproc probe map shared mnt/v
	local line mapper=$COPROC_PID i
	read -r line <&"${COPROC[0]}"
	echo suspend >mnt/.control/v/state
	echo >&"${COPROC[1]}"
	until_true 10 parks v 1
	for i in 1 2 3; do
		timeout -s KILL 10 sh -c 'exec 3<mnt/v' || fail "an open waits for pages"
		timeout -s KILL 10 sh -c 'echo suspend >mnt/.control/v/state' || fail "a control write waits for pages"
		timeout -s KILL 10 sh -c 'echo resume >mnt/.control/w/state' || fail "another volume waits for pages"
	done
	kill -9 "$mapper"
	until_true 10 gone "$mapper" || fail "who faults outlives SIGKILL, in $(cat "/proc/$mapper/wchan")"
	timeout -s KILL 10 sh -c 'echo resume >mnt/.control/v/state'
	same "$(head -c 9 mnt/v)" 'this is a'
}

# A page that is being read of a disk which takes its time: other volumes do not wait for it, and
# whoever writes a control file of this one can be killed.
test_slow_pages_hold_up_no_other_volume() {
	files a b
	mount_mappable
	new_volume v "0 8192 delay $T/a.img 0 3600000 $T/a.img 0 0"
	new_volume w "0 8192 linear $T/b.img 0"
	coproc probe map shared mnt/v
	local line mapper=$COPROC_PID
	read -r line <&"${COPROC[0]}"
	echo >&"${COPROC[1]}"
	held() { [[ $(<mnt/.control/v/inflight) != '0 0 0' ]]; }
	until_true 10 held
	exec 5<mnt/w
	sh -c 'exec tee mnt/.control/v/state <<<suspend' >/dev/null 2>&1 || sh -c 'echo suspend >mnt/.control/v/state' & local waits=$!
	timeout -s KILL 10 sh -c 'echo resume >mnt/.control/w/state' || fail "another volume waits"
	kill -9 "$waits" 2>/dev/null || true
	until_true 10 gone "$waits" || fail "who waits outlives SIGKILL"
	kill -9 "$mapper"
	exec 5<&-
	kill -TERM "$SERVER"
	ended "$SERVER" 0
}

# Times.
mtime() { stat -c %.9Y "$1"; }
ctime() { stat -c %.9Z "$1"; }
moves() { # VOLUME WHAT COMMAND...
	local volume=mnt/$1 what=$2 before before_ctime; shift 2
	before=$(mtime "$volume") before_ctime=$(ctime "$volume")
	sleep 0.05
	[[ $(mtime "$volume") == "$before" ]] || fail "mtime moves by itself"
	"$@"
	[[ $(mtime "$volume") != "$before" ]] || fail "$what: mtime stays"
	[[ $(ctime "$volume") != "$before_ctime" ]] || fail "$what: ctime stays"
}
stays() { # VOLUME WHAT COMMAND...
	local volume=mnt/$1 what=$2 before; shift 2
	before=$(mtime "$volume")
	sleep 0.05
	"$@"
	same "$what: $(mtime "$volume")" "$what: $before"
}
test_times_move_with_what_is_read() {
	files a b
	mount_dmfs "$T/mnt"
	new_volume low "0 8192 linear $T/a.img 0"
	new_volume left '0 8192 linear low 0'
	new_volume right '0 8192 linear low 0'
	new_volume top $'0 4096 linear left 0\n4096 4096 linear right 4096'
	new_volume other "0 8192 linear $T/b.img 0"
	stays low 'created, and looked at' sleep 0.1
	moves low 'a write' put new mnt/low
	moves low 'a discard' fallocate -p -o 4096 -l 4096 mnt/low
	moves low 'a zeroing' fallocate -z -o 4096 -l 4096 mnt/low
	moves top 'a write two volumes below' put newer mnt/low
	moves low 'a write by the volume above' put newest mnt/top
	stays other 'a write to others' put last mnt/top
}
test_times_move_with_what_is_read_by_swaps() {
	files a b
	mount_dmfs "$T/mnt"
	new_volume low "0 8192 linear $T/a.img 0"
	new_volume top '0 8192 linear low 0'
	swap() { echo "0 8192 linear $T/b.img 0" >mnt/.control/low/table; }
	moves low 'a swap' swap
	moves top 'a swap below' swap
	new_volume s "0 8192 switch 2 128 0 $T/a.img 0 $T/b.img 0"
	moves s 'regions of a switch' dmfs message s 0 set_region_mappings 0:1
	stays top 'reads' head -c 4096 mnt/top >/dev/null
	stays top 'fsync' sync mnt/top
	stays top 'suspend and resume' dmfs suspend top
	dmfs resume top
	stays top 'a write to another volume' put else mnt/s
}
test_times_move_with_a_merge() {
	files a
	mount_dmfs "$T/mnt"
	new_volume disk "0 8192 linear $T/a.img 0"
	dmfs snapshot disk before >/dev/null
	moves before 'a write to a snapshot' put new mnt/before
	moves disk 'a merge' dmfs merge before >/dev/null
	same "$(head -c 3 mnt/disk)" new
}
test_times_can_be_set() {
	files a
	mount_dmfs "$T/mnt"
	new_volume v "0 8192 linear $T/a.img 0"
	moves v 'touch' touch mnt/v
	touch -d '2001-02-03 04:05:06.789 UTC' mnt/v
	same "$(TZ=UTC stat -c '%.3Y %.3X' mnt/v)" '981173106.789 981173106.789'
	stays v 'reads' head -c 4096 mnt/v >/dev/null
	moves v 'a write behind it' put new mnt/v
	chmod 640 mnt/v
	same "$(stat -c %a mnt/v)" 640
	stays v 'chmod' chmod 600 mnt/v
	touch -r a.img mnt/v
	same "$(mtime mnt/v)" "$(mtime a.img)"
}
# What this is for.
test_rsync_sees_a_write() {
	need rsync
	files a
	mount_dmfs "$T/mnt"
	new_volume v "0 8192 linear $T/a.img 0"
	rsync -a mnt/v copy
	sleep 1.1
	put 'other bytes' mnt/v
	rsync -a mnt/v copy
	cmp mnt/v copy
}
