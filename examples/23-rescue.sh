#!/usr/bin/env bash
# overlay: a damaged filesystem is repaired beside its image; the first repair is thrown away, the second is kept.
source "$(dirname "$0")/lesson.sh"

say 'The image of a memory card, with photos and a list.'
run <<'END'
echo 'call grandmother' >list; mkdir trip; for n in 1 2 3; do seq -f "photo $n, line %g" 3000 >trip/photo$n; done
cat >fill <<STEPS
write list list
mkdir trip
write trip/photo1 trip/photo1
write trip/photo2 trip/photo2
write trip/photo3 trip/photo3
STEPS
truncate -s 16M card.img; mke2fs -q -F -t ext4 -b 1024 card.img; debugfs -w -f fill card.img >/dev/null 2>&1
debugfs -R 'blocks /' card.img 2>/dev/null
END
root=$((out))
say "Then it was pulled out too early. Block 1, which is the superblock, and block $root, which is the root directory, are zeros now."
run "for n in 1 $root; do dd if=/dev/zero of=card.img bs=1024 seek=\$n count=1 conv=notrunc status=none; done
dumpe2fs -h card.img"' 2>&1 | sed -n 2p'
so 'There is no filesystem to be seen.' has 'Bad magic number in super-block'

say 'e2fsck might repair it, or make it worse: there is one card only, and a repair cannot be undone. So let it work on an overlay. That shows the file, which is only read, and keeps what is written in a COW file.'
mount_dmfs
run <<'END'
chmod a-w card.img; sha256sum card.img >card.sum
dmfs overlay card.img try
dmfs table
END
so 'A snapshot of a file that nobody writes.' has "try: 0 32768 snapshot $PWD/card.img $PWD/try.cow PO 8"
run 'e2fsck -fy dm/try; echo "exit status $?"'
so 'It has found a copy of the superblock,' has 'trying backup blocks'
so 'made a new root directory, and repaired.' has 'exit status 1'

say 'What is there now?'
run 'e2fsck -fn dm/try; echo "exit status $?"'
so 'A sound filesystem,' has 'exit status 0'
run 'debugfs -R "ls -p /" dm/try 2>/dev/null; debugfs -R "ls -p /lost+found" dm/try 2>/dev/null'
so 'with all that there was in lost+found, under numbers: the names were in the root directory.' has '/#13/'
run <<'END'
debugfs -R 'cat lost+found/#12' dm/try 2>/dev/null
debugfs -R 'ls -p lost+found/#13' dm/try 2>/dev/null
mkdir found; debugfs -R 'rdump lost+found/#13 found' dm/try 2>/dev/null
diff -r 'found/#13' trip && echo 'no difference'
END
so 'The list has lost its name,' has 'call grandmother'
so 'the photos not even that: they stood in a directory that is whole.' has 'no difference'

say 'And the image?'
run 'sha256sum -c card.sum; dmfs status try'
kib=$(awk 'END { print ($4 - $5) / 2 }' <<<"$out")
so 'Byte for byte as it was: damaged.' has 'card.img: OK'
so "The sectors that are used, less those of header and exceptions: all of the repair is in $kib KiB." [ "$kib" -lt 100 ]
say 'With them it can be thrown away.'
run 'dmfs drop try; ls; sha256sum -c card.sum'
so 'No volume, no COW file,' has_not $'\ntry.cow'
so 'and no harm done.' has 'card.img: OK'

say 'It was a good repair, so do it once more, and keep it. merge writes into the file what the overlay has; now it has to be writable.'
run <<'END'
chmod u+w card.img
dmfs overlay card.img try
e2fsck -fy dm/try >/dev/null 2>&1; cp dm/try repaired.img
dmfs merge try
dmfs table
END
so "It was $kib KiB again." has "try has $kib KiB of changes merged into it"
so 'The volume is still there, and shows nothing but the file.' has "try: 0 32768 linear $PWD/card.img 0"
run 'cmp card.img repaired.img && echo "byte for byte"'
so 'The image is what the overlay showed.' has 'byte for byte'
run 'dmfs remove try; e2fsck -fn card.img && debugfs -R "cat lost+found/#12" card.img 2>/dev/null'
so 'It is sound, without dmfs, too,' has 'non-contiguous'
so 'and grandmother will be called.' has 'call grandmother'
