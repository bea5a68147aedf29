#!/usr/bin/env bash
# Volumes on volumes: see what stands on what, and how a ring is refused.
source "$(dirname "$0")/lesson.sh"
run 'truncate -s 1M a.img b.img c.img d.img'
mount_dmfs

say 'A device in a table may be another volume: its name is enough. Two pairs of files, each striped:'
run "dmfs create left  --table '0 4096 striped 2 8 a.img 0 b.img 0'"
run "dmfs create right --table '0 4096 striped 2 8 c.img 0 d.img 0'"
say 'and both, one behind the other, as one disk, of which two partitions are cut:'
run <<'END'
dmfs create disk <<TABLE
0    4096 linear left 0
4096 4096 linear right 0
TABLE
END
run "dmfs create disk1 --table '0 3000 linear disk 0'"
run "dmfs create disk2 --table '0 5192 linear disk 3000'"

say 'What stands on what?'
run 'dmfs ls --tree -o ascii,notrunc'
so 'The tree begins with the partitions,' has 'disk2 (0:'
so 'and ends with the files.' has "$PWD/d.img"
run 'dmfs deps -o devname disk'
so 'The device that was named last comes first, as dmsetup has it.' has '2 dependencies	: (right) (left)'

say 'Follow a sector through all of it: sector 1100 of disk2 is sector 4100 of disk, so sector 4 of right, in its first chunk of 8: sector 4 of c.img.'
run "printf 'down here' | dd of=dm/disk2 bs=512 seek=1100 conv=notrunc status=none"
run 'dd if=c.img bs=512 skip=4 count=1 status=none | head -c 9'
so 'It went through three volumes.' [ "$out" = 'down here' ]

say 'What others stand on cannot be removed:'
refused 'dmfs remove left'
so 'It is busy.' has 'Device or resource busy'

say 'Names can change underneath. A table shows the new one:'
run 'dmfs rename left front'
run 'dmfs table disk'
so 'disk stands on front now.' has 'linear front 0'

say 'What if right should stand on disk2, which stands on disk, which stands on right? A request would go round for ever. The kernel takes such tables, and hangs at the first read. dmfs does not:'
refused "dmfs load right --table '0 4096 linear disk2 0'"
so 'A ring is refused.' has 'Invalid argument'
run 'dmfs table right'
so 'What was live stays live.' has 'striped 2 8'

say 'Taking it down begins at the top. remove_all knows the order:'
run 'dmfs remove_all && dmfs ls'
so 'Nothing is left.' has 'No devices found'
