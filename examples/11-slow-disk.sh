#!/usr/bin/env bash
# delay: what a slow disk feels like, how much patience helps, and how the delay comes and goes under a program.
source "$(dirname "$0")/lesson.sh"

say 'A disk of 1 MiB whose requests take no longer than they have to: the delay is 0 ms.'
run 'head -c 1M /dev/urandom >disk.img'
mount_dmfs
run "dmfs create disk --table '0 2048 delay disk.img 0 0'"

# Runs a command and says how long it took: $took, in ms.
timed() {
	local begin=${EPOCHREALTIME/./}
	run "$1"
	took=$(((${EPOCHREALTIME/./} - begin) / 1000))
	echo "    ... $took ms"
}
at_least() { ((took >= $1)); }
less_than() { ((took < $1)); }

say 'Twenty reads of 4 KiB, one after another, past every cache:'
timed 'dd if=dm/disk of=before bs=4096 count=20 iflag=direct status=none'

say 'Now the disk gets slow: 50 ms a request, like a hard disk that seeks and seeks. This is a swap of tables, while the volume stands.'
run "dmfs reload disk --table '0 2048 delay disk.img 0 50'; dmfs suspend disk; dmfs resume disk; dmfs table disk"
timed 'dd if=dm/disk of=after bs=4096 count=20 iflag=direct status=none'
so 'Twenty times 50 ms.' at_least 1000
so 'The bytes are the same.' cmp before after

say 'Who asks for twenty blocks at the same time waits once: each request has its own time, and waits behind no other. A deep queue hides a slow disk.'
timed 'seq 0 19 | xargs -P 20 -I N dd if=dm/disk of=part.N bs=4096 skip=N count=1 iflag=direct status=none'
so 'Together they took less than one after another.' less_than 1000

say 'Reads, writes and flushes may differ. Here a read takes no time, a write none, a flush 150 ms: a disk with a cache that is slow to empty.'
run "dmfs load disk --table '0 2048 delay disk.img 0 0 disk.img 0 0 disk.img 0 150'; dmfs resume disk"
timed 'dd if=before of=dm/disk bs=4096 count=8 oflag=direct conv=notrunc status=none'
timed 'dd if=before of=dm/disk bs=4096 count=8 oflag=direct conv=notrunc,fsync status=none'
so 'One fsync behind eight writes is paid once.' at_least 150

say 'A disk that does not answer at all is a delay of an hour. Three programs read from it:'
run "dmfs load disk --table '0 2048 delay disk.img 0 3600000'; dmfs resume disk"
run '(for n in 1 2 3; do dd if=dm/disk of=late.$n bs=4096 skip=$n count=1 iflag=direct status=none & done; echo $! >third)'
held() { [[ $(dmfs status disk) == *" delay $1" ]]; }
soon 'They wait.' held '3 0 0'
say 'The status counts who is held: reads, writes, flushes.'
run 'dmfs status disk'
say 'Who has lost patience can be killed. (A program that waits for a dead disk of the kernel can not.)'
run 'kill -9 $(cat third)'
soon 'One is gone.' held '2 0 0'
say 'And when the delay is swapped out, those that it held go on at once. This is how to test what a program does when its disk hangs for a while, and comes back.'
run "dmfs load disk --table '0 2048 linear disk.img 0'; dmfs resume disk"
answered() { [[ -s late.1 && -s late.2 ]]; }
soon 'They have their answers.' answered
so 'And the right ones.' cmp late.1 <(dd if=disk.img bs=4096 skip=1 count=1 status=none)
