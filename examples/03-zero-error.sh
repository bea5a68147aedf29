#!/usr/bin/env bash
# zero and error: a huge hole, and a disk with a bad spot.
source "$(dirname "$0")/lesson.sh"
mount_dmfs

say 'A disk of 4 PiB, which no file is behind: what is written vanishes, and zeros are read.'
run "dmfs create hole --table '0 8796093022208 zero'"
run 'ls -lh dm; du -h dm/hole'
so 'It has 4 PiB.' [ "$(stat -c %s dm/hole)" = $((1 << 52)) ]

say 'Its last sector is as good as its first. We write there, and read:'
run 'echo lost | dd of=dm/hole bs=512 seek=8796093022207 conv=notrunc status=none'
run 'dd if=dm/hole bs=512 skip=8796093022207 count=1 status=none | tr -d "\0" | wc -c'
so 'Nothing but zeros came back.' [ "$out" = 0 ]

say 'error is the opposite: every request fails. A row of it in the middle of another disk is a bad spot. Here sectors 1000 to 1007 of 2048 are bad:'
run "head -c 1M /dev/zero | tr '\0' x >disk.img"
run <<'END'
dmfs create bad <<TABLE
0    1000 linear disk.img 0
1000 8    error
1008 1040 linear disk.img 1008
TABLE
END

say 'A program that reads up to it sees no harm,'
run 'dd if=dm/bad of=/dev/null bs=512 count=1000 status=none'
say 'and at sector 1000 it meets EIO:'
refused 'dd if=dm/bad of=/dev/null bs=512'
so 'dd stops after 1000 sectors.' has '1000+0 records in'
so 'It is told why.' has 'Input/output error'

say 'How well does a copying program do its work? Told to go on, dd saves all but the 8 sectors:'
run 'dd if=dm/bad of=copy.img bs=512 conv=noerror,sync 2>errors.txt'
run 'grep -c Input/output errors.txt'
so '8 sectors failed.' [ "$out" = 8 ]
run 'cmp -l disk.img copy.img | wc -l'
so '8 sectors are lost, 4096 bytes,' [ "$out" = 4096 ]
so 'but none of those before them,' cmp -s -n $((1000 * 512)) disk.img copy.img
so 'and none of those behind.' cmp -s -i $((1008 * 512)) disk.img copy.img

say 'The disk recovers when its table is replaced, and nobody has to close it:'
run 'exec 3<dm/bad'
run "echo '0 2048 linear $PWD/disk.img 0' >dm/.control/bad/table"
so 'The file that was open before reads the whole disk.' cmp -s disk.img - <&3
exec 3<&-
