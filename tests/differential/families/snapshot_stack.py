"""Snapshots in stacks: of snapshots, of crypt, as rows among others, with COW devices that are volumes;
sectors beyond 32 bits, on a snapshot of zeros."""
from families.crypt import CIPHERS, key_of, options
from generator import Device

KEY = '0123456789abcdef' * 4


def below(g, base):
    """What the origin stands on."""
    if g.chance(.5):
        return base
    size = base.size
    text = g.pick(['linear @%s 0' % base.name,
                   'crypt aes-xts-plain64 %s 0 @%s 0%s' % (KEY, base.name, g.pick(['', ' 1 allow_discards'])),
                   'striped 2 8 @%s 0 @%s %d' % (base.name, base.name, size // 2)])
    volume = g.simple('under', size, [base], text)
    volume.read_only_use = True
    return volume


def stores(g, disk):
    """The disk, or volumes on parts of it."""
    cuts = sorted({0, disk.size} | {g.number(1, disk.size - 1) // 16 * 16 for _ in range(2)})
    found = []
    if g.chance(.5):
        for begin, end in zip(cuts, cuts[1:]):
            if end - begin >= 48:
                row = 'linear @%s %d' % (disk.name, begin)
                found.append(g.simple('w%d' % begin, end - begin, [disk], row))
    for each in found:
        each.read_only_use = True
    return found or [disk]


def stack(g):
    base = g.disk(g.pick([256, 512, 1024]))
    size = base.size
    disk = g.disk(g.pick([256, 512, 1024]), 'c', empty=True, taken=True)
    top = below(g, base)
    places = stores(g, disk)
    origin = g.simple('o', size, [top], 'snapshot-origin @' + top.name)
    used, snapshots = [origin], []
    for i, store in enumerate(places):
        chunk = g.pick([4, 8, 8, 16])
        of = top
        if snapshots and snapshots[-1].size == size and g.chance(.5):
            of = snapshots[-1]
        second = None
        if of is not top and g.chance(.7):
            second = g.simple('so%d' % i, size, [of], 'snapshot-origin @' + of.name)
            g.say('suspend', second.name)
            used.append(second)
        g.say('suspend o')
        text = 'snapshot @%s @%s %s %d' % (of.name, store.name, g.pick(['P', 'N', 'PO']), chunk)
        if g.chance(.2):
            rows = [(g.number(1, 15) * 16, text), (g.number(1, 40), 'zero')]
        else:
            rows = [(size, text + g.pick(['', '', ' 1 discard_zeroes_cow']))]
        g.table('create s%d' % i, rows)
        if second:
            g.say('resume', second.name)
        g.say('resume o')
        snapshot = Device('s%d' % i, sum(length for length, _ in rows), volume=True)
        snapshot.below, snapshot.edges = [of, store], list(range(0, snapshot.size + 1, chunk))
        g.volumes.append(snapshot)
        snapshots.append(snapshot)
    used += snapshots
    if g.chance(.5):
        under = g.pick(snapshots)
        used.append(g.simple('up', under.size, [under], 'linear @%s 0' % under.name))
    for _ in range(g.number(8, 20)):
        volume = g.pick(used)
        what = g.one_of(request=70, status=15, suspend=8, runs=7)
        if what == 'request':
            g.request(volume)
        elif what == 'suspend':
            g.say('suspend', volume.name)
            g.say('resume', volume.name)
        else:
            g.say(what, volume.name)
    for volume in g.volumes:
        g.say('flush', volume.name)
    for volume in g.volumes:
        for verb in 'table', 'status', 'runs', 'dm deps', 'limits':
            g.say(verb, volume.name)
    g.say('runs', base.name)
    g.say('runs', disk.name)
    g.info()


# Beyond 32 bits

SIZES = [2**32 + 4096, 2**33, 3 * 2**34, 2**36 + 777, 10**12, 2**40, 2**45 + 8, 2**50, 2**53, 2**54 - 8,
         2**54 - 1]
HUGE_KINDS = 'linear linear striped unstriped crypt crypt crypt flakey delay switch dust ebs'.split()


def huge_row(g, kind, base, at, length, unit):
    """(its length, its text, its logical block), or None where there is no room."""
    name = base.name
    if kind == 'striped':
        stripes, chunk = g.pick([1, 2, 3]), g.pick([8, 24, 128, 192, 2**20])
        leg = length // stripes // chunk * chunk
        legs = ' '.join('@%s %d' % (name, at + i * leg) for i in range(stripes))
        return leg and (leg * stripes, 'striped %d %d %s' % (stripes, chunk, legs), base.block)
    if kind == 'unstriped':
        stripes, chunk = g.pick([2, 3, 5]), g.pick([8, 16, 2**20, 2**31])
        length = length // stripes // chunk * chunk
        text = 'unstriped %d %d %d @%s %d' % (stripes, chunk, g.number(0, stripes - 1), name, at)
        return length and (length, text, base.block)
    if kind == 'switch':
        region = max(8, -(-length // g.number(1, 500)))
        if region >= 2**32:
            region = 2**31
            length = min(length, region * 400)
        return length, 'switch 2 %d 0 @%s %d @%s %d' % (region, name, at, name, at), base.block
    if kind == 'dust':
        block = g.pick([512, 4096, 2**30])
        length -= length % (block // 512)
        return length and (length, 'dust @%s %d %d' % (name, at, block), base.block)
    if kind == 'crypt':
        cipher = g.pick([each for each in CIPHERS if 'null-ecb' not in each])
        block, text = options(g, 8) if unit == 8 else (1, '')
        vector = g.pick([0, 0, 2**32 - 8, 2**33, 2**63])
        vector -= vector % block
        row = 'crypt %s %s %d @%s %d%s' % (cipher, key_of(g, cipher), vector, name, at, text)
        return length, row, max(block, base.block)
    if kind == 'ebs':
        return length, 'ebs @%s %d %d' % (name, at, unit), max(unit, base.block)
    down = ' 0 1000 5 corrupt_bio_byte 100 %s 7 0'
    words = {'linear': '', 'delay': ' 0', 'flakey': g.pick([' 1000 0', down % 'r', down % 'w'])}
    return length, '%s @%s %d%s' % (kind, name, at, words[kind]), base.block


def huge_volume(g, base, marks):
    unit = g.pick([1, 1, 8])
    if base.block > unit or base.taken:
        return
    at = g.pick([0, 0, g.pick(base.edges), 2**32 - 8, g.number(0, base.size - 1)])
    at = min(at, base.size - 64)
    at -= at % 8
    room = base.size - at
    length = g.pick([room, room, min(room, 2**32 + 64), min(room, 2**33)])
    length -= length % unit
    kind = g.pick(HUGE_KINDS)
    row = huge_row(g, kind, base, at, length, unit)
    if not row:
        return
    length, text, block = row
    volume = g.simple(g.new_name('v'), length, [base], text,
                      [mark for mark in marks if mark < length] + [length - 8, length - block])
    volume.block = block
    if kind == 'ebs':
        for each in {base} | base.all_below():
            each.taken = each.read_only_use = True
    g.say('table', volume.name)
    g.say('size', volume.name)
    if kind == 'dust':
        blocks = length * 512 // int(text.split()[-1])
        for words in ('addbadblock %d' % (blocks - 1), 'addbadblock %d' % (blocks // 2),
                      'addbadblock %d' % blocks, 'queryblock %d' % (blocks - 1), 'enable', 'listbadblocks'):
            g.say('message', volume.name, 0, words)


def huge(g):
    size = g.pick(SIZES)
    store = g.disk(g.pick([1024, 2048]), 'c', empty=True, taken=True)
    g.table('create z', [(size, 'zero')])
    marks = sorted({0, 2**31, 2**32, 2**32 + 1, size // 2, size // 3, size - 8, size - 100})
    marks = [mark for mark in marks if 0 <= mark < size]
    text = 'snapshot @z @%s %s %d' % (store.name, g.pick('PN'), g.pick([4, 8, 8, 16]))
    g.simple('sp', size, [store], text, marks)
    g.say('status sp')
    g.say('size sp')
    for _ in range(g.number(1, 3)):
        huge_volume(g, g.volumes[0] if g.chance(.7) else g.pick(g.volumes), marks)
    places = []
    for _ in range(g.number(6, 14)):
        volume = g.pick(g.volumes)
        before = len(g.lines)
        g.request(volume)
        if len(g.lines) > before and not g.lines[-1].startswith('flush'):
            at, count = (int(word) for word in g.lines[-1].split()[2:4])
            places.append((volume, at, count))
    for volume in g.volumes:
        g.say('flush', volume.name)
    for volume, at, count in places:
        first = max(0, at - 8 // volume.block * volume.block)
        count = min(count + 16, volume.size - first) // volume.block * volume.block
        g.say('runs', volume.name, first, count)
    for volume in g.volumes:
        end = volume.size - volume.size % volume.block
        g.say('read', volume.name, end - volume.block, volume.block)
        g.say('read', volume.name, end, volume.block)
        for verb in 'status', 'dm deps', 'limits':
            g.say(verb, volume.name)
    g.say('runs', store.name)


FAMILIES = {'snapshot-stack': stack, 'huge': huge}
