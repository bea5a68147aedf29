"""linear, zero, error: where each sector goes."""
from generator import Row


def linear(g):
    length = g.length()
    area = g.area(length)
    if not area:
        return None
    device, at = area
    return Row(length, 'linear @%s %d' % (device.name, at), [device], device.block, [0, length])


def zero(g):
    length = g.length()
    return Row(length, 'zero', [], 1, [0, length])


def error(g):
    length = g.length(400)
    words = g.pick(['', '', ' x', ' @%s 0' % g.disks[0].name])
    return Row(length, 'error' + words, [], 1, [0, length])


def family(g):
    for _ in range(g.number(1, 3)):
        g.disk()
    for _ in range(g.number(2, 5)):
        g.volume(['linear', 'linear', 'linear', 'zero', 'error'])
    g.use(g.volumes, 8, 18)
    g.look()


ROWS = {'linear': linear, 'zero': zero, 'error': error}
FAMILIES = {'linear': family}
