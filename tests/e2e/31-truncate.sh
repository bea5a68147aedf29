# A volume keeps its length: what a file would lose to O_TRUNC or truncate(2) reads as zeros, or the call is refused.
# shellcheck shell=bash

used() { dd of="mnt/$1" conv=notrunc bs=1M iflag=fullblock status=none < <(yes | head -c "${2:-8M}"); }
sparse_image() { # SIZE FILE: 64 KiB of data, the rest a hole
	truncate -s "$1" "$2"; random_file 65536 some; dd if=some of="$2" conv=notrunc status=none
}
zeros() { cmp -n "$2" "mnt/$1" /dev/zero; } # VOLUME BYTES

test_copies_onto_a_used_volume() {
	image 8M a.img; sparse_image 8M image; sparse_image 4M half
	mount_dmfs "$T/mnt"
	new_volume v '0 16384 linear a.img 0'
	local how
	for how in 'cp image mnt/v' 'rsync --inplace -S -I image mnt/v' 'qemu-img convert -f raw -O raw image mnt/v' 'nbdcopy image mnt/v'; do
		[[ -n $(type -P "${how%% *}") ]] || continue
		used v
		if $how; then cmp image mnt/v || fail "said done: $how"; else note "refused: $how"; fi
	done
	used v
	cp half mnt/v
	cmp -n $((4 << 20)) half mnt/v
	same "$(stat -c %s mnt/v)" $((8 << 20))
	dd if=mnt/v bs=1M skip=4 status=none | cmp -n $((4 << 20)) - /dev/zero
	[[ -z $(type -P qemu-img) ]] || { used v; qemu-img convert -f raw -O raw half mnt/v; cmp -n $((4 << 20)) half mnt/v; }
	used v
	(($(stat -c %b a.img) > 16000))
	: >mnt/v
	zeros v $((8 << 20))
	(($(stat -c %b a.img) < 100)) || fail "the file below has $(stat -c %b a.img) blocks"
}

test_what_is_behind_stays() {
	image 8M a.img; sparse_image 4M half
	mount_dmfs "$T/mnt"
	new_volume v '0 16384 linear a.img 0'
	used v
	local before; before=$(md5sum <mnt/v)
	same "$(probe truncate 1000 mnt/v)" EPERM
	contains mnt/.control/v/error 'there is data behind byte 1000'
	refused 'not permitted' truncate -s 4M mnt/v
	same "$(probe truncate $((8 << 20)) mnt/v)" 0
	same "$(probe truncate $((9 << 20)) mnt/v)" EFBIG
	same "$(md5sum <mnt/v)" "$before"
	# dd says that it could not cut the file off, and writes.
	dd if=half of=mnt/v bs=512 seek=100 count=1 2>said || contains said 'failed to truncate'
	same "$(dd if=mnt/v bs=512 skip=101 status=none | md5sum)" "$(set +o pipefail; yes | head -c 8M | tail -c +$((101 * 512 + 1)) | md5sum)"
	dd if=mnt/v bs=512 skip=100 count=1 status=none | cmp -n 512 - half
}

test_refused_by_the_mount() {
	image 1M a.img
	mount_dmfs "$T/mnt" -o truncate=refuse
	contains mnt/.control/options 'truncate = refuse'
	new_volume v '0 2048 linear a.img 0'
	used v 1M
	refused 'not permitted' cp a.img mnt/v
	refused 'not permitted' dd if=a.img of=mnt/v count=1
	dd if=mnt/v status=none | cmp - <(yes | head -c 1M)
	fallocate -p -o 0 -l 1M mnt/v
	cp a.img mnt/v # all zeros: nothing would be lost
	mkdir other
	refused 'truncate' "$DMFS" mount "$T/other" -o truncate=perhaps
}

