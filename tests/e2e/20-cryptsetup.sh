# A second implementation: cryptsetup encrypts and decrypts the data of LUKS files without
# the device mapper, with OpenSSL's ciphers and vectors of its own. What one of the two
# wrote, the other reads.

# A passphrase, and a derivation from it that costs nothing: no secret is at stake.
begin() {
	need cryptsetup
	[[ $(cryptsetup --help) == *force-offline-reencrypt* ]] || skip "a cryptsetup that can't encrypt files"
	printf secret >passphrase
	mount_dmfs "$T/mnt"
}
fast=(--type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000)
keyslot=(--keyslot-cipher aes-xts-plain64 --keyslot-key-size 512)
luks() { cryptsetup "$@" --key-file passphrase --batch-mode --disable-locks; }
offline() { luks reencrypt "$@" --force-offline-reencrypt --resilience none; }
volume_key() { # HEADER: in hexadecimal
	rm -f key
	luks luksDump "$1" --dump-volume-key --volume-key-file key >/dev/null
	hex key
}
hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }
# The data segment of a header, as a row of a table on the file.
crypt_row() { # HEADER FILE
	local size; size=$(stat -c %s "$2")
	cryptsetup luksDump --dump-json-metadata --disable-locks "$1" | python3 -c '
import json, sys
segment = json.load(sys.stdin)["segments"]["0"]
key, path, size = sys.argv[1:]
offset = int(segment["offset"])
print(0, (int(size) - offset) // 512, "crypt", segment["encryption"], key, segment["iv_tweak"], path, offset // 512,
      "1 sector_size:%d" % segment["sector_size"])' "$(volume_key "$1")" "$2" "$size"
}

# CIPHER KEY-BITS SECTOR-BYTES: there and back, with a change in between.
there_and_back() {
	local cipher=$1 bits=$2 sector=$3
	rm -f header
	cp plain data
	offline --encrypt "${fast[@]}" "${keyslot[@]}" --cipher "$cipher" --key-size "$bits" --sector-size "$sector" --header header data
	refused differ cmp plain data
	new_volume v "$(crypt_row header "$T/data")"
	cmp mnt/v plain
	cp plain changed
	dd if=other of=changed bs=4096 seek=37 conv=notrunc status=none
	dd if=other of=mnt/v bs=4096 seek=37 conv=notrunc,fsync status=none
	cmp mnt/v changed
	dmfs remove v
	offline --decrypt --header header data
	cmp data changed || fail "$cipher with $bits bits, sectors of $sector"
}

test_xts() {
	begin; random_file 1048576 plain; random_file 77824 other
	there_and_back aes-xts-plain64 256 512
	there_and_back aes-xts-plain64 512 4096
	there_and_back aes-xts-plain 512 512
}

test_cbc() {
	begin; random_file 1048576 plain; random_file 77824 other
	there_and_back aes-cbc-essiv:sha256 256 512
	there_and_back aes-cbc-plain64 128 2048
	there_and_back camellia-cbc-plain64 256 4096
}

test_other_vectors() {
	begin; random_file 1048576 plain; random_file 77824 other
	there_and_back aes-cbc-benbi 256 512
	there_and_back aes-cbc-plain64be 192 512
	there_and_back aes-cbc-eboiv 256 4096
	there_and_back aes-ctr-plain64 256 512
	there_and_back camellia-ctr-plain64 128 512
	there_and_back aes-ecb 128 512
}

# The header stands before the data, in one file.
test_header_in_the_file() {
	begin
	random_file 1048576 plain
	cp plain data
	truncate -s 33M data
	offline --encrypt "${fast[@]}" --reduce-device-size 32M --cipher aes-xts-plain64 --key-size 512 data
	new_volume v "$(crypt_row data "$T/data")"
	head -c 1048576 mnt/v | cmp - plain
}

# dmfs encrypts with a key of its own; cryptsetup decrypts by a header that is written later.
test_header_made_later() {
	begin
	local spec cipher sector
	random_file 64 own; random_file 1048576 plain
	for spec in aes-xts-plain64/512 aes-xts-plain64/1024 aes-cbc-essiv:sha256/4096; do
		cipher=${spec%/*} sector=${spec#*/}
		[[ $cipher != *cbc* ]] || truncate -s 32 own
		rm -f header
		truncate -s 1M data
		new_volume v "0 2048 crypt $cipher $(hex own) 0 $T/data 0 1 sector_size:$sector"
		dd if=plain of=mnt/v bs=64K conv=notrunc,fsync status=none
		dmfs remove v
		luks luksFormat "${fast[@]}" "${keyslot[@]}" --cipher "$cipher" --key-size $(($(stat -c %s own) * 8)) --sector-size "$sector" \
			--volume-key-file own --header header data
		refused differ cmp plain data
		offline --decrypt --header header data
		cmp data plain || fail "$spec"
	done
}
