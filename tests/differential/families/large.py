"""Requests of up to some MiB."""
from families.snapshot_stack import KEY
from generator import Row

KINDS = ['linear', 'striped', 'striped', 'crypt', 'ebs', 'dust', 'switch', 'unstriped', 'delay', 'flakey']


def row(g, kind, base, length):
    """One on the beginning of base; length is a multiple of 8."""
    name, unit = base.name, g.unit
    edges, block, cached = [0, length], base.block, False
    if kind == 'striped':
        stripes, chunk = g.pick([2, 3, 4]), g.pick([8, 24, 64, 128, 264])
        leg = length // stripes // chunk * chunk
        length = leg * stripes
        text = '%d %d %s' % (stripes, chunk, ' '.join('@%s %d' % (name, i * leg) for i in range(stripes)))
        edges = list(range(0, length + 1, chunk))
    elif kind == 'unstriped':
        stripes, chunk = g.pick([2, 3]), g.pick([8, 16, 128])
        length = length // stripes // chunk * chunk
        text = '%d %d %d @%s 0' % (stripes, chunk, g.number(0, stripes - 1), name)
        edges = list(range(0, length + 1, chunk))
    elif kind == 'switch':
        text = '1 %d 0 @%s 0' % (g.pick([8, 16, 96]), name)
    elif kind == 'crypt':
        option = g.pick(['', ' 1 sector_size:4096']) if unit == 8 else ''
        text = 'aes-xts-plain64 %s 0 @%s 0%s' % (KEY, name, option)
        block = 8 if option else block
    elif kind == 'ebs':
        text = '@%s 0 %d' % (name, unit)
        block, cached, base.taken = max(block, unit), True, True
    elif kind == 'dust':
        text = '@%s 0 512' % name
    elif kind == 'delay':
        text = '@%s 0 0' % name
    elif kind == 'flakey':
        text = '@%s 0 0 1000 1 drop_writes' % name
    else:
        text = '@%s 0' % name
    return Row(length, kind + ' ' + text, [base], block, edges, [], cached)


def family(g):
    for _ in range(g.number(1, 3)):
        g.disk(g.pick([8192, 16384, 20000]))
    while not g.volumes:
        for _ in range(g.number(1, 4)):
            kind = g.pick(KINDS)
            g.unit = g.pick([1, 1, 8])
            fit = [d for d in g.disks + g.volumes if d.block <= g.unit and d.size >= 4096 and not d.taken]
            if kind == 'ebs':
                fit = [d for d in fit if not d.volume and not any(d in v.all_below() for v in g.volumes)]
            if fit:
                base = g.pick(fit)
                length = min(base.size, g.pick([4096, 8192, 12000])) // 8 * 8
                g.create(g.new_name('v'), [row(g, kind, base, length)])
    for _ in range(g.number(4, 9)):
        volume = g.pick(g.volumes)
        at, _ = g.span(volume)
        kind = g.pick(['write', 'write', 'write', 'read', 'zero', 'zeroout', 'discard'])
        if volume.read_only_use:
            kind = 'read'
        if kind == 'discard':
            at -= at % 8
        count = g.pick([2048, 2049, 4096, 3000, 512, 2047, 1024, 8192])
        count = max(volume.block, min(count, volume.size - at) // volume.block * volume.block)
        g.say(kind, volume.name, at, count, *([g.new_seed()] if kind == 'write' else []))
    for volume in g.volumes:
        g.say('flush', volume.name)
    for device in g.volumes + g.disks:
        g.say('runs', device.name)


FAMILIES = {'large': family}
