"""What the bench compares: each subject shows the bytes of the same backing file
(the striped one, of four files) at one path, and knows how to start and how to stop.

    with Workshop(...) as shop:
        path = shop.start("floor")     # a file to read and write, or None: skipped

Everything started is noted in the workshop's ExitStack before it can fail, so
leaving the `with` (also by an exception or a signal) stops it, newest first:
loop devices are detached, filesystems unmounted (lazily at last), processes
ended by their own id, files deleted.
"""
import contextlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

SECTOR = 512
MIB = 1 << 20
START_SECONDS = 15
STOP_SECONDS = 10

# Debian's package for each program that the bench may need.
PACKAGE = {
    "fio": "fio",
    "losetup": "mount",
    "fusermount3": "fuse3",
    "qemu-storage-daemon": "qemu-system-common",
    "nbdkit": "nbdkit",
    "nbdfuse": "libnbd-bin",
    "cryptsetup": "cryptsetup-bin",
    "qemu-img": "qemu-utils",
}
CRYPT = ["dmfs-linear", "dmfs-crypt", "nbdkit-luks", "qsd-luks"]
ALL = ["raw", "floor", "dmfs-linear1", "dmfs-linear4", "dmfs-striped4", "qsd", "nbdfuse"]


class Missing(Exception):
    """A subject can't run here; the text says why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def program(name):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not found:
        raise Missing(f"{name} not found (Debian package {PACKAGE.get(name, name)})")
    return found


def mounted(path):
    """Is something mounted at this very path?"""
    want = str(path)
    with open("/proc/self/mountinfo") as table:
        for line in table:
            point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line.split(" ")[4])
            if point == want:
                return True
    return False


def quote(path):
    """A path as one word of a table: dm's quoting."""
    return "".join("\\" + c if c in " \t\\" else c for c in str(path))


def linear_rows(path, sectors, rows, shuffled=False):
    """A table of `rows` linear rows over one file; the last row takes what is left.

    Rows are as long as a multiple of 4 KiB, so that no 4 KiB request is split,
    and lie in the file in another order, so that no two can be merged."""
    step = sectors // rows // 8 * 8
    lengths = [step] * (rows - 1) + [sectors - step * (rows - 1)]
    order = list(range(rows - 1))  # the last one, of another length, stays at the end
    if shuffled:
        random.Random(1).shuffle(order)
    else:
        order.reverse()
    order.append(rows - 1)
    return "".join(f"{i * step} {lengths[i]} linear {quote(path)} {place * step}\n"
                   for i, place in enumerate(order))


class Dmfs:
    """One mount of dmfs, in the foreground so that its process id is known."""

    def __init__(self, shop, name, options=(), dmfs=None):
        self.shop, self.mnt = shop, shop.folder(name)
        command = [dmfs or shop.dmfs, "mount", "-f", str(self.mnt)]
        if options:
            command += ["-o", ",".join(options)]
        self.pid = shop.serve(command, self.mnt).pid

    def create(self, volume, table, readonly=False):
        control = self.mnt / ".control" / volume
        os.mkdir(control)
        if readonly:
            self._write(control / "state", "ro\n", control / "error")
        self._write(control / "table", table, control / "error")
        return self.mnt / volume

    def create_many(self, concise):
        control = self.mnt / ".control"
        self._write(control / "create", concise, control / "error")

    def _write(self, path, text, error):
        try:
            with open(path, "wb", buffering=0) as file:
                rest = memoryview(text.encode())
                while rest:
                    rest = rest[file.write(rest):]
        except OSError as refusal:
            with contextlib.suppress(OSError):
                refusal = f"{refusal}\n{error.read_text()}"
            raise RuntimeError(f"dmfs refused {path}: {refusal}") from None


