"""snapshot, snapshot-origin, snapshot-merge: requests, overflows, merges, handovers, what fails for a while.

One origin `o` on `low`, a device or a volume on it, with snapshots s0, s1, ...
"""

FEATURES = ('', '', '', ' 1 discard_zeroes_cow', ' 2 discard_zeroes_cow discard_passdown_origin', ' 0')
MERGED = "'(([0-9]+)/[0-9]+ \\2|failed|Invalid|Overflow|Merge failed|^0 %d snapshot-origin *)$'"


class Snapshots:
    """What is there, and what is done to it."""

    def __init__(self, g, handovers):
        self.g = g
        self.size = g.pick([128, 256, 512, 1000, 777, 2048])
        self.base = g.disk(self.size, 'b')
        self.base.read_only_use = g.chance(.7)
        sizes = [16, 24, 32, 48, 64, 128, 256, 512, 1024, g.number(9, 200)]
        self.stores = [g.disk(g.pick(sizes), 'c', empty=True, taken=True) for _ in range(g.number(1, 3))]
        self.low = self.base
        if g.chance(.7 if handovers else .3):
            self.low = g.simple('low', self.size, [self.base], 'linear @%s 0' % self.base.name)
            self.low.read_only_use = True
        self.origin = None
        if g.chance(.8):
            self.origin = g.simple('o', self.size, [self.low], 'snapshot-origin @' + self.low.name)
        # Of each store that has a snapshot: its chunk, its kind, its features.
        self.words = {}
        self.live = {}
        for i in range(len(self.stores)):
            if i == 0 or g.chance(.8):
                self.make(i)

    def text(self, i, target='snapshot'):
        chunk, kind, features = self.words[i]
        return '%s @%s @%s %s %d%s' % (target, self.low.name, self.stores[i].name, kind, chunk, features)

    def table(self, verb, i, target='snapshot'):
        self.g.table(verb, [(self.size, self.text(i, target))])

    def whole_origin(self, verb='reload'):
        self.g.table(verb + ' o', [(self.size, 'snapshot-origin @' + self.low.name)])

    def suspended(self, make):
        if self.origin:
            self.g.say('suspend o')
        make()
        if self.origin:
            self.g.say('resume o')

    def make(self, i):
        g = self.g
        chunk = g.pick([1, 2, 4, 8, 8, 8, 16, 16, 32, 64])
        self.words[i] = chunk, g.pick(['P', 'P', 'P', 'N', 'N', 'PO', 'po', 'n']), g.pick(FEATURES)

        def create():
            self.live[i] = g.simple('s%d' % i, self.size, [self.low, self.stores[i]], self.text(i),
                                    range(0, self.size, chunk))
        self.suspended(create)

    def forget(self, i):
        self.g.volumes.remove(self.live.pop(i))

    def somewhere(self):
        some = ([self.origin] if self.origin else []) + list(self.live.values())
        return self.g.pick(some or [self.base])

    # What is done

    def request(self):
        self.g.request(self.somewhere())

    def status(self):
        self.g.say('status', self.somewhere().name)

    def runs(self):
        self.g.say('runs', self.somewhere().name)

    def suspend(self):
        name = self.somewhere().name
        self.g.say('suspend', name)
        self.g.say('resume', name)

    def one(self):
        return self.g.pick(list(self.live)) if self.live else None

    def again(self):
        """Removed, and mostly made again."""
        i = self.one()
        if i is None:
            return
        self.g.say('remove s%d' % i)
        if self.g.chance(.7):
            self.suspended(lambda: self.table('create s%d' % i, i))
        else:
            self.forget(i)

    def reload(self):
        i = self.one()
        if i is not None:
            self.table('reload s%d' % i, i)

    def merge(self):
        """By the book, of either book."""
        g = self.g
        some = [i for i in self.live if self.words[i][1] in ('P', 'PO', 'po')
                and self.stores[i].size >= 3 * self.words[i][0]]
        if not some or not self.origin:
            return
        i = g.pick(some)
        g.say('flush s%d' % i)
        if g.chance(.5):
            g.say('remove s%d' % i)
            self.table('load o', i, 'snapshot-merge')
            g.say('suspend o')
            g.say('resume o')
        else:
            g.say('suspend o')
            g.say('suspend s%d' % i)
            self.table('load o', i, 'snapshot-merge')
            g.say('resume o')
            g.say('remove s%d' % i)
        g.say('await o', MERGED % self.size)
        g.say('status o')
        g.say('runs o')
        if g.chance(.8):
            self.whole_origin()
            g.say('status o')
        g.say('dump', self.stores[i].name, 0, 1)
        self.forget(i)

    def another(self):
        i = self.g.pick(range(len(self.stores)))
        if i not in self.live:
            self.make(i)

    def handover(self):
        """Two volumes of one store, of which one goes."""
        g, i = self.g, self.one()
        if i is None:
            return
        name = 's%d' % i
        g.say('suspend', name)
        self.table('create t', i)
        g.say('status', name)
        g.say('status t')
        if g.chance(.5):
            g.say('remove', name)
            g.say('rename t', name)
        else:
            g.say('remove t')
            g.say('resume', name)
            g.say('status', name)
        if g.chance(.5):
            g.say('remove', name)
            self.table('create ' + name, i)

    def origin_changes(self):
        """While a snapshot is suspended."""
        i = self.one()
        if i is None:
            return
        self.g.say('suspend s%d' % i)
        if self.origin:
            self.g.request(self.origin)
        for verb in 'status', 'resume', 'runs':
            self.g.say(verb, 's%d' % i)

    def fail(self):
        """What is below all fails for a while."""
        g = self.g
        if self.low is self.base:
            return
        bad = g.pick(['error', 'flakey @%s 0 0 1000 1 error_writes', 'flakey @%s 0 0 1000 1 error_reads'])
        g.table('reload low', [(self.size, bad % self.base.name if '%' in bad else bad)])
        for _ in range(g.number(1, 3)):
            self.request()
        g.table('reload low', [(self.size, 'linear @%s 0' % self.base.name)])
        for i in self.live:
            g.say('status s%d' % i)

    def readonly(self):
        g, i = self.g, self.one()
        if i is None:
            return
        g.say('remove s%d' % i)
        self.table('create s%d --readonly' % i, i)
        for words in 'status s%d', 'runs s%d', 'write s%d 0 1 5', 'remove s%d':
            g.say(words % i)
        self.table('create s%d' % i, i)

    def rename(self):
        i = self.one()
        if i is not None:
            for words in 'rename s%d x', 'status x', 'rename x s%d':
                self.g.say(words % i if '%' in words else words)

    def wipe(self):
        i = self.one()
        if i is not None:
            self.g.say('dm wipe_table s%d' % i)
            self.g.say('status s%d' % i)
            self.table('reload s%d' % i, i)
            self.g.say('status s%d' % i)

    def other_chunk(self):
        """In the table; the header's is another."""
        i = self.one()
        if i is None:
            return
        self.g.say('remove s%d' % i)
        words = self.words[i]
        self.words[i] = (self.g.pick([4, 8, 16, 32]), *words[1:])
        self.table('create s%d' % i, i)
        self.words[i] = words
        self.g.say('table s%d' % i)

    def waiting_table(self):
        i = self.one()
        if i is not None:
            self.g.say('suspend s%d' % i)
            self.table('load s%d' % i, i)
            for verb in 'inactive', 'status', 'resume', 'status':
                self.g.say(verb, 's%d' % i)

    def look(self):
        g = self.g
        for volume in g.volumes:
            g.say('flush', volume.name)
        for volume in g.volumes:
            for verb in 'table', 'status', 'runs', 'dm deps', 'limits':
                g.say(verb, volume.name)
        for i in list(self.live):
            if g.chance(.5):
                g.say('remove s%d' % i)
        for disk in g.disks:
            g.say('runs', disk.name)
        for i, words in self.words.items():
            g.say('dump', self.stores[i].name, 0, 1)
            g.say('dump', self.stores[i].name, words[0], min(words[0], 8))
        g.say('pause 0.2')
        g.info('events')


USUAL = {'request': 62, 'status': 8, 'runs': 4, 'suspend': 4, 'again': 4, 'reload': 4, 'merge': 7,
         'another': 3}
HANDOVERS = ('handover', 'origin_changes', 'fail', 'readonly', 'rename', 'wipe', 'other_chunk',
             'waiting_table')


def family(weights, handovers):
    def make(g):
        snapshots = Snapshots(g, handovers)
        for _ in range(g.number(8, 26)):
            getattr(snapshots, g.one_of(**weights))()
        snapshots.look()
    return make


FAMILIES = {'snapshot': family(USUAL, False),
            'handover': family(dict(USUAL, **{each: 4 for each in HANDOVERS}), True),
            'merge': family(dict(USUAL, merge=30), False)}
