#!/usr/bin/env bash
# Torn writes under SQLite: the disk dies in the middle of a write, or lies about it; what is left in both journal modes.
source "$(dirname "$0")/lesson.sh"
SEEDS=${SEEDS:-4}  # crashes of each kind

for tool in fuse2fs sqlite3 mkfs.ext4 e2fsck debugfs; do
	command -v $tool >/dev/null || {
		skip "it needs $tool (Debian: fuse2fs, sqlite3, e2fsprogs)"
	}
done
unmount() { umount "$1" 2>/dev/null || fusermount3 -u "$1" 2>/dev/null || fusermount -u "$1"; }
# fuse2fs on the volume, in the foreground of a background job: so it can be killed.
begin_fs() {
	fuse2fs -f -s dm/disk mnt -o fakeroot >fuse2fs.log 2>&1 &
	fs=$!
	until mountpoint -q mnt; do
		kill -0 $fs 2>/dev/null || return 1
		sleep 0.01
	done
}
end_fs() {
	unmount mnt
	wait $fs || true
} 2>/dev/null

say 'A disk in memory, with rules, and a filesystem on it that needs no root: fuse2fs serves ext4 from a file.'
mount_dmfs
run "dmfs create disk --table '0 8192 chaos ram:4M 0 1'"
run 'mkfs.ext4 -q -F -b 4096 dm/disk 2>&1 | grep -v journal; mkdir mnt'
begin_fs || {
	skip "fuse2fs does not work here: $(tail -n 1 fuse2fs.log)"
}
run "sqlite3 mnt/db 'CREATE TABLE t (id INTEGER PRIMARY KEY, text); CREATE INDEX i ON t (text)'"
end_fs
run 'cp dm/disk fresh.img'

say 'One crash: begin with the fresh disk, commit transaction after transaction, let the rules act, kill the filesystem, have e2fsck repair what it can, and ask SQLite (PRAGMA integrity_check). What was committed is counted too.'
transactions() { # JOURNAL-MODE
	echo ".bail on"
	echo "PRAGMA journal_mode = $1; PRAGMA synchronous = EXTRA;"
	for i in {1..12}; do
		echo "BEGIN; INSERT INTO t VALUES ($i, printf('%05000d', $i));"
		echo "UPDATE t SET text = text || 'x' WHERE id = $i / 2; COMMIT; SELECT 'committed';"
	done
}
crash() { # JOURNAL-MODE SEED RULE...
	local mode=$1 seed=$2 committed found verdict rule
	shift 2
	dmfs message disk 0 clear
	dd if=fresh.img of=dm/disk bs=1M conv=notrunc status=none
	dmfs message disk 0 reset "$seed"
	begin_fs
	for rule; do dmfs message disk 0 add "$rule"; done
	transactions "$mode" | sqlite3 mnt/db >said 2>failed || true
	committed=$(grep -c committed said || true)
	dmfs message disk 0 log | cut -d ' ' -f 2- >firings
	{ kill -9 $fs && wait $fs; } 2>/dev/null || true
	end_fs
	dmfs message disk 0 clear
	e2fsck -fy dm/disk >/dev/null 2>&1 || true
	rm -rf left && mkdir left
	debugfs -R 'rdump / left' dm/disk >/dev/null 2>&1
	verdict=$(sqlite3 left/db 'PRAGMA integrity_check' 2>&1 | head -n 1) || true
	found=$(sqlite3 left/db "SELECT count(*) FROM t WHERE rtrim(text, 'x') = printf('%05000d', id)" 2>/dev/null) || found=0
	echo "$mode seed $seed: committed $committed, found whole $found, integrity: $verdict" | cut -c 1-76
}
# SEEDS crashes of one kind; the writes at which they strike are drawn from the seed.
crashes() { # JOURNAL-MODE KIND
	local seed strike
	for ((seed = 1; seed <= SEEDS; seed++)); do
		strike=$((40 + seed * 37 % 110))
		case $2 in
			clean) crash "$1" $seed "off:error,on=write,from=$strike" ;;
			torn) crash "$1" $seed "cut:torn,nth=$strike" "off:error,on=write,from=$((strike + 1))" ;;
			lying) crash "$1" $seed "lie:torn:ok,p=0.1" ;;
		esac
		cat firings >>"firings.$1.$2"
	done
}
kept() { grep -c 'integrity: ok' <<<"$out" || true; }
table= at_crash=0 behind=0
for mode in DELETE WAL; do
	say "Journal mode $mode. The disk stops between two writes:"
	run "crashes $mode clean"
	clean=$(kept)
	say 'It stops within a write, of which the first sectors are there and the last are not:'
	run "crashes $mode torn"
	torn=$(kept)
	say 'It lies: one write in ten is torn and answered as done, and it goes on:'
	run "crashes $mode lying"
	lying=$(kept)
	at_crash=$((at_crash + torn)) behind=$((behind + lying))
	table+=$(printf '    %-8s %10s %10s %10s' $mode "$clean of $SEEDS" "$torn of $SEEDS" "$lying of $SEEDS")$'\n'
done

say 'How many of the databases SQLite accepts afterwards:'
printf '\n    %-8s %10s %10s %10s\n%s' journal clean torn lying "$table"
say 'A journal is written for the first two: what is torn at the moment of a crash is rolled back or not counted. No journal helps against a disk that says a write is done which is not: what is accepted there was lucky.'
so 'Honest about a crash, a disk may tear; lying about it, it may not.' [ $at_crash -gt $behind ]
run 'sed -n "/ torn /p" firings.*.torn | sort | uniq -c'
so 'Every crash has torn a write, as the log says: which one, and how much of it was written.' \
	[ "$(cat firings.*.torn | grep -c ' torn ')" = $((2 * SEEDS)) ]
say 'Where a tear goes is drawn from the seed, the name of the rule and the number of the request: the same requests meet the same tear. (fuse2fs does not always write in the same order, dd does.)'
eight_writes() { # BYTE
	dmfs message disk 0 clear
	dmfs message disk 0 reset 7
	dmfs message disk 0 add cut:torn,nth=5
	for ((i = 0; i < 8; i++)); do
		head -c 4096 /dev/zero | tr '\0' "$1" | dd of=dm/disk bs=4096 count=1 seek=$i conv=notrunc status=none 2>/dev/null || echo "write $i fails"
	done
	dmfs message disk 0 log | cut -d ' ' -f 2- >"firings.$1"
	cat "firings.$1"
}
run 'eight_writes a; eight_writes b'
so 'Both lines are the same.' cmp -s firings.a firings.b
run "for sector in {32..39}; do dd if=dm/disk bs=512 skip=\$sector count=1 status=none | head -c 1 | tr -c b .; done; echo"
new=$(tr -d ' .' <<<"$out") written=$(sed 's/.*written=//' firings.b)
so 'And there it is: as many sectors of the fifth block as the log says are new, the others are old.' [ "${#new}" = "$written" ]