# Whatever the targets: zeros, or an error; and a snapshot that has no room for it keeps what it has.
test_targets() {
	local key table name
	key=$(printf 'ab%.0s' {1..64})
	image 1M a.img b.img; image 4M c.img log.img; image 64K small.img
	mount_dmfs "$T/mnt"
	for table in "linear a.img 0" "striped 2 8 a.img 0 b.img 0" "delay a.img 0 0" "ebs a.img 0 1 8" \
		"crypt aes-xts-plain64 $key 0 a.img 0" "crypt aes-xts-plain64 $key 0 a.img 0 1 allow_discards" \
		"dust a.img 0 512" "flakey a.img 0 100 0" "switch 2 8 0 a.img 0 b.img 0" "log-writes a.img log.img" \
		"chaos a.img 0 1 l:latent,p=0.1" "snapshot-origin a.img" "snapshot a.img c.img P 8" "unstriped 1 8 0 a.img 0"; do
		name=${table%% *}
		new_volume "$name" "0 2048 $table"
		used "$name" 1M
		[[ $name != dust ]] || { echo "0 addbadblock 100" >mnt/.control/dust/message; echo "0 enable" >mnt/.control/dust/message; }
		: >"mnt/$name" || fail "$table: $(<"mnt/.control/$name/error")"
		zeros "$name" $((1 << 20)) || fail "$table: no zeros"
		rmdir "mnt/.control/$name"
	done
	# Logged as one discard, not as so many zeros.
	(($(stat -c %b log.img) < 2200)) || fail "the log has $(stat -c %b log.img) blocks"

	new_volume gone '0 2048 error'
	refused 'Input/output error' dd if=a.img of=mnt/gone count=1
	new_volume part $'0 1024 linear b.img 0\n1024 1024 error'
	dd of=mnt/part conv=notrunc bs=512 status=none < <(yes | head -c 512)
	refused 'Input/output error' cp a.img mnt/part
	dd if=mnt/part count=1 status=none | cmp -n 512 - <(yes)
}

test_snapshots_with_little_room() {
	image 1M o.img; image 64K small.img
	dd of=o.img conv=notrunc status=none iflag=fullblock bs=1M < <(yes | head -c 1M)
	mount_dmfs "$T/mnt"
	new_volume base '0 2048 snapshot-origin o.img'
	new_volume snap '0 2048 snapshot o.img small.img P 8'
	new_volume top '0 2048 linear base 0'
	local each
	for each in base snap top; do
		refused 'No space' dd if=/dev/null of="mnt/$each"
		contains "mnt/.control/$each/error" 'overflow the snapshot'
	done
	cmp mnt/base <(yes | head -c 1M)
	cmp mnt/snap <(yes | head -c 1M)
	matches "$(<mnt/.control/snap/status)" ' 16/128 16'
}

# A terabyte over a sparse file, and a volume that has no end, are no work.
test_large_volumes() {
	truncate -s 1T large.img 2>/dev/null || skip "no file of 1 TiB here"
	mount_dmfs "$T/mnt"
	new_volume v "0 $((1 << 31)) linear large.img 0"
	new_volume endless "0 $((1 << 53)) zero"
	echo x | dd of=mnt/v bs=1M seek=700000 conv=notrunc status=none
	local began=$SECONDS
	timeout 30 truncate -s 0 mnt/v
	timeout 30 truncate -s 0 mnt/endless
	timeout 30 truncate -s 1 mnt/endless
	((SECONDS - began < 30))
	dd if=mnt/v bs=1M skip=700000 count=1 status=none | cmp -n $((1 << 20)) - /dev/zero
	(($(stat -c %b large.img) < 100))
}

# At a suspended volume it waits, and can be killed; by its path as by an open file.
test_suspended_and_read_only() {
	image 1M a.img
	mount_dmfs "$T/mnt"
	new_volume v '0 2048 linear a.img 0'
	used v 1M
	echo suspend >mnt/.control/v/state
	truncate -s 0 mnt/v & local first=$!
	until_true 10 parks v 1
	kill -9 $first
	until_true 10 parks v 0
	wait $first 2>/dev/null || true
	truncate -s 0 mnt/v & first=$!
	until_true 10 parks v 1
	echo resume >mnt/.control/v/state
	wait $first
	zeros v $((1 << 20))
	mkdir mnt/.control/ro
	"$DMFS" load ro --readonly --table '0 2048 linear a.img 0'
	"$DMFS" resume ro
	same "$(probe truncate 0 mnt/ro)" EPERM
	same "$(probe truncate $((1 << 20)) mnt/ro)" 0
}

# With the page cache: what was cached is gone, too.
test_page_cache() {
	image 1M a.img
	mount_dmfs "$T/mnt" -o cache=auto
	new_volume v '0 2048 linear a.img 0'
	used v 1M
	cat mnt/v >/dev/null
	: >mnt/v
	zeros v $((1 << 20))
	cmp a.img /dev/zero -n $((1 << 20))
}
