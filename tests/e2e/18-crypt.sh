# crypt: what is on the file; where keys are seen, and where not; keyrings; real filesystems.

KEY=a1b2c3d4e5f60718293a4b5c6d7e8f90fedcba98765432100f1e2d3c4b5a6978
KEY+=11335577991bbddff02244668aaccee0123498765abcdef9876541230fedcba9
OTHER=${KEY:64}${KEY:0:64}
NO_KEY=${KEY//?/0}

start() { # [OPTION]
	[[ -e a.img ]] || random_file 4194304 a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 2048 crypt aes-xts-plain64 $KEY 0 $T/a.img 0${1:+ $1}"
}
# No piece of the key, of 16 digits, is in it.
keyless() { # TEXT
	local at
	for ((at = 0; at + 16 <= ${#KEY}; at += 8)); do
		[[ ${1,,} != *"${KEY:at:16}"* ]] || fail "a piece of the key is in: $1"
	done
}

test_what_is_on_the_file() {
	start
	random_file 1048576 data
	dd if=data of=mnt/v bs=64K conv=notrunc,fsync status=none
	cmp data mnt/v
	! cmp -s -n 512 data a.img
	# Other tables, the same bytes: cut in two rows, and by the crypto API's name.
	new_volume cut "0 1000 crypt aes-xts-plain64 $KEY 0 $T/a.img 0
1000 1048 crypt capi:xts(aes)-plain64 $KEY 1000 $T/a.img 1000"
	cmp data mnt/cut
	new_volume wrong "0 2048 crypt aes-xts-plain64 $OTHER 0 $T/a.img 0"
	! cmp -s -n 512 data mnt/wrong
	# Any bytes, in any pieces, also where sectors are large.
	new_volume large "0 2048 crypt aes-xts-plain64 $KEY 0 $T/a.img 4096 2 sector_size:4096 iv_large_sectors"
	same "$(grep logical <mnt/.control/large/limits)" 'logical_block_size 4096'
	cp data want
	dd if=data of=mnt/large bs=64K conv=notrunc status=none
	printf 'in the middle' | dd of=mnt/large bs=1 seek=12345 conv=notrunc status=none
	printf 'in the middle' | dd of=want bs=1 seek=12345 conv=notrunc status=none
	cmp want mnt/large
}

# Python computes what has to be on the file.
test_another_program_decrypts_it() {
	need python3 && python3 -c 'from cryptography.hazmat.primitives.ciphers import Cipher' 2>/dev/null || skip "no python3-cryptography"
	start
	random_file 65536 data
	dd if=data of=mnt/v bs=4096 seek=3 conv=notrunc status=none
	python3 - "$KEY" >plain <<-'PYTHON'
	import sys
	from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
	key = bytes.fromhex(sys.argv[1])
	with open("a.img", "rb") as file:
	    for sector in range(24, 152):
	        file.seek(sector * 512)
	        xts = Cipher(algorithms.AES(key), modes.XTS(sector.to_bytes(16, "little"))).decryptor()
	        sys.stdout.buffer.write(xts.update(file.read(512)))
	PYTHON
	cmp plain data
}

test_keys_are_shown_only_where_they_are_asked_for() {
	start
	same "$(<mnt/.control/v/table)" "0 2048 crypt aes-xts-plain64 $NO_KEY 0 $T/a.img 0"
	same "$(<mnt/.control/v/showkeys)" "0 2048 crypt aes-xts-plain64 $KEY 0 $T/a.img 0"
	same "$(stat -c %a mnt/.control/v/showkeys)" 400
	same "$(dmfs table v)" "0 2048 crypt aes-xts-plain64 $NO_KEY 0 $T/a.img 0"
	same "$(dmfs table --showkeys v)" "0 2048 crypt aes-xts-plain64 $KEY 0 $T/a.img 0"
	matches "$(dmfs table --concise --showkeys v)" "plain64 $KEY 0"
	dmfs load v --table "0 8 crypt aes-xts-plain64 $OTHER 0 a.img 0"
	keyless "$(dmfs table --inactive v)"
	matches "$(dmfs table --inactive --showkeys v)" "$OTHER"
	local said
	said=$(cat mnt/.control/{version,targets,log,error,options,graph,keyring} mnt/.control/v/{table,inactive,status,info,deps,measure,explain,message,error} \
		2>&1; dmfs ls --tree; dmfs ls --target crypt; dmfs table; dmfs table --json; dmfs table --concise; dmfs info; dmfs graph; dmfs explain v 0; dmfs explain v 0 --dot; dmfs trace --help)
	keyless "$said"
	# What is read while it is written to.
	timeout 20 dmfs trace --count 2 v >trace & local tracer=$!
	local i
	for ((i = 0; i < 100; i++)); do dd if=mnt/v of=/dev/null bs=4096 count=1 status=none; gone $tracer && break; sleep 0.05; done
	wait $tracer
	keyless "$(<trace)"
	keyless "$(<daemon.log)"
}

test_no_refusal_shows_a_key() {
	start
	local table said
	said=
	for table in "0 2048 crypt aes-xts-plain64 ${KEY}00 0 a.img 0" "0 2048 crypt aes-xts-plain64 ${KEY:0:100}x${KEY:101} 0 a.img 0" \
		"0 2048 crypt nonsense $KEY 0 a.img 0" "0 2048 crpyt aes-xts-plain64 $KEY 0 a.img 0" "0 2048 crypt $KEY 0 a.img 0" \
		"0 2048 crypt aes-xts-plain64 $KEY x a.img 0" "0 2048 crypt aes-xts-plain64 $KEY 0 nowhere 0" "0 2048 $KEY" "$KEY" \
		"0 2048 crypt aes-xts-plain64 0 $KEY 0 a.img 0" "0 2048 crypt aes-xts-plain64 $KEY 0 a.img 0 1 $KEY" "0 99999999 crypt aes-xts-plain64 $KEY 0 a.img 0"; do
		if said+=$(dmfs create w --table "$table" 2>&1); then fail "not refused: $table"; fi
		if said+=$(dmfs create w <<<"$table" 2>&1); then fail "not refused: $table"; fi
		if said+=$(dmfs create w "$table" 2>&1); then fail "not refused: $table"; fi
		if said+=$(dmfs create --concise "w,,,rw,$table" 2>&1); then fail "not refused: $table"; fi
		if said+=$(dmfs create --concise "w,,$table" 2>&1); then fail "not refused: $table"; fi
		said+=$(cat mnt/.control/error)
		printf '[[volume]]\nname = "w"\ntable = """\n%s\n"""\n' "$table" >bad.toml
		mkdir -p second
		if said+=$(dmfs mount second --config bad.toml 2>&1); then fail "mounted: $table"; fi
	done
	dmfs suspend v
	for words in "key set ${KEY}00" "key set ${KEY:0:100}xy" "key sat $KEY" "kay set $KEY" "$KEY" "key set x $KEY"; do
		if said+=$(dmfs message v 0 $words 2>&1); then fail "not refused: $words"; fi
		said+=$(<mnt/.control/v/error)
	done
	for words in "add logon x ${KEY}1" "add logon x ${KEY:0:100}xy" "add nonsense x $KEY" "add $KEY" "$KEY" "add logon x y $KEY"; do
		if tee mnt/.control/keyring <<<"$words" >/dev/null 2>&1; then fail "not refused: $words"; fi
		said+=$(<mnt/.control/error)
	done
	said+=$(<mnt/.control/log)
	keyless "$said"
	matches "$said" '\*\*\*\*\*\*\*\*\*\*\*\*\*\*\*\*'
	matches "$said" 'takes no key of 65 bytes'
}

# The memory of a process that others may look at, byte by byte.
memory_of() { # PROCESS
	local from pages
	awk '/^[0-9a-f]+-[0-9a-f]+ / { split($1, ends, "-"); writes = $2 ~ /^rw/ } /^VmFlags:/ && writes && !/ dd/ { print ends[1], ends[2] }' \
		"/proc/$1/smaps" >regions
	while read -r from pages; do
		pages=$(((16#$pages - 16#$from) / 4096)) from=$((16#$from / 4096))
		((pages <= 65536)) || continue  # what is only reserved
		dd if="/proc/$1/mem" bs=4096 skip=$from count=$pages status=none 2>/dev/null || true
	done <regions
}
# How often any of the pieces is in that memory.
pieces_in() { # PROCESS TEXT
	local at patterns=()
	for ((at = 0; at + 32 <= ${#2}; at += 32)); do patterns+=(-e "${2:at:32}"); done
	memory_of "$1" | LC_ALL=C grep -a -o -F -i "${patterns[@]}" | wc -l
}
# The same for the bytes that the digits mean.
bytes_in() { # PROCESS DIGITS
	local at pattern=
	for ((at = 0; at + 32 <= ${#2}; at += 32)); do pattern+="${pattern:+|}$(sed 's/../\\x&/g' <<<"${2:at:32}")"; done
	memory_of "$1" | LC_ALL=C grep -a -o -P "$pattern" | wc -l
}

test_no_key_stays_in_memory() {
	need_root
	random_file 4194304 a.img
	mount_dmfs "$T/mnt"
	[[ -r /proc/$SERVER/smaps ]] && head -c 1 "/proc/$SERVER/maps" >/dev/null || skip "the memory of another process can't be read"
	new_volume v "0 2048 crypt aes-xts-plain64 $KEY 0 $T/a.img 0"
	(($(memory_of "$SERVER" | wc -c) > 1000000)) || skip "the memory of another process can't be read"
	# What is there would be found.
	echo "this-is-there-and-has-32-letters" >mnt/.control/v/uuid
	(($(pieces_in "$SERVER" "this-is-there-and-has-32-letters") > 0)) || fail "what is there is not found"
	dd if=/dev/zero of=mnt/v bs=1M count=1 conv=notrunc status=none
	cat mnt/v >/dev/null
	dmfs table --showkeys v >/dev/null
	dmfs create w --table "0 8 crypt aes-xts-plain64 ${KEY}00 0 a.img 0" 2>/dev/null || true
	dmfs create --concise "w,,,rw,0 8 crypt aes-xts-plain64 $KEY 0 $T/a.img 0"
	for ((i = 0; i < 5; i++)); do dmfs load v <<<"0 2048 crypt aes-xts-plain64 $KEY 0 $T/a.img 0"; dmfs resume v; done
	same "$(pieces_in "$SERVER" "$KEY")" 0
	same "$(bytes_in "$SERVER" "$KEY")" 0
	dmfs suspend v
	dmfs message v 0 key set "$KEY"
	dmfs message v 0 key wipe
	same "$(pieces_in "$SERVER" "$KEY")" 0
}

test_the_mounts_own_keyring() {
	start
	printf "$(sed 's/../\\x&/g' <<<"$KEY")" >key.bin
	same "$(stat -c %s key.bin)" 64
	refused 'keyring has no logon key disk' dmfs create k --table "0 2048 crypt aes-xts-plain64 :64:logon:disk 0 a.img 0"
	dmfs key add logon disk key.bin
	dmfs key add user disk --hex <<<"${OTHER:0:64} ${OTHER:64}"
	same "$(dmfs key list)" $'logon disk 64\nuser disk 64'
	same "$(stat -c %a mnt/.control/keyring)" 600
	dmfs create k --table "0 2048 crypt aes-xts-plain64 :64:logon:disk 0 a.img 0"
	cmp mnt/v mnt/k
	same "$(dmfs table --showkeys k)" "0 2048 crypt aes-xts-plain64 :64:logon:disk 0 $T/a.img 0"
	same "$(dmfs table k)" "$(dmfs table --showkeys k)"
	refused 'has 64 bytes, not 32' dmfs create l --table "0 2048 crypt aes-xts-plain64 :32:logon:disk 0 a.img 0"
	refused 'only a kernel can unseal' dmfs create l --table "0 2048 crypt aes-xts-plain64 :32:trusted:disk 0 a.img 0"
	dmfs key remove logon disk
	refused 'Required key not available' dmfs key remove logon disk
	cmp mnt/v mnt/k
	keyless "$(dmfs key list) $(dmfs key list --json) $(<mnt/.control/keyring) $(<mnt/.control/error)"
	refused 'too many|no request' dmfs key list more
	refused 'the key is empty' dmfs key add logon x /dev/null
	refused 'no hexadecimal digit' dmfs key add logon x --hex <<<hello
}

# Keys of the session in which the mount was made.
test_keys_of_the_kernels_keyrings() {
	need keyctl
	keyctl session - keyctl add user dmfs-probe x @s >/dev/null 2>&1 || skip "no keyrings here"
	start
	mkdir second
	cat >in_session <<-END
		set -e
		printf '$(sed 's/../\\x&/g' <<<"$KEY")' | keyctl padd user dmfs-e2e @s >/dev/null
		printf '$(sed 's/../\\x&/g' <<<"$KEY")' | keyctl padd logon dmfs:e2e @s >/dev/null
		"$DMFS" mount second
	END
	keyctl session - bash in_session >/dev/null 2>&1
	dmfs --mount second create k --table "0 2048 crypt aes-xts-plain64 :64:user:dmfs-e2e 0 a.img 0"
	cmp mnt/v second/k
	refused 'no process can read' dmfs --mount second create l --table "0 2048 crypt aes-xts-plain64 :64:logon:dmfs:e2e 0 a.img 0"
	refused 'in no keyring' dmfs --mount second create l --table "0 2048 crypt aes-xts-plain64 :64:user:nobody 0 a.img 0"
	dmfs umount second
}

test_the_key_is_set_and_wiped() {
	start
	random_file 1048576 data
	dd if=data of=mnt/v bs=64K conv=notrunc status=none
	refused 'only while the volume is suspended' dmfs message v 0 key wipe
	dmfs suspend v
	dmfs message v 0 key wipe
	same "$(dmfs table --showkeys v)" "0 2048 crypt aes-xts-plain64 $NO_KEY 0 $T/a.img 0"
	refused 'Resource temporarily unavailable.*key set' dmfs resume v
	# It must not come back with a key of zeros.
	local how
	for how in '' --showkeys; do
		dmfs save $how wiped.toml 2>said
		contains said 'its key was wiped'
		contains wiped.toml 'crypt aes-xts-plain64 - 0 '
	done
	same "$(<mnt/.control/v/state)" suspended
	# Who reads meanwhile waits.
	timeout 20 cmp data mnt/v & local reader=$!
	sleep 0.2
	dmfs message v 0 key set "$OTHER"
	dmfs message v 0 key set "$KEY"
	dmfs resume v
	wait $reader
	dmfs key add logon v --hex <<<"$OTHER"
	dmfs suspend v
	dmfs message v 0 key set :64:logon:v
	dmfs resume v
	! cmp -s -n 512 data mnt/v
}

test_save_leaves_keys_out() {
	start
	dmfs save saved.toml 2>said
	contains said 'its key is left out'
	keyless "$(<saved.toml)"
	contains saved.toml "crypt aes-xts-plain64 - 0 $T/a.img 0"
	mkdir second third
	refused 'takes no key of 0 bytes' dmfs mount second --config saved.toml
	dmfs save --showkeys with.toml
	same "$(stat -c %a with.toml)" 600
	dmfs mount third --config with.toml
	cmp mnt/v third/v
	same "$(dmfs --mount third table --showkeys v)" "$(dmfs table --showkeys v)"
	dmfs umount third
	dmfs key add logon disk --hex <<<"$KEY"
	dmfs load v --table "0 2048 crypt aes-xts-plain64 :64:logon:disk 0 a.img 0"
	dmfs resume v
	dmfs save again.toml 2>said
	contains said 'its key logon:disk is in the mount'
	contains again.toml ':64:logon:disk'
	# A mount of it needs the key, and [[key]] says where it is, beside the file.
	mkdir fourth keys
	refused 'keyring has no logon key disk' dmfs mount fourth --config again.toml
	cp again.toml keys/again.toml
	printf '\n[[key]]\ndescription = "disk"\nfile = "disk.key"\n' >>keys/again.toml
	refused 'again.toml:[0-9]+: cannot open the key file .*/keys/disk.key' dmfs mount fourth --config keys/again.toml
	printf "$(sed 's/../\\x&/g' <<<"$KEY")" >keys/disk.key
	dmfs mount fourth --config keys/again.toml
	same "$(dmfs --mount fourth key list)" 'logon disk 64'
	cmp mnt/v fourth/v
	dmfs umount fourth
	head -c 32768 /dev/zero >keys/disk.key
	refused 'a key of 32768 bytes' dmfs mount fourth --config keys/again.toml
}

# A filesystem through a loop device; the file below shows nothing of it.
test_a_filesystem() {
	need_loop
	truncate -s 64M a.img
	mount_dmfs "$T/mnt"
	new_volume v "0 131072 crypt aes-xts-plain64 $KEY 0 $T/a.img 0 3 allow_discards sector_size:4096 iv_large_sectors"
	attach_loop mnt/v --sector-size=4096
	mkfs.ext4 -q "$LOOP"
	mkdir fs
	mount "$LOOP" fs
	echo 'nobody reads this from below' >fs/letter
	make_tree fs/tree
	(cd fs/tree && find . -type f -exec cksum {} + | sort) >sums
	umount fs
	e2fsck -fn "$LOOP" >/dev/null
	mount "$LOOP" fs
	same "$(cd fs/tree && find . -type f -exec cksum {} + | sort | cksum)" "$(cksum <sums)"
	rm -r fs/tree
	fstrim fs || note "no fstrim here"
	umount fs
	e2fsck -fn "$LOOP" >/dev/null
	detach_loop "$LOOP"
	! grep -q 'nobody reads this' a.img
	grep -q 'nobody reads this' mnt/v
}
