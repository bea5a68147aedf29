#!/usr/bin/env bash
# snapshot-merge: an upgrade of a filesystem goes wrong, and is rolled back under the eyes of those who read it.
source "$(dirname "$0")/lesson.sh"

say 'A disk with a filesystem, made from a folder of files, so that no root is needed. The volume disk stands on another one, iron, which is the hardware here.'
run <<'END'
mkdir -p shop/etc shop/bin; echo 'version 1' >shop/version
echo 'color = blue' >shop/etc/settings; seq -f 'line %g of the program' 2000 >shop/bin/program
truncate -s 8M disk.img; mke2fs -q -F -t ext4 -b 4096 -d shop disk.img
END
mount_dmfs
run <<'END'
dmfs create iron --table '0 16384 linear disk.img 0'
dmfs create disk --table '0 16384 linear iron 0'
END
say 'The upgrade shall come tonight. So, a snapshot; and for the proof in the end a copy of all bytes, which one would not make otherwise.'
run 'dmfs snapshot disk before; cp disk.img proof.img; dmfs table'

say 'The upgrade. debugfs writes into a filesystem that is not mounted.'
run <<'END'
echo 'version 2' >version; seq -f 'line %g of the new program' 20000 >program
cat >upgrade <<STEPS
rm version
write version version
rm bin/program
write program bin/program
rm etc/settings
STEPS
debugfs -w -f upgrade dm/disk >/dev/null 2>&1; dmfs status before
debugfs -R 'cat version' dm/disk 2>/dev/null; debugfs -R 'cat etc/settings' dm/disk 2>&1 | tail -n 1
END
so 'It says that it is version 2,' has 'version 2'
so 'and it has lost the settings.' has 'etc/settings: File not found'

say 'The shop is open all the same. Somebody has the disk open, and looks at the version all the time: at the block in which it is.'
run 'debugfs -R "blocks version" dm/disk 2>/dev/null'
block=$((out))
run <<END
cat >reader.py <<PY
import os, time
disk = os.open("dm/disk", os.O_RDONLY)
while not os.path.exists("stop"):
    print(os.pread(disk, 9, $block * 4096).decode(), flush=True)
    time.sleep(0.002)
PY
python3 reader.py >seen 2>&1 &
END
looks() { grep -q "$1" seen; }
soon 'It is at work.' looks 'version 2'

say 'Go back. A merge of so little is done before one can look, so make the iron slow. The numbers are milliseconds: reads 0, writes 60000, flushes 0. merge waits for the end, so it goes into the background.'
run <<'END'
dmfs load iron --table '0 16384 delay disk.img 0 0 disk.img 0 60000 disk.img 0 0'
dmfs resume iron
dmfs merge before >merged &
END
gone() { ! dmfs info before >.info 2>&1; }
soon 'The snapshot is no volume any more.' gone
run 'dmfs table; dmfs status disk'
so 'The disk shows what the snapshot had kept,' has 'disk: 0 16384 snapshot-merge disk-real'
say 'while that is written back. How much is left says the status, in sectors: the first number, less the last. And who sees what?'
run "for v in disk.img dm/disk; do dd if=\$v bs=4096 skip=$block count=1 status=none | head -c 10; done"
so 'The file below still has version 2; whoever looks at the disk sees version 1.' has $'version 2\nversion 1'
run 'debugfs -R "cat etc/settings" dm/disk 2>/dev/null; e2fsck -fn dm/disk'
so 'All of it is there, at once, with the settings.' has 'color = blue'
so 'The filesystem is sound.' has 'non-contiguous'

say 'Let the iron be as fast as it was, and the merge comes to its end.'
run "dmfs load iron --table '0 16384 linear disk.img 0'; dmfs resume iron"
ended() { grep -q deleted merged; }
soon 'The COW file is not needed any more.' ended
run 'cat merged'

say 'What has the reader seen?'
run 'touch stop; wait; uniq seen'
so 'Its file was open all the time. First it saw the one, then the other, and nothing else.' [ "$out" = $'version 2\nversion 1' ]

say 'What is left of the upgrade, and of the snapshot?'
run 'dmfs table; ls'
so 'The disk stands on the iron, as at the beginning.' has $'disk: 0 16384 linear iron 0\niron: '
so 'There is no snapshot,' has_not before:
so 'and no COW file.' has_not before.cow
run 'cmp disk.img proof.img && echo "byte for byte"; debugfs -R "cat version" dm/disk 2>/dev/null'
so 'The disk is what it was before: also where no file is.' has $'byte for byte\nversion 1'
