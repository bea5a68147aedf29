"""dust and ebs: bad blocks, and blocks that are read before they are written."""
from generator import Row

COUNTS = ('enable', 'enable', 'disable', 'quiet', 'countbadblocks', 'listbadblocks', 'clearbadblocks')


def dust(g):
    length = g.length()
    block = max(g.pick([512, 512, 1024, 2048, 4096, 8192]), g.unit * 512)
    blocks = length * 512 // block
    area = g.area(length) if blocks else None
    if not area:
        return None
    device, at = area
    messages = []
    for _ in range(g.number(2, 7)):
        some = ('addbadblock %d' % g.number(0, blocks),
                'addbadblock %d %d' % (g.number(0, blocks - 1), g.number(0, 3)),
                'removebadblock %d' % g.number(0, blocks - 1), 'queryblock %d' % g.number(0, blocks))
        messages.append(g.pick(some + COUNTS))
    return Row(length, 'dust @%s %d %d' % (device.name, at, block), [device], device.block,
               [i * block // 512 for i in range(blocks + 1)], messages)


def ebs(g):
    emulated = g.pick([1, 2, 4, 8])
    underlying = g.pick([None, 1, 2, 4, 8])
    if emulated > g.unit:
        return None
    length = g.length()
    # Its cache is not told of what others write.
    free = [disk for disk in g.disks if not any(disk in volume.all_below() for volume in g.volumes)
            and not any(disk is used for used, _, _ in g.used)]
    area = g.area(length, free) if free else None
    if not area:
        return None
    device, at = area
    device.taken = True
    if underlying:
        at -= at % underlying
    text = 'ebs @%s %d %d%s' % (device.name, at, emulated, ' %d' % underlying if underlying else '')
    return Row(length, text, [device], max(device.block, emulated), [0, length], [], True)


def family(kind):
    def make(g):
        for _ in range(2):
            g.disk(g.pick([256, 512, 777, 1024]))
        for _ in range(g.number(1, 2)):
            g.volume([kind, kind, 'linear'], 2)
        g.volume([kind, 'ebs', 'dust', 'striped', 'linear'], 2)
        if g.chance(.5):
            g.volume(['linear', 'crypt', 'dust', 'ebs'], 2)
        g.use(g.volumes, 8, 20, messages=.45)
        g.look()
    return make


ROWS = {'dust': dust, 'ebs': ebs}
FAMILIES = {'dust': family('dust'), 'ebs': family('ebs')}
