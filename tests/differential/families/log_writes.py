"""log-writes: over all that writes can go through, and what stands in the log."""


def family(g):
    for _ in range(g.number(1, 2)):
        g.disk(g.pick([256, 512, 1024, 777]))
    lower = g.volume(['linear', 'striped', 'zero', 'linear'], 2) if g.chance(.4) else None
    log = g.disk(g.pick([1024, 2048, 2048, 96, 40]), 'l', empty=True, taken=True)
    logged = lower or g.pick([disk for disk in g.disks if disk is not log])
    length = logged.size if g.chance(.5) else g.number(1, logged.size)
    length = max(length - length % logged.block, logged.block)
    row = g.simple('lw', length, [logged], 'log-writes @%s @%s' % (logged.name, log.name))
    row.block = logged.block
    top = g.volume(['linear', 'striped', 'linear', 'crypt'], 2) if g.chance(.4) else None
    for _ in range(g.number(4, 14)):
        volume = top if top and g.chance(.5) else row
        what = g.one_of(request=50, flush=15, mark=20, status=15)
        if what == 'request':
            g.request(volume)
            continue
        if what == 'flush':
            g.say('flush', volume.name)
        elif what == 'mark':
            long = 'mark ' + 'x' * g.number(1, 900)
            g.say('message lw 0', g.pick(['mark a', 'mark b', 'MARK c', 'mark', 'mark a b', 'mork', long]))
        # The log is written by a thread.
        g.say('pause 0.3')
        g.say('status lw')
    g.say('flush lw')
    g.say('pause 0.3')
    for verb in 'status', 'table', 'dm deps':
        g.say(verb, 'lw')
    if top:
        g.drop(top)
    g.say('remove lw')
    g.say('pause 0.2')
    g.say('runs', log.name)
    for sector in range(min(24, log.size)):
        g.say('dump', log.name, sector, 1)
    for disk in g.disks:
        if disk is not log:
            g.say('runs', disk.name)


FAMILIES = {'log-writes': family}