class Workshop:
    def __init__(self, where, mib, direct, loop, dmfs, floor):
        self.parent, self.bytes, self.direct, self.loop = where, mib * MIB, direct, loop
        self.dmfs, self.floor = dmfs, floor
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="dmfs-bench-", dir=self.parent)).resolve()
        self.stack.callback(self._delete_folder)
        return self

    def __exit__(self, *_):
        self.stack.close()

    @property
    def sectors(self):
        return self.bytes // SECTOR

    # Folders, files, processes, mounts.

    def _delete_folder(self):
        with open("/proc/self/mountinfo") as table:
            if f" {self.dir}/" in table.read():
                say(f"bench: something is still mounted in {self.dir}; left as it is")
                return
        shutil.rmtree(self.dir, ignore_errors=True)

    def folder(self, name):
        path = self.dir / name
        path.mkdir()
        return path

    def file(self, name, size=None):
        """A backing file: every block written, with bytes that are not zero."""
        path = self.dir / name
        left = self.bytes if size is None else size
        block = bytes(b or 1 for b in os.urandom(MIB))
        with open(path, "wb") as file:
            while left:
                left -= file.write(block[:min(left, MIB)])
            file.flush()
            os.fsync(file.fileno())
            if self.direct:  # or subjects that only shun the page cache would still find it full
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return path

    def image(self):
        """The one file that every subject serves (in turn): none has the better place on the disk."""
        path = self.dir / "image.img"
        return path if path.exists() else self.file(path.name)

    def spawn(self, command, environment=None):
        """Start a process that is ended, at the latest, when the workshop closes.

        It has a session of its own: Ctrl-C is for the bench, which then stops
        things in their order."""
        with open(self.dir / "stderr", "a") as errors:  # one after another; all append
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=errors, start_new_session=True, env={**os.environ, **(environment or {})})
        self.stack.callback(end, process)
        return process

    def last_words(self):
        """The end of what the processes have written to stderr."""
        return (self.dir / "stderr").read_text(errors="replace").strip()[-2000:]

    def serve(self, command, point):
        """Start a process and wait until it has mounted something at `point`."""
        process = self.spawn(command)
        self.stack.callback(unmount, point, process)
        until = time.monotonic() + START_SECONDS
        while not mounted(point):
            if process.poll() is not None:
                raise Missing(f"{command[0]} ended with {process.returncode}: {self.last_words()}")
            if time.monotonic() > until:
                raise Missing(f"{command[0]} has not mounted {point} in {START_SECONDS} s")
            time.sleep(0.02)
        return process

    def loop_device(self, path):
        if os.geteuid() != 0:
            raise Missing("loop devices need root")
        command = [program("losetup"), "--find", "--show", "--direct-io=on", str(path)]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            raise Missing(f"losetup: {made.stderr.strip()}")
        device = made.stdout.strip()
        self.stack.callback(detach, device)
        dio = pathlib.Path("/sys/block", os.path.basename(device), "loop/dio").read_text().strip()
        if dio != "1":
            raise Missing(f"{device} over {path} has no direct I/O (loop/dio is {dio})")
        return pathlib.Path(device)

    # The subjects.

    def start(self, subject):
        """The path to run fio on, or None with a notice when the subject can't be had."""
        make = {"raw": self._raw, "floor": self._floor, "qsd": self._qsd,
                "nbdfuse": self._nbdfuse}.get(subject, self._dmfs)
        say(f"bench: starting {subject}")
        try:
            path = make(subject)
            if path.stat().st_size != self.bytes:
                raise Missing(f"{path} has {path.stat().st_size} bytes, not {self.bytes}")
            return self.loop_device(path) if self.loop else path
        except (Missing, RuntimeError, OSError) as why:
            say(f"bench: skipping {subject}: {why}")
            return None

    def _raw(self, name):
        return self.image()

    def _floor(self, name):
        binary = self.floor or self._compile_floor()
        mnt, image = self.folder(name), self.image()
        self.serve([binary, *["--direct"] * self.direct, str(mnt), str(image)], mnt)
        return mnt / "f0"

    def _compile_floor(self):
        source = pathlib.Path(__file__).resolve().parent / "floor.cc"
        try:
            flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "fuse3"], text=True)
            binary = str(self.dir / "floor-program")
            subprocess.run(["c++", "-std=c++20", "-O2", "-o", binary, str(source), *flags.split()],
                           check=True)
        except (OSError, subprocess.CalledProcessError) as why:
            raise Missing(f"can't compile {source.name}: {why}") from None
        return binary

    def dmfs_mount(self, name, more=(), dmfs=None):
        """`dmfs`: another build than the one that is measured."""
        if not os.access(dmfs or self.dmfs, os.X_OK):
            raise Missing(f"{dmfs or self.dmfs} is not there (build it, or give --dmfs PATH)")
        return Dmfs(self, name, [*["backing=direct"] * self.direct, *more], dmfs)

    def _dmfs(self, name):
        mount = self.dmfs_mount(name)
        if name == "dmfs-striped4":
            legs = [self.file(f"{name}.{i}.img", self.bytes // 4) for i in range(4)]
            words = " ".join(f"{quote(leg)} 0" for leg in legs)
            return mount.create("v", f"0 {self.sectors} striped 4 128 {words}\n")
        rows = {"dmfs-linear1": 1, "dmfs-linear4": 4}[name]
        return mount.create("v", linear_rows(self.image(), self.sectors, rows))

    def _qsd(self, name):
        program("qemu-storage-daemon")  # before the image, which takes its time
        image = self.image()
        return self.qsd_export(name, [self.qsd_file("image", image)])

    def qsd_file(self, node, path):
        """A file as a node. Its aio: io_uring on a disk; on page-cached files that measured no
        better than the default, threads."""
        text = f"driver=file,node-name={node},filename={str(path).replace(',', ',,')}"
        return text + (",cache.direct=on,aio=io_uring" if self.direct else ",cache.direct=off")

    def qsd_export(self, name, nodes, more=()):
        """A FUSE export of the node `image`. It mounts on a file."""
        point = self.dir / f"{name}.export"
        point.touch()
        export = f"fuse,id=e,node-name=image,mountpoint={str(point).replace(',', ',,')}"
        export += ",writable=on,growable=off,allow-other=off"
        blockdevs = [word for node in nodes for word in ("--blockdev", node)]
        self.serve([program("qemu-storage-daemon"), *more, *blockdevs, "--export", export], point)
        return point

    def _nbdfuse(self, name, options=(), image=None, parameters=(), environment=None):
        nbdkit, nbdfuse, image = program("nbdkit"), program("nbdfuse"), image or self.image()
        socket, mnt = str(self.dir / f"{name}.sock"), self.folder(name)
        self.spawn([nbdkit, "--foreground", "--unix", socket, *options, "file", f"file={image}",
                    f"cache={'none' if self.direct else 'default'}", *parameters], environment)
        until = time.monotonic() + START_SECONDS
        while not os.path.exists(socket):
            if time.monotonic() > until:
                raise Missing(f"nbdkit has not made its socket in {START_SECONDS} s")
            time.sleep(0.02)
        self.serve([nbdfuse, f"{mnt}/nbd", "--unix", socket], mnt)
        return mnt / "nbd"


class Luks:
    """A file with a LUKS1 header that every crypt subject opens: aes-xts-plain64, 512 bits."""

    def __init__(self, shop):
        self.shop, self.file = shop, shop.dir / "luks.img"
        self.key, self.passphrase = shop.dir / "luks.key", shop.dir / "luks.passphrase"
        self.key.write_bytes(os.urandom(64))
        self.passphrase.write_text("bench")
        with open(self.file, "wb") as file:
            file.truncate(4 * MIB)
        command = [program("cryptsetup"), "luksFormat", "--batch-mode", "--type", "luks1",
                   "--cipher", "aes-xts-plain64", "--key-size", "512", "--hash", "sha256",
                   "--pbkdf-force-iterations", "1000", "--align-payload", "4096",
                   "--master-key-file", str(self.key), str(self.file), str(self.passphrase)]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            raise Missing(f"cryptsetup: {made.stderr.strip()}")
        dump = subprocess.check_output([command[0], "luksDump", str(self.file)], text=True)
        self.start = int(re.search(r"Payload offset:\s*(\d+)", dump)[1])  # in sectors
        noise = os.urandom(MIB)
        with open(self.file, "r+b") as file:
            file.truncate(self.start * SECTOR)
            file.seek(0, os.SEEK_END)
            for _ in range(shop.bytes // MIB):
                file.write(noise)

    def dmfs(self, name):
        place = f"{quote(self.file)} {self.start}"
        row = f"linear {place}" if name == "dmfs-linear" else (
            f"crypt aes-xts-plain64 {self.key.read_bytes().hex()} 0 {place}")
        return self.shop.dmfs_mount(name).create("v", f"0 {self.shop.sectors} {row}\n")

    def nbdkit(self, name):
        return self.shop._nbdfuse(name, ["--filter=luks"], self.file, [f"passphrase=+{self.passphrase}"])

    def qsd(self, name):
        return self.shop.qsd_export(
            name, [self.shop.qsd_file("file", self.file), "driver=luks,node-name=image,file=file,key-secret=s"],
            ["--object", f"secret,id=s,file={self.passphrase}"])

    def start_subject(self, name):
        """The path to run fio on, or None with a notice."""
        say(f"bench: starting {name}")
        make = {"nbdkit-luks": self.nbdkit, "qsd-luks": self.qsd}.get(name, self.dmfs)
        try:
            return make(name)
        except (Missing, RuntimeError, OSError) as why:
            say(f"bench: skipping {name}: {why}")
            return None


def end(process):
    """End a process of ours: politely, then not."""
    for stop in (process.terminate, process.kill):
        if process.poll() is None:
            stop()
        try:
            process.wait(STOP_SECONDS)
            break
        except subprocess.TimeoutExpired:
            continue


def unmount(point, process):
    until = time.monotonic() + STOP_SECONDS
    while mounted(point) and time.monotonic() < until:
        if subprocess.run(["fusermount3", "-u", str(point)], capture_output=True).returncode:
            time.sleep(0.1)
    if mounted(point):
        say(f"bench: {point} is busy, unmounting it lazily")
        lazy = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
        subprocess.run([*lazy, str(point)])
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)  # most end by themselves once unmounted


def detach(device):
    for _ in range(20):
        if not subprocess.run([program("losetup"), "-d", device], capture_output=True).returncode:
            return
        time.sleep(0.1)
    say(f"bench: losetup -d {device} failed")
