#!/usr/bin/env bash
# crypt: an encrypted disk, looked at from below: what is hidden, what is not, and a key that is wiped.
source "$(dirname "$0")/lesson.sh"

say 'A key of 64 bytes, kept in the keyring of the mount, so that it is on no command line and in no table. XTS takes two halves of 256 bits.'
mount_dmfs
run <<'END'
head -c 64 /dev/urandom >diary.key
dmfs key add logon diary diary.key
truncate -s 1M disk.img
dmfs create safe --table '0 2048 crypt aes-xts-plain64 :64:logon:diary 0 disk.img 0'
END
say 'Above, it is a disk as any other. A line of a diary, 4 KiB long, goes into its sector 100:'
line='Dear diary, nothing happened today.'
run <<'END'
yes 'Dear diary, nothing happened today.' | head -c 4096 | dd of=dm/safe seek=100 conv=notrunc status=none
dd if=dm/safe skip=100 count=1 status=none | head -n 1
END
so 'It can be read from the volume,' [ "$out" = "$line" ]
run <<'END'
if grep -q diary disk.img; then echo 'There is a diary!'; else echo 'Noise.'; fi
dd if=dm/safe skip=100 count=8 status=none | gzip | wc -c
dd if=disk.img skip=100 count=8 status=none | gzip | wc -c
END
so 'and not from the disk below, where gzip, too, finds nothing that repeats.' [ "${out##*$'\n'}" -gt 4096 ]

say 'Nothing repeats, although the diary does: the number of the sector and the place in it go into each block. That is what a mode is for. "ecb" is the absence of one: equal blocks of 16 bytes stay equal. The same picture on both disks, and each seen from below, a sign for a block; those that are alike get the same:'
cat >picture.py <<'PY'
import sys
rows = ["  ####  ", " ##  ## ", "##    ##", "########", "##    ##", "##    ##", "##    ##", "        "]
for row in rows: sys.stdout.write("".join(sign * 16 for sign in row for twice in (1, 2)))
PY
cat >look.py <<'PY'
import collections, sys
data = sys.stdin.buffer.read(2048)
blocks = [data[at:at + 16] for at in range(0, 2048, 16)]
signs = dict(zip((block for block, n in collections.Counter(blocks).most_common() if n > 1), ".#ab"))
for row in range(8): print("".join(signs.get(block, "?") for block in blocks[row * 16:row * 16 + 16]))
PY
run <<'END'
head -c 32 /dev/urandom >naive.key; dmfs key add logon naive naive.key
truncate -s 1M naive.img
dmfs create naive --table '0 2048 crypt aes-ecb :32:logon:naive 0 naive.img 0'
for disk in safe naive; do python3 picture.py | dd of=dm/$disk conv=notrunc status=none; done
python3 look.py <disk.img
END
so 'xts: every block is another.' has_not '##'
run 'python3 look.py <naive.img'
so 'ecb: who has no key sees the picture.' has '##'

say 'What nobody can hide: that something was written, and where. The same bytes at the same place are the same below, and at another place are others:'
run <<'END'
before=$(sha256sum <disk.img)
dd if=dm/safe skip=100 seek=100 count=1 of=dm/safe conv=notrunc status=none
[ "$(sha256sum <disk.img)" = "$before" ] && echo 'sector 100 written with what it had: the disk is the same'
dd if=dm/safe skip=100 seek=500 count=1 of=dm/safe conv=notrunc status=none
cmp <(dd if=disk.img skip=100 count=1 status=none) <(dd if=disk.img skip=500 count=1 status=none) || true
END
so 'Who copies the disk now and then knows which sectors have changed.' has 'the disk is the same'
so 'Sector 500 has the same text, and looks different.' has 'differ: '

say 'And nobody notices what somebody changes below. One bit in sector 102, at byte 20:'
run <<'END'
dd if=dm/safe skip=102 count=1 of=before status=none
python3 -c 'f = open("disk.img", "r+b"); f.seek(102 * 512 + 20); b = f.read(1)[0]; f.seek(-1, 1); f.write(bytes([b ^ 1]))'
dd if=dm/safe skip=102 count=1 of=after status=none
cmp -l before after | wc -l; cmp -l before after | sed -n '1p;$p' | cut -c 1-4
END
so 'No error. Bytes 17 to 32, one block, are garbage, and the rest is as it was. crypt hides; it guards nothing. That is what verity does.' \
	[ "$(cmp -l before after | awk '$1 < 17 || $1 > 32' | wc -l)" = 0 -a "$(cmp -l before after | wc -l)" -gt 8 ]

say 'With another key there is no error either: dm-crypt cannot tell a wrong key, it decrypts to noise. (LUKS has a header to tell.)'
run <<'END'
head -c 64 /dev/urandom | dmfs key add logon wrong
dmfs create guess --table '0 2048 crypt aes-xts-plain64 :64:logon:wrong 0 disk.img 0'
dd if=dm/guess skip=100 count=1 status=none | head -c 32 | od -An -tx1; dmfs remove guess
END
so 'A wrong key gives bytes, and not the text.' has_not "$line"

say 'The laptop goes to sleep. The key goes first: suspend, wipe. Nothing in memory can decrypt the disk then, and there is no way back without the key.'
run 'dmfs suspend safe; dmfs message safe 0 key wipe; dmfs key remove logon diary; dmfs table --showkeys safe | cut -c 1-60'
so 'The key in the table is zeros now: there is none.' has 'plain64 0000'
refused 'dmfs resume safe'
so 'No key, no resume.' has 'temporarily unavailable'
run <<'END'
dmfs key add logon diary diary.key
dmfs message safe 0 key set :64:logon:diary
dmfs resume safe
dd if=dm/safe skip=100 count=1 status=none | head -n 1
END
so 'Who knows the key, reads on.' [ "$out" = "$line" ]
