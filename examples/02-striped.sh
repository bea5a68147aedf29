#!/usr/bin/env bash
# striped: chunks dealt out to three files in turn; a picture drawn from what is in them.
source "$(dirname "$0")/lesson.sh"

say 'Three empty files, the legs, of 8 sectors each.'
run 'truncate -s 4K leg0.img leg1.img leg2.img'
mount_dmfs

say 'striped deals out its sectors in chunks, as one deals cards. Here: 24 sectors, 3 legs, chunks of 2 sectors.'
run "dmfs create cards --table '0 24 striped 3 2 leg0.img 0 leg1.img 0 leg2.img 0'"

say 'Fill the volume from its first sector to its last. Each sector says which chunk it is in, with a letter: 2 x A, 2 x B, to 2 x L.'
run <<'END'
for letter in A B C D E F G H I J K L; do
    head -c 1024 /dev/zero | tr '\0' $letter
done | dd of=dm/cards bs=1024 conv=notrunc status=none
END

# The first byte of each sector of a file.
sectors() {
	local size i
	size=$(stat -c %s "$1")
	for ((i = 0; i < size; i += 512)); do dd if="$1" bs=1 skip=$i count=1 status=none; done
	echo
}
draw() { sed 's/\(.\)\1/ \1\1 |/g; s/^/|/' <<<"$1"; }

say 'Now look into the files. What follows is no drawing: the letters are the first bytes of the sectors, read back.'
volume=$(sectors dm/cards)
leg0=$(sectors leg0.img) leg1=$(sectors leg1.img) leg2=$(sectors leg2.img)
cat <<PICTURE

    volume    $(draw "$volume")

    leg0.img  $(draw "$leg0")
    leg1.img  $(draw "$leg1")
    leg2.img  $(draw "$leg2")
PICTURE
so 'The volume reads in order.' [ "$volume" = AABBCCDDEEFFGGHHIIJJKKLL ]
so 'leg0 has every third chunk from A on,' [ "$leg0" = AADDGGJJ ]
so 'leg1 from B on,' [ "$leg1" = BBEEHHKK ]
so 'leg2 from C on.' [ "$leg2" = CCFFIILL ]

say 'To find sector 17 by hand: it is in chunk 17 / 2 = 8, so on leg 8 mod 3 = 2, below 8 / 3 = 2 other chunks: sector 2 x 2 + 17 mod 2 = 5 of leg2.img.'
run "printf 'seventeen' | dd of=dm/cards bs=512 seek=17 conv=notrunc status=none"
run 'dd if=leg2.img bs=512 skip=5 count=1 status=none | head -c 9'
so 'There it is.' [ "$out" = seventeen ]

say 'The numbers have to come out even. If they do not, the refusal says what would:'
refused "dmfs create odd --table '0 24 striped 3 3 leg0.img 0 leg1.img 0 leg2.img 0'"
so 'It names a chunk that works.' has 'a divisor of 8'
