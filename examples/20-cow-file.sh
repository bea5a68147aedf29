#!/usr/bin/env bash
# snapshot: a COW file, number by number, while a disk and its snapshot are written; and how it ends when it is full.
source "$(dirname "$0")/lesson.sh"

say 'A disk of 512 pages of 4 KiB, each of which begins with its number. And a snapshot of it: what differs from now on is kept in a COW file (copy on write), here of 1 MiB.'
run 'for n in {0..511}; do printf "%-4095s\n" "page $n"; done >disk.img'
mount_dmfs
run <<'END'
dmfs create disk --table '0 4096 linear disk.img 0'
dmfs snapshot disk before --size 1M
dmfs table before
END
so 'A chunk is 8 sectors, as large as a page.' has 'before.cow PO 8'

say 'Nothing differs yet. There is a header, and the rest is zeros:'
run 'od -A d -t x1z before.cow'
so 'Its first four bytes say SnAp.' has '53 6e 41 70 01 00 00 00 01 00 00 00 08 00 00 00  >SnAp'
say 'Behind them are three numbers of 4 bytes. All numbers are little-endian.'
run 'od -A d -t u4 --endian=little -j 4 -N 12 before.cow | head -n 1'
so 'It is valid: 1; its version is 1; and a chunk has 8 sectors.' [ "$(xargs <<<"$out")" = '0000004 1 1 8' ]

say 'Now a note into the second sector of page 5 of the disk, and one into the second sector of page 9 of the snapshot.'
run <<'END'
printf 'a note on the disk'     | dd of=dm/disk   bs=512 seek=$((5 * 8 + 1)) conv=notrunc status=none
printf 'a note in the snapshot' | dd of=dm/before bs=512 seek=$((9 * 8 + 1)) conv=notrunc status=none
od -A d -t x1z -j 4096 -N 48 before.cow
END
say 'Chunk 1 is an area of exceptions, 16 bytes each: two numbers of 8 bytes.'
run 'od -A d -t u8 --endian=little -j 4096 -N 48 before.cow'
so 'Chunk 5 of the disk is chunk 2 of the COW file, 9 is 3, and a 0 ends the list.' \
	[ "$(awk '{ print $2, $3 }' <<<"$out" | xargs)" = '5 2 9 3 0 0' ]
say 'What is there?'
run 'for n in 2 3; do dd if=before.cow bs=4096 skip=$n count=1 status=none | tr -s " "; done'
so 'Of page 5, what the disk held before; of page 9, what was written, within what was around it. In both cases it is what the snapshot shows, so an exception need not say which it was.' \
	[ "$(sed 's/ *$//' <<<"$out")" = $'page 5\npage 9 a note in the snapshot' ]
run <<'END'
page() { dd if=dm/$1 bs=4096 skip=$2 count=1 status=none | tr -s ' '; }
for v in disk before; do echo "$v: $(page $v 5)"; echo "$v: $(page $v 9)"; done
END
so 'Each of the two has its own note.' [ "$(grep -c 'disk: .* on the disk\|before: .* in the snapshot' <<<"$out")" = 2 ]

say 'The status counts sectors: those that are used, of those that there are; and of the used those for the header and for areas.'
run 'dmfs status before'
so '4 chunks of 8 are used, of 2048 sectors; two of them are the header and the area.' has ' 32/2048 16'

say 'A chunk is kept once. Page 5 of the disk is written again, all of it, and page 9 of the snapshot gets another note:'
run <<'END'
sum=$(sha256sum <before.cow)
printf '%-4095s\n' 'page 5, written anew' | dd of=dm/disk bs=4096 seek=5 conv=notrunc status=none
[ "$(sha256sum <before.cow)" = "$sum" ] && echo 'the disk is written: the COW file is the same'
printf 'another note' | dd of=dm/before bs=512 seek=$((9 * 8 + 2)) conv=notrunc status=none
dd if=before.cow bs=4096 skip=3 count=1 status=none | tr -s ' '
dmfs status before
END
so 'The disk is written without a copy.' has 'the COW file is the same'
so 'The snapshot is written where its chunk is.' has 'page 9 a note in the snapshot another note'
so 'Nothing more is used.' has ' 32/2048 16'

say 'That is all that there is to it. Who has the disk below and the COW file has the snapshot, and needs no dmfs for it:'
run <<'END'
cat >restore.py <<PY
import struct, sys
disk, cow = bytearray(open("disk.img", "rb").read()), open("before.cow", "rb").read()
magic, valid, version, sectors = struct.unpack_from("<4sIII", cow)
assert (magic, valid, version) == (b"SnAp", 1, 1)
size = sectors * 512
for at in range(size, 2 * size, 16):  # the first area; the next would be behind the data of this one
    old, new = struct.unpack_from("<QQ", cow, at)
    if new == 0: break
    disk[old * size:old * size + size] = cow[new * size:new * size + size]
sys.stdout.buffer.write(disk)
PY
python3 restore.py >restored.img; cmp restored.img dm/before && echo 'byte for byte'
END
so 'It is the snapshot.' has 'byte for byte'

say 'And so it outlives the mount. Save the volumes, unmount, mount again:'
run 'dmfs save volumes.toml; dmfs umount dm'
mount_dmfs --config volumes.toml
run 'dmfs status before; cmp restored.img dm/before && echo the same'
so 'The snapshot goes on where it was.' has $'32/2048 16\nthe same'

say 'The file is smaller than the disk. It has 256 chunks, so there is room for 252 more. Write that many pages of the disk:'
run <<'END'
dd if=/dev/zero of=dm/disk bs=4096 seek=100 count=252 conv=notrunc status=none
dmfs status before
page before 100
END
so 'It is full, and has all of them.' has $' 2048/2048 16\npage 100 '
say 'What is written to the snapshot now, in a chunk that is not there, is refused. Nothing is lost by that: PO is the store that says Overflow.'
refused 'printf "one more" | dd of=dm/before bs=4096 seek=10 conv=notrunc status=none'
run 'dmfs status before; page before 10'
so 'It can still be read.' has $'Overflow\npage 10 '
say 'But the disk does not suffer from its snapshots. It is written, and what the snapshot showed there is lost:'
run <<'END'
printf 'one more' | dd of=dm/disk bs=4096 seek=10 conv=notrunc status=none
dmfs status before; od -A d -t x1z -N 16 before.cow
END
so 'The snapshot is invalid,' has 'snapshot Invalid'
so 'and that is in the file for ever: the second number is 0.' has '53 6e 41 70 00 00 00 00 01 00 00 00 08 00 00 00'
refused 'head -c 1 dm/before'
so 'Rather nothing than something that never was.' has 'Input/output error'

say 'Drop it, and the disk is what it was before there was a snapshot.'
run 'dmfs drop before; dmfs table'
so 'One volume, over its file.' [ "${out##*$'\n'}" = "disk: 0 4096 linear $PWD/disk.img 0" ]
so 'And the COW file is gone.' [ ! -e before.cow ]
