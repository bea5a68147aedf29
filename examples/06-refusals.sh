#!/usr/bin/env bash
# Read a refusal: bad tables, the place that is at fault, and the way out.
source "$(dirname "$0")/lesson.sh"
run 'truncate -s 1M a.img b.img c.img'
mount_dmfs

say 'The kernel answers a bad table with `Invalid argument`, and hides the reason in its log. A refusal of dmfs begins like that of dmsetup; the place and what would work follow. Read these from the mark upwards.'

say 'A word that is no target:'
refused "dmfs create v --table '0 2048 liner a.img 0'"
so 'It underlines the word.' has '^~~~~'

say 'A file that is not there:'
refused "dmfs create v --table '0 2048 linear nosuch.img 0'"
so 'It says what kernel and shell say.' has 'No such file or directory'

say 'More sectors than the file has:'
refused "dmfs create v --table '0 4096 linear a.img 0'"
so 'It knows how many there are.' has '2048'

say 'A gap between two rows; the second one is at fault:'
refused <<'END'
dmfs create v <<TABLE
0    1024 linear a.img 0
1025 1023 linear a.img 1024
TABLE
END
so 'It counts lines.' has 'table:2:'
so 'It says where the row has to begin.' has '1024'

say 'A chunk that does not come out even:'
refused "dmfs create v --table '0 6144 striped 3 100 a.img 0 b.img 0 c.img 0'"
so 'It knows one that does.' has '64 or 128'

say 'A leg too few:'
refused "dmfs create v --table '0 6144 striped 3 128 a.img 0 b.img 0'"
so 'Legs are counted.' has 'Invalid argument'

say 'A number with a unit. All numbers in a table are sectors:'
refused "dmfs create v --table '0 1M linear a.img 0'"
so 'It underlines the number.' has '^~'

say 'Nothing came of all this:'
run 'dmfs ls'
so 'A refused create leaves no volume behind.' has 'No devices found'

say 'And a refused table harms no volume that is at work:'
run "dmfs create v --table '0 2048 linear a.img 0'"
run "printf 'still here' | dd of=dm/v conv=notrunc status=none"
refused "echo '0 2048 linear b.img 1' >dm/.control/v/table"
say 'A shell only sees the error number. The reason is in the file beside:'
run 'cat dm/.control/v/error'
so 'It is the same text.' has 'table refused: Invalid argument'
run 'dmfs table v; head -c 10 dm/v'
so 'The old table serves.' has 'still here'
