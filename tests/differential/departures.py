"""What dmfs is known to answer otherwise than the kernel, and why, so that what a run finds is new.

All are told of in ARCHITECTURE.md ("Where dmfs leaves the kernel's way on purpose") or a page of man/. A rule
is as narrow as it can be: it looks at the verb, at both answers, and at what stands before.
"""
import collections
import re

Departure = collections.namedtuple('Departure', 'name why reach applies')
DEPARTURES = []


def departure(reach='answer'):
    """Adds a rule: its name is the function's, the reason its text.

    reach: what else differs in consequence: 'answer' nothing, 'volume' whatever is asked of the volume until
    it is created again, 'rest' all that follows.
    """
    def add(applies):
        DEPARTURES.append(Departure(applies.__name__.replace('_', '-'), applies.__doc__, reach, applies))
        return applies
    return add


def refused(answer):
    return ''.join(answer[:1]).startswith('  refused')


def refused_by_dmfs_alone(case):
    return refused(case.dmfs) and not refused(case.kernel)


def has_row(case, targets):
    return any(re.match(r'\s*\d+\s+\d+\s+(%s)\b' % targets, row) for row in case.tables())


def becomes_invalid(case):
    """Some snapshot, somewhere in the scenario."""
    return any('Invalid' in line for step in case.all for line in step.answer)


def is_store(case):
    """Whether it shows what is in a COW device, or in a device below one."""
    below, found = {}, set()
    for step in case.all:
        for row in step.table:
            below.setdefault(step.verb.split()[2], set()).update(re.findall(r'@(\w+)', row))
            found.update(re.findall(r' snapshot(?:-merge)? @\w+ @(\w+)', row))
    for store in list(found):
        found |= below.get(store, set())
    return case.words[0] in ('runs', 'dump') and case.name() in found


def answers(case, verb, kernel, dmfs):
    return case.words[0] == verb and case.kernel == ['  ' + kernel] and case.dmfs == ['  ' + dmfs]


# Tables

@departure('volume')
def too_large(case):
    """A number that does not fit is refused. The kernel keeps the bits that fit, and so means another."""
    text = '\n'.join(case.table + case.words[1:])
    large = any(int(number) >= 2**32 for number in re.findall(r'\d+', text))
    # Of 8 bits, and of 16.
    large |= bool(re.search(r'fec_roots \d{3}|corrupt_bio_byte \d+ [rw] \d{3}| ebs \S+ \d+ .*\d{5}', text))
    return large and refused_by_dmfs_alone(case)


@departure('rest')
def does_not_fit(case):
    """A table that does not fit its devices, or is a ring, is refused when it is loaded. The kernel looks
    again only at the resume."""
    names_devices = any('@' in row for row in case.table)
    return case.words[0] in ('load', 'reload') and names_devices and not case.kernel \
        and case.dmfs == ['  refused: EINVAL']


@departure()
def two_mistakes(case):
    """Where there are two mistakes, the kernel may name the other."""
    verbs = 'create', 'load', 'reload', 'message', 'rename', 'dm'
    return refused(case.kernel) and refused(case.dmfs) and case.words[0] in verbs


@departure('rest')
def one_merge(case):
    """Two merges into one origin are refused."""
    return refused_by_dmfs_alone(case) and any('snapshot-merge' in row for row in case.table)


@departure()
def no_key(case):
    """No key is no secret, and is shown as it was written."""
    return case.same(r'cipher_null-ecb [-0] ')


@departure()
def limits_of_error(case):
    """Limits are those of the table. The kernel keeps those of before for a table without devices."""
    loaded = case.words[0] == 'limits' and case.was(r'^\$ (reload|load) ' + case.name())
    return loaded and has_row(case, 'error')


# Requests

@departure()
def read_only_below(case):
    """Nothing writes through a read-only volume, and it refuses every change in the same way."""
    return case.dmfs == ['  EPERM'] and case.kernel in (['  EIO'], ['  EOPNOTSUPP'])


@departure()
def flush_of_invalid(case):
    """A flush of an invalid snapshot fails, since what was written to it is lost."""
    return answers(case, 'flush', 'ok', 'EIO') and becomes_invalid(case)


@departure()
def flush_reaches_all(case):
    """A flush reaches every row whatever is below, waits as any request, and hears of that of a suspend. The
    kernel drops that of a device without a cache."""
    waits = answers(case, 'pending', 'no', 'yes') and case.before[-1].verb.startswith('$ begin flush')
    return waits or answers(case, 'flush', 'ok', 'EIO') and has_row(case, 'error|flakey')


