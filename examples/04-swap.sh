#!/usr/bin/env bash
# Swap a table under a filesystem in use: its data move to another file, and nobody notices.
source "$(dirname "$0")/lesson.sh"

say 'A disk, and the larger one that shall take its place.'
run 'truncate -s 32M old.img; truncate -s 48M new.img'
mount_dmfs
run "dmfs create disk --table '0 65536 linear old.img 0'"

if can_loop; then
	say 'Attach a loop device, and the volume is a block device. Make a filesystem on it.'
	run 'dmfs attach disk'
	loop=$out
	so 'It is a block device.' [ -b "$loop" ]
	run "mkfs.ext4 -q $loop && mkdir mnt && mount $loop mnt"
	say 'Somebody uses it: writes line after line, each one flushed to the disk, and notes in a journal elsewhere what was done.'
	run <<'END'
writer() {
    for ((n = 1; ; n++)); do
        [[ ! -e stop ]] || break
        echo "line $n" >>mnt/lines.txt && sync mnt/lines.txt && echo "line $n" >>journal.txt
    done
}
END
else
	say 'A loop device, to mount a filesystem on, needs root. Without it, mke2fs makes the filesystem in the first 24 MiB of the file, and debugfs puts a book into it.'
	run 'seq -f "page %g" 20000 >book.txt'
	run 'mke2fs -q -F -t ext4 dm/disk 24M'
	run 'debugfs -w -R "write book.txt book.txt" dm/disk 2>/dev/null'
	say 'Somebody uses the last 8 MiB: writes line after line, a sector each, flushed to the disk, and notes in a journal elsewhere what was done.'
	run <<'END'
writer() {
    for ((n = 1; ; n++)); do
        [[ ! -e stop ]] || break
        printf '%-511s\n' "line $n" |
            dd of=dm/disk bs=512 seek=$((49151 + n)) conv=notrunc,fdatasync status=none &&
            echo "line $n" >>journal.txt
    done
}
END
fi
run 'writer &'
soon 'It is at work.' [ -s journal.txt ]

say 'Now the move. Stop the volume: requests that are under way are finished, new ones wait.'
run 'dmfs suspend disk'
parked() { (($(cut -d ' ' -f 3 dm/.control/disk/inflight) > 0)); }
soon 'Before long the writer waits.' parked
say 'The numbers are those of reads inside, of writes inside, and of requests that are parked outside:'
run 'cat dm/.control/disk/state dm/.control/disk/inflight'
so 'Nobody is inside.' has $'suspended\n0 0 '

say 'Copy. The old file stands still, so the copy is exact.'
run 'dd if=old.img of=new.img bs=1M conv=notrunc,sparse status=none'

say 'Load a table beside the live one, and resume: that makes it the live one, and lets in who waits.'
run "dmfs load disk --table '0 65536 linear new.img 0'"
run 'dmfs info -c -o name,tables_loaded,suspended disk'
so 'There are two tables now.' has 'Both'
lines=$(wc -l <journal.txt)
run 'dmfs resume disk'
run 'dmfs table disk'
so 'The disk is on the new file.' has "$PWD/new.img"

say 'Nobody needs the old one any more. To prove it, destroy it.'
run 'shred -n 1 old.img && rm old.img'

went_on() { (($(wc -l <journal.txt) > lines)); }
soon 'The writer goes on, and knows of nothing.' went_on
run 'touch stop; wait'

say 'Compare what it believes it has written with what is there.'
if [[ -d mnt ]]; then
	run 'umount mnt && dmfs detach disk'
	run 'fsck.ext4 -fn dm/disk'
	run 'debugfs -R "cat lines.txt" dm/disk 2>/dev/null >lines.txt'
else
	run 'fsck.ext4 -fn dm/disk'
	run 'debugfs -R "cat book.txt" dm/disk 2>/dev/null | cmp - book.txt'
	run 'dd if=dm/disk bs=512 skip=49152 count=$(wc -l <journal.txt) status=none | sed "s/ *$//" >lines.txt'
fi
run 'tail -n 1 journal.txt; cmp journal.txt lines.txt'
so 'The filesystem is sound, and not a line is lost.' [ "$status" = 0 ]
