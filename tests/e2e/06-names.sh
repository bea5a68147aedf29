# Names, and the ways in which text reaches the controls.

test_names() {
	mount_dmfs "$T/mnt"
	cd mnt/.control
	local name long=$(printf 'n%.0s' {1..127})
	for name in 'with blank' ... .hidden 'a.b' $'new\nline' $'tab\t' $'\xff\xfe' -n --help '*' '\x41' \
		'ünï' control table "$long" '#' "'\""; do
		mkdir -- "$name"
		[[ -f ../$name ]] || fail "no volume '$name'"
		echo '0 8 zero' >"./$name/table"
		same "$(stat -c %s -- "../$name")" 4096
		cat "../$name" >/dev/null
		# Through the command, by a path, so that no name is an option.
		dmfs --manglename hex table "./$name" >/dev/null 2>&1 || dmfs --manglename hex table "$T/mnt/$name" >/dev/null
		refused 'exists' mkdir -- "$name"
		rmdir -- "./$name"
		[[ ! -e ../$name && ! -e ./$name ]] || fail "'$name' is still there"
	done
	refused 'too long|Invalid argument' mkdir "${long}n"
	refused '' mkdir a/b
	refused '' mkdir ..
	refused 'exists|busy|Invalid' mkdir ../.control
	refused 'Invalid argument|exists' mkdir .control
	refused 'Invalid argument' dmfs create a/b -n
	refused 'too long' dmfs create "${long}n" -n
	cd "$T"
}

# All of them at once, listed and kept.
test_names_are_listed() {
	mount_dmfs "$T/mnt"
	local i
	for i in {1..300}; do mkdir "mnt/.control/name $i"; done
	mkdir $'mnt/.control/new\nline' $'mnt/.control/\xff'
	same "$(find mnt -maxdepth 1 -type f -printf x | wc -c)" 302
	same "$(find mnt/.control -mindepth 1 -maxdepth 1 -type d ! -name .volumes -printf x | wc -c)" 302
	same "$(find mnt/.control/.volumes -mindepth 1 -maxdepth 1 -type d -printf x | wc -c)" 302
	for i in {1..300..3}; do rmdir "mnt/.control/name $i"; done
	same "$(find mnt -maxdepth 1 -type f -printf x | wc -c)" 202
	refused 'Invalid or incomplete|Illegal byte|EILSEQ' dmfs save x.toml
	[[ ! -e x.toml ]]
}

test_rename() {
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume one "0 2048 linear $T/a.img 0"
	new_volume two '0 8 linear one 0'
	cd mnt/.control
	exec 5<>../one
	mv one three
	same "$(<two/table)" '0 8 linear three 0'
	[[ ! -e one && ! -e ../one && -f ../three ]]
	echo kept | dd of=/dev/fd/5 conv=notrunc status=none
	exec 5<&-
	same "$(head -c 4 ../three)" kept
	# Onto itself, onto another, onto what is no volume.
	mv -T three three 2>/dev/null || true
	[[ -f ../three ]]
	refused 'busy|exists' mv -T three two
	same "$(<three/table)" "0 2048 linear $T/a.img 0"
	refused '' mv three ../elsewhere
	refused '' mv three/table three/other
	refused '' mv version other
	refused 'No such' mv nosuch x
	refused 'too long|Invalid' mv three "$(printf 'n%.0s' {1..128})"
	[[ -f ../three && -d three ]]
	# In the folder of the volumes, too.
	mv ../three ../four
	[[ -d four && ! -e three ]]
	dmfs rename four 'five six'
	same "$(<two/table)" '0 8 linear five\ six 0'
	same "$(<'five six/events')" 3
	cd "$T"
}

test_remove_while_open() {
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 linear $T/a.img 0"
	new_volume top '0 8 linear v 0'
	refused 'busy' rmdir mnt/.control/v
	matches "$(<mnt/.control/v/error)" 'stand'
	rmdir mnt/.control/top
	exec 5<mnt/v
	refused 'busy' rmdir mnt/.control/v
	matches "$(<mnt/.control/v/error)" 'open'
	refused 'busy' dmfs remove v
	# Force takes the device away from who has it open.
	refused 'busy' dmfs remove -f v
	refused 'Input/output' dd bs=512 count=1 <&5
	same "$(<mnt/.control/v/table)" '0 2048 error '
	echo 'remove deferred' >mnt/.control/v/state
	[[ -e mnt/v ]]
	exec 5<&-
	is_removed() { [[ ! -e mnt/v && ! -e mnt/.control/v ]]; }
	until_true 5 is_removed
	# A control that was open when its volume went.
	new_volume v '0 8 zero'
	exec 5<mnt/.control/v/status 6>mnt/.control/v/table
	rmdir mnt/.control/v
	refused 'No such' cat <&5
	refused 'No such' tee /dev/fd/6 <<<'0 8 zero'
	exec 5<&- 6>&-
	new_volume v '0 16 zero'
	same "$(<mnt/.control/v/table)" '0 16 zero '
}

