"""Volumes of all targets on one another: requests everywhere, messages, exchanges of tables."""

TARGETS = (['linear'] * 5 + ['striped'] * 4 + ['zero'] * 2 + ['unstriped', 'flakey', 'switch', 'crypt'] * 2
           + ['error', 'delay', 'dust', 'ebs'])
# A cache that comes late would not know what stands on its device.
EXCHANGED = [each for each in TARGETS if each != 'ebs']
DEEP = ['linear', 'striped', 'linear', 'switch', 'unstriped', 'crypt', 'flakey', 'delay', 'zero', 'dust']


def stack(g):
    for _ in range(g.number(1, 4)):
        g.disk()
    while not g.volumes:
        for _ in range(g.number(1, 6)):
            g.volume(TARGETS)
    for _ in range(g.number(8, 22)):
        volume = g.pick(g.volumes)
        what = g.one_of(request=72, message=8, exchange=6, suspend=4, disk=4, runs=2, target=2)
        if what == 'request':
            g.request(volume)
        elif what == 'message':
            g.message(g.pick([each for each in g.volumes if each.messages] or [volume]))
        elif what == 'exchange':
            if not any(volume in each.below for each in g.volumes):
                rows = g.exchange(volume, 'reload', EXCHANGED)
                if rows:
                    g.has_table(volume, rows)
        elif what == 'suspend':
            for verb in 'suspend', 'status', 'resume':
                g.say(verb, volume.name)
        elif what == 'disk':
            g.request(g.pick(g.disks))
        elif what == 'runs':
            g.say('runs', volume.name)
        else:
            g.say('dm table --target', g.pick(['linear', 'striped', 'crypt', 'nothing']))
    g.look()


def deep(g):
    for _ in range(g.number(2, 4)):
        g.disk(g.pick([2048, 4096, 8192]))
    while not g.volumes:
        for _ in range(g.number(6, 12)):
            g.volume(DEEP, 3)
    g.use(g.volumes, 25, 45)
    g.look()


FAMILIES = {'stack': stack, 'deep': deep}
