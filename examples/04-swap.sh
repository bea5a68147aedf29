#!/usr/bin/env bash
# Swap a table under a filesystem in use: move its data to another file, and nobody notices.
source "$(dirname "$0")/lesson.sh"

say 'A disk, and a larger one that shall take its place.'
run 'truncate -s 32M old.img; truncate -s 48M new.img'
mount_dmfs
run "dmfs create disk --table '0 65536 linear old.img 0'"

# Moves `disk` from old.img to new.img.
move() {
	say 'Now the move. First stop the volume: requests that are under way are finished, new ones wait.'
	run 'dmfs suspend disk'
	size=$(stat -c %s journal.txt)
	sleep 0.2
	so 'Whoever wants the disk waits.' [ "$(stat -c %s journal.txt)" -le $((size + 8)) ]
	run 'cat dm/.control/disk/state dm/.control/disk/inflight'
	so 'Nobody is inside, and at least one request is parked outside.' [ "$(cut -d' ' -f3 dm/.control/disk/inflight)" -gt 0 ]
	say 'Copy. The file stands still, so the copy is exact.'
	run 'cp --sparse=always old.img new.img.part && dd if=new.img.part of=new.img bs=1M conv=notrunc,sparse status=none'
	say 'Load the new table beside the live one, and resume. That makes it live, and lets the waiting in:'
	run "dmfs load disk --table '0 65536 linear new.img 0'"
	run 'dmfs info -c -o name,tables_loaded,suspended'
	run 'dmfs resume disk'
	run 'dmfs table disk'
	so 'The disk is on new.img.' has "$PWD/new.img"
	say 'To prove that nobody needs it any more, the old file is destroyed.'
	run 'shred -n 1 old.img && rm old.img'
}

if can_loop; then
	say 'Attach a loop device, and the volume is a block device. Make a filesystem on it, and use it.'
	run 'dmfs attach disk'
	loop=$out
	so 'It is a block device.' [ -b "$loop" ]
	run "mkfs.ext4 -q $loop && mkdir mnt && mount $loop mnt"
	say 'Somebody writes to it all the time, line after line, each one flushed to the disk, and keeps a journal of what was done:'
	run <<'END'
writer() {
    for ((n = 1; ; n++)); do
        echo "line $n" >>mnt/lines.txt && sync mnt/lines.txt && echo $n >>journal.txt
    done
}
writer &
END
	writer=$!
	while [[ ! -s journal.txt ]]; do sleep 0.01; done
	move
	sleep 0.3
	say 'The writer has gone on meanwhile. End it, and compare what it believes with what is there.'
	run "kill $writer; wait $writer || true"
	run 'umount mnt && dmfs detach disk'
	run "fsck.ext4 -fn dm/disk"
	run "debugfs -R 'cat lines.txt' dm/disk 2>/dev/null >lines.txt; tail -n 1 lines.txt journal.txt"
	so 'Every line that was written is on the new disk, in order.' \
		cmp -s -n "$(sed 's/^/line /' journal.txt | wc -c)" lines.txt <(sed 's/^/line /' journal.txt)
else
	say 'A loop device, to mount a filesystem on, needs root; so mke2fs makes it in the file, and debugfs puts a file into it.'
	run 'seq -f "page %g" 20000 >book.txt'
	run "mke2fs -q -F -t ext4 dm/disk 24M && debugfs -w -R 'write book.txt book.txt' dm/disk 2>/dev/null"
	say 'Somebody writes behind the filesystem, in the last 8 MiB, sector after sector, each one flushed to the disk, and keeps a journal:'
	run <<'END'
writer() {
    for ((n = 1; ; n++)); do
        printf 'line %-507s' $n | dd of=dm/disk bs=512 seek=$((49152 + n)) conv=notrunc,fdatasync status=none
        echo $n >>journal.txt
    done
}
writer &
END
	writer=$!
	while [[ ! -s journal.txt ]]; do sleep 0.01; done
	move
	sleep 0.3
	say 'The writer has gone on meanwhile. End it, and compare what it believes with what is there.'
	run "kill $writer; wait $writer || true"
	run 'fsck.ext4 -fn dm/disk'
	so 'The filesystem is sound.' has_not 'WARNING'
	run "debugfs -R 'cat book.txt' dm/disk 2>/dev/null | cmp - book.txt"
	run "wc -l <journal.txt"
	lines=$out
	so 'Every line that was written is on the new disk, in order.' \
		cmp -s <(sed 's/^/line /' journal.txt) <(dd if=dm/disk bs=512 skip=49153 count="$lines" status=none | fold -w 512 | sed 's/ *$//')
fi
