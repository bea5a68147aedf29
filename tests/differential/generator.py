"""What families make scenarios of: disks, volumes with rows of every target, requests where they may hurt.

A family is a module of families/ with

    FAMILIES = {'name': function(generator)}     the function writes a scenario
    ROWS = {'target': function(generator)}       a right row of it, or None where nothing fits

The same seed gives the same scenario. A family keeps to what has one answer: no clocks, no requests at the
same time on the same sectors, no discards that a loop device cuts otherwise (they begin at 4 KiB).
"""
import collections
import random

# length: sectors. text: the row behind its length. block: logical block, in sectors. edges: sectors of
# the row where a request may be cut. messages: what may be sent to it. cached: others may not write what
# is below.
Row = collections.namedtuple('Row', 'length text devices block edges messages cached', defaults=([], False))
# Targets whose discards the block layer cuts where a loop device has its granules, and they count or keep.
COUNTING = (' switch ', ' dust ', ' log-writes ', ' ebs ', ' snapshot')


class Device:
    """A disk or a volume: its sectors, its logical block, and what is below."""

    def __init__(self, name, size, block=1, volume=False):
        self.name, self.size, self.block, self.volume = name, size, block, volume
        self.edges = [0, size]
        self.below = []
        self.messages = []
        self.readonly = False
        # Read alone; stands below nothing; its inactive table.
        self.read_only_use = self.taken = False
        self.inactive = None

    def all_below(self):
        found = set()
        for device in self.below:
            found |= {device} | device.all_below()
        return found


