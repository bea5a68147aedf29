"""Commands and requests, each with a limit of time."""
import os
import re
import signal
import subprocess
import tempfile
import time
import traceback

ERRNOS = [(re.compile(pattern), name) for pattern, name in (
    (r'Invalid argument', 'EINVAL'),
    (r'No such device or address', 'ENXIO'),
    (r'No such device$', 'ENODEV'),
    (r'No such file or directory', 'ENOENT'),
    (r'Device or resource busy', 'EBUSY'),
    (r'File exists', 'EEXIST'),
    (r'Cannot allocate memory', 'ENOMEM'),
    (r'Input/output error', 'EIO'),
    (r'Operation not permitted', 'EPERM'),
    (r'No data available', 'ENODATA'),
    (r'Key was rejected', 'EKEYREJECTED'),
    (r'No space left', 'ENOSPC'),
    (r'Numerical result out of range', 'ERANGE'),
    (r'Read-only file system', 'EROFS'),
    (r'Operation not supported', 'EOPNOTSUPP'),
    (r'Invalid or incomplete multibyte', 'EILSEQ'),
    (r'Protocol error', 'EPROTO'),
    (r'Required key not available', 'ENOKEY'),
    (r'Permission denied', 'EACCES'),
    (r'File name too long', 'ENAMETOOLONG'),
    (r'Value too large', 'EOVERFLOW'),
    (r'Block device required', 'ENOTBLK'),
    (r'Inappropriate ioctl', 'ENOTTY'),
    (r'Resource temporarily unavailable', 'EAGAIN'),
    (r'Key has been revoked', 'EKEYREVOKED'),
    (r'Argument list too long', 'E2BIG'),
    (r'Device does not exist|device doesn.t exist', 'ENXIO'))]

TOO_LONG = 124


def errno_in(text):
    """The error number that a command's message tells of, or ''."""
    for line in text.split('\n'):
        for pattern, name in ERRNOS:
            if pattern.search(line):
                return name
    return ''


def read_text(path):
    """A file as it is, whatever its bytes and the ends of its lines."""
    with open(path, encoding='utf-8', errors='surrogateescape', newline='') as file:
        return file.read()


def write_text(path, text):
    with open(path, 'w', encoding='utf-8', errors='surrogateescape', newline='') as file:
        file.write(text)


def run(words, seconds, env=None, cwd=None):
    """A command's exit code, TOO_LONG where it was killed, and what it said."""
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                       env=env, cwd=cwd)
        except (OSError, ValueError) as e:
            return 126, str(e)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = TOO_LONG
            end(process)
        said.seek(0)
        return code, said.read().decode('utf-8', 'surrogateescape')


def end(process):
    """Ends a process; one that the kernel holds is left behind."""
    for stop in process.terminate, process.kill:
        stop()
        try:
            process.wait(1)
            return
        except subprocess.TimeoutExpired:
            pass


def apart(seconds, path, work):
    """Leaves the text that work() returns in path, by a process group of its own, which is killed after so
    many seconds: then False."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            text = work()
        except Exception:
            text = '!! ' + traceback.format_exc()
        try:
            write_text(path, text)
        finally:
            os._exit(0)
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            if os.waitpid(child, os.WNOHANG)[0]:
                return True
            time.sleep(0.005)
        return False
    finally:
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Blk:
    """`blk serve`: requests, one after the other."""

    def __init__(self, program, seconds):
        self.program = program
        self.process = subprocess.Popen([program, 'serve', str(seconds)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def ask(self, *words):
        """The lines of its answer."""
        self.process.stdin.write((' '.join(words) + '\n').encode())
        self.process.stdin.flush()
        got = []
        for line in self.process.stdout:
            if line == b'\x01\n':
                return got
            if line == b'\x02\n':
                return got + ['  hangs']
            got.append(line.decode().rstrip('\n'))
        return got + ['!! blk ended']

    def close(self):
        self.process.stdin.close()
        self.process.wait()
