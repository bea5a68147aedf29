"""Tables of snapshots that are loaded, resumed and taken away in any order."""

NAMES = ('o', 's', 't')


def text(g, persistent):
    what = g.one_of(origin=20, snapshot=30, other=15, merge=20, other_merge=5, more=10)
    if what == 'origin':
        return 'snapshot-origin @b'
    if what == 'snapshot':
        return 'snapshot @b @c %s 8' % persistent
    if what == 'other':
        return 'snapshot @b @d %s 8' % g.pick([persistent, 'N'])
    if what == 'merge':
        return 'snapshot-merge @b @c %s 8' % persistent
    if what == 'other_merge':
        return 'snapshot-merge @b @d %s 8' % persistent
    return g.pick(['linear @b 0', 'error', 'snapshot @d @c %s 8' % persistent])


def family(g):
    for words in 'disk b 64K 11', 'disk c 64K', 'disk d 64K':
        g.say(words)
    persistent = g.pick(['P', 'PO'])
    there, suspended = {'o', 's'}, set()
    g.table('create o', [(128, 'snapshot-origin @b')])
    g.say('suspend o')
    g.table('create s', [(128, 'snapshot @b @c %s 8' % persistent)])
    g.say('resume o')
    for name, seed in ('s', 12), ('o', 13):
        if g.chance(.7):
            g.say('write', name, g.number(0, 120), 8, seed)
    for _ in range(g.number(5, 11)):
        name = g.pick(sorted(there)) if there and g.chance(.85) else g.pick(NAMES)
        what = g.one_of(create=14, load=22, suspend=14, resume=22, clear=5, rename=3, request=20)
        if what == 'create' and name in there:
            g.say('remove', name)
            there.discard(name)
            suspended.discard(name)
        elif what in ('create', 'load'):
            g.table('%s %s' % (what, name), [(128, text(g, persistent))])
            if what == 'create':
                there.add(name)
        elif what == 'suspend':
            g.say('suspend', name)
            suspended.add(name)
        elif what == 'resume':
            g.say('resume', name)
            g.say('pause 0.3')
            suspended.discard(name)
        elif what == 'clear':
            g.say('clear', name)
        elif what == 'rename':
            other = g.pick(NAMES)
            g.say('rename', name, other)
            if name in there and other not in there:
                there.discard(name)
                there.add(other)
        elif not suspended:
            g.say(*g.pick([('write', g.pick(NAMES), g.number(0, 15) * 8, 8, g.new_seed()),
                           ('write', g.pick(NAMES), g.number(0, 120), 4, g.new_seed()),
                           ('read', g.pick(NAMES), g.number(0, 120), 8)]))
        for each in NAMES:
            g.say('status', each)
    for name in NAMES:
        g.say('resume', name)
    g.say('pause 0.3')
    for verbs in ('table', 'status', 'inactive'), ('runs',), ('remove',):
        for name in NAMES:
            for verb in verbs:
                g.say(verb, name)
    g.say('runs b')
    g.say('dump c 0 1')


FAMILIES = {'snapshot-tables': family}
