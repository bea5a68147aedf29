"""flakey: its features, with requests of all sizes. It is up or down for ever, as its clock is not asked."""
from generator import Row


def features(g):
    found = []
    if g.chance(.3):
        found.append('error_reads')
    writes = g.pick([None, None, 'drop_writes', 'error_writes'])
    if writes:
        found.append(writes)
    if g.chance(.4):
        byte = g.pick([1, 2, 17, 512, 513, 1000, g.number(1, 5000), 70000])
        way = 'r' if writes else g.pick('rw')
        flags = g.pick([0, 0, 0, 0, 1, 8, 32])
        found.append('corrupt_bio_byte %d %s %d %d' % (byte, way, g.number(0, 255), flags))
    for each in 'random_read_corrupt 0', 'random_write_corrupt 0':
        if g.chance(.1):
            found.append(each)
    g.random.shuffle(found)
    words = ' '.join(found).split()
    if not words and g.chance(.5):
        return ''
    return ' '.join(['', str(len(words)), *words])


def flakey(g):
    length = g.length()
    area = g.area(length)
    if not area:
        return None
    device, at = area
    text = 'flakey @%s %d %s%s' % (device.name, at, g.pick(['1000 0', '0 1000']), features(g))
    return Row(length, text, [device], device.block, [0, length])


def family(g):
    for _ in range(2):
        g.disk(g.pick([256, 512, 777]))
    for _ in range(g.number(1, 2)):
        g.volume(['linear', 'striped', 'crypt'], 2)
    for _ in range(g.number(1, 3)):
        g.volume(['flakey', 'flakey', 'linear'], 3)
    g.volume(['linear', 'striped', 'flakey'], 2)
    g.use(g.volumes, 10, 25)
    g.look()


ROWS = {'flakey': flakey}
FAMILIES = {'flakey': family}
