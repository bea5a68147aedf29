#!/usr/bin/env bash
# A leg fails: the letters of striped, waiting for an event, and counting requests.
source "$(dirname "$0")/lesson.sh"
run 'truncate -s 1M a.img b.img'
mount_dmfs

say 'Two legs. The second is a volume, so that it can break when we want it to.'
run "dmfs create disk2 --table '0 2048 linear b.img 0'"
run "dmfs create stripes --table '0 4096 striped 2 8 a.img 0 disk2 0'"
run 'dmfs status stripes'
so 'AA: both legs are alive.' has ' 1 AA'

say 'Somebody waits for news of the volume. Its event number is 0 now:'
run 'cat dm/.control/stripes/events'
so 'Nothing has happened.' [ "$out" = 0 ]
run 'dmfs wait stripes 0 &'
waiter=$!
sleep 0.2
so 'It still waits.' kill -0 $waiter

say 'The disk dies. error takes its place, and the next request to the second leg fails:'
run 'dmfs wipe_table disk2'
run 'dmfs table disk2'
refused 'dd if=dm/stripes of=/dev/null bs=4096 skip=1 count=1'
so 'A chunk of the second leg cannot be read.' has 'Input/output error'
run "wait $waiter"
so 'Who waited was told.' test "$status" = 0
run 'cat dm/.control/stripes/events; dmfs status stripes'
so 'The second letter is D, for dead.' has ' 1 AD'

say 'The first leg serves on: nothing is kept twice, but nothing of the other is lost, either.'
run 'dd if=dm/stripes of=/dev/null bs=4096 count=1 status=none'

say 'Which requests were there? Each volume counts:'
run 'cat dm/.control/stripes/stats'
read -r reads sectors_read read_errors _ < <(tail -n 1 dm/.control/stripes/stats)
so 'A read has failed,' [ "$read_errors" -gt 0 ]
so 'and others were served.' [ "$reads" -gt "$read_errors" -a "$sectors_read" -ge 8 ]

say 'The disk is replaced. What the leg had is readable again, but the letter is a report, not a state: it stays until another table is swapped in.'
run "dmfs load disk2 --table '0 2048 linear b.img 0' && dmfs resume disk2"
run 'dd if=dm/stripes of=/dev/null bs=4096 skip=1 count=1 status=none'
run 'dmfs status stripes'
so 'Still AD,' has ' 1 AD'
run 'dmfs table stripes | dmfs load stripes && dmfs resume stripes'
run 'dmfs status stripes'
so 'and now AA.' has ' 1 AA'
