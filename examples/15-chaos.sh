#!/usr/bin/env bash
# Live faults: name them, switch them on under a volume in use, count them, run them again.
source "$(dirname "$0")/lesson.sh"
run 'seq -f "line %g" 100000 | head -c 1M >disk.img'
mount_dmfs
at() { dd if=dm/disk bs=512 skip="$1" count="${2:-1}" status=none; }

say 'chaos is linear with rules: DEVICE, START, a seed, and then rules. None yet: the volume is the file.'
run "dmfs create disk --table '0 2048 chaos disk.img 0 2024'"
run 'cmp dm/disk disk.img && echo the same'
so 'Nothing is wrong.' [ "$out" = 'the same' ]

say 'A rule has a name, a fault, and conditions. It is added while the volume is in use. Sectors 100 to 107 get unreadable:'
run 'dmfs message disk 0 add dead:error:EIO,on=read,sectors=100+8'
refused 'dd if=dm/disk of=/dev/null bs=512 skip=100 count=1'
so 'A reader meets the error,' has 'Input/output error'
run 'dd if=dm/disk bs=512 skip=108 count=1 status=none | wc -c'
so 'and one sector further there is none.' [ "$out" = 512 ]
run 'dmfs message disk 0 list; cat dm/.control/disk/events'
so 'Each firing is counted, and raises an event.' has 'fired=1'
run 'dmfs table disk'
so 'The table has the rule, too: what is printed can be loaded again.' has 'dead:error:EIO,on=read,sectors=100+8'
run 'dmfs message disk 0 remove dead && dd if=dm/disk of=/dev/null bs=512 skip=100 count=1 status=none'

say 'A disk that lies. A lost write is answered as if it were done:'
run 'dmfs message disk 0 add liar:lost,once'
run "printf 'first' | dd of=dm/disk conv=notrunc status=none; head -c 5 dm/disk; echo"
so 'The old bytes are still there.' has 'line '
run "printf 'again' | dd of=dm/disk conv=notrunc status=none; head -c 5 dm/disk; echo"
so 'It was for one write only: `once`.' has 'again'
run 'dmfs message disk 0 clear'

say 'A latent error: sectors that cannot be read until somebody writes them, as disks have it.'
run 'dmfs message disk 0 add bad:latent,sectors=200+1'
refused 'dd if=dm/disk of=/dev/null bs=512 skip=200 count=1'
run 'dd if=disk.img of=dm/disk bs=512 skip=200 seek=200 count=1 conv=notrunc status=none'
run 'dd if=dm/disk of=/dev/null bs=512 skip=200 count=1 status=none && echo repaired'
so 'The write has repaired it.' [ "$out" = repaired ]
run 'dmfs message disk 0 clear'

say 'A request that hangs. It harms nobody else, can be killed, and goes on when the rule is removed.'
run 'dmfs message disk 0 add stuck:hang,on=read,sectors=0+8'
run 'dd if=dm/disk of=got bs=4096 count=1 status=none & echo waiting'
reader=$(jobs -p | tail -n 1)
holds() { [[ $(dmfs message disk 0 list) == *held=1* ]]; }
soon 'It is held.' holds
run 'timeout 5 dd if=dm/disk of=/dev/null bs=4096 skip=1 count=1 status=none && echo others are served'
so 'Another sector is read meanwhile.' [ "$out" = 'others are served' ]
run 'dmfs message disk 0 remove stuck'
run "wait $reader && cmp got <(head -c 4096 disk.img) && echo got it"
so 'The reader has its data.' [ "$out" = 'got it' ]

say 'By chance, but not at random: the seed and the number of a request decide. Each of 20 reads fails with a chance of one in five:'
run 'dmfs message disk 0 add flaky:error,on=read,p=0.2'
run <<'END'
play() {
    for ((i = 0; i < 20; i++)); do
        if dd if=dm/disk of=/dev/null bs=4096 skip=$i count=1 status=none 2>/dev/null; then printf .; else printf x; fi
    done
}
play
END
first=$out
so 'Some fail.' [ "$first" != "${first//x/}" ]
say '`reset` begins again from the same seed:'
run 'dmfs message disk 0 reset; play'
so 'The same run.' [ "$out" = "$first" ]
run 'dmfs message disk 0 reset 2025; play'
so 'Another seed, another run.' [ "$out" != "$first" ]
say 'What happened is in the log, with the seed, so that a failed test can be played again:'
run 'dmfs message disk 0 log'
so 'Each line has the rule, the sectors, the seed and the number.' has 'flaky error read'

say 'Two legs of a mirror that share a mask are never hurt in the same chunk: what one has lost the other still has.'
run 'cp disk.img copy.img'
run "dmfs create left  --table '0 2048 chaos disk.img 0 1 bad:error,on=read,p=0.5,mask=mirror/8'"
run "dmfs create right --table '0 2048 chaos copy.img 0 2 bad:error,on=read,p=0.5,mask=mirror/8'"
run <<'END'
for ((i = 0; i < 32; i++)); do
    for leg in left right; do
        if dd if=dm/$leg of=/dev/null bs=4096 skip=$i count=1 status=none 2>/dev/null; then printf .; else printf x; fi
    done
    printf ' '
done
END
so 'Both have failed somewhere,' has 'x. '
so 'the other one elsewhere,' has '.x '
so 'and nowhere both.' has_not 'xx'
