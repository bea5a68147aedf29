#!/usr/bin/env bash
# log-writes and replay: two programs that save a document, one of which forgets an fsync; every moment at
# which the power could have failed, tried out.
source "$(dirname "$0")/lesson.sh"

say 'A program saves a document on a disk in two steps: first the text (sector 8), then the number that says which version is valid (sector 0). Should the power fail in between, the old number stands, and the old text has to be what it says. So the text goes where the old one is not: version 1 to sector 9, version 2 to sector 10, and so on.'
run <<'END'
cat >save <<'SAVE'
# save DISK VERSION: text, fsync, number, fsync
printf 'text of version %d\n' $2 | dd of=$1 bs=512 seek=$((8 + $2)) conv=notrunc,fsync status=none
printf '%d\n' $2                 | dd of=$1 bs=512 seek=0          conv=notrunc,fsync status=none
SAVE
cat >hasty <<'SAVE'
# hasty DISK VERSION: number, fsync, text
printf '%d\n' $2                 | dd of=$1 bs=512 seek=0          conv=notrunc,fsync status=none
printf 'text of version %d\n' $2 | dd of=$1 bs=512 seek=$((8 + $2)) conv=notrunc status=none
SAVE
END
say 'hasty does the same in the other order, and has no fsync behind the text. Does it matter?'

say 'What has to hold at any moment: the text of the version that is valid is there.'
run <<'END'
cat >check <<'CHECK'
version=$(head -c 16 $1 | tr -d '\0')
[ -n "$version" ] || exit 0    # nothing was saved yet
text=$(dd if=$1 bs=512 skip=$((8 + version)) count=1 status=none | tr -d '\0')
[ "$text" = "text of version $version" ] || { echo "version $version is valid, and its text is '$text'"; exit 1; }
CHECK
truncate -s 16K disk.img again.img
truncate -s 1M log.img
END

say 'A volume of the target log-writes is the disk, and logs all that is written to it in a second file.'
mount_dmfs
run "dmfs create disk --table '0 32 log-writes disk.img log.img'"
run <<'END'
sh save dm/disk 1
dmfs message disk 0 mark saved-1
sh save dm/disk 2
dmfs status disk
dmfs remove disk
END
run 'sh ./check disk.img'
so 'All is well, of course: the power did not fail.' [ -z "$out" ]

say 'Now the log. A disk has a cache: a write is safe, and in the log, once an fsync came behind it.'
run 'dmfs replay log.img'
so 'The two texts come before their numbers.' [ "$(awk '$4 == "write" { print $2 }' <<<"$out" | xargs)" = '9 0 10 0' ]

say 'Replay it on an empty disk, and ask after each entry, as if the power had failed there.'
run 'dmfs replay log.img --onto again.img --after entry --exec "sh ./check"'
so 'Whenever it fails, the document is whole.' has '10 runs'
run 'cmp disk.img again.img'
so 'And at the end of the log the disk is what it was.' [ -z "$out" ]

say 'A mark finds a moment again. This is the disk when version 1 had just been saved:'
run 'truncate -s 0 again.img; truncate -s 16K again.img
dmfs replay log.img --onto again.img --to-mark saved-1; head -c 1 again.img'
so 'Version 1.' has 1

say 'And the hasty program?'
run <<'END'
truncate -s 0 disk.img; truncate -s 16K disk.img    # empty again
dmfs create disk --table '0 32 log-writes disk.img log.img'
sh hasty dm/disk 1
sh hasty dm/disk 2
dmfs remove disk
sh ./check disk.img && echo fine
END
so 'A test that only runs it finds nothing.' has fine
run 'dmfs replay log.img'
say 'The power fails after each flush in turn:'
run 'truncate -s 0 again.img; truncate -s 16K again.img
dmfs replay log.img --onto again.img --after flush --exec "sh ./check"; echo "exit code $?"'
so 'It stops at the first moment that loses the document, with the exit code of the check.' has 'exit code 1'
so 'The entry is the flush behind the number: the text was still in the cache.' has 'after entry 2 (flush)'
