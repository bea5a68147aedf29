# What a volume says of its holes, of its blocks, and of a place that cannot be read: programs that copy believe it.
# shellcheck shell=bash

# Volumes over files of which nothing is allocated, each of which gives more than zeros or fails.
test_no_hole_where_reads_differ() {
	local key tables=() i name table
	key=$(printf 'ab%.0s' {1..64})
	image 8M a.img o.img; image 64K c.img
	mount_dmfs "$T/mnt"
	tables=(
		"dust a.img 0 512"
		"chaos a.img 0 1 bad:latent,sectors=100+8"
		"chaos a.img 0 1 bad:error,on=read"
		"snapshot o.img c.img P 8"
		"flakey a.img 0 0 100"
		"error"
		"crypt aes-xts-plain64 $key 0 a.img 0"
	)
	for table in "${tables[@]}"; do
		name=v-${table%% *}
		new_volume "$name" "0 16384 $table"
		case $name in
		v-dust) for i in 'addbadblock 100' enable; do echo "0 $i" >"mnt/.control/v-dust/message"; done ;;
		v-snapshot) dd if=/dev/urandom of=mnt/v-snapshot conv=notrunc bs=4k count=256 status=none 2>/dev/null && fail "no overflow" ;;
		esac
		copies_as_cat_does "$name" "$table"
		rmdir "mnt/.control/$name"
	done
}
# cp, and tar -S, which looks at the blocks first, give what cat gives, or fail.
copies_as_cat_does() { # VOLUME WHAT
	local readable=1
	rm -f out one.tar
	cat "mnt/$1" >all 2>/dev/null || readable=0
	if cp "mnt/$1" out 2>/dev/null; then
		((readable)) && cmp all out || fail "$2: cat cannot read it, cp says done"
	fi
	if tar -C mnt -cSf one.tar "$1" 2>/dev/null; then
		((readable)) && tar -xOf one.tar "$1" | cmp - all || fail "$2: cat cannot read it, tar says done"
	fi
	if [[ $(stat -c %b "mnt/$1") == 0 ]]; then
		((readable)) && cmp -s -n $((8 << 20)) all /dev/zero || fail "$2: it has no blocks"
	fi
}

# What lies before a bad sector is given, the error comes next.
test_read_up_to_an_error() {
	random_file $((4 << 20)) r.img
	mount_dmfs "$T/mnt"
	new_volume bad $'0 2148 linear r.img 0\n2148 8 error\n2156 6036 linear r.img 2156'
	if cat mnt/bad >out 2>said; then fail "the bad sector was read"; fi
	contains said 'Input/output error'
	same "$(stat -c %s out)" $((2144 * 512))
	cmp -n $((2144 * 512)) out r.img
	# From the page in which it lies on: nothing.
	refused 'Input/output error' dd if=mnt/bad bs=4096 skip=268 count=1 of=/dev/null
	dd if=mnt/bad bs=512 skip=2147 count=1 of=one status=none
	cmp -n 512 one <(tail -c +$((2147 * 512 + 1)) r.img)
	# A fault that comes once comes, whatever the size of the read.
	new_volume once '0 8192 chaos r.img 0 1 e:error,on=read,once'
	refused 'Input/output error' dd if=mnt/once bs=1M count=1 of=/dev/null
	dd if=mnt/once bs=1M count=1 status=none | cmp -n $((1 << 20)) - r.img
}

# The page cache would take a short answer for the end of the file.
test_errors_through_the_page_cache() {
	random_file $((4 << 20)) r.img
	mount_dmfs "$T/mnt" -o cache=auto
	new_volume bad $'0 2148 linear r.img 0\n2148 8 error\n2156 6036 linear r.img 2156'
	if cat mnt/bad >out 2>/dev/null; then fail "cat ended well with $(stat -c %s out) bytes"; fi
	cmp -n "$(stat -c %s out)" out r.img
	same "$(stat -c %s mnt/bad)" $((4 << 20))
}

# SEEK_DATA over a hole of 2^50 chunks: jumped over; and over more pieces than can be looked at: data, when in doubt.
test_seek_in_endless_holes() {
	mount_dmfs "$T/mnt"
	local n=$((1 << 53))
	new_volume base "0 $n zero"
	new_volume snap "0 $n snapshot base ram:1M N 8"
	same "$(timeout 20 probe seek data 0 mnt/snap)" ENXIO
	echo x | dd of=mnt/snap bs=4096 seek=$((1 << 49)) conv=notrunc status=none
	same "$(timeout 20 probe seek data 0 mnt/snap)" $((1 << 61))
	new_volume mixed "0 $n striped 2 8 base 0 snap 0"
	new_volume leg "0 $((n / 2)) unstriped 2 8 0 mixed 0"
	matches "$(timeout 20 probe seek data 0 mnt/leg)" '^[0-9]+$|^ENXIO$'
}

# A stack of diamonds, each of which names the one below twice.
test_stat_of_diamonds() {
	local i n=8
	image 4096 f
	mount_dmfs "$T/mnt"
	new_volume v0 "0 8 linear $T/f 0"
	for ((i = 1; i <= 44; i++)); do
		new_volume v$i "0 $n linear v$((i - 1)) 0
$n $n linear v$((i - 1)) 0"
		n=$((2 * n))
	done
	timeout 10 ls -l mnt >/dev/null
	same "$(timeout 10 stat -c %b mnt/v44)" 0
	dd if=/dev/urandom of=mnt/v0 bs=512 count=1 conv=notrunc,fsync status=none
	sleep 1.1
	((0 < $(timeout 10 stat -c %b mnt/v44)))
	timeout 10 grep -q v44 mnt/.control/graph
}
