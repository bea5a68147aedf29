#!/usr/bin/env bash
# verity: a file is read only as it was; one bit is flipped under it, found, and put right from parity.
source "$(dirname "$0")/lesson.sh"

command -v veritysetup >/dev/null || { echo 'This lesson makes hash trees with veritysetup: apt-get install cryptsetup-bin'; exit 0; }

say 'An image that many machines are to read and none may change. 4 MiB of words, so 1024 blocks of 4096 bytes:'
run <<'END'
seq -f 'line %g of the image' 1000000 | head -c 4M >disk.img
veritysetup format disk.img hash.img --fec-device=parity.img --salt=c0ffee --root-hash-file=digest
END
so 'Each block has its digest, the digests fill blocks that have digests again, and so up to one.' has 'Data blocks'

say 'That one digest, 32 bytes, stands for the whole image. Whoever has it from a place that he trusts needs to trust neither the disk nor the tree:'
run 'cat digest; echo; ls -s --block-size=1024 disk.img hash.img parity.img'

say 'A table holds it. "dmfs verity" writes the table, from what veritysetup has noted:'
mount_dmfs
run 'dmfs verity table disk.img hash.img @digest'
run 'dmfs verity open image disk.img hash.img @digest'
run 'cmp disk.img dm/image; dmfs status image'
so 'V: all that was read was valid.' has 'verity V'
refused "echo new >dm/image"
so 'It cannot be written: no digest would be right any more.' has 'not permitted'

say 'Now a single bit changes on the disk, in block 700. A 1 becomes a 0:'
run <<'END'
cp disk.img good.img
byte=$(od -An -tu1 -j 2867300 -N1 disk.img)
printf "\\$(printf %o $((byte ^ 1)))" | dd of=disk.img bs=1 seek=2867300 conv=notrunc status=none
END
refused 'cmp -l good.img disk.img'
run 'dd if=dm/image of=/dev/null bs=4096 count=1 skip=699 status=none; dd if=dm/image of=/dev/null bs=4096 skip=701 status=none'
so 'What lies before and behind it is read as ever.' [ "$status" = 0 ]
refused 'dd if=dm/image of=/dev/null bs=4096 count=1 skip=700'
so 'Block 700 is not given out, not even the 4095 bytes that are right.' has 'Input/output error'
run 'dmfs status image; grep corrupted dm/.control/log'
so 'C: corruption was found, and it is said where.' has 'data block 700'

say 'How is one block checked without reading the others? By one way through the tree. A fresh volume knows no hash blocks yet:'
run 'dmfs verity open fresh disk.img hash.img @digest; dmfs explain fresh 5600+8'
so 'The leaf with the digest of block 700, and the top with that of the leaf; then both are kept.' has 'level 1'

say 'Somebody who changes the data could change the digest in the tree as well. But then the leaf is another, and the top, and the 32 bytes in the table: those he cannot reach. Any byte of a leaf:'
run <<'END'
cp hash.img forged.img
printf X | dd of=forged.img bs=1 seek=9000 conv=notrunc status=none
dmfs verity open forged disk.img forged.img @digest
END
refused 'head -c 4096 dm/forged'
so 'Everything below the leaf is lost, 128 blocks of 1024.' has 'Input/output error'
run 'dd if=dm/forged of=/dev/null bs=4096 skip=128 count=500 status=none; dmfs status forged'

say 'Digests find damage; parity mends it. For each 253 bytes, taken from as many blocks that lie far from one another, veritysetup has added 2:'
run 'dmfs verity open mended disk.img forged.img @digest --fec-device parity.img'
run 'cmp good.img dm/mended; dmfs status mended; grep repaired dm/.control/log'
so 'The same bad disk and the same forged tree, and every byte is as it was.' has 'verity V'
