# Tables are exchanged under whoever reads and writes.

# Each file says who it is, in every block.
says() { (set +o pipefail; yes "this is $1.img ." | head -c 4M); } # 16 bytes a line
two_files() { says a >a.img; says b >b.img; }
is_untouched() { says "$1" | cmp - "$1.img"; }
table_of() { echo "0 8192 linear $T/$1.img 0"; }

test_seen_at_once() {
	two_files
	mount_dmfs "$T/mnt"
	new_volume v "$(table_of a)"
	exec 5<mnt/v
	local i name
	for ((i = 0; i < 300; i++)); do
		name=$( ((i % 2)) && echo a || echo b)
		table_of $name >mnt/.control/v/table
		same "$(dd bs=16 count=1 status=none <&5)" "this is $name.img ."
		same "$(dd if=mnt/v bs=16 count=1 iflag=direct status=none)" "this is $name.img ."
	done
	exec 5<&-
}

# Also in a mapping: the swap is answered when its pages are gone.
test_seen_mapped() {
	two_files
	mount_dmfs "$T/mnt" -o cache=auto
	new_volume v "$(table_of a)"
	need_mappable mnt/v
	local i name line stale=0
	coproc probe map shared mnt/v
	read -r line <&"${COPROC[0]}"
	same "$line" mapped
	for ((i = 0; i < 300; i++)); do
		name=$( ((i % 2)) && echo a || echo b)
		table_of $name >mnt/.control/v/table
		line=$(head -c 16 mnt/v)
		[[ $line == "this is $name.img ." ]] || ((++stale))
		echo >&"${COPROC[1]}"
		read -r line <&"${COPROC[0]}"
		[[ $line == "this is $name.img .." ]] || ((++stale))
	done
	exec {COPROC[1]}>&-
	wait "$COPROC_PID"
	((stale == 0)) || fail "$stale of 600 reads behind a swap were of the old table"
}

# A new table may be of another size: that, too, is seen at once.
test_sizes() {
	need_root
	two_files
	local option
	for option in cache=none cache=auto; do
		mount_dmfs "$T/mnt" -o $option
		new_volume v '0 4096 zero'
		same "$(stat -c %s mnt/v)" 2097152
		table_of a >mnt/.control/v/table
		same "$(stat -c %s mnt/v)" 4194304
		cmp mnt/v a.img
		echo "0 1024 linear $T/a.img 1" >mnt/.control/v/table
		same "$(stat -c %s mnt/v)" 524288
		cmp mnt/v <(tail -c +513 a.img | head -c 524288)
		table_of b >mnt/.control/v/table
		cmp mnt/v b.img
		unmount_dmfs
	done
}

