"""Messages of all kinds to all targets, right and wrong; @stats: regions, areas, what is counted."""
from generator import Row

TARGETS = ['switch', 'dust', 'crypt', 'log-writes', 'flakey', 'linear', 'snapshot', 'delay', 'ebs', 'striped']
WORDS = ['set_region_mappings', '0:0', '1:0', ':0', 'R1,2', 'r2,3', '0:1', 'ff:0', 'addbadblock',
         'removebadblock', 'queryblock', 'countbadblocks', 'clearbadblocks', 'listbadblocks', 'enable',
         'disable', 'quiet', 'mark', 'key', 'set', 'wipe', '0', '1', '2', '5', '00', 'x', '-', '-1', '+1',
         '08', '1x', '@cancel_deferred_remove', '@stats_list', '@stats_create', '0+8', '8', '/2',
         '@stats_delete', '@stats_print', '@stats_clear', 'prog', 'aux', '4294967296',
         '18446744073709551616', '18446744073709551615', 'R0,1', 'R1,1', '1:', ':', '0:0:0', '10:0', 'A:0']


def rows_of(g):
    """Some rows of different targets."""
    log = g.disk(2048, 'l', empty=True, taken=True)
    store = g.disk(512, 'c', empty=True, taken=True)
    rows = []
    for kind in g.random.sample(TARGETS, g.number(2, 5)):
        text = ' '.join(row.text for row in rows)
        if kind == 'log-writes':
            # 6.12 uses memory that it freed, where one table opens an origin again for writing.
            if 'snapshot' not in text:
                rows.append(Row(256, 'log-writes @d1 @%s' % log.name, [], 1, [], ['mark x']))
        elif kind == 'snapshot':
            if '@d2' not in text and 'log-writes' not in text:
                rows.append(Row(256, 'snapshot @d2 @%s P 8' % store.name, [], 1, []))
                g.disks[1].taken = True
        else:
            row = g.row([kind])
            if row:
                rows.append(row)
    # These do not subtract their start, and have to fit their devices.
    return sorted(rows, key=lambda row: not row.text.startswith(('log-writes', 'snapshot')))


def damaged(g, words):
    words = list(words)
    i = g.number(0, len(words) - 1)
    what = g.one_of(more=30, tail=20, less=15, another=15, spelling=10, other=10)
    if what == 'more':
        words.insert(i, g.pick(WORDS))
    elif what == 'tail':
        words.append(g.pick(WORDS))
    elif what == 'less':
        del words[i]
    elif what == 'another':
        words[i] = g.pick(WORDS)
    elif what == 'spelling':
        word = words[i]
        words[i] = g.pick([word.upper(), word + 'x', '0' + word, '+' + word, word[:-1], '-' + word])
    else:
        words = g.random.choices(WORDS, k=g.number(1, 5))
    return [word for word in words if word] or ['x']


def messages(g):
    for _ in range(2):
        g.disk(2048)
    rows = rows_of(g) or [Row(8, 'zero', [], 1, [])]
    size = g.table('create v', [row[:2] for row in rows])
    places, at = [], 0
    for row in rows:
        places.append((at, row))
        at += row.length
    suspendable = not any(' @l' in row.text or ' @c' in row.text for row in rows)
    for _ in range(g.number(15, 35)):
        at, row = g.pick(places)
        sector = g.pick([at, at, at, at, at + row.length - 1, g.number(0, size), size, size - 1])
        if row.messages and g.chance(.5):
            words = g.pick(row.messages).split()
            if g.chance(.6):
                words = damaged(g, words)
        else:
            words = g.random.choices(WORDS, k=g.number(1, 5))
        if words[0] == 'key' and suspendable and g.chance(.5):
            g.say('suspend v')
        g.say('message v', sector, *words)
        if g.chance(.1):
            g.say('status v')
    g.say('resume v')
    g.say('status v')
    g.say('table v --showkeys')


# @stats. A list of no regions is what stands in the kernel's buffer, so it is asked for where there is one.

OPTIONS = ['', '', ' prog', ' prog aux', ' - aux text', ' 1 precise_timestamps', ' 1 histogram:5,10',
           ' 2 precise_timestamps histogram:1', ' 1', ' 0', ' 0 prog', ' p a b c', ' 3 x', ' "" x']
ODD = ['print', 'clear', 'delete', 'foo', 'print x', 'delete -1', 'clear 99', 'print 0 0 0 0', 'set_aux',
       'set_aux 0']


def region(g, size):
    what = g.one_of(whole=40, some=50, odd=10)
    if what == 'whole':
        where = '-'
    elif what == 'some':
        where = '%d+%d' % (g.number(0, size), g.number(1, size))
    else:
        where = g.pick(['0+0', '%d+1' % size, 'x', '+5', '5+', '5', '-1+5', '0+%d' % 2**40, '10000+5'])
    steps = [str(g.number(1, size)), str(max(1, size // g.number(1, 9))), '/%d' % g.number(1, 9),
             '/%d' % g.number(1, 9), '0', '/0', 'x', '-5', '1']
    return where + ' ' + (g.pick(steps) if g.chance(.9) else str(2**32))


def stats(g):
    kinds = ['linear', 'striped', 'zero', 'error', 'delay', 'switch', 'unstriped', 'crypt', 'flakey']
    for _ in range(g.number(1, 3)):
        g.disk(g.pick([512, 1024, 2048]))
    while not g.volumes:
        for _ in range(g.number(1, 3)):
            g.volume(kinds, 3)
    regions = dict.fromkeys((volume.name for volume in g.volumes), 0)
    for _ in range(g.number(12, 26)):
        volume = g.pick(g.volumes)
        name = volume.name
        which = g.number(0, max(1, regions[name]))
        what = g.one_of(create=20, request=35, print=17, clear=6, delete=6, list=8, aux=3, odd=5)
        if what == 'create':
            g.say('message', name, 0, '@stats_create', region(g, volume.size) + g.pick(OPTIONS))
            regions[name] += 1
        elif what == 'request':
            g.request(volume)
        elif what == 'print':
            some = ['', '', '', ' 0 1', ' 1 2', ' - -', ' 0 0', ' 5 100', ' - 1', ' 1', ' x 1']
            g.say('stats', name, '@stats_print' + g.pick(['', '', '', '_clear']), str(which) + g.pick(some))
        elif what in ('clear', 'delete'):
            g.say('message', name, 0, '@stats_' + what, which)
        elif what == 'list':
            g.say('message', name, 0, '@stats_create - /1')
            regions[name] += 1
            g.say('message', name, 0, '@stats_list' + g.pick(['', '', ' -']))
        elif what == 'aux':
            g.say('message', name, 0, '@stats_set_aux', which, g.pick(['x', '-', 'a b']))
        else:
            g.say('message', name, g.pick([0, 5, volume.size, volume.size + 9]), '@stats_' + g.pick(ODD))
    for volume in g.volumes:
        g.say('message', volume.name, 0, '@stats_create - /1')
        g.say('message', volume.name, 0, '@stats_list')
        for i in range(min(6, regions[volume.name] + 1)):
            g.say('stats', volume.name, '@stats_print', i)


FAMILIES = {'messages': messages, 'stats': stats}
