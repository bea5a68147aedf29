"""Lives of volumes: made, loaded, suspended, resumed, renamed, removed, held; what is said of them."""

NAMES = ('a', 'b', 'c', 'dd')
COLUMNS = ('name uuid attr tables_loaded suspended readonly open segments events device_count '
           'names_using_dev device_ref_count subsystem mangled_name unmangled_name mangled_uuid '
           'unmangled_uuid').split()
WEIGHTS = {'create': 20, 'empty': 3, 'load': 10, 'clear': 5, 'suspend': 7, 'resume': 9, 'rename': 6,
           'remove': 10, 'hold': 4, 'info': 4, 'columns': 6, 'deps': 4, 'table': 3, 'lists': 2, 'wipe': 2,
           'request': 3}


def rows(g):
    found = []
    for _ in range(g.number(1, 3)):
        length = g.pick([8, 16, 64, g.number(1, 100)])
        what = g.one_of(disk=35, volume=25, zero=15, error=10, striped=15)
        if what == 'disk':
            found.append((length, 'linear @%s %d' % (g.pick(g.disks).name, g.pick([0, 8, g.number(0, 300)]))))
        elif what == 'volume':
            found.append((length, 'linear @%s %d' % (g.pick(NAMES), g.pick([0, 0, 8]))))
        elif what == 'striped':
            legs = g.pick(g.disks).name, g.pick(g.disks).name, g.number(0, 50)
            found.append((length * 2, 'striped 2 %d @%s 0 @%s %d' % (length, *legs)))
        else:
            found.append((length, what))
    return found


def step(g):
    name, other = g.pick(NAMES), g.pick(NAMES)
    uuid = ' -u U-' + g.pick('xyz')
    what = g.one_of(**WEIGHTS)
    if what == 'create':
        g.table('create ' + name + g.pick(['', '', '', ' --readonly', uuid, ' -u U' + name]), rows(g))
    elif what == 'load':
        g.table('load ' + name + g.pick(['', '', '', ' --readonly']), rows(g))
    elif what == 'empty':
        g.say('dm create', name, '--notable' + g.pick(['', uuid]))
    elif what == 'suspend':
        g.say(g.pick(['suspend', 'suspend', 'dm suspend --noflush', 'dm suspend --nolockfs']), name)
    elif what == 'resume':
        g.say(g.pick(['resume', 'resume', 'resume', 'dm resume --noflush']), name)
    elif what == 'rename':
        new = g.pick(['U-' + g.pick('xyz'), 'U' + 'q' * g.pick([1, 50, 128, 129])])
        names = 'rename', name, other
        g.say(*g.pick([names, names, ('dm rename', name, '--setuuid', new)]))
    elif what == 'remove':
        g.say(g.pick(['remove %s', 'remove %s', 'remove %s', 'dm remove --deferred %s', 'dm remove -f %s',
                      'dm remove %s ' + other, 'message %s 0 @cancel_deferred_remove', 'dm remove -u U-x',
                      'dm remove_all' if g.chance(.2) else 'remove %s']).replace('%s', name))
    elif what == 'hold':
        g.say(g.pick(['hold', 'release']), name)
    elif what == 'columns':
        some = ','.join(g.random.sample(COLUMNS, g.number(2, 6)))
        which = ['', ' ' + name, ' -u U-x', ' -S "name=%s"' % name, ' -S "open>0"',
                 ' -S "suspended=1 || readonly=1"', ' -O -name']
        g.say('dm info -c --noheadings -o', some + g.pick(which))
    elif what == 'deps':
        g.say('dm deps', g.pick(['', '--inactive ']) + name)
    elif what == 'table':
        g.say(g.pick(['table', 'inactive', 'status', 'dm status --inactive', 'dm table --target linear',
                      'dm measure']), name)
    elif what == 'lists':
        g.say(g.pick(['dm ls', 'dm table', 'dm status', 'dm ls --target linear', 'dm info',
                      'dm status --target zero', 'dm table --inactive']))
    elif what == 'request':
        for each in NAMES:
            g.say('resume', each)
        g.say(g.pick(['read %s 0 8', 'write %s 0 8 77', 'size %s', 'runs %s', 'flush %s']) % name)
    else:
        g.say({'info': 'dm info', 'wipe': 'dm wipe_table'}.get(what, what), name)


def family(g):
    for _ in range(2):
        g.disk(g.pick([512, 1024, 2048]))
    for _ in range(g.number(20, 45)):
        step(g)
    for name in NAMES:
        g.say('release', name)
    for words in 'info', 'table', 'table --inactive', 'status', 'ls':
        g.say('dm', words)
    g.say('pause 0.2')
    g.say('dm info -c --noheadings -o name,uuid,attr,open,segments,events')


FAMILIES = {'life': family}
