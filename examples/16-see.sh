#!/usr/bin/env bash
# See it: the stack as a tree, for Graphviz and as a picture; what the host lacks; rates.
source "$(dirname "$0")/lesson.sh"
run 'truncate -s 1M a.img b.img c.img'
mount_dmfs

say 'A small stack: two files striped, a third behind them, a hole at the end; on that a partition.'
run "dmfs create fast --table '0 4096 striped 2 512 a.img 0 b.img 0'"
run <<'END'
dmfs create disk <<TABLE
0    4096 linear fast 0
4096 2048 linear c.img 0
6144 2048 zero
TABLE
END
run "dmfs create part --table '0 4000 linear disk 2048'"

say 'What stands on what, from the top to the files, with the sectors that are used of each:'
run 'dmfs graph'
so 'The partition uses a part of the disk,' has 'disk [2048, 6048)'
so 'and below it are the files.' has "$PWD/b.img [0, 2048)"

say 'Where does one sector go? Before anybody asks for it, explain follows it down; and from a bad byte of a file it finds the way back up.'
run 'dmfs explain part 2040+16'
so 'The first half lies in the striped files, the other in c.img.' has "$PWD/c.img 0+8"
run 'dmfs explain --reverse c.img 0'
so 'A bad sector there would be met in both volumes.' has 'part: sector 2048, through disk'

say 'And while it goes: who asked for what, how long it took, and the way it went.'
run <<'END'
(sleep 0.5; dd if=dm/part of=/dev/null bs=4096 count=2 iflag=direct status=none) &
timeout 5 dmfs trace part --count 2
END
so 'Two requests of dd.' grep -q 'dd\[.*read .* 8+8 .* ok .*disk:2056+8>fast:2056+8' <<<"$out"

say 'The same for Graphviz, which makes a picture of it with: dmfs graph --dot | dot -Tpng'
run 'dmfs graph --dot fast'
so 'An arrow for each leg.' has '-> d1'

say 'dmfs draws one itself. Each volume is a bar, to scale, its pieces in the colour of the file they live in. Point at one in a browser, and it tells its sectors.'
run 'dmfs graph -o stack.svg && wc -c <stack.svg'
so 'It is one small file, and refers to no other.' [ "$out" -lt 100000 ]
run "grep -o '<title>sectors .0, 512.*' stack.svg | head -n 1; grep -A 1 '<title>sectors .0, 512' stack.svg | grep -o '^on [^<]*' | head -n 1"
so 'The first chunk of fast lives in a.img.' has "on $PWD/a.img [0, 512)"

say 'What do the volumes do? On a terminal, dmfs top shows it until q is pressed. For scripts there are plain lines. Here somebody reads, for a moment:'
run <<'END'
while sleep 0.05; do dd if=dm/part of=/dev/null bs=4k status=none; done &
dmfs top -b -d 0.5 -n 1; kill $!
END
so 'The partition is read, and so is all that it stands on.' grep -qE '^ *fast +[1-9]' <<<"$out"

say 'If something is slow, or hangs, the host may be the reason. The doctor names what would hurt, and the command that mends it. (It may find problems here: that is no failure of the lesson.)'
run 'dmfs doctor; true'
so 'It knows about this mount.' has "$PWD/dm"
