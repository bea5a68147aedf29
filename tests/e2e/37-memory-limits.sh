# shellcheck shell=bash
# What grows has a limit, and the daemon says so before its memory ends.

rss() { awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$SERVER/status"; } # MiB, at most

# Statistics of all volumes share one limit.
test_statistics() {
	mount_dmfs "$T/mnt"
	local i refused=0
	for i in 1 2 3 4; do
		new_volume "v$i" "0 8388608 zero"
		"$DMFS" message "v$i" 0 @stats_create - 2 >/dev/null 2>said || { refused=$((refused + 1)); matches "$(<said)" 'all statistics of a mount together'; }
	done
	((refused > 0)) || fail "four times 4 million areas are taken"
	(($(rss) < 1800)) || fail "the daemon has $(rss) MiB"
	note "$((4 - refused)) of 4 are taken, the daemon has $(rss) MiB"
	refused 'more than 4194304 in one answer.*some of them: @stats_print 0 FIRST' "$DMFS" message v1 0 @stats_print 0
	same "$("$DMFS" message v1 0 @stats_print 0 4000000 2 | wc -l)" 2
	"$DMFS" message v1 0 @stats_delete 0
	"$DMFS" message v1 0 @stats_create - 2 >/dev/null
	unmount_dmfs
}

# A latent rule remembers what was written in ranges.
test_latent() {
	mount_dmfs "$T/mnt"
	new_volume z "0 $((1 << 44)) zero"
	new_volume c "0 $((1 << 44)) chaos z 0 1 l:latent"
	timeout 30 fallocate -z -l $((1 << 52)) mnt/c
	head -c 4096 mnt/c | cmp -n 4096 - /dev/zero
	refused 'Input/output error' dd if=mnt/c of=/dev/null bs=4096 count=1 skip=$((1 << 40)) iflag=direct
	(($(rss) < 300)) || fail "the daemon has $(rss) MiB"
	unmount_dmfs
}

# A mount with a deep stack ends in a time that does not grow with its square.
test_deep_stack() {
	mount_dmfs "$T/mnt"
	local i begin
	new_volume v0 "0 8 zero"
	for ((i = 1; i < 400; i++)); do
		mkdir "mnt/.control/v$i"
		echo "0 8 linear v$((i - 1)) 0" >"mnt/.control/v$i/table"
	done
	begin=$EPOCHSECONDS
	unmount_dmfs
	note "400 stacked volumes end in $((EPOCHSECONDS - begin)) s"
}
