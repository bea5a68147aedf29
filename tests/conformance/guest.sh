# Runs in the guest: every scenario under scenarios/, a transcript each under out/.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
cd /tmp/shared
ln -sfn /proc/self/fd /dev/fd
cp blk /run/blk
if [[ -d kernel ]]; then # one of modules
	# what the kernel itself asks for (ciphers, by their names); it does so outside of this chroot
	printf '#!/bin/busybox sh\nexec /bin/busybox chroot /new /sbin/modprobe -d /tmp/shared/kernel "$@"\n' >modprobe
	chmod +x modprobe; echo /new/tmp/shared/modprobe >/proc/sys/kernel/modprobe
	for m in loop dm-mod dm-crypt dm-delay dm-flakey dm-snapshot dm-mirror dm-zero dm-thin-pool dm-cache dm-cache-smq dm-era dm-raid dm-verity dm-integrity dm-log-writes dm-multipath dm-writecache dm-switch dm-unstripe dm-zoned dm-dust dm-ebs dm-clone dm-vdo dm-pcache dm-round-robin dm-service-time dm-queue-length dm-historical-service-time dm-io-affinity raid456 raid1 raid10 raid0 ext4; do modprobe -q -d /tmp/shared/kernel "$m"; done
fi
for i in $(seq 0 63); do [[ -e /dev/loop$i ]] || mknod /dev/loop$i b 7 $i; done
cat >one.sh <<'ONE'
BLK=/run/blk
source ./verbs.sh
source ./backend-kernel.sh
run_scenario "$1"
ONE
dmsetup targets >out/targets
uname -r >out/release
for s in scenarios/*; do
	n=$(basename "$s")
	dmesg -C
	timeout -k 5 "${SCENARIO_SECONDS:-100}" bash one.sh "$s" >"out/$n" 2>&1 </dev/null || echo "!! ended with $?" >>"out/$n"
	dmsetup remove_all -f >/dev/null 2>&1; losetup -D
	dmesg >"out/$n.dmesg"
done
