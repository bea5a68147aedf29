"""Tables with something wrong in them, and their text: blanks, comments, what is cut off."""

NUMBERS = ['', '0', '1', '2', '3', '5', '7', '8', '9', '16', '64', '100', '255', '256', '1000', '-1',
           '-8', '+0', '+8', '0x8', '08', '010', '8x', '8.0', '8,', '1e1', '٣', '65535', '65536',
           '2147483647', '2147483648', '4294967295', '4294967296', '4294967304', '9223372036854775807',
           '9223372036854775808', '18446744073709551615', '18446744073709551616', '18446744073709551624',
           '99999999999999999999999', '18014398509481984', '36028797018963968', '00000000000000000000008',
           '--1', '+', '-', 'x', 'nan', '8 8', '8-', '8K', '8s']
WORDS = ['0', '1', '2', '8', 'linear', 'P', 'N', 'PO', '-', '@d1', '@d2', 'd1', '/dev/null', '/', '/etc',
         '@', '@@d1', '@d1:', '@d1,', ':', ',', '@v0', "''", '""', "'8'", '"8"', '#', '#x', ';', '%', '~',
         'x' * 300, 'é', '*', '?', '[', '$HOME', 'allow_discards', 'drop_writes', 'discard_zeroes_cow',
         'sector_size:4096', 'ignore_corruption', 'UUID=x', 'LABEL=x', 'PARTUUID=x', 'none', 'null',
         '\x7f', '\x01']
BLANKS = [' ', '\t', '  ', ' \t ', '\v', '\f', '\r']
PLAIN = 'linear zero error striped unstriped delay flakey switch dust ebs crypt'.split()
KINDS = PLAIN + ('striped unstriped delay flakey flakey switch crypt crypt log-writes snapshot snapshot '
                 'snapshot-merge snapshot-origin verity verity verity').split()
STORE_FEATURES = ['', ' 1 discard_zeroes_cow', ' 2 discard_zeroes_cow discard_passdown_origin', ' 0']
VERITY_OPTIONS = ['', ' 1 ignore_corruption', ' 2 ignore_zero_blocks check_at_most_once', ' 0',
                  ' 8 use_fec_from_device @d2 fec_roots 2 fec_blocks 256 fec_start 0',
                  ' 1 restart_on_corruption',
                  ' 1 panic_on_corruption', ' 1 try_verify_in_tasklet', ' 2 root_hash_sig_key_desc x',
                  ' 1 restart_on_error', ' 1 panic_on_error']


def right_row(g, kind):
    """The length and the words of one."""
    g.unit, g.used = g.pick([1, 1, 8]), []
    if kind in PLAIN:
        for _ in range(5):
            row = g.row([kind])
            if row:
                return row.length, row.text.split(' ')
        return 8, ['zero']
    length = g.pick([8, 64, g.disks[0].size])
    kind_of_store, chunk = g.pick(['P', 'N', 'PO']), g.pick([8, 16, 4])
    texts = {'log-writes': 'log-writes @d1 @c1',
             'snapshot': 'snapshot @d1 @c1 %s %d%s' % (kind_of_store, chunk, g.pick(STORE_FEATURES)),
             'snapshot-merge': 'snapshot-merge @d1 @c1 P 8' + g.pick(STORE_FEATURES[:2]),
             'snapshot-origin': 'snapshot-origin @d1',
             'verity': 'verity 1 @d1 @d2 4096 4096 %s 1 sha256 %s %s%s' % (
                 g.pick([1, 8, 256]), 'ab' * 32, g.pick(['-', '00', 'ff' * 32]), g.pick(VERITY_OPTIONS))}
    return length, texts[kind].split(' ')


def other_number(g, word):
    n = int(word)
    near = [str(n + 1), str(n * 2), str(max(0, n - 1)), '+%d' % n, '0%d' % n, '%dx' % n, '%d ' % n,
            '0x%x' % n, str(n + 2**32), str(n + 2**64), '-%d' % n, str(n) * 3]
    return g.pick(NUMBERS + near * 2)


