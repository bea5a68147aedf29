#!/usr/bin/env bash
# unstriped and switch: a striped volume taken apart again; regions re-routed under a reader.
source "$(dirname "$0")/lesson.sh"

# The first byte of each chunk of 2 sectors of a file.
letters() {
	local size i
	size=$(stat -c %s "$1")
	for ((i = 0; i < size; i += 1024)); do dd if="$1" bs=1 skip=$i count=1 status=none; done
}

say 'Somebody left us one image and a note: "RAID 0, three disks, chunks of 1 KiB". We make such an image; its chunks are named A to L.'
mount_dmfs
run <<'END'
for letter in A B C D E F G H I J K L; do
    head -c 1024 /dev/zero | tr '\0' $letter
done >raid.img
END

say 'unstriped takes the chunks of one of the three: number of legs, sectors of a chunk, which leg, and where the stripes are.'
run <<'END'
for leg in 0 1 2; do
    dmfs create leg$leg --table "0 8 unstriped 3 2 $leg raid.img 0"
done
END
cat <<PICTURE

    raid.img   $(letters raid.img)

    leg0       $(letters dm/leg0)
    leg1       $(letters dm/leg1)
    leg2       $(letters dm/leg2)
PICTURE
so 'leg0 has every third chunk from A on,' [ "$(letters dm/leg0)" = ADGJ ]
so 'leg1 from B on,' [ "$(letters dm/leg1)" = BEHK ]
so 'leg2 from C on: the three disks.' [ "$(letters dm/leg2)" = CFIL ]

say 'striped over the three legs is the image again. A write goes through both, and ends where it began:'
run "dmfs create whole --table '0 24 striped 3 2 leg0 0 leg1 0 leg2 0'"
run 'cmp raid.img dm/whole'
run "head -c 1024 /dev/zero | tr '\0' x | dd of=dm/whole bs=1024 seek=7 conv=notrunc status=none"
so 'Chunk 7, H, has changed in the image.' [ "$(letters raid.img)" = ABCDEFGxIJKL ]

say 'switch goes the other way: one volume, and for each of its regions we say which disk it is on. Two disks, one full of a, one full of b; 8 regions of 2 sectors, which take turns at first.'
run <<'END'
head -c 8192 /dev/zero | tr '\0' a >a.img
head -c 8192 /dev/zero | tr '\0' b >b.img
dmfs create routed --table '0 16 switch 2 2 0 a.img 0 b.img 0'
END
so 'They alternate.' [ "$(letters dm/routed)" = abababab ]

say 'A message re-routes regions, in hexadecimal: regions 0, 1 and 2 by name, and what the last two did, four times more. The volume stays open and in use all the while.'
run 'exec 3<dm/routed'
run "dmfs message routed 0 set_region_mappings 0:1 :1 :0 R2,4"
echo
echo "    routed     $(letters dm/routed)"
so 'Regions 0 and 1 are on b, then a and b take turns.' [ "$(letters dm/routed)" = bbababab ]
so 'Who had it open sees the new routes.' [ "$(head -c 1 <&3)" = b ]
exec 3<&-

say 'A mistake is pointed at. What stands before it in the message has been done, as the kernel does it:'
refused 'dmfs message routed 0 set_region_mappings 0:0 :2 :0'
so 'There are paths 0 and 1 only.' has '0 to 1'
so 'Region 0 was moved, nothing else.' [ "$(letters dm/routed)" = abababab ]
