# verity, with veritysetup as a second implementation: it makes trees and checks them, and
# dmfs reads through them.

made() { # DATA HASH OPTION...
	need veritysetup
	veritysetup format "$@" >made
	awk '/^Root hash:/ { print $3 }' made >digest
	[[ -s digest ]]
}
flip() { # FILE BYTE
	local byte
	byte=$(od -An -tu1 -j "$2" -N1 "$1")
	printf "\\$(printf %o $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
status_of() { "$DMFS" status "$1" | cut -d' ' -f4; }

test_format_open_read() {
	random_file $((9 << 20)) data
	mount_dmfs "$T/mnt"
	local shape
	for shape in '' '--format=0 --salt=-' '--hash=sha1 --hash-block-size=512' '--hash=sha512 --data-block-size=1024' \
		'--hash-block-size=1024 --data-block-size=512 --salt=0123456789abcdef' '--no-superblock --salt=77'; do
		rm -f hash
		# shellcheck disable=SC2086
		made data hash $shape
		local options=()
		[[ $shape != --no* ]] || options=(--no-superblock --salt 77)
		"$DMFS" verity open v data hash @digest "${options[@]}"
		cmp data mnt/v
		same "$(status_of v)" V
		# Both find the same bit.
		flip data 5000000
		! veritysetup verify data hash "$(<digest)" "${options[@]}" 2>/dev/null || fail "veritysetup found nothing ($shape)"
		! cmp data mnt/v 2>/dev/null || fail "nothing was found ($shape)"
		same "$(status_of v)" C
		flip data 5000000
		cmp data mnt/v
		veritysetup verify data hash "$(<digest)" "${options[@]}"
		"$DMFS" remove v
	done
}

test_one_file_for_all() {
	# Data, superblock and tree, and parity behind one another in one file.
	random_file $((4 << 20)) data
	cp data disk
	truncate -s 6M disk
	made disk disk --data-blocks=1024 --hash-offset=$((4 << 20)) --fec-device=disk --fec-offset=$((5 << 20)) --fec-roots=8
	mount_dmfs "$T/mnt"
	"$DMFS" verity open v disk disk @digest --hash-offset $((4 << 20)) --fec-device disk --fec-offset $((5 << 20)) --fec-roots 8
	cmp data mnt/v
	local at
	for at in 0 5000 100000 3000000 $((4 << 20)) $(((4 << 20) + 4096)) $(((4 << 20) + 9000)); do flip disk "$at"; done
	"$DMFS" suspend v
	"$DMFS" resume v
	echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || true
	cmp data mnt/v
	same "$(status_of v)" V
}

test_repair() {
	random_file $((8 << 20)) data
	cp data good
	made data hash --fec-device=parity --fec-roots=4
	mount_dmfs "$T/mnt"
	# A whole block, and as much of each sibling as there are roots.
	dd if=/dev/urandom of=data bs=4096 seek=77 count=1 conv=notrunc status=none
	cp hash good.hash
	flip hash 4100
	flip hash 13000
	"$DMFS" verity open v data hash @digest --fec-device parity --fec-roots 4
	cmp good mnt/v
	same "$(status_of v)" V
	contains mnt/.control/log 'data block 77' || fail 'the repair is not in the log'
	# As many siblings as there are roots, and one more.
	"$DMFS" remove v
	cp good data
	cp good.hash hash
	# 2048 blocks and the hash device: so many columns, whose blocks are siblings.
	local blocks columns i
	blocks=$((2048 + $(stat -c %s hash) / 4096 - 1))
	columns=$(((blocks + 250) / 251))
	for i in 0 1 2 3; do dd if=/dev/urandom of=data bs=4096 seek=$((5 + i * columns)) count=1 conv=notrunc status=none; done
	"$DMFS" verity open v data hash @digest --fec-device parity --fec-roots 4
	cmp good mnt/v
	"$DMFS" remove v
	dd if=/dev/urandom of=data bs=4096 seek=$((5 + 4 * columns)) count=1 conv=notrunc status=none
	"$DMFS" verity open v data hash @digest --fec-device parity --fec-roots 4
	! cmp good mnt/v 2>/dev/null || fail 'five of four were repaired'
	same "$(status_of v)" C
}

test_words() {
	need veritysetup
	random_file $((1 << 20)) 'my data'
	made 'my data' hash --salt=ab --uuid=12345678-9abc-def0-1122-334455667788
	matches "$("$DMFS" verity dump hash)" '12345678-9abc-def0-1122-334455667788.*sha256.*256 of 4096 bytes'
	same "$("$DMFS" verity dump hash --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["salt"])')" ab
	same "$("$DMFS" verity table 'my data' hash "$(<digest)" --ignore-corruption --check-at-most-once)" \
		"0 2048 verity 1 $T/my\\ data $T/hash 4096 4096 256 1 sha256 $(<digest) ab 2 ignore_corruption check_at_most_once"
	refused 'no superblock of verity' "$DMFS" verity dump 'my data'
	refused 'cannot open' "$DMFS" verity dump nothing
	refused 'no root digest in hash2' "$DMFS" verity table 'my data' hash @hash2
	refused 'no multiple of 512' "$DMFS" verity dump hash --hash-offset 100
	mount_dmfs "$T/mnt"
	"$DMFS" verity table 'my data' hash @digest | "$DMFS" create --readonly v
	cmp 'my data' mnt/v
	refused 'the table is writable' "$DMFS" create w --table "$("$DMFS" table v)"
	"$DMFS" verity open w "$T/mnt/v" hash @digest
	cmp 'my data' mnt/w
	matches "$("$DMFS" table w)" ' verity 1 v '
}
