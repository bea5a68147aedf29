#!/usr/bin/env bash
# crypt, stacked: a container of TrueCrypt's, in three ciphers, opened as three volumes that stand on one another.
source "$(dirname "$0")/lesson.sh"

say 'A container of 320 KiB in the format of TrueCrypt, with the passphrase "correct horse". tcplay made it, and Linux 6.12 wrote its first sector, through three layers of dm-crypt. Two of its sectors are all that is needed here: its first, and the first of its data, at 128 KiB.'
cat >header.b64 <<'END'
ij5ggwHDBpYOub/o0PzcQAu7nyRygGKnBDAbHD0zEsf3Uy9U9bcppv6S0EWq7EEhkz7n9KAgaWb5
hnG/y0GGijGp/LLdHVN3qHBeszXpN7tJwUNQe85mgvi84BPYpBst7HkxuFy4XI5ti+oplnGE3wjo
08NTNWaXzswwr123Nokq7msCyGoA5yOLTwAGI5zaa9vT9IfwqkD9kuawaX/crsxmnNfllGn6Gmv0
EuMV651zjwwHR37SJwt4qeGaZzJc/q6tnhbQe86kJ7ozE+pJK2lyfIE5aNX1K7Rt24tlYVcSj129
Dgyp1QrXFIgFHXSZ4hf4Rev41Sfq5z2ikw71NWpbCx3depZWkke4jqmzWWJpvCRHrXyhCjpL2YE8
V9n2E7n5e8u0S8dWoQ/jtGHqeRoRV5taZYWo9NActIIiYUAZGNvwy3KaWKV2hZ5OcV4pAFLG2XSp
9ENMNVoal1WzqNUc8pwUEqNTYpGPHHpM0Jd92jThB16/6UfmblK2J/v0TtWAqv7KrUdRqkBaMBni
so3Y6CTMAtzNVTu8hWd041yYa5L/MsP5kN3zNWlNV5068Ck4PEpHeNAFOUBtzQi3wF+zdwwnxx32
1WmAQMOFLz9y13QBeGoKTuwddBWocWWsk14E8VeJ9D1abWxZMUwkrYPE6gbP9P7bgFM+5/oKZZI=
END
cat >data.b64 <<'END'
tVcgERk7pAkX41PUgmT8K6yT+3bqEh7jzd9+uunOgnVsJHJDIVxpRJ1Xrn/dq+c3VP27SQ6J/qM5
l09sD68TbuiZpgre3clxRvbp5MPmGdjlMS+VpzYXtviQibF9bCuOz50w0XgjbNLRvYJQKUxilGRW
iaTIGZhNVNE4sPgfzMXnOq0H7izWdzPrJkg1PF/R0B8IyYs3tTsTiqLGhWkTTKdNvkHkAh5Lj9Tn
xyn+lSXdViYc/WP6xCqKJsjzH2IGDc2qjZgLYfq68weH6g1y+7Bqo0ijE8drBSYT8HG6ZjFaYfvE
cPz0FN67p7f/EidiJEQwaybm9nBom3cCsupEjxkUrB6LWI7XS7cB/IcD8xgtuVKORPpZMGpqOFX1
W8tA0TC59KOXS8o3r/HTLjgLWswnNSonFo+0bNizxGMHt6rsY/ABohHn3Qbq/++u4rWwomaevKhW
lHE0OQT/h+7jBVb61hhBOKAQjFAcd7nLSu3DrNn71wmsa+Gd+LRubi3noVsI0N61nTho408V3tiU
v3LJQ79JiKhhGBzz0ligLNW7v3jzQ7MwDZp8tHSYnUK294ya1L40dVUCUj3Z4Hpps7rwgAHtl5ch
AVXLvlyywj2yvA4kSt9DJ8zOmTBZ3mpKSq4GOYPJ76CXKWZPtfSWzCC70+39i7THw5mYZ4BoPqM=
END
run <<'END'
truncate -s 320K container.tc
base64 -d header.b64 | dd of=container.tc conv=notrunc status=none
base64 -d data.b64 | dd of=container.tc seek=256 conv=notrunc status=none
head -c 48 container.tc | od -An -c
END
so 'Nothing says what it is. No magic, no version: it could be noise.' has_not 'T   R   U   E'