# 64 writers and 8 who swap: by tables that mean the same (in other rows, by other
# targets, through a volume in between), by load and resume, by suspend and resume.
same_in_rows() { # ROWS
	local i each=$((131072 / $1 / 8 * 8)) at=0
	for ((i = 1; i < $1; i++)); do echo "$at $each linear $T/a.img $at"; at=$((at + each)); done
	echo "$at $((131072 - at)) linear $T/a.img $at"
}
# `echo` of a shell writes a line at a time; a table of many rows goes in one write.
in_one_write() { dd bs=64K status=none <<<"$1" >"$2"; }
swap_tables() { # NUMBER END: counts what was done
	local count=0 table tables=("$(same_in_rows 1)" "$(same_in_rows 7)" "$(same_in_rows 100)"
		"0 131072 striped 1 $((8 << $1 % 3)) $T/a.img 0" '0 131072 linear low 0' '0 131072 striped 1 8 low 0')
	local control=mnt/.control/v
	while ((EPOCHSECONDS < $2)); do
		table=${tables[(count + $1) % ${#tables[@]}]}
		case $(($1 % 4)) in
		# Whoever loads while another does is told so: EBUSY.
		0 | 1) in_one_write "$table" $control/table || true ;;
		2) in_one_write "$table" $control/inactive; echo resume >$control/state ;;
		3) echo suspend >$control/state; echo resume >$control/state ;;
		esac 2>/dev/null
		((++count))
	done
	echo "$count" >swaps.$1
}
swap_under_writers() {
	image 64M a.img
	mount_dmfs "$T/mnt" "$@"
	new_volume low "0 131072 linear $T/a.img 0"
	new_volume v "$(same_in_rows 1)"
	local i ids=() end=$((EPOCHSECONDS + ${SWAP_SECONDS:-10})) writers
	writers -n 64 -t "${SWAP_SECONDS:-10}" -y mnt/v 2>writers.said >/dev/null & writers=$!
	for i in {0..7}; do swap_tables $i $end & ids+=($!); done
	wait "${ids[@]}"
	echo resume >mnt/.control/v/state
	wait $writers || fail "$(<writers.said)"
	note "$(grep -o '[0-9]* writes' writers.said), $(awk '{ n += $1 } END { print n }' swaps.?) swaps"
	awk '{ if ($1 < 20) exit 1 }' swaps.? || fail "too few swaps: $(cat swaps.? | xargs)"
	cmp mnt/v a.img
}
# A table of two rows from a shell's echo, which writes each line for itself: half of it
# may not become the volume, not even for a moment.
test_no_half_table_is_live() {
	image 64M a.img
	mount_dmfs "$T/mnt"
	new_volume v "$(same_in_rows 2)"
	writers -n 4 -t 2 mnt/v 2>writers.said >/dev/null & local writers=$! i
	for i in {1..50}; do echo "$(same_in_rows 2)" >mnt/.control/v/table; done
	wait $writers || fail "$(head -n 3 writers.said)"
	same "$(stat -c %s mnt/v)" $((64 << 20))
}
test_swaps_under_writers() { swap_under_writers; }

# What waits during the suspend goes to the new table, and only there.
test_moved_mapping() {
	two_files
	mount_dmfs "$T/mnt"
	new_volume v "$(table_of a)"
	echo suspend >mnt/.control/v/state
	random_file 4096 data
	dd if=data of=mnt/v bs=4096 seek=3 conv=notrunc status=none & local id=$!
	until_true 5 parks v 1
	table_of b >mnt/.control/v/inactive
	echo resume >mnt/.control/v/state
	wait $id
	dd if=b.img bs=4096 skip=3 count=1 status=none | cmp - data
	is_untouched a
}

# A parked request was cut to the blocks of the old table. The new one has larger ones.
test_larger_blocks_under_a_parked_write() {
	need_loop
	two_files
	cp b.img expected
	random_file 512 data
	dd if=data of=expected bs=512 seek=9 conv=notrunc status=none
	attach_loop "$T/b.img" --sector-size 4096
	mount_dmfs "$T/mnt"
	new_volume v "$(table_of a)"
	echo suspend >mnt/.control/v/state
	dd if=data of=mnt/v bs=512 seek=9 conv=notrunc status=none & local writer=$!
	dd if=mnt/v bs=512 skip=8 count=1 of=got status=none & local reader=$!
	until_true 5 parks v 2
	echo "0 8192 linear $LOOP 0" >mnt/.control/v/inactive
	echo resume >mnt/.control/v/state
	wait $reader
	cmp got <(head -c 512 expected)
	wait $writer
	cmp mnt/v expected
	stress -t 1 -D mnt/v
	unmount_dmfs
	detach_loop "$LOOP"
}

# And one that waits for what is then behind the end: an error, and nothing else.
test_smaller_table_under_a_parked_write() {
	two_files
	mount_dmfs "$T/mnt"
	new_volume v "$(table_of a)"
	echo suspend >mnt/.control/v/state
	dd if=/dev/zero of=mnt/v bs=4096 seek=1000 count=1 conv=notrunc 2>said & local writer=$! code=0
	dd if=mnt/v bs=4096 skip=1000 count=1 of=got 2>/dev/null & local reader=$!
	until_true 5 parks v 2
	echo "0 8 linear $T/b.img 0" >mnt/.control/v/inactive
	echo resume >mnt/.control/v/state
	wait $writer || code=$?
	((code == 1)) || fail "a write behind the new end: $code, $(<said)"
	wait $reader || true
	[[ ! -s got ]] || fail "a read behind the new end gave data"
	is_untouched a
}
