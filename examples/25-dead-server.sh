#!/usr/bin/env bash
# suspend --noflush: a disk that stops answering, what it takes with it (its own volume), and how that volume is rescued.
source "$(dirname "$0")/lesson.sh"

say 'A server lends a disk. Here it is another dmfs: to this mount it is a file on a server like any other, as on NFS or sshfs.'
run 'truncate -s 8M server.img local.img; mkdir server'
run 'dmfs mount server --foreground & echo $! >pid; until mountpoint -q server; do sleep 0.1; done'
server=$(<pid)
let_server_go() {
	kill -CONT "$server"
	dmfs umount --lazy "$work/server"
} >/dev/null 2>&1
trap 'let_server_go || true; clean_up' EXIT
run "dmfs --mount server create export --table '0 16384 linear server.img 0'"
mount_dmfs
run "dmfs create far --table '0 16384 linear $work/server/export 0'; dmfs create near --table '0 16384 linear local.img 0'"
run 'head -c 64K /dev/urandom >data; dd if=data of=dm/far bs=4k oflag=direct conv=notrunc status=none'
so 'What was written to `far` is on the server.' cmp -n 65536 data server.img

say 'Now the server is gone; nobody says so. It just answers no more.'
run "kill -STOP $server"
say 'Four programs come to the disk: three read, one writes.'
run '(for n in 1 2 3; do dd if=dm/far of=late.$n bs=4k skip=$n count=1 iflag=direct status=none & done; echo $! >third) 2>/dev/null'
run '(dd if=data of=dm/far bs=4k seek=100 count=1 oflag=direct conv=notrunc status=none 2>written & echo $! >writer)'
gone() { ! kill -0 "$1" 2>/dev/null; }
so 'They wait.' kill -0 "$(<third)" "$(<writer)"
say 'The rest of the mount does not. Requests to a server are made by threads that nobody else needs, 32 a file at most, and who comes behind them waits in a queue.'
run 'timeout 9 dd if=data of=dm/near bs=4k oflag=direct conv=notrunc status=none; timeout 9 ls -l dm; timeout 9 dmfs status'
say 'Who has lost patience can be killed.'
run 'kill -9 $(cat third)'
soon 'One is gone.' gone "$(<third)"
say 'Five seconds, and the log names the file.'
named() { grep -q 'does not answer' dm/.control/log; }
for ((tries = 0; tries < 100; tries++)); do named && break; sleep 0.1; done
run 'grep "does not answer" dm/.control/log | cut -d" " -f2-'
so 'It does.' named

say 'The others wait for ever, and a suspend would wait with them. `suspend --noflush` does not: what has been under way for more than five seconds gets EIO. (The kernel waits here, and cannot be killed.)'
run 'timeout 20 dmfs suspend --noflush far'
soon 'The writer has its answer.' gone "$(<writer)"
run 'cat written'
so 'It is an error: nobody knows whether the write will land.' has 'Input/output error'

say 'That write is still somewhere on its way. If the volume went on with this disk, it could land on newer data. So whoever comes to the disk in this mount gets EIO, and no new table may name it, until it has landed.'
say 'The volume can do without: another disk, or the table `error`, which tells every program at once what is so.'
run 'dmfs load far --table "0 16384 error" && dmfs resume far'
refused 'timeout 9 dd if=dm/far of=/dev/null bs=4k count=1 iflag=direct status=none'
so 'An error within no time, where there was none for ever.' has 'Input/output error'

say 'The server comes back; the late write lands; the disk may be used again.'
run "kill -CONT $server"
usable() { timeout 9 dmfs load far --table "0 16384 linear $work/server/export 0" 2>/dev/null; }
soon 'It is taken.' usable
run 'dmfs resume far; dd if=dm/far of=back bs=4k count=16 iflag=direct status=none'
so 'With its data.' cmp data back
run 'dmfs remove far; dmfs umount server'