say 'The first 64 bytes are a salt. Passphrase and salt, stirred a thousand times by SHA-512, give the keys of the header: 192 bytes, of which each cipher has 32 from the first half and 32 from the second.'
cat >stir.py <<'PY'
import hashlib, sys
salt = open("container.tc", "rb").read(64)
sys.stdout.buffer.write(hashlib.pbkdf2_hmac("sha512", b"correct horse", salt, 1000, 192))
PY
cat >keys.py <<'PY'
import sys
keys = sys.stdin.buffer.read(192)
for at, cipher in (0, "aes"), (32, "twofish"), (64, "serpent"):
    open(sys.argv[1] + cipher, "wb").write(keys[at:at + 32] + keys[at + 96:at + 128])
PY
mount_dmfs
run <<'END'
python3 stir.py | python3 keys.py header-
for cipher in serpent twofish aes; do dmfs key add logon header-$cipher header-$cipher; done
dmfs key list
END
so 'Three keys of 64 bytes, as XTS takes them.' [ "$(grep -c ' 64$' <<<"$out")" = 3 ]

say 'Serpent stands on the disk, Twofish on Serpent, AES on Twofish: three volumes. The header is the 448 bytes behind the salt, and counts as sector 0.'
run <<'END'
tail -c +65 container.tc | head -c 448 >header; truncate -s 512 header
dmfs create h1 --table '0 1 crypt serpent-xts-plain64 :64:logon:header-serpent 0 header 0'
dmfs create h2 --table '0 1 crypt twofish-xts-plain64 :64:logon:header-twofish 0 h1 0'
dmfs create h3 --table '0 1 crypt aes-xts-plain64     :64:logon:header-aes     0 h2 0'
for v in h1 h2 h3; do echo "$v: $(head -c 16 dm/$v | od -An -c)"; done
END
so 'Two layers are noise, and on top it says TRUE: the passphrase is right.' has 'T   R   U   E'

say 'The header has the keys of the data, where those are, and a checksum of the keys:'
cat >header.py <<'PY'
import struct, sys, zlib
head = open("dm/h3", "rb").read(448)
size, start = struct.unpack(">QQ", head[36:52])
right = zlib.crc32(head[192:448]) == struct.unpack(">I", head[8:12])[0]
print(size // 512, "sectors of data from sector", start // 512, file=sys.stderr)
print("the checksum of the keys is", "right" if right else "WRONG", file=sys.stderr)
sys.stdout.buffer.write(head[192:384])
PY
run <<'END'
python3 header.py | python3 keys.py data-
for cipher in serpent twofish aes; do dmfs key add logon $cipher data-$cipher; done
for v in h3 h2 h1; do dmfs remove $v; done
END
so 'The checksum is right, so these are the keys.' has 'keys is right'
so 'And the data begin where their first sector was put.' has '128 sectors of data from sector 256'

say 'The same three lines, now with those keys. Sectors are counted from the beginning of the container, in every layer: hence 256, the offset of the vectors.'
run <<'END'
dmfs create tc1 --table '0 128 crypt serpent-xts-plain64 :64:logon:serpent 256 container.tc 256'
dmfs create tc2 --table '0 128 crypt twofish-xts-plain64 :64:logon:twofish 256 tc1 0'
dmfs create tc  --table '0 128 crypt aes-xts-plain64     :64:logon:aes     256 tc2 0'
head -n 1 dm/tc
END
so 'That is what the kernel wrote.' has 'This was written by the kernel: three layers of dm-crypt'
run 'dmfs ls --tree -o ascii'
so 'Three volumes, one on the other.' has '`-tc1'

say 'It goes the other way, too. And the layers are needed in their order; here is another one, with the same keys:'
run <<'END'
echo 'This was written by dmfs.' | dd of=dm/tc seek=1 conv=notrunc,fsync status=none
dmfs create w1 --table '0 128 crypt aes-xts-plain64     :64:logon:aes     256 container.tc 256'
dmfs create w2 --table '0 128 crypt twofish-xts-plain64 :64:logon:twofish 256 w1 0'
dmfs create w  --table '0 128 crypt serpent-xts-plain64 :64:logon:serpent 256 w2 0'
for v in tc w; do echo "$v: $(dd if=dm/$v skip=1 count=1 status=none | head -c 25 | LC_ALL=C tr -c '[:print:]' '?')"; done
END
so 'In the right order it is there,' has 'tc: This was written by dmfs.'
so 'in the other it is not.' has_not 'w: This'