@departure()
def store_of_invalid(case):
    """What stands in the store of an invalid snapshot is read by nobody."""
    return is_store(case) and becomes_invalid(case)


@departure()
def header_comes_last(case):
    """The header comes when a table goes live, so one that is refused writes none."""
    store = r' snapshot \S+ @%s ' % case.name()
    return is_store(case) and any(refused(step.answer) and re.search(store, '\n'.join(step.table))
                                  for step in case.before)


@departure()
def sector_of_flush(case):
    """A flush has no sector. The kernel logs where the row above begins, which nobody reads."""
    log = r' log-writes @\w+ @%s\b' % case.name()
    if case.words[0] not in ('runs', 'dump') or not any(re.search(log, row) for row in case.tables()):
        return False
    no_sectors = re.compile(r' +\d+ \+0 +(?:[0-9a-f]{2} ){8}(?:00 ){8}')
    kernel, dmfs = ([line for line in answer if not no_sectors.match(line)]
                    for answer in (case.kernel, case.dmfs))
    return kernel == dmfs or case.words[0] == 'runs' and case.same(r'data \w+')


@departure('rest')
def handed_over(case):
    """When the first of two tables of a store goes, its exceptions go to the other, which is invalid in the
    kernel."""
    def invalid(answer):
        return 'Invalid' in ' '.join(answer)
    was = any(step.verb == case.verb and invalid(step.answer) for step in case.before)
    return case.words[0] == 'status' and invalid(case.kernel) and not invalid(case.dmfs) and not was


@departure('rest')
def one_origin(case):
    """A COW device is of one origin."""
    pairs = [pair for row in case.tables() for pair in re.findall(r' snapshot(?:-merge)? @(\w+) @(\w+)', row)]
    mine = [pair for row in case.table for pair in re.findall(r' snapshot(?:-merge)? @(\w+) @(\w+)', row)]
    return refused_by_dmfs_alone(case) and any(store == other_store and origin != other
                                               for origin, store in mine for other, other_store in pairs)


@departure('rest')
def old_table_back(case):
    """A resume whose new table cannot go on brings the old one back. The kernel leaves the volume suspended
    with the new one."""
    resumed = re.compile(r'^\$ (dm )?(resume|reload)\b.* %s\b' % case.name())
    return any(resumed.match(step.verb) and refused(step.answer) for step in case.before)


@departure()
def not_shown(case):
    """What no row of a snapshot shows is not copied. The kernel goes by the length of the volume."""
    part = any(len(step.table) > 1 and re.search(r' snapshot ', ''.join(step.table)) for step in case.all)
    return part and (is_store(case) or case.words[0] == 'status')


@departure()
def discard_below(case):
    """Who punches a hole into a file is told that it is not there. The kernel swallows the error."""
    return answers(case, 'discard', 'ok', 'EOPNOTSUPP')


@departure()
def discard_beyond(case):
    """A discard that ends beyond the volume fails with EINVAL, also where there are no discards."""
    return answers(case, 'discard', 'EOPNOTSUPP', 'EINVAL')


# What is said of them

@departure()
def striped_flush(case):
    """A flush that fails marks no leg of striped: a table flushes each of its devices once, not by rows."""
    return case.words[0] == 'status' and has_row(case, 'striped') and case.same(r' 1 [AD]+$')


@departure()
def statistics_of_failures(case):
    """Statistics count a request that a target fails without asking a device."""
    if case.words[0] != 'stats' or not case.lines():
        return False
    pairs = [pair for lines in case.lines() for pair in zip(*(re.findall(r'\d+', line) for line in lines))]
    failed = any(step.answer[:1] == ['  EIO'] for step in case.before)
    return failed and all(int(theirs) <= int(mine) for theirs, mine in pairs)


@departure()
def repaired_hash(case):
    """A hash block that is repaired is no corruption."""
    return case.words[0] == 'status' and case.only(r' verity C$', r' verity V$') \
        and any('use_fec_from_device' in row for row in case.tables())


@departure()
def no_devices(case):
    """dmsetup says it once for the command and once for each list."""
    return set(case.kernel) == set(case.dmfs) == {'  No devices found'}


@departure()
def stats_list(case):
    """Without regions the kernel prints what stands in its buffer."""
    return '@stats_list' in case.words and len(''.join(case.kernel)) <= 6 and not case.dmfs
