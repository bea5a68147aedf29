#!/usr/bin/env bash
# linear: two files as one disk, and which file a sector landed in.
source "$(dirname "$0")/lesson.sh"

say 'Two files of 1 MiB, each full of one letter so that we recognise them. A sector has 512 bytes, so each has 2048 sectors.'
run "head -c 1M /dev/zero | tr '\0' a >a.img"
run "head -c 1M /dev/zero | tr '\0' b >b.img"

say 'Mount dmfs. No root is needed: a mount belongs to who makes it.'
mount_dmfs

say 'A table says where each run of sectors comes from, one row for a run: first sector, how many, target, and words for the target. For linear these are a device and the sector where the run begins on it.'
run <<'END'
dmfs create both <<TABLE
0    2048 linear a.img 0
2048 2048 linear b.img 0
TABLE
END

say 'There it is: a file as long as its table.'
run 'ls -l dm'
so 'The volume is as long as both files together.' [ "$(stat -c %s dm/both)" = 2097152 ]

say 'Read the 8 bytes around the border, at byte 2048 x 512 = 1048576:'
run 'dd if=dm/both bs=1 skip=1048572 count=8 status=none'
so 'The volume goes from one file to the other without a gap.' [ "$out" = aaaabbbb ]

say 'Where does a sector land? Write to sector 3000 of the volume. The second row has it: 3000 - 2048 = 952.'
run "echo 'Here I am.' | dd of=dm/both bs=512 seek=3000 conv=notrunc status=none"
run 'dd if=b.img bs=512 skip=952 count=1 status=none | head -n 1'
so 'It is in sector 952 of b.img.' [ "$out" = 'Here I am.' ]
run 'grep -c Here a.img || true'
so 'Nothing of it is in a.img.' [ "$out" = 0 ]

say 'The table is what was written, with paths that can be used from anywhere:'
run 'dmfs table both'
so 'There are two rows.' [ "$(wc -l <<<"$out")" = 2 ]

say 'All of this can be done without the command, through the folder dm/.control:'
run 'mkdir dm/.control/tail'
run "echo '0 1024 linear $PWD/b.img 1024' >dm/.control/tail/table"
run 'cat dm/.control/tail/status; stat -c %s dm/tail'
so 'tail is the second half of b.img.' cmp -s dm/tail <(tail -c 512K b.img)
run 'rmdir dm/.control/tail; ls dm'
so 'It is gone, and b.img is as it was.' [ "$out" = both ]
