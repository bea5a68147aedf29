"""Exchanges of tables of volumes in use; volumes that are read-only; requests that wait for a resume."""

NEVER_CACHED = ['linear', 'striped', 'zero', 'linear', 'error', 'crypt']
LOOKS = ('size', 'table', 'inactive', 'dm deps', 'dm deps --inactive', 'limits',
         'dm status --inactive')


def resume(g, volume, verb='resume'):
    g.say(verb, volume.name)
    if volume.inactive:
        block = volume.block
        g.has_table(volume, volume.inactive)
        volume.block = max(volume.block, block)
        volume.inactive = None


def swap(g):
    for _ in range(g.number(1, 3)):
        g.disk()
    while not g.volumes:
        for _ in range(g.number(2, 4)):
            g.volume(NEVER_CACHED + ['delay'], 3)
    for _ in range(g.number(10, 25)):
        volume = g.pick(g.volumes)
        what = g.one_of(request=25, exchange=25, state=12, hold=8, held=8, look=10, wipe=3, remove=2, runs=7)
        if what == 'request':
            g.request(volume)
        elif what == 'exchange':
            verb = g.pick(['reload', 'load', 'load'])
            option = g.pick(['', '', '', ' --readonly']) if verb == 'load' else ''
            rows = g.exchange(volume, verb, NEVER_CACHED, 2, option)
            if rows and verb == 'load':
                volume.inactive = rows
            elif rows:
                g.has_table(volume, rows)
                volume.inactive = None
        elif what == 'state':
            some = ['resume', 'resume', 'suspend', 'clear', 'dm suspend --noflush', 'dm resume --noflush']
            verb = g.pick(some)
            if verb == 'clear':
                g.say(verb, volume.name)
                volume.inactive = None
            elif 'suspend' in verb:
                g.say(verb, volume.name)
                g.say('status', volume.name)
                resume(g, volume)
            else:
                resume(g, volume, verb)
        elif what == 'hold':
            g.say(g.pick(['hold', 'release']), volume.name)
        elif what == 'held':
            g.say('held read', volume.name, *g.span(volume))
        elif what == 'look':
            if g.chance(.2):
                g.info_of(volume)
            else:
                g.say(g.pick(LOOKS), volume.name)
        elif what == 'wipe':
            if not any(volume in each.below for each in g.volumes):
                g.say('dm wipe_table', volume.name)
                g.info_of(volume)
                g.say('read', volume.name, 0, 8)
        else:
            g.say(what, volume.name)
    for volume in g.volumes:
        g.say('resume', volume.name)
    for volume in g.volumes:
        for verb in 'size', 'runs', 'table':
            g.say(verb, volume.name)
        g.info_of(volume)
    for disk in g.disks:
        g.say('runs', disk.name)


def readonly(g):
    kinds = ['linear', 'striped', 'crypt', 'zero', 'error', 'delay', 'flakey', 'dust', 'switch', 'unstriped']
    for _ in range(g.number(1, 3)):
        g.disk(g.pick([512, 1024, 777]))
    while not g.volumes:
        for _ in range(g.number(2, 5)):
            wanted = g.chance(.5)
            # Nothing writes through a read-only volume: a departure.
            for volume in g.volumes:
                volume.taken = volume.readonly and not wanted
            volume = g.volume(kinds, 2, ' --readonly' if wanted else '')
            if volume:
                volume.readonly = wanted
    for _ in range(g.number(8, 18)):
        volume = g.pick(g.volumes)
        what = g.one_of(request=60, info=10, message=10, suspend=10, hold=10)
        if what == 'request':
            g.request(volume)
        elif what == 'info':
            g.info_of(volume)
        elif what == 'message':
            g.message(volume)
        elif what == 'suspend':
            g.say('suspend', volume.name)
            g.say('resume', volume.name)
        else:
            g.say('hold', volume.name)
            g.say('held read', volume.name, 0, 8)
            g.say('release', volume.name)
    g.look()


def begin(g, top, low):
    at, count = g.span(top, 64)
    count = min(count, 128, top.size - at) // top.block * top.block or top.block
    place = '%s %d %d' % (top.name, at, count)
    some = ['read ' + place, 'write %s %d' % (place, g.new_seed()), 'zero ' + place, 'flush ' + top.name]
    if low is top:
        some.append('size ' + top.name)
    g.say('begin', g.pick(some))


def waiting(g):
    kinds = ['linear', 'striped', 'linear', 'crypt', 'delay', 'switch', 'unstriped', 'zero', 'linear']
    for _ in range(g.number(1, 3)):
        g.disk(g.pick([512, 1024, 2048]))
    while len(g.volumes) < 2:
        for _ in range(g.number(2, 5)):
            g.volume(kinds, 2)
    for _ in range(g.number(3, 6)):
        low = g.pick(g.volumes)
        top = g.pick([each for each in g.volumes if low in each.all_below()] + [low])
        if g.chance(.3):
            g.request(g.pick(g.volumes))
        g.say(g.pick(['suspend', 'suspend', 'dm suspend --noflush']), low.name)
        begin(g, top, low)
        g.say('pending')
        for _ in range(g.number(0, 3)):
            what = g.pick(['info', 'load', 'remove', 'status', 'clear', 'rename', 'suspend'])
            if what == 'info':
                g.say('dm info -c --noheadings -o name,attr,segments')
            elif what == 'remove':
                g.say('remove', g.pick([low, top]).name)
            elif what == 'rename':
                g.say('rename', low.name, 'y')
                g.say('dm deps', top.name)
                g.say('rename y', low.name)
            elif what == 'load':
                disk = g.pick(g.disks)
                if disk.size >= low.size and low.block == 1:
                    g.table('load ' + low.name, [(low.size, 'linear @%s %d' % (
                        disk.name, g.number(0, disk.size - low.size)))])
            else:
                g.say(what, low.name)
        g.say('resume', low.name)
        g.say('finish')
        g.say('table', low.name)
    g.look()


FAMILIES = {'swap': swap, 'readonly': readonly, 'waiting': waiting}
