#!/usr/bin/env bash
# flakey: a filesystem on a disk that loses a write, fails, and lies; and what e2fsck says of each.
source "$(dirname "$0")/lesson.sh"

say 'A disk of 8 MiB, and a flakey volume on it. The numbers behind its start are seconds: 60 up, 0 down. So far it works.'
run 'truncate -s 8M disk.img; seq -f "line %g of a letter" 400 >letter.txt'
mount_dmfs
run "dmfs create disk --table '0 16384 flakey disk.img 0 60 0'"
say 'Make a filesystem on the file of the volume, and put a letter into it. debugfs writes into a filesystem that is not mounted, so this needs no root.'
run 'mke2fs -q -F -t ext4 -b 1024 dm/disk && debugfs -w -R "write letter.txt first" dm/disk 2>/dev/null'
run 'e2fsck -fn dm/disk'
so 'The filesystem is sound.' has 'non-contiguous'

say 'Now the disk is down for good (up 0 seconds, down 60) and loses writes without a word: drop_writes.'
run "dmfs load disk --table '0 16384 flakey disk.img 0 0 60 1 drop_writes'; dmfs resume disk; dmfs table disk"
run 'debugfs -w -R "write letter.txt second" dm/disk 2>/dev/null; echo "exit status $?"'
so 'The program was told that all is well.' has 'exit status 0'
run 'debugfs -R "ls -p /" dm/disk 2>/dev/null | grep -e first -e second'
so 'And the second letter is not there.' has_not second
run 'e2fsck -fn dm/disk >/dev/null; echo "exit status $?"'
so 'The filesystem is sound all the same: all writes are lost, so it stands as it stood before.' has 'exit status 0'

say 'Worse is a disk that loses one write of many. Rows make a disk with one bad spot. Where does this filesystem say which blocks are in use?'
run 'dumpe2fs dm/disk 2>/dev/null | grep -m 1 "Block bitmap at"'
block=$(sed -n 's/.*Block bitmap at \([0-9]*\).*/\1/p' <<<"$out")
sector=$((block * 2)) rest=$((16384 - block * 2 - 2))
say "Block $block of 1 KiB: the sectors $sector and $((sector + 1)). Only these lose what is written to them."
run <<END
dmfs load disk <<TABLE
0 $sector linear disk.img 0
$sector 2 flakey disk.img $sector 0 60 1 drop_writes
$((sector + 2)) $rest linear disk.img $((sector + 2))
TABLE
dmfs resume disk
debugfs -w -R "write letter.txt third" dm/disk 2>/dev/null
END
say 'The disk comes back. The third letter is there; -c has debugfs read it without a look at the bitmap. But its blocks are marked free: the next file will be written over it.'
run "dmfs load disk --table '0 16384 flakey disk.img 0 60 0'; dmfs resume disk"
run 'debugfs -c -R "cat third" dm/disk 2>/dev/null | tail -n 1'
so 'The letter is readable.' has 'line 400 of a letter'
run 'e2fsck -fn dm/disk; echo "exit status $?"'
so 'e2fsck finds it: it compares the bitmap with the files.' has 'bitmap'
so 'It left errors, since it was not to change anything.' has 'exit status 4'
run 'e2fsck -fy dm/disk; echo "exit status $?"'
so 'Repaired.' has 'exit status 1'

say 'A disk that says that it fails is the kind one: error_writes. Reads still work.'
run "dmfs load disk --table '0 16384 flakey disk.img 0 0 60 1 error_writes'; dmfs resume disk"
refused 'dd if=letter.txt of=dm/disk bs=1024 count=1 conv=notrunc'
so 'EIO, at once.' has 'Input/output error'

say 'The unkind one answers, with other bytes: here the 57th byte of each read is 0. That is where a superblock says that it is one.'
run "dmfs load disk --table '0 16384 flakey disk.img 0 0 60 5 corrupt_bio_byte 57 r 0 0'; dmfs resume disk"
refused 'e2fsck -fn dm/disk'
so 'e2fsck can find no filesystem, though it looks at the copies, too.' has 'Bad magic number'
refused 'dd if=dm/disk bs=1024 skip=1 count=1 iflag=direct status=none | cmp --verbose - <(dd if=disk.img bs=1024 skip=1 count=1 status=none)'
so 'One byte differs: octal 123, the S of 0xEF53, has become 0.' has '57   0 123'

say 'The disk itself was not hurt by this. It works again:'
run "dmfs load disk --table '0 16384 flakey disk.img 0 60 0'; dmfs resume disk"
run 'e2fsck -fn dm/disk'
so 'The filesystem is sound.' has 'non-contiguous'

say 'Last, time. Up 1 second, down 1 second: what a program sees of a loose cable.'
run "dmfs load disk --table '0 16384 flakey disk.img 0 1 1'; dmfs resume disk"
run <<'END'
for n in {1..25}; do
    dd if=dm/disk of=/dev/null bs=4096 count=1 iflag=direct status=none 2>/dev/null && printf '.' || printf 'x'
    sleep 0.1
done; echo
END
so 'It worked at first,' has .
so 'and failed later.' has x
