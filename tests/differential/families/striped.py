"""striped, unstriped, switch: where each sector goes, for odd numbers of stripes and odd chunks."""
from generator import Row


def striped(g):
    stripes = g.pick([1, 2, 2, 3, 3, 4, 5, 7])
    chunk = g.pick([1, 2, 3, 4, 5, 7, 8, 8, 12, 16, 24, 32, 33, 64, 128]) * g.unit
    chunks = g.number(1, 12)
    while stripes * chunk * chunks > 3000 and chunks > 1:
        chunks -= 1
    length = stripes * chunk * chunks
    if length > 6000:
        return None
    legs = g.areas(stripes, chunk * chunks)
    if not legs:
        return None
    text = 'striped %d %d %s' % (stripes, chunk, ' '.join('@%s %d' % (leg.name, at) for leg, at in legs))
    return Row(length, text, [leg for leg, _ in legs], max(leg.block for leg, _ in legs),
               [i * chunk for i in range(stripes * chunks + 1)])


def unstriped(g):
    stripes = g.number(1, 5)
    which = g.number(0, stripes - 1)
    chunk = g.pick([1, 2, 3, 4, 8, 8, 16, 24, 64]) * g.unit
    chunks = g.number(1, 10)
    length = chunk * chunks
    area = g.area(length if g.chance(.15) else length * stripes)
    if not area:
        return None
    device, at = area
    return Row(length, 'unstriped %d %d %d @%s %d' % (stripes, chunk, which, device.name, at), [device],
               device.block, [i * chunk for i in range(chunks + 1)])


def mappings(g, paths, regions):
    """A message that sends regions to other paths, rarely to one that is not there."""
    words, at = [], None
    for _ in range(g.number(1, 6)):
        if at is not None and g.chance(.3):
            words.append(':%x' % g.number(0, paths - 1))
            at += 1
        elif at is not None and g.chance(.3):
            words.append('R%x,%x' % (g.number(1, 4), g.number(1, 6)))
        else:
            at = g.number(0, regions if g.chance(.1) else regions - 1)
            words.append('%x:%x' % (at, g.number(0, paths if g.chance(.1) else paths - 1)))
    return 'set_region_mappings ' + ' '.join(words)


def switch(g):
    paths = g.number(1, 4)
    region = g.pick([1, 2, 3, 4, 7, 8, 8, 16, 24]) * g.unit
    length = g.pick([region * g.number(1, 20), region * g.number(1, 20), g.length(800)])
    areas = g.areas(paths, length)
    if not areas:
        return None
    regions = -(-length // region)
    text = 'switch %d %d 0 %s' % (paths, region, ' '.join('@%s %d' % (path.name, at) for path, at in areas))
    return Row(length, text, [device for device, _ in areas], max(device.block for device, _ in areas),
               [i * region for i in range(regions)] + [length],
               [mappings(g, paths, regions) for _ in range(g.number(1, 3))])


def family(*kinds):
    def make(g):
        for _ in range(g.number(1, 3)):
            g.disk()
        for _ in range(g.number(2, 6)):
            g.volume(kinds, 3)
        g.use(g.volumes, 6, 14, messages=.4)
        g.look()
    return make


ROWS = {'striped': striped, 'unstriped': unstriped, 'switch': switch}
FAMILIES = {'striped': family('striped', 'striped', 'linear'),
            'unstriped': family('unstriped', 'unstriped', 'striped', 'linear'),
            'switch': family('switch', 'switch', 'striped', 'linear')}
