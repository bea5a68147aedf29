# What a volume costs. Machines are noisy: the numbers are printed, and only three times
# the limit fails.

rss() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; } # KiB

test_thousand_volumes() {
	image 64M a.img
	mount_dmfs "$T/mnt"
	local empty; empty=$(rss "$SERVER")
	unmount_dmfs
	awk -v file="$T/a.img" 'BEGIN { for (i = 0; i < 1000; i++) {
		printf "[[volume]]\nname = \"v%d\"\nuuid = \"uuid-%d\"\n", i, i
		printf "table = \"\"\"\n0 64 linear %s %d\n64 64 zero\n\"\"\"\n\n", file, i * 64 } }' >dmfs.toml
	local begin=${EPOCHREALTIME/./} took full each
	mount_dmfs "$T/mnt" --config dmfs.toml
	same "$(ls mnt | wc -l)" 1000
	took=$(((${EPOCHREALTIME/./} - begin) / 1000))
	full=$(rss "$SERVER")
	each=$((full > empty ? full - empty : 0))
	note "1000 volumes: mounted and listed in $took ms (limit 2000), $((each / 1000)).$(printf %03d $((each % 1000))) KiB each (limit 64)"
	((took < 6000)) || fail "mounting 1000 volumes took $took ms"
	((each < 3 * 64000)) || fail "1000 volumes take $each KiB"
	# Reading all of them: what is taken for that is given back or used again.
	local i
	for i in {0..999..10}; do cat "mnt/v$i" >/dev/null; done
	note "after reading a hundred of them: $(($(rss "$SERVER") - empty)) KiB more than an empty mount"
	begin=${EPOCHREALTIME/./}
	dmfs remove_all
	note "removed in $(((${EPOCHREALTIME/./} - begin) / 1000)) ms"
	same "$(ls mnt | wc -l)" 0
}

# Volumes that come and go leave nothing: neither memory nor descriptors.
test_no_leaks() {
	image 1M a.img
	mount_dmfs "$T/mnt"
	local i round memory files
	for round in 0 1 2 3; do
		for ((i = 0; i < 200; i++)); do
			mkdir mnt/.control/v
			echo "0 2048 linear $T/a.img 0" >mnt/.control/v/table
			read -r -N 4096 <mnt/v || true
			echo "0 8 linear $T/nosuch 0" >mnt/.control/v/table || true
			rmdir mnt/.control/v
		done 2>/dev/null
		if ((round == 1)); then memory=$(rss "$SERVER") files=$(ls "/proc/$SERVER/fd" | wc -l); fi
	done
	note "400 volumes made and removed: $(($(rss "$SERVER") - memory)) KiB"
	(($(rss "$SERVER") - memory < 4096)) || fail "memory grew from $memory to $(rss "$SERVER") KiB"
	(($(ls "/proc/$SERVER/fd" | wc -l) <= files + 1)) || fail "descriptors grew from $files to $(ls "/proc/$SERVER/fd" | wc -l)"
}
