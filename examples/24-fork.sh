#!/usr/bin/env bash
# fork: a copy of a whole stack, made at one moment, for a test that nobody would dare on the disk itself.
source "$(dirname "$0")/lesson.sh"

say 'Two files striped, 8 MiB, are fast; a third one, 4 MiB, is slow. Behind one another they are a disk. It has a filesystem with a book; a filler, which goes again, sees to it that the book is written far behind.'
run 'truncate -s 4M a.img b.img c.img; seq -f "page %g of the book" 50000 >book; yes filler | head -c 7M >filler'
mount_dmfs
run <<'END'
dmfs create fast --table '0 16384 striped 2 128 a.img 0 b.img 0'
dmfs create slow --table '0 8192 linear c.img 0'
dmfs create disk <<TABLE
0     16384 linear fast 0
16384  8192 linear slow 0
TABLE
printf '%s\n' 'write filler filler' 'write book book' 'rm filler' >fill
mke2fs -q -F -t ext4 -b 1024 dm/disk; debugfs -w -f fill dm/disk >/dev/null 2>&1
first() { debugfs -R 'blocks book' dm/$1 2>/dev/null | cut -d ' ' -f 1; }
first disk
END
so 'All blocks from 8192 on are slow, and there is the book.' [ "$out" -ge 8192 ]

say 'Can it do without the slow part? To find out take a copy, of the disk and of all that it stands on.'
run 'sha256sum dm/disk >disk.sum; dmfs table >table; dmfs fork disk test; dmfs table'
so 'test has the rows of disk, over the copies of what is below.' has 'test: 16384 8192 linear test-slow 0'
so 'Those are snapshots, all of one moment. What differs is kept in memory; with --cow it would be in files.' \
	has 'test-fast: 0 16384 snapshot fast-real ram:'
run 'cmp dm/disk dm/test && echo "the same bytes"; dmfs status | grep " snapshot "'
so 'It has the same bytes,' has 'the same bytes'
so 'and none of them twice: nothing is used yet.' [ "$(grep -c ' snapshot 0/' <<<"$out")" = 2 ]

say 'The test is short. What has been the slow part is noise then:'
run 'shred -n 1 dm/test-slow'
refused 'debugfs -R "cat book" dm/test 2>/dev/null | cmp - book'
so 'There goes the book.' has 'differ: '
run 'sha256sum -c disk.sum; debugfs -R "cat book" dm/disk 2>/dev/null | cmp - book && echo "the book is whole"'
so 'On the disk nothing has happened.' has $'dm/disk: OK\nthe book is whole'

say 'Once more, better: with a new copy, and a filesystem that is made smaller first. (resize2fs also wants to cut off the end of the file. A volume is as long as its table, so that is refused, and does not matter.)'
run <<'END'
dmfs drop test
dmfs fork disk test
e2fsck -fy dm/test >/dev/null 2>&1; resize2fs dm/test 8M 2>/dev/null; first test
END
so 'The book has moved to the fast part.' [ "${out##*$'\n'}" -lt 8192 ]
say 'Meanwhile life goes on, on the disk: somebody writes a letter.'
run <<'END'
echo 'dear reader' >letter; debugfs -w -R 'write letter letter' dm/disk >/dev/null 2>&1
for v in disk test; do echo "$v:" $(debugfs -R 'ls -p /' dm/$v 2>/dev/null | cut -d / -f 6); done
END
so 'It is on the disk, and not in the copy, which is of an earlier moment.' [ "$(grep letter <<<"$out" | cut -d : -f 1)" = disk ]
say 'And now?'
run 'shred -n 1 dm/test-slow
e2fsck -fn dm/test && debugfs -R "cat book" dm/test 2>/dev/null | cmp - book && echo "the book is whole"'
so 'The filesystem is sound,' has 'non-contiguous'
so 'and the book is whole: it can be done.' has 'the book is whole'

say 'How much did the copy cost? The numbers of a snapshot in memory are those of its data, in sectors.'
run 'dmfs status | grep " snapshot "'
so 'All of the slow part, and a little of the fast one.' has 'test-slow: 0 8192 snapshot 8192/8192 0'
run 'dmfs drop test; dmfs table | diff - table && echo "nothing is left of it"'
so 'The disk stands where it stood.' has 'nothing is left of it'
run 'debugfs -R "cat letter" dm/disk 2>/dev/null; e2fsck -fn dm/disk'
so 'It has its letter, and was never in danger.' has 'dear reader'
so 'It is sound.' has 'non-contiguous'
