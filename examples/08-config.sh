#!/usr/bin/env bash
# Keep volumes: describe them in dmfs.toml, save those that run, mount them again.
source "$(dirname "$0")/lesson.sh"
run 'truncate -s 1M a.img b.img'

say 'A mount forgets its volumes when it ends. dmfs.toml is where they are written down:'
run <<'END'
cat >dmfs.toml <<TOML
[[volume]]
name = "stripes"
uuid = "lesson-8"
table = '''
0 4096 striped 2 128 a.img 0 b.img 0
'''

[[volume]]
name = "half"
readonly = true
table = '''
# the second half of the volume above
0 2048 linear stripes 2048
'''
TOML
END
mount_dmfs --config dmfs.toml
run 'dmfs info -c -o name,attr,segments,uuid'
so 'The r says that half is read-only.' has ' L--r '

say 'Make another by hand, and leave something in it:'
run "dmfs create scratch --table '0 1024 linear stripes 0'"
run "printf 'Remember me.' | dd of=dm/scratch conv=notrunc status=none"

say 'Write down what runs:'
run 'dmfs save dmfs.toml && cat dmfs.toml'
so 'The new volume is in it.' has 'name = "scratch"'
so 'Paths are absolute, so the file can be used from anywhere.' has "$PWD/a.img"

say 'Unmount, and everything is gone but the bytes in the files.'
run 'dmfs umount dm && ls -A dm'
so 'The folder is empty.' [ -z "$out" ]
mount_dmfs --config dmfs.toml
run 'ls dm; head -c 12 dm/scratch'
so 'The volumes are back, with what is in them.' has 'Remember me.'
run 'dmfs save | diff - dmfs.toml'
so 'Saving them again gives the same file.' [ -z "$out" ]

say 'A mistake in the file refuses it as a whole, with its place:'
run 'dmfs umount dm && sed -i "0,/^table/s//tabel/" dmfs.toml'
refused 'dmfs mount dm --config dmfs.toml'
so 'It has a guess.' has 'did you mean table?'
so 'Nothing is mounted.' [ ! -e dm/.control ]
