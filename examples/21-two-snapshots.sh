#!/usr/bin/env bash
# snapshot-origin: one disk, two snapshots of it; what a write copies, where to, and who sees it.
source "$(dirname "$0")/lesson.sh"

say 'A disk of 16 pages of 4 KiB. put writes a page of a volume, page reads one.'
run <<'END'
for n in {0..15}; do printf '%-4095s\n' "page $n of Monday"; done >disk.img
put()  { printf '%-4095s\n' "$3" | dd of=dm/$1 bs=4096 seek=$2 conv=notrunc status=none; }
page() { dd if=dm/$1 bs=4096 skip=$2 count=1 status=none | sed 's/ *$//'; }
END
mount_dmfs
run <<'END'
dmfs create disk --table '0 128 linear disk.img 0'
dmfs snapshot disk monday
put disk 0 'page 0 of Tuesday'
dmfs snapshot disk tuesday
END
say 'What stands where?'
run 'dmfs ls --tree -o ascii,notrunc; dmfs table'
so 'What was the table of disk is that of disk-real now.' has "disk-real: 0 128 linear $PWD/disk.img 0"
so 'disk is an origin, which asks its snapshots before it changes anything.' has 'disk: 0 128 snapshot-origin disk-real'
so 'Neither snapshot stands on the other: each has the disk, and a COW file.' \
	has "tuesday: 0 128 snapshot disk-real $PWD/tuesday.cow PO 8"

say 'How much does each hold? In a status, the first number counts the sectors that are used, and the last those of them that are header and exceptions. What is between is pages.'
run <<'END'
held() { dmfs status | awk '$4 == "snapshot" { split($5, used, "/"); print $1, "pages", (used[1] - $6) / 8 }'; }
dmfs status; held
END
so 'Page 0 was written when there was one snapshot only.' has $'monday: pages 1\ntuesday: pages 0'

say 'Page 3 has not been written since either was made. What would a write to it do?'
run 'dmfs explain disk 24+8 --write'
so 'It is copied for both, and then written.' [ "$(grep -c 'copied first' <<<"$out")" = 2 ]
run "put disk 3 'page 3 of Wednesday'; held"
so 'One write, two copies.' has $'monday: pages 2\ntuesday: pages 1'
say 'In a COW file pages follow one another as they come, from 8 KiB on:'
run <<'END'
for cow in monday tuesday; do
    echo "$cow.cow:"; dd if=$cow.cow bs=4096 skip=2 count=2 status=none | tr -d '\0' | sed 's/ *$//'
done
END
so 'The copy of page 3 is the second of the one and the first of the other.' \
	has $'monday.cow:\npage 0 of Monday\npage 3 of Monday\ntuesday.cow:\npage 3 of Monday'

say 'And when it is written a second time?'
run 'dmfs explain disk 24+8 --write'
so 'Nothing is copied.' has_not 'copied first'
run <<'END'
sum=$(cat *.cow | sha256sum)
put disk 3 'page 3 of Thursday'
[ "$(cat *.cow | sha256sum)" = "$sum" ] && echo 'both COW files are the same'
END
so 'The first write of a page pays, for all that come.' has 'are the same'

say 'Each shows its own moment:'
run 'for v in monday tuesday disk; do echo "$v: $(page $v 0), $(page $v 3), $(page $v 7)"; done'
so 'Monday has nothing but Monday,' has 'monday: page 0 of Monday, page 3 of Monday,'
so 'Tuesday has one page of its own,' has 'tuesday: page 0 of Tuesday, page 3 of Monday,'
so 'and the disk has the latest.' has 'disk: page 0 of Tuesday, page 3 of Thursday,'

say 'A snapshot can be written, too. Who sees it?'
run <<'END'
put monday 7 'page 7 with a remark'
for v in monday tuesday disk; do echo "$v: $(page $v 7)"; done
held
END
so 'Only who looks at this snapshot.' [ "$(grep -c remark <<<"$out")" = 1 ]
so 'It holds one page more, the other as many as before.' has $'monday: pages 3\ntuesday: pages 1'

say 'So one can go, and the other does not notice. Keep a copy of what tuesday shows, and drop monday:'
run <<'END'
cp dm/tuesday tuesday.img
dmfs drop monday
put disk 8 'page 8 of Friday'
held; cmp dm/tuesday tuesday.img && echo 'tuesday is the same'
END
so 'Tuesday is unharmed, and goes on: page 8 was copied for it.' has $'tuesday: pages 2\ntuesday is the same'
run 'dmfs drop tuesday; dmfs table'
so 'With the last one gone the origin is a plain volume again.' [ "${out##*$'\n'}" = "disk: 0 128 linear $PWD/disk.img 0" ]
run 'for n in 0 3 7 8; do page disk $n; done; ls'
so 'It has what was written to it last,' has $'page 0 of Tuesday\npage 3 of Thursday\npage 7 of Monday\npage 8 of Friday'
so 'and no COW file is left.' has_not .cow