def other_word(g, word):
    return g.pick([word.upper(), word.lower(), word.title(), word * 2, word[:-1], word + ' ', word + ':',
                   word.replace(':', '-'), word.replace('-', ':'), word.replace('_', '-')])


def damaged(g, words):
    """The words with one thing wrong."""
    words = list(words) or ['x']
    i, j = g.number(0, len(words) - 1), g.number(0, len(words) - 1)
    numbers = [k for k, word in enumerate(words) if word.isascii() and word.isdigit()]
    what = g.one_of(number=45, less=10, more=10, twice=7, tail=6, another=6, spelling=4, cut=3, order=4,
                    blank=5)
    if what == 'number' and numbers:
        k = g.pick(numbers)
        words[k] = other_number(g, words[k])
    elif what == 'less':
        del words[i]
    elif what == 'more':
        words.insert(i, g.pick(WORDS + NUMBERS))
    elif what == 'twice':
        words.insert(i, words[i])
    elif what == 'tail':
        words += g.random.choices(WORDS + NUMBERS, k=g.number(1, 4))
    elif what == 'another':
        words[i] = g.pick(WORDS)
    elif what == 'spelling':
        words[i] = other_word(g, words[i])
    elif what == 'cut':
        words = words[:i]
    elif what == 'order':
        words[i], words[j] = words[j], words[i]
    else:
        words[i] += g.pick(BLANKS) + (words[i] if g.chance(.2) else '')
    return words


def one_volume(g, lines):
    g.lines_of_table('create b', lines)
    g.say('table b --showkeys')
    g.say('status b')
    g.say('remove b')


def wrong(g):
    for size in 2048, 2048, 1024:
        g.disk(size)
    g.names = 0
    g.disk(512, 'c', empty=True, taken=True)
    g.table('create v0', [(100, 'linear @d1 8'), (28, 'zero')])
    for _ in range(24):
        length, words = right_row(g, g.pick(KINDS))
        words = ['0', str(length)] + words
        for _ in range(g.pick([0, 1, 1, 1, 1, 1, 2, 3])):
            words = damaged(g, words)
        line = ' '.join(words)
        lines = [line]
        if g.chance(.1):
            more = ['0 8 zero', '8 8 error', '%d 8 zero' % length, '# x', '', '  ', 'x']
            lines.insert(g.number(0, 1), g.pick(more))
        if line != 'T' and '\\' not in line:
            one_volume(g, lines)
    g.say('dm ls')


def text(g):
    for _ in range(2):
        g.disk(512)
    for _ in range(22):
        lines, at = [], 0
        for _ in range(g.number(1, 4)):
            length = g.pick([8, 16, 1, 7])
            row = g.pick(['zero', 'linear @d1 %d' % g.number(0, 100), 'error',
                          'striped 1 %d @d1 %d' % (length, g.number(0, 9)), 'linear @d2 8'])
            words = [str(at), str(length)] + row.split(' ')
            line = words[0] + ''.join(g.pick([' '] * 4 + BLANKS + ['   ']) + word for word in words[1:])
            if g.chance(.25):
                line = g.pick(BLANKS) + line
            if g.chance(.4):
                line += g.pick([' ', '\t', '  ', '\r', ' #', ' # x', ' # zero # y', '\f', ' ;', ';'])
            if g.chance(.03):
                line = line.replace('linear', 'LINEAR')
            if g.chance(.02):
                line += ' ' * g.pick([1000, 5000])
            lines.append(line)
            at += length
            if g.chance(.2):
                lines.append(g.pick(['', ' ', '\t', '#', '# x', '  # y', '\r', '#\r', ' #0 8 zero']))
        if g.chance(.1):
            lines.insert(0, g.pick(['', '#', ' ']))
        if g.chance(.05):
            lines.append(g.pick(['%d' % at, '%d 8' % at, 'x', '%d 8 zero # # #' % at, '%d,8,zero' % at]))
        one_volume(g, lines)


FAMILIES = {'wrong': wrong, 'text': text}
