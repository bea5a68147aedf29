# What the words of a table lead to: files that never answer, paths that change under the walk,
# folders that nobody knows. The mount goes on, and no other file is taken than the one that is meant.

see() { timeout 5 cat "$1"; }
# $T/low/l never answers: the daemon that serves it is stopped.
dead_low() {
	image 1M f
	mount_dmfs "$T/low"
	new_volume l "0 2048 linear $T/f 0"
	LOW=$SERVER
	mount_dmfs "$T/mnt"
	new_volume good "0 2048 linear ram:1M 0"
	new_volume other "0 2048 linear ram:1M 0"
	mkdir mnt/.control/{a,b,c,d,e}
	kill -STOP "$LOW"
}
all_else_answers() {
	timeout 10 cat mnt/.control/version mnt/.control/good/table >/dev/null
	timeout 10 dd if=mnt/good of=/dev/null bs=4k count=1 status=none
	timeout 10 ls -l mnt >/dev/null
	timeout 10 tee mnt/.control/good/state <<<suspend >/dev/null
	timeout 10 tee mnt/.control/good/state <<<resume >/dev/null
	timeout 10 tee mnt/.control/good/table <<<"0 2048 linear ram:1M 0" >/dev/null
}
end_all() { # PROCESS...
	local id
	kill -9 "$@"
	for id; do until_true 10 gone "$id" || fail "who waits survives kill -9: $(cat "/proc/$id/wchan")"; done
}

test_dead_path() {
	dead_low
	local ids=() each
	for each in a b c d e; do
		bash -c "echo '0 2048 linear $T/low/l 0' >mnt/.control/$each/table" 2>/dev/null & ids+=($!)
	done
	for each in 1 2 3; do bash -c "echo 'n$each,,,rw,0 8 linear $T/low/l 0' >mnt/.control/create" & ids+=($!); done
	bash -c "echo '$T/low/l 0' >mnt/.control/reverse" & ids+=($!)
	bash -c "echo 'snapshot s $T/low/l' >mnt/.control/other/state" & ids+=($!)
	sleep 1
	all_else_answers
	# A snapshot with a store that is well.
	image 2M cow
	timeout 10 dmfs snapshot good fine --cow "$T/cow" >/dev/null
	timeout 10 dmfs drop fine
	end_all "${ids[@]}"
	all_else_answers
	kill -CONT "$LOW"
}

# Two processes have one file of a table open, and one waits in it. The other waits for the first one in
# the kernel, which has no way out of that; but both can be killed.
test_two_writers() {
	dead_low
	exec 7>mnt/.control/a/table
	bash -c "echo '0 2048 linear $T/low/l 0' >&7" & local first=$!
	sleep 0.5
	bash -c 'echo "2048 8 zero" >&7' & local second=$!
	sleep 0.5
	all_else_answers
	end_all "$first" "$second"
	exec 7>&-
	same "$(see mnt/.control/a/table)" ''
	kill -CONT "$LOW"
}

# A path flips between a file and a volume of the mount.
test_flipped_path() {
	image 1M f plain
	mount_dmfs "$T/mnt"
	new_volume own "0 2048 linear $T/f 0"
	ln -s plain sw
	flip() {
		trap - ERR
		while [[ -e $T/f ]]; do
			ln -sf mnt/own to-own; mv -T to-own sw; ln -sf plain to-plain; mv -T to-plain sw
		done
	}
	write_tables() { # NAME
		trap - ERR
		local end=$((EPOCHSECONDS + 5)) said
		mkdir "mnt/.control/$1"
		while ((EPOCHSECONDS < end)); do
			echo "0 2048 linear $T/sw 0" >"mnt/.control/$1/inactive" || continue
			said=$(<"mnt/.control/$1/inactive")
			[[ $said == "0 2048 linear own 0" || $said == "0 2048 linear $T/plain 0" ]] || { echo "$1: $said"; return 1; }
		done 2>/dev/null
	}
	flip & local flipper=$!
	local ids=() i
	for i in 1 2 3 4; do write_tables "x$i" >said.$i & ids+=($!); done
	for i in "${ids[@]}"; do wait "$i" || fail "$(cat said.*)"; done
	timeout 5 cat mnt/.control/version >/dev/null
	kill $flipper
	wait $flipper || true
}

no_folder() { # COMMAND...: run in a folder that cannot be known
	refused 'Invalid argument' "$@"
	matches "$(see mnt/.control/v/error)" "begins in a folder that can't be seen from here"
	same "$(see mnt/.control/v/table)" ''
}
in_folder() { # FOLDER COMMAND: writes from there, after the command
	mkdir -p "$1"
	image 1M "$1/disk.img"
	bash -c "cd '$1' && $2 && exec tee '$T/mnt/.control/v/table' >/dev/null" <<<"0 2048 linear disk.img 0"
}
test_folder_that_is_gone() {
	mount_dmfs "$T/mnt"
	mkdir mnt/.control/v
	no_folder in_folder "$T/gone" "rm -r '$T/gone'"
	in_folder "$T/there" :
	same "$(see mnt/.control/v/table)" "0 2048 linear $T/there/disk.img 0"
}
test_folder_under_a_mount() {
	need_root
	mount_dmfs "$T/mnt"
	mkdir mnt/.control/v
	no_folder in_folder "$T/covered" "mount -t tmpfs tmpfs '$T/covered'"
	umount covered
	image 1M covered/disk.img
	mkdir bound
	mount --bind covered bound
	no_folder in_folder "$T/bound" "umount -l '$T/bound'"
}
# A process of which nobody but root is shown anything, since it may not read its own program.
test_folder_that_is_not_shown() {
	need_root
	as_user
	cp "$(type -P tee)" tee
	chmod 711 tee
	mkfifo pause
	"${AS[@]}" "$T/tee" <pause >/dev/null & local paused=$!
	exec 8>pause
	runs_tee() { [[ $(readlink "/proc/$paused/exe") == "$T/tee" ]]; }
	until_true 10 runs_tee
	"${AS[@]}" readlink "/proc/$paused/cwd" >/dev/null 2>&1 && skip "this kernel shows the folder of every process"
	exec 8>&-
	image 1M disk.img
	mount_dmfs "$T/mnt"
	"${AS[@]}" mkdir mnt/.control/v
	hidden() { "${AS[@]}" "$T/tee" mnt/.control/v/table <<<"$1"; }
	refused 'Invalid argument' hidden "0 2048 linear disk.img 0"
	matches "$("${AS[@]}" cat mnt/.control/v/error)" "begins in a folder that can't be seen from here"
	hidden "0 2048 linear $T/disk.img 0" >/dev/null
	same "$("${AS[@]}" cat mnt/.control/v/table)" "0 2048 linear $T/disk.img 0"
}

# A volume that is called as its file.
test_own_name() {
	image 1M disk.img other
	mount_dmfs "$T/mnt"
	dmfs create disk.img --table '0 2048 linear disk.img 0'
	same "$(see mnt/.control/disk.img/table)" "0 2048 linear $T/disk.img 0"
	# Once it has a table the word means the volume; a path always means the file.
	refused 'itself' dmfs load disk.img --table '0 2048 linear disk.img 0'
	dmfs load disk.img --table '0 2048 linear ./disk.img 0'
	# Another volume is no file, also where it has no table yet.
	dmfs create other --notable
	refused 'never had a table' dmfs create third --table '0 2048 linear other 0'
	refused 'never had a table' dmfs create nofile --table '0 2048 linear nofile 0'
}
