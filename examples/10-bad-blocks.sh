#!/usr/bin/env bash
# dust: a disk that grows bad blocks while it is in use, and is repaired by writing. ebs: large blocks.
source "$(dirname "$0")/lesson.sh"

say 'A disk of 1 MiB, full of x, and dust on top: blocks of 4096 bytes.'
run "head -c 1M /dev/zero | tr '\0' x >disk.img"
mount_dmfs
run "dmfs create old --table '0 2048 dust disk.img 0 4096'"
run 'cmp disk.img dm/old'
so 'So far it is a disk as any other.' [ "$status" = 0 ]

say 'Now it ages: block 7 cannot be read any more, and block 100 is so bad that the first two writes of it will fail.'
run <<'END'
dmfs message old 0 addbadblock 7
dmfs message old 0 addbadblock 100 2
dmfs message old 0 enable
dmfs status old
END
so 'Bad blocks fail from now on.' has fail_read_on_bad_block
refused 'dd if=dm/old of=/dev/null bs=4096'
so 'dd gets as far as block 7.' has '7+0 records in'

say 'A good program saves what can be saved. dd goes on after an error and puts zeros in the place of what it could not read:'
run 'dd if=dm/old of=saved.img bs=4096 conv=noerror,sync 2>errors.txt; grep -c Input/output errors.txt'
so 'Two blocks are lost,' [ "$out" = 2 ]
run 'cmp -l disk.img saved.img | wc -l'
so '8192 bytes, and nothing else.' [ "$out" = 8192 ]

say 'A disk repairs a bad block when it is written: it takes a spare one. That is how a RAID heals it, from its other disks. Block 7:'
run 'dd if=disk.img of=dm/old bs=4096 skip=7 seek=7 count=1 conv=notrunc status=none'
run 'dmfs message old 0 listbadblocks'
so 'Only block 100 is left.' [ "$out" = 100 ]

say 'That one resists twice:'
repair='dd if=disk.img of=dm/old bs=4096 skip=100 seek=100 count=1 conv=notrunc status=none'
refused "$repair"
refused "$repair"
run "$repair"
run 'dmfs message old 0 countbadblocks; cmp disk.img dm/old'
so 'The disk is whole again.' has '0 badblock(s)'

say 'And if the disk only knows blocks of 4096 bytes, and the program only sectors of 512? "ebs" reads the block, changes the sector, writes the block. "large" is such a disk; "small" is ebs on it, with sectors of 512 bytes (1) again.'
run <<'END'
dmfs create large --table '0 2048 ebs disk.img 0 8'
dmfs create small --table '0 2048 ebs large 0 1'
printf 'sector 5' | dd of=dm/small bs=512 seek=5 conv=notrunc status=none
dd if=disk.img bs=512 skip=5 count=1 status=none | head -c 12
END
so 'The sector has changed, and what stood behind it is still there.' [ "$out" = 'sector 5xxxx' ]
refused "dmfs create cut --table '0 12 linear large 0'"
so 'Without ebs a block and a half is no disk.' has 'whole blocks of 4096 bytes'
