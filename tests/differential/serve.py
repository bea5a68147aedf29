"""Runs in the guest: answers each scenario in in/, in the order of their names, with its transcript in out/.

Where volumes are left it ends, and the guest with it: the next scenario gets a fresh one.
"""
import os
import sys
import time

import kernel
import language
import system

KMSG_RECORD = 8192


def logged():
    """What the kernel logged since this was asked last."""
    lines = []
    while True:
        try:
            head, text = os.read(logged.fd, KMSG_RECORD).decode('utf-8', 'replace').split(';', 1)
        except BlockingIOError:
            return ''.join(lines)
        except BrokenPipeError:
            continue  # some were overwritten before they were read
        lines.append(text)


def main(blk, seconds):
    logged.fd = os.open('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK)
    logged()
    while True:
        waiting = sorted(name for name in os.listdir('in') if name.isdigit())
        if not waiting:
            time.sleep(0.02)
            continue
        name = waiting[0]
        text = system.read_text('in/' + name)

        def work():
            return language.Scenario(kernel.Kernel, blk, seconds).run(text)
        if not system.apart(120, 'answer', work):
            system.write_text('answer', '!! it took too long\n')
        spoilt = '\n!! ' in '\n' + system.read_text('answer')
        system.write_text('out/' + name + '.log', logged())
        os.unlink('in/' + name)
        os.rename('answer', 'out/' + name)
        if spoilt:
            return


main(sys.argv[1], int(sys.argv[2]))
