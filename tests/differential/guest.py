"""A Linux as a process (tests/conformance/uml/boot), which answers scenarios."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import system

HERE = os.path.dirname(os.path.abspath(__file__))
BOOT = os.path.join(HERE, '../conformance/uml/boot')
PARTS = ('system.py', 'language.py', 'kernel.py', 'serve.py')


class Guest:
    """Boots when it is first asked, and anew after a scenario that it did not survive.

    seconds: the limit of a verb.
    """

    def __init__(self, blk, seconds):
        self.folder = tempfile.mkdtemp(prefix='guest.')
        self.process = None
        self.number = 0
        for name in 'in', 'out':
            os.mkdir(self.folder + '/' + name)
        for part in PARTS:
            shutil.copy(os.path.join(HERE, part), self.folder)
        shutil.copy(blk, self.folder)
        serve = '%s -B serve.py /run/blk %d' % (os.path.realpath(sys.executable), seconds)
        system.write_text(self.folder + '/start', 'cp blk /run/blk && exec %s\n' % serve)
        subprocess.run([BOOT, '-b'], check=True)

    def ask(self, text):
        """The transcript, and what the kernel logged."""
        self.number += 1
        name = '%06d' % self.number
        question, answer = self.folder + '/in/' + name, self.folder + '/out/' + name
        system.write_text(question + '.new', text)
        os.rename(question + '.new', question)
        if self.process is None or self.process.poll() is not None:
            self.boot()
        process = self.process
        until = time.monotonic() + 180
        while not os.path.exists(answer):
            if process.poll() is not None or time.monotonic() > until:
                self.stop()
                os.unlink(question)
                return '!! the kernel ended, or hangs\n' + self.console(), ''
            time.sleep(0.02)
        transcript, log = system.read_text(answer), system.read_text(answer + '.log')
        if '\n!! ' in '\n' + transcript:
            self.stop()
        return transcript, log

    def boot(self):
        with open(self.folder + '/console', 'w', encoding='utf-8') as console:
            self.process = subprocess.Popen([BOOT, self.folder, 'start'], stdin=subprocess.DEVNULL,
                                            stdout=console, stderr=console, start_new_session=True)

    def console(self):
        """The last that it said."""
        said = []
        for name in 'console', 'log':
            try:
                said += system.read_text(self.folder + '/' + name).split('\n')[-12:]
            except FileNotFoundError:
                pass
        return ''.join('!! %s\n' % line for line in said if line)

    def stop(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
