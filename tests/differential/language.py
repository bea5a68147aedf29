"""The verbs of tests/conformance/verbs.sh that random scenarios use, with the same transcripts.

bash starts a dozen processes for a verb; this one reads hundreds of scenarios, also where a process is dear.
A back end (kernel.py, dmfs.py) is the verbs' lower half.
"""
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
import traceback

import system

SIZES = {'': 1, 'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}
# Verbs that are one request, and those that are one command of dmsetup's.
REQUESTS = ('write', 'zero', 'read', 'runs', 'dump', 'size', 'flush', 'discard', 'zeroout')
COMMANDS = {each: [each] for each in ('suspend', 'resume', 'clear', 'remove', 'rename', 'table', 'status')}
COMMANDS['inactive'] = ['table', '--inactive']
# Numbers of a line of @stats_print that two machines do not share: times, and requests that were merged,
# which depends on how many processors there are.
STATS_TIMES = (4, 8, 10, 11, 12, 13)
STATS_MERGED = (2, 6)


def quoted(words):
    """The words as they were written: quotes around those that need them."""
    return ' '.join("'%s'" % w if not w or re.search(r'[^A-Za-z0-9_@%+=:,./-]', w) else w for w in words)


def items(text):
    """A scenario's verbs, each with the lines of its table."""
    found = []
    lines = iter(text.split('\n'))
    for line in lines:
        if not line.strip():
            continue
        heredoc = re.search(r" <<'(\w+)'$", line)
        table = []
        if heredoc:
            for row in lines:
                if row == heredoc[1]:
                    break
                table.append(row)
        found.append((line[:heredoc.start()] if heredoc else line, table if heredoc else None))
    return found


def written(some):
    """The text of a scenario that has these verbs."""
    text = ''
    for line, table in some:
        if table is None:
            text += line + '\n'
        else:
            text += '\n'.join([line + " <<'T'"] + table + ['T', ''])
    return text


class Scenario:
    """One that runs. `blk` is the program, `seconds` the limit of a verb."""

    def __init__(self, backend, blk, seconds):
        self.transcript = []
        self.seconds = seconds
        self.folder = tempfile.mkdtemp(prefix='scenario.')
        self.disks = {}
        self.held = {}
        self.begun = None
        self.table = None
        self.blk = system.Blk(blk, seconds)
        self.backend = backend(self)

    def run(self, text):
        """Its transcript."""
        try:
            self.backend.begin()
            for line, table in items(text):
                self.table = table
                verb, *words = shlex.split(line)
                self.do(verb, words)
        except Exception:
            self.say('!! ' + traceback.format_exc())
        for fd in self.held.values():
            os.close(fd)
        if self.begun:
            try:
                self.begun.wait(1)
            except subprocess.TimeoutExpired:
                pass
        left = self.backend.end()
        if left:
            self.say('!! left: ' + '; '.join(left))
        self.blk.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return '\n'.join(self.transcript) + '\n'

    def do(self, verb, words):
        if verb == 'note':
            self.say('# ' + ' '.join(words))
            return
        self.say(' '.join(['$', verb, quoted(words) if verb == 'dm' else ' '.join(words)]).rstrip())
        for row in self.table or []:
            self.say('| ' + row)
        if verb in REQUESTS:
            self.transcript += self.blk.ask(verb, self.path(words[0]), *words[1:])
        elif verb in COMMANDS:
            self.answer(*self.backend.dm(COMMANDS[verb] + words))
        else:
            getattr(self, 'do_' + verb)(*words)

    def say(self, line):
        self.transcript.append(line)

    def answer(self, code, text):
        """What a command said, or that it refused and why."""
        if code == system.TOO_LONG:
            self.say('  hangs')
        elif code:
            self.say(('  refused: ' + system.errno_in(text)).rstrip(': '))
        elif text:
            text = self.backend.inward(text)
            if text:
                for line in text.removesuffix('\n').split('\n'):
                    self.say('  ' + line)

    def path(self, name):
        return self.disks.get(name) or self.backend.path(name)

    def outward(self, text):
        """@name of a disk or volume becomes its path; another stays as it is."""
        def path_of(match):
            path = self.path(match[1]) if match[1] else ''
            return path if os.path.exists(path) else match[0]
        return re.sub(r'@([A-Za-z0-9_]*)', path_of, text)

    def table_file(self):
        path = self.folder + '/table'
        system.write_text(path, ''.join(self.outward(row) + '\n' for row in self.table))
        return path

    def do_disk(self, name, size, seed='0'):
        number, unit = re.fullmatch(r'(\d+)([KMG]?)', size).groups()
        file = self.folder + '/' + name + '.disk'
        self.blk.ask('fill', file, str(int(number) * SIZES[unit] // 512), seed)
        self.disks[name] = self.backend.disk(file)

    def do_create(self, name, *options):
        self.answer(*self.backend.dm(['create', name, *options, self.table_file()]))

    def do_load(self, name, *options):
        self.answer(*self.backend.dm(['load', name, *options, self.table_file()]))

    def do_reload(self, name, *options):
        said = ''
        for words in ['load', name, *options, self.table_file()], ['suspend', name], ['resume', name]:
            code, text = self.backend.dm(words)
            said += text
            if code:
                break
        self.answer(code, said)

    def do_message(self, name, sector, *words):
        self.answer(*self.backend.dm(['message', name, sector, self.outward(' '.join(words))]))

    def do_stats(self, name, *words):
        code, text = self.backend.dm(['message', name, '0', *words])
        if code:
            self.answer(code, text)
            return
        for line in text.split('\n')[:-1]:
            fields = line.split()
            if len(fields) > max(STATS_TIMES):
                for i in STATS_TIMES:
                    fields[i] = 't'
                for i in STATS_MERGED:
                    fields[i] = 'm'
                line = ' '.join(fields)
            self.say('  ' + line)

    def do_dm(self, *words):
        self.answer(*self.backend.dm([self.outward(word) for word in words]))

    def do_await(self, name, pattern):
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            if re.search(pattern, self.backend.inward(self.backend.dm(['status', name])[1]), re.M):
                return
            time.sleep(0.1)
        self.say('  never')

    def do_hold(self, name):
        self.let_go(name)
        try:
            self.held[name] = os.open(self.path(name), os.O_RDONLY)
        except OSError as e:
            self.answer(1, os.strerror(e.errno))

    def let_go(self, name):
        if name not in self.held:
            return False
        os.close(self.held.pop(name))
        return True

    def do_release(self, name):
        if self.let_go(name):
            self.backend.settle()
        else:
            self.say('  not held')

    def do_held(self, verb, name, *words):
        if name not in self.held:
            self.say('  not held')
            return
        fd = self.held[name]
        self.begin(verb, 'fd:%d' % fd, words, pass_fds=[fd])
        self.do_finish()

    def begin(self, verb, path, words, **options):
        self.began = tempfile.TemporaryFile()
        self.begun = subprocess.Popen([self.blk.program, verb, path, *words], stdout=self.began, **options)

    def do_begin(self, verb, name, *words):
        self.begin(verb, self.path(name), words)

    def do_pending(self):
        time.sleep(0.3)
        self.say('  yes' if self.begun.poll() is None else '  no')

    def do_finish(self):
        try:
            self.begun.wait(self.seconds)
        except subprocess.TimeoutExpired:
            self.begun.kill()
            self.say('  hangs')
        self.began.seek(0)
        self.transcript += self.began.read().decode().split('\n')[:-1]
        self.began.close()
        self.begun = None

    def do_flip(self, name, byte):
        self.blk.ask('flip', self.folder + '/' + name + '.disk', byte)
        self.backend.drop_cache(name)

    def do_check(self, *words):
        code, _ = system.run(['bash', '-c', self.outward(' '.join(words))], self.seconds)
        self.say('  exit %d' % code)

    def do_limits(self, name):
        for line in self.backend.limits(name).split('\n')[:-1]:
            self.say('  ' + line)

    def do_pause(self, seconds):
        time.sleep(float(seconds))


def number_rules(major):
    """For a back end's `inward`: what is left of the numbers that one machine gives and another does not.
    major: of volumes, as a regular expression."""
    return [(r'^(Major, minor: +)[0-9]+, *[0-9]+', r'\1N, N'),
            (r'^(.{16}) +%s +[0-9]+ ([L-][I-][s-][rw] )' % major, r'\1   N   N \2'),
            (r'^([^:]*):%s:[0-9]+:([L-][I-][s-][rw]:)' % major, r'\1:N:N:\2'),
            (r'\((%s)(:|, ?)[0-9]+\)' % major, r'(@?)')]


def substitute(text, rules):
    """Text with each rule applied: (pattern, replacement), or (pattern of the line, pattern, replacement)."""
    lines = []
    for line in text.split('\n'):
        for *where, pattern, replacement in rules:
            if not where or re.search(where[0], line):
                line = re.sub(pattern, replacement, line)
        lines.append(line)
    return '\n'.join(lines)