# Text that comes in pieces, or without its last newline.
test_pieces() {
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume v '0 8 zero'
	cd mnt/.control/v
	# What close decides can't be seen by echo or printf; what it did can.
	printf "0 16 linear $T/a.img 0" >table
	same "$(<table)" "0 16 linear $T/a.img 0"
	{ printf '0 8 ze'; printf 'ro\n8 8 error\n'; } >table
	same "$(<table)" $'0 8 zero \n8 8 error '
	{ printf '0 8 zero\n'; printf '8 24 zero\n'; } >table
	same "$(<table)" $'0 8 zero \n8 24 zero '
	{ cat <<<'0 8 error'; cat <<<'8 8 zero'; } >table
	same "$(<table)" $'0 8 error \n8 8 zero '
	# A process closes what is not its own at its execve(2), and waits there for dmfs.
	{ printf '0 8 zero\n'; { timeout 10 cat /dev/null; } >&2; } >table
	same "$(<table)" '0 8 zero '
	# Half a text of who was killed is dropped: nobody writes the other half.
	echo '0 8 error' >table
	{
		bash -c 'printf "0 8 zero\n8 1"; kill -9 $$' 2>/dev/null || true
		! printf '6 zero\n' 2>/dev/null || fail 'half a text went on'
	} >table
	same "$(<table)" '0 8 error '
	echo '0 8 zero' >table
	# A refusal at close is close's.
	local code=0
	refused 'Invalid argument' dd of=table bs=4096 status=none <<<"$(printf '0 8 zero\n%04086d' 0)"
	matches "$(<error)" 'table refused: Invalid argument'
	same "$(<table)" '0 8 zero '
	printf '# only the comment\n\n  \t0 8   zero   # and this\n\n' >table
	same "$(<table)" '0 8 zero '
	refused 'Invalid argument' tee table <<<''
	refused 'Invalid argument' tee table <<<$'0 8 zero\n9 8 zero'
	matches "$(<error)" 'table:2:'
	printf suspend >state; same "$(<state)" suspended
	printf 'resume\n' >state; same "$(<state)" active
	cd "$T"
}

rows() { # COUNT
	awk -v n="$1" -v file="$T/a.img" 'BEGIN { for (i = 0; i < n; i++) print i * 8, 8, "linear", file, (n - 1 - i) * 8 }'
}
test_ten_thousand_rows() {
	image 40960000 a.img
	local i
	random_file 40960000 a.img
	mount_dmfs "$T/mnt"
	new_volume v '0 8 zero'
	rows 10000 >rows.txt
	(($(stat -c %s rows.txt) > 400000))
	timeout 20 cat rows.txt >mnt/.control/v/table
	timeout 20 diff rows.txt mnt/.control/v/table
	# In blocks that a shell or a script would write.
	local size
	for size in 512 4096 65536; do
		echo '0 8 zero' >mnt/.control/v/table
		timeout 20 dd if=rows.txt of=mnt/.control/v/table bs=$size status=none
		timeout 20 cmp rows.txt mnt/.control/v/table
	done
	head -c -1 rows.txt >unended.txt
	echo '0 8 zero' >mnt/.control/v/table
	# In pieces, and perhaps cut short: in the middle of a number, it would map elsewhere.
	refused 'Invalid argument' timeout 20 sh -c 'cat unended.txt >mnt/.control/v/table'
	matches "$(<mnt/.control/v/error)" 'newline'
	same "$(<mnt/.control/v/table)" '0 8 zero '
	timeout 20 cat rows.txt >mnt/.control/v/table
	# The blocks are there in reverse.
	dd if=mnt/v bs=4096 count=1 status=none | cmp - <(dd if=a.img bs=4096 skip=9999 count=1 status=none)
	dd if=mnt/v bs=1M status=none | cmp - <(split -b 4096 -a 4 a.img piece. && ls -r piece.* | xargs cat)
	rm -f piece.*
	dmfs create other --table "$(rows 1000)"
	same "$(dmfs table other | wc -l)" 1000
	# One wrong row of many: which, and nothing has changed.
	sed '7777s/linear/linaer/' rows.txt >wrong.txt
	refused 'Invalid argument' dmfs load v wrong.txt
	matches "$(dmfs load v wrong.txt 2>&1 || true)" 'table:7777:|:7777:'
	timeout 20 cmp rows.txt mnt/.control/v/table
}

# Many volumes in one write, and their order.
test_create_many() {
	mount_dmfs "$T/mnt"
	awk 'BEGIN { for (i = 0; i < 500; i++) printf "m%d,,,,0 8 zero;", i; print "top,,,ro,0 8 linear m499 0" }' >many
	timeout 20 cat many >mnt/.control/create
	same "$(ls mnt | wc -l)" 501
	refused 'busy' tee mnt/.control/create <<<'new,,,,0 8 zero;m3,,,,0 8 zero;never,,,,0 8 zero'
	contains mnt/.control/error m3
	[[ -e mnt/new && ! -e mnt/never ]]
	dmfs table --concise >kept
	dmfs remove_all
	same "$(ls mnt | wc -l)" 0
	dmfs create --concise <kept
	same "$(dmfs table --concise)" "$(<kept)"
}
