"""The back end that asks the kernel's device mapper, in the guest: dmsetup and loop devices."""
import fcntl
import os
import re
import time

import language
import system

LOOP_SET_FD, LOOP_CLR_FD, LOOP_CTL_GET_FREE = 0x4C00, 0x4C01, 0x4C82
QUEUE = ('logical_block_size', 'physical_block_size', 'minimum_io_size')


def read(path):
    return system.read_text(path).strip()


def number_of(path):
    device = os.stat(path).st_rdev
    return '%d:%d' % (os.major(device), os.minor(device))


class Kernel:
    def __init__(self, scenario):
        self.scenario = scenario
        self.env = dict(os.environ, DM_DISABLE_UDEV='1', LC_ALL='C')
        self.loops = {}

    def begin(self):
        self.major = re.search(r'^ *(\d+) device-mapper$', read('/proc/devices'), re.M)[1]

    def end(self):
        """What could not be removed."""
        for _ in range(20):
            left = self.names()
            if not left:
                break
            self.dm(['remove_all', '-f'])
            for name in left:
                self.dm(['remove', '-f', '--manglename', 'none', name])
            time.sleep(0.05)
        left = self.names()
        for device in self.loops:
            fd = os.open(device, os.O_RDONLY)
            try:
                fcntl.ioctl(fd, LOOP_CLR_FD)
            except OSError as e:
                left.append('%s: %s' % (device, e))
            os.close(fd)
        return left

    def names(self):
        _, text = self.dm(['ls', '--manglename', 'none'])
        lines = [line for line in text.split('\n') if line and not line.startswith('No devices')]
        return [line.split('\t')[0] for line in lines]

    def disk(self, file):
        control = os.open('/dev/loop-control', os.O_RDWR)
        device = '/dev/loop%d' % fcntl.ioctl(control, LOOP_CTL_GET_FREE)
        os.close(control)
        while not os.path.exists(device):
            time.sleep(0.01)
        loop, below = os.open(device, os.O_RDWR), os.open(file, os.O_RDWR)
        fcntl.ioctl(loop, LOOP_SET_FD, below)
        os.close(below)
        # Not held: the last close writes what is cached, and a tool's writes are such.
        os.close(loop)
        self.loops[device] = file
        return device

    def path(self, name):
        """Not /dev/mapper/NAME, which is there only while dmsetup thinks it should be."""
        for node, known, _ in self.volumes():
            if known == name:
                return node
        return '/dev/mapper/' + name

    def volumes(self):
        """(node, name, number) of each; what is in /dev/mapper can be stale, so it comes last."""
        found = []
        for entry in sorted(os.listdir('/sys/block')):
            if entry.startswith('dm-'):
                folder = '/sys/block/' + entry
                try:
                    found.append(('/dev/' + entry, read(folder + '/dm/name'), read(folder + '/dev')))
                except OSError:
                    pass
        for entry in sorted(os.listdir('/dev/mapper')):
            try:
                found.append(('/dev/mapper/' + entry, entry, number_of('/dev/mapper/' + entry)))
            except OSError:
                pass
        return found

    def dm(self, words):
        answer = system.run(['dmsetup', *words], self.scenario.seconds, self.env)
        if '--notable' in words:
            system.run(['dmsetup', 'mknodes'], self.scenario.seconds, self.env)
        return answer

    def drop_cache(self, name):
        system.run(['blockdev', '--flushbufs', self.scenario.disks[name]], self.scenario.seconds)

    def settle(self):
        pass

    def limits(self, name):
        queue = '/sys/block/%s/queue/' % os.path.basename(self.scenario.path(name))
        try:
            text = ''.join('%s %s\n' % (each, read(queue + each)) for each in QUEUE)
            return text + 'discards %d\n' % (int(read(queue + 'discard_max_bytes')) > 0)
        except OSError:
            return 'no limits\n'

    def inward(self, text):
        rules, seen = [], set()
        for name, path in self.scenario.disks.items():
            number = number_of(path)
            rules += [(r'\((%s|%s)\)' % (number.replace(':', ', '), os.path.basename(path)), '(@%s)' % name),
                      (r'(^|[^0-9:.])%s\b' % number, r'\1@' + name), (path + r'\b', '@' + name)]
        for node, name, number in self.volumes():
            if re.search(r'[^A-Za-z0-9_]', name) or number in seen:
                continue
            seen.add(number)
            rules += [(r'\(%s\)' % number.replace(':', ', '), '(@%s)' % name),
                      (r'(^|[^0-9:.])%s\b' % number, r'\1@' + name),
                      (r'(/dev/mapper/%s|%s)\b' % (name, node), '@' + name),
                      (' dependencies', r'\(%s\)' % name, '(@%s)' % name)]
        lines = [line for line in text.split('\n') if not re.search(r': open failed: |^Read Ahead: ', line)]
        return language.substitute('\n'.join(lines), rules + language.number_rules(self.major))
