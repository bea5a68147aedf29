# shellcheck shell=bash
# The log of log-writes, replayed, gives what the device has, whoever wrote the same sectors at once.

replayed_is_written() {
	image "$1" again.img
	"$DMFS" replay log.img --onto again.img >/dev/null
	cmp disk.img again.img
}

# A's flush is slow; B is written over A, and its flush is done first.
test_overtaken_flush() {
	image 1M disk.img
	image 8M log.img
	mount_dmfs "$T/mnt"
	new_volume low "0 2048 chaos $T/disk.img 0 1"
	new_volume logged "0 2048 log-writes low $T/log.img"
	new_volume x "0 2048 linear logged 0" # the kernel sends one fsync at a time to a file
	new_volume y "0 2048 linear logged 0"
	"$DMFS" message low 0 add slow:slow:1500,on=flush,nth=1
	head -c 8192 /dev/zero | tr '\0' A >a
	head -c 4096 /dev/zero | tr '\0' B >b
	dd if=a of=mnt/x bs=8192 conv=notrunc,fsync status=none &
	local slow=$!
	held() { "$DMFS" message low 0 list | grep -q 'held=1'; }
	until_true 10 held
	dd if=b of=mnt/y bs=4096 conv=notrunc,fsync status=none
	wait "$slow"
	"$DMFS" message logged 0 mark end
	same "$(head -c 1 mnt/logged)" B
	replayed_is_written 1M
	unmount_dmfs
}

# Writes, synced writes and discards of a few blocks, by many at once.
test_many_writers() {
	image 1M disk.img
	image 64M log.img
	mount_dmfs "$T/mnt"
	new_volume logged "0 2048 log-writes $T/disk.img $T/log.img"
	new_volume x "0 2048 linear logged 0"
	new_volume y "0 2048 linear logged 0"
	writer() { # NUMBER
		local i flags=(notrunc notrunc,fsync notrunc,fdatasync) syncs=(direct dsync,direct)
		RANDOM=$1
		for i in {1..25}; do
			if ((RANDOM % 8 == 0)); then
				fallocate --punch-hole -o $((RANDOM % 8 * 4096)) -l $((4096 * (1 + RANDOM % 4))) mnt/x
			fi
			head -c $((4096 * (1 + RANDOM % 4))) /dev/urandom |
				dd of="mnt/$( ((RANDOM % 2)) && echo x || echo y)" bs=16384 iflag=fullblock oflag=seek_bytes,"${syncs[RANDOM % 2]}" \
					seek=$((RANDOM % 8 * 4096)) conv="${flags[RANDOM % 3]}" status=none
		done
	}
	local i writers=()
	for i in 1 2 3 4 5 6; do
		writer "$i" &
		writers+=($!)
	done
	for i in "${writers[@]}"; do wait "$i"; done
	unmount_dmfs
	replayed_is_written 1M
	matches "$("$DMFS" replay log.img --check)" '.'
}
