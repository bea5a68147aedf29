"""The back end that asks dmfs, through its command line and the files of its mount."""
import os
import re
import subprocess
import time

import language
import system

# Rows that name devices: a volume stands there by its bare name.
TARGETS = (' (linear|striped|snapshot|snapshot-origin|snapshot-merge|crypt|flakey|delay|unstriped|switch|ebs|'
           'dust|verity|log-writes|error) ')


def back_end(program, mount):
    """One that runs the dmfs of this path, and mounts it on this folder."""
    class Bound(Dmfs):
        pass
    Bound.program, Bound.mount = program, mount
    return Bound


class Dmfs:
    def __init__(self, scenario):
        self.scenario = scenario
        self.env = dict(os.environ, DMFS_MOUNT=self.mount, LC_ALL='C')

    def begin(self):
        with open(self.mount + '.log', 'w', encoding='utf-8') as log:
            self.process = subprocess.Popen([self.program, 'mount', self.mount, '--foreground'],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 20
        while time.monotonic() < until and self.process.poll() is None:
            if os.path.ismount(self.mount):
                return
            time.sleep(0.01)
        raise RuntimeError('dmfs did not mount')

    def end(self):
        """What could not be ended."""
        left = []
        if self.process.poll() is None:
            for _ in range(5):
                if system.run(['fusermount3', '-u', self.mount], self.scenario.seconds)[0] == 0:
                    break
                time.sleep(0.3)
            else:
                left.append('the mount is busy')
                unmount(self.mount)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.returncode:
            left.append('dmfs ended with %d' % self.process.returncode)
        return left

    def disk(self, file):
        return file

    def path(self, name):
        return self.mount + '/' + name

    def dm(self, words):
        return system.run([self.program, *words], self.scenario.seconds, self.env, self.scenario.folder)

    def drop_cache(self, name):
        pass

    def settle(self):
        """The kernel tells FUSE of a close when it finds the time."""
        time.sleep(0.05)

    def limits(self, name):
        try:
            text = system.read_text('%s/.control/%s/limits' % (self.mount, name))
        except OSError:
            return 'no limits\n'
        found = dict(line.split(' ', 1) for line in text.split('\n') if line)
        text = ''.join('%s %s\n' % (each, found[each])
                       for each in ('logical_block_size', 'physical_block_size', 'minimum_io_size'))
        return text + 'discards %d\n' % (found['discard_granularity'] != '0')

    def inward(self, text):
        rules = [(re.escape(path) + r'\b', '@' + name) for name, path in self.scenario.disks.items()]
        control = self.mount + '/.control'
        for name in sorted(os.listdir(control)):
            if re.search(r'[^A-Za-z0-9_]', name):
                continue
            try:
                info = system.read_text('%s/%s/info' % (control, name))
            except OSError:
                continue
            rules.append((re.escape(self.mount + '/' + name) + r'\b', '@' + name))
            number = re.search(r'^Major, minor: *(\d+), *(\d+)', info, re.M)
            if number:
                rules.append((r'\(%s(:|, ?)%s\)' % number.groups(), '(@%s)' % name))
            rules += [(' dependencies', r'\(%s\)' % name, '(@%s)' % name),
                      (TARGETS, r'([ =])%s(?=[ ,;]|$)' % name, r'\1@' + name)]
        lines = [line for line in text.split('\n') if not line.startswith('Read Ahead: ')]
        return language.substitute('\n'.join(lines), rules + language.number_rules('0'))


def unmount(mount):
    """If it is one still, whatever uses it: one whose dmfs was killed does not look like one."""
    subprocess.run(['fusermount3', '-uz', mount], stderr=subprocess.DEVNULL, check=False)


def answers(program, blk, text, folder, seconds):
    """dmfs's transcript of a scenario, with what it said where it ended."""
    mount = folder + '/mnt'
    os.makedirs(mount, exist_ok=True)
    path = folder + '/answer'

    def work():
        return language.Scenario(back_end(program, mount), blk, seconds).run(text)
    try:
        done = system.apart(120, path, work)
    finally:
        unmount(mount)
    if not done:
        return '!! took too long\n'
    transcript = system.read_text(path)
    if '\n!! ' in '\n' + transcript:
        said = system.read_text(mount + '.log').split('\n')
        transcript += ''.join('!! dmfs said: %s\n' % line for line in said if line)
    return transcript