class Generator:
    def __init__(self, rows, family, seed):
        self.rows = rows
        self.random = random.Random('%s-%s' % (family, seed))
        self.lines = ['note %s %s' % (family, seed)]
        self.disks, self.volumes = [], []
        self.names = 0
        self.seeds = 10
        self.wrong_keys = False
        # While a volume is made: the unit of its lengths, in sectors, and the ranges that its rows use.
        self.unit = 1
        self.used = []

    def text(self):
        return '\n'.join(self.lines) + '\n'

    # Choice

    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, some):
        return self.random.choice(some)

    def number(self, least, most):
        return self.random.randint(least, most)

    def one_of(self, **weights):
        """A name, as often as its weight says."""
        return self.random.choices(list(weights), list(weights.values()))[0]

    def hex(self, count):
        return ''.join('%02x' % self.number(0, 255) for _ in range(count))

    # Verbs

    def say(self, *words):
        self.lines.append(' '.join(str(word) for word in words))

    def table(self, verb, rows):
        """A verb with a table of (length, text); its sectors."""
        at = 0
        lines = []
        for length, text in rows:
            lines.append('%d %d %s' % (at, length, text))
            at += length
        self.lines_of_table(verb, lines)
        return at

    def lines_of_table(self, verb, lines):
        self.lines += [verb + " <<'T'", *lines, 'T']

    def new_name(self, letter):
        self.names += 1
        return '%s%d' % (letter, self.names)

    def new_seed(self):
        self.seeds += 1
        return self.seeds

    def disk(self, size=None, letter='d', empty=False, taken=False):
        """taken: for one use, which the caller has for it."""
        size = size or self.pick([256, 512, 777, 1024, 2048, 2048, 4096, 4096, 8192, self.number(40, 6000)])
        disk = Device(self.new_name(letter), size)
        disk.taken = disk.read_only_use = taken
        self.say('disk', disk.name, size * 512, *([] if empty else [self.new_seed()]))
        self.disks.append(disk)
        return disk

    # Volumes

    def length(self, most=4096):
        unit = self.unit
        count = self.pick([self.number(1, 16), self.number(1, 64), self.number(64, 300),
                           self.number(1, 8) * 8, self.number(1, 12) * 128])
        return max(1, min(count, most // unit)) * unit

    def area(self, length, among=None):
        """(device, sector) of so many sectors that no row of the volume uses yet, since the pieces of one
        request have no order."""
        fit = [d for d in (among or self.disks + self.volumes)
               if d.size >= length and d.block <= self.unit and not d.taken]
        if not fit:
            return None
        if self.chance(.6):
            fit = [d for d in fit if d.volume] or fit
        for _ in range(12):
            device = self.pick(fit)
            last = device.size - length
            at = self.pick([0, last, self.number(0, last), self.number(0, last)])
            at -= at % self.unit
            if not any(self.meets(device, at, length, other) for other in self.used):
                self.used.append((device, at, at + length))
                return device, at
        return None

    @staticmethod
    def meets(device, at, length, used):
        other, begin, end = used
        if other is device:
            return at < end and begin < at + length
        mine, others = {device} | device.all_below(), {other} | other.all_below()
        return bool(mine & others)

    def areas(self, count, length):
        """So many, or None."""
        found = [self.area(length) for _ in range(count)]
        return None if None in found else found

    def row(self, kinds):
        """A row of one of these targets, or None where nothing fits."""
        for _ in range(10):
            used = list(self.used)
            row = self.rows[self.pick(kinds)](self)
            if row:
                return row
            self.used = used
        return None

    def new_rows(self, kinds, most):
        self.unit = self.pick([1, 1, 1, 1, 2, 4, 8, 8])
        self.used = []
        rows = [self.row(kinds) for _ in range(self.number(1, most))]
        return [row for row in rows if row]

    def volume(self, kinds, most_rows=4, options=''):
        """A new volume of rows of these targets, or None where nothing fits."""
        rows = self.new_rows(kinds, most_rows)
        return self.create(self.new_name('v'), rows, options) if rows else None

    def create(self, name, rows, options=''):
        self.table('create %s%s' % (name, options), [row[:2] for row in rows])
        volume = Device(name, 0, volume=True)
        self.volumes.append(volume)
        self.has_table(volume, rows)
        return volume

    def exchange(self, volume, verb, kinds, most_rows=4, options=''):
        """Another table for a volume, of what stands before it: its rows."""
        volumes = self.volumes
        self.volumes = volumes[:volumes.index(volume)]
        rows = self.new_rows(kinds, most_rows)
        self.volumes = volumes
        if rows:
            self.table('%s %s%s' % (verb, volume.name, options), [row[:2] for row in rows])
        return rows

    def has_table(self, volume, rows):
        """The volume is now of these rows."""
        volume.size, volume.block, volume.edges, volume.below, volume.messages = 0, 1, [0], [], []
        for row in rows:
            volume.edges += [volume.size + edge for edge in row.edges]
            volume.messages += [(volume.size, message) for message in row.messages]
            volume.size += row.length
            volume.block = max(volume.block, row.block)
            volume.below += row.devices
            if row.cached:
                for device in row.devices:
                    for each in {device} | device.all_below():
                        each.read_only_use = True
        volume.edges = sorted(set(volume.edges + [volume.size]))

    def simple(self, name, size, below, text, edges=()):
        """A volume of one row, whose text the caller has."""
        return self.create(name, [Row(size, text, below, 1, list(edges))])

    def drop(self, volume):
        self.say('remove', volume.name)
        self.volumes.remove(volume)

    # Requests

    def span(self, device, most=200):
        """(sector, count) of a request, where it may hurt."""
        block = device.block
        if self.chance(.7):
            at = self.pick(device.edges) + self.pick([0, 0, -1, 1, -block, block, self.number(-20, 20)])
        else:
            at = self.number(0, max(0, device.size - 1))
        count = self.pick([1, 2, 3, 7, 8, 8, 9, 16, self.number(1, 40), self.number(1, most)])
        at = max(0, min(at, device.size - 1))
        at -= at % block
        count = max(block, count // block * block)
        if self.chance(.9):
            count = max(block, min(count, (device.size - at) // block * block))
        return at, count

    def request(self, device):
        at, count = self.span(device)
        kind = self.one_of(write=6, read=4, zero=1, discard=2, zeroout=1, flush=1)
        if device.read_only_use and kind != 'flush':
            kind = 'read'
        if kind == 'flush':
            self.say('flush', device.name)
            return
        if kind != 'read':
            count = min(count, (device.size - at) // device.block * device.block)
        if kind == 'discard':
            at -= at % self.discard_grain()
        if count > 0:
            self.say(kind, device.name, at, count, *([self.new_seed()] if kind == 'write' else []))

    def discard_grain(self):
        """Where a discard has to begin, in sectors, so that it has one answer. The kernel's snapshot cuts it
        in pieces of a chunk, which hit the neighbour on the COW device where they do not begin with one."""
        if any('discard_zeroes_cow' in line for line in self.lines):
            return 64
        counted = any(each in line for line in self.lines for each in COUNTING)
        return 8 if counted or self.chance(.85) else 1

    def message(self, volume):
        """One that it understands, if there is one."""
        if volume.messages:
            at, words = self.pick(volume.messages)
            self.say('message', volume.name, at, words)

    def use(self, volumes, least, most, messages=.15):
        """So many requests and messages."""
        for _ in range(self.number(least, most) if volumes else 0):
            volume = self.pick(volumes)
            if volume.messages and self.chance(messages):
                self.message(volume)
            else:
                self.request(volume)

    def look(self):
        """All that can be seen."""
        for volume in self.volumes:
            self.say('flush', volume.name)
        for volume in self.volumes:
            for verb in 'table', 'status', 'size', 'dm deps', 'limits':
                self.say(verb, volume.name)
            if self.chance(.3):
                self.say('dm measure', volume.name)
            if volume.size < 20000:
                self.say('runs', volume.name)
        for disk in self.disks:
            self.say('runs', disk.name)
        self.info('' if self.racing_events() else 'events')

    def racing_events(self):
        """The kernel raises those of striped from a work queue, some errors as one event."""
        return any(' striped ' in line for line in self.lines)

    def info_of(self, volume):
        if self.racing_events():
            self.say('dm info -c --noheadings -o name,uuid,attr,open,segments', volume.name)
        else:
            self.say('dm info', volume.name)

    def info(self, more=''):
        self.say('dm info -c --noheadings -o name,attr,open,segments' + (',' + more if more else ''))
