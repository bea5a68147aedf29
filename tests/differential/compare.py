"""What dmfs answered beside what the kernel did."""
import collections
import difflib
import re

# A verb with its words; the rows of its table; the lines of its answer.
Step = collections.namedtuple('Step', 'verb table answer')
# What is left to explain, as a diff; the first of it, (kernel's step, dmfs's), or None; names of departures.
Verdict = collections.namedtuple('Verdict', 'difference first departures')


def steps(transcript):
    found = []
    for line in transcript.rstrip('\n').split('\n'):
        line = line.rstrip()
        if line.startswith(('$ ', '# ', '!! ')):
            found.append(Step(line, [], []))
        elif found:
            (found[-1].table if line.startswith('|') else found[-1].answer).append(line)
    return found


def lines(some):
    return [line for step in some for line in [step.verb, *step.table, *step.answer]]


def rows(step):
    """Of its table, as they were written."""
    return [line[2:] for line in step.table]


class Case:
    """One answer that differs, with what stands before it."""

    def __init__(self, kernel, dmfs, at):
        self.verb = kernel[at].verb
        self.words = self.verb.split()[1:]
        self.table = rows(kernel[at])
        self.kernel, self.dmfs = kernel[at].answer, dmfs[at].answer
        self.before = kernel[:at]
        self.all = kernel

    def name(self):
        """Of the volume or disk that the verb is about, or ''."""
        return (self.words + [''])[-2 if self.words[0] == 'dm' else 1]

    def tables(self):
        """Every row before, and of this verb."""
        return [row for step in self.before for row in rows(step)] + self.table

    def was(self, pattern):
        """Whether a verb before matches."""
        return any(re.search(pattern, step.verb) for step in self.before)

    def lines(self):
        """(the kernel's, dmfs's) lines that differ, or None where there are more of one than of the other."""
        if len(self.kernel) != len(self.dmfs):
            return None
        return [pair for pair in zip(self.kernel, self.dmfs) if pair[0] != pair[1]]

    def only(self, kernel, dmfs):
        """Whether the answers differ only in lines that match these patterns."""
        pairs = self.lines()
        return bool(pairs) and all(re.search(kernel, k) and re.search(dmfs, d) for k, d in pairs)

    def same(self, pattern, replacement=''):
        """Whether the answers are the same but for what matches."""
        return [re.sub(pattern, replacement, line) for line in self.kernel] == \
            [re.sub(pattern, replacement, line) for line in self.dmfs]


def compare(kernel_transcript, dmfs_transcript, departures):
    """departures: see departures.py."""
    kernel, dmfs = steps(kernel_transcript), steps(dmfs_transcript)
    met = []
    skipped = set()
    end = min(len(kernel), len(dmfs))
    for i in range(end):
        words = kernel[i].verb.split()
        if words[1:2] == ['create']:
            skipped.discard(words[2])
        if any(name in words for name in skipped):
            dmfs[i] = kernel[i]
        # Where dmsetup itself refused, no errno is known, and dmfs may say which.
        if kernel[i].answer == ['  refused'] and ''.join(dmfs[i].answer).startswith('  refused'):
            dmfs[i] = kernel[i]
        if kernel[i] == dmfs[i] or kernel[i].verb != dmfs[i].verb:
            continue
        case = Case(kernel, dmfs, i)
        departure = next((each for each in departures if each.applies(case)), None)
        if not departure:
            continue
        if departure.name not in met:
            met.append(departure.name)
        dmfs[i] = kernel[i]
        if departure.reach == 'volume':
            skipped.add(case.name())
        elif departure.reach == 'rest':
            del kernel[i + 1:], dmfs[i + 1:]
            break
    if kernel == dmfs:
        return Verdict('', None, met)
    i = next((i for i, pair in enumerate(zip(kernel, dmfs)) if pair[0] != pair[1]), end)
    none = Step('!! nothing', [], [])
    first = (kernel + [none])[i], (dmfs + [none])[i]
    diff = difflib.unified_diff(lines(kernel), lines(dmfs), 'kernel', 'dmfs', lineterm='', n=3)
    return Verdict('\n'.join(diff), first, met)
