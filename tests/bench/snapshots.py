"""Snapshots beside linear, nbdkit's cow filter and qcow2 overlays: where nothing is copied yet,
where all is, the first writes themselves, and what a million exceptions cost."""
import array
import contextlib
import itertools
import os
import pathlib
import random
import statistics
import struct
import subprocess
import time

import subjects
from measure import Results, interleave, markdown, memory, only, print_medians, print_ratios, print_spread, rate_text
from subjects import MIB, SECTOR, Missing, quote, say

# name: bytes of a chunk, of a request, queue depth
FIRST = {
    "4k-first-qd16": (4 << 10, 4 << 10, 16),
    "64k-first-qd16": (64 << 10, 4 << 10, 16),
    "1m-first-qd8": (64 << 10, 1 << 20, 8),
}
READS = ["4k-read-qd1", "4k-read-qd16", "1m-read-qd1", "1m-read-qd8"]
EXCEPTIONS = 1_000_000


class Overlays:
    """Ways to write to an image without changing it, and dmfs's way to see old contents."""

    numbers = itertools.count()  # of all, as their files lie in one folder

    def __init__(self, shop, mount=None):
        self.shop = shop
        self.mount, self.image = mount or shop.dmfs_mount("snapshots"), shop.image()

    def cow(self, name):
        """A new, sparse file of the size at which none is ever full."""
        path = self.shop.dir / f"{name}.{next(self.numbers)}.cow"
        with open(path, "wb") as file:
            file.truncate(self.shop.bytes + self.shop.bytes // 64 + 4 * MIB)
        return path

    def linear(self, image=None):
        return self.mount.create(f"linear{next(self.numbers)}",
                                 f"0 {self.shop.sectors} linear {quote(image or self.image)} 0\n")

    def snapshot(self, chunk, image=None):
        return self.mount.create(
            f"snap{next(self.numbers)}", f"0 {self.shop.sectors} snapshot {quote(image or self.image)} "
                                         f"{quote(self.cow('dmfs'))} P {chunk // SECTOR}\n")

    def origin(self, image=None):
        return self.mount.create(f"origin{next(self.numbers)}",
                                 f"0 {self.shop.sectors} snapshot-origin {quote(image or self.image)}\n")

    def remove(self, *paths):
        for path in paths:
            os.rmdir(self.mount.mnt / ".control" / path.name)

    def nbdkit(self, chunk):
        """Its filter keeps the overlay in a temporary file: beside the others."""
        return self.shop._nbdfuse(f"nbdkit-cow{next(self.numbers)}", ["--filter=cow"], self.image,
                                  [f"cow-block-size={chunk}"], {"TMPDIR": str(self.shop.dir)})

    def qcow2(self, cluster):
        name = f"qcow2.{next(self.numbers)}"
        overlay = self.shop.dir / name
        subprocess.run([subjects.program("qemu-img"), "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(self.image),
                        "-o", f"cluster_size={cluster}", str(overlay)], check=True)
        image = "driver=qcow2,node-name=image,file=file" + ",cache.direct=on" * self.shop.direct
        return self.shop.qsd_export(name, [self.shop.qsd_file("file", overlay), image])

    def peers(self, chunk=64 << 10):
        """The peers that can be had, by name."""
        got = {}
        for name, make in (("nbdkit-cow", self.nbdkit), ("qcow2", self.qcow2)):
            try:
                say(f"bench: starting {name}")
                got[name] = make(chunk)
            except (Missing, RuntimeError, OSError, subprocess.CalledProcessError) as why:
                say(f"bench: skipping {name}: {why}")
        return got


def fill(path, size):
    """Writes all of it once, so that all of it is copied."""
    block = bytes(b or 1 for b in os.urandom(MIB))
    with open(path, "r+b", buffering=0) as file:
        for _ in range(size // MIB):
            file.write(block)
        os.fsync(file.fileno())


def untouched(options, overlays, fio):
    """Reads where nothing is copied yet."""
    print("Where nothing is copied yet.\n")
    paths = {"linear": overlays.linear(), "snapshot": overlays.snapshot(4 << 10), **overlays.peers()}
    results = interleave(options, fio, paths, only(options, READS))
    print_medians(results)
    print_ratios(results, [("snapshot", peer) for peer in paths if peer != "snapshot"])
    print_spread(results)
    return results.rounds


def copied(options, shop, overlays, fio):
    """Where every chunk has its exception."""
    print("Where all chunks are copied.\n")
    second = shop.file("second.img")  # or the origin's writes would be copied for other snapshots, too
    snapshot = overlays.snapshot(4 << 10, second)
    paths = {"linear": overlays.linear(), "snapshot": snapshot, "origin": overlays.origin(second), **overlays.peers()}
    for name, path in paths.items():
        if name != "linear":
            say(f"bench: filling {name}")
            fill(path, shop.bytes)
    results = interleave(options, fio, paths, options.cases)
    print_medians(results)
    print_ratios(results, [(mine, peer) for mine in ("snapshot", "origin") for peer in paths
                           if peer not in ("snapshot", "origin")])
    print_spread(results)
    return results.rounds


# First writes.

def write_each_once(fio, shop, path, case):
    """Each chunk gets its first write, in random order (those of 1 MiB: one after another)."""
    chunk, request, depth = FIRST[case]
    places = list(range(0, shop.bytes, max(chunk, request)))
    if request <= chunk:
        random.Random(1).shuffle(places)
    log = shop.dir / "first.log"
    with open(log, "w") as file:
        file.write(f"fio version 2 iolog\n{path} add\n{path} open\n")
        file.writelines(f"{path} write {place} {request}\n" for place in places)
        file.write(f"{path} close\n")
    return fio.measure(path, case, [f"--read_iolog={log}", f"--iodepth={depth}", f"--ioengine={fio.engine}", "--direct=1"])


def bound(shop, overlays, case, side):
    """The copies and commits by themselves, on the same files: copies.cc."""
    chunk, request, depth = FIRST[case]
    program = pathlib.Path(shop.dmfs).parent / "../tests/bench/copies"
    if not os.access(program, os.X_OK):
        raise Missing("no copies: ninja -C build tests/bench/copies")
    cow = overlays.cow("bound")
    said = subprocess.check_output([program, overlays.image, cow, str(chunk), str(depth), side, "32768",
                                    *["direct"] * shop.direct], text=True)
    os.unlink(cow)
    return {"iops": float(said), "bytes_per_second": float(said) * request, "latency_ns": 0}


@contextlib.contextmanager
def for_a_moment(shop):
    """What is started inside is stopped at its end."""
    with contextlib.ExitStack() as stack:
        before, shop.stack = shop.stack, stack
        try:
            yield
        finally:
            shop.stack = before


def first(shop, overlays, fio, case, subject):
    """One round of one subject, on an overlay of its own."""
    chunk = FIRST[case][0]
    if subject.startswith("bound "):
        return bound(shop, overlays, case, subject.split()[1])
    if subject in ("nbdkit-cow", "qcow2", "qcow2-4k"):
        with for_a_moment(shop):
            path = {"nbdkit-cow": lambda: overlays.nbdkit(chunk), "qcow2": lambda: overlays.qcow2(64 << 10),
                    "qcow2-4k": lambda: overlays.qcow2(4 << 10)}[subject]()
            return write_each_once(fio, shop, path, case)
    path = overlays.linear() if subject == "linear" else overlays.origin()
    made = [path] if subject == "linear" else [path, overlays.snapshot(chunk)]
    try:
        return write_each_once(fio, shop, made[-1] if subject == "snapshot" else path, case)
    finally:
        overlays.remove(*reversed(made))


def first_writes(options, shop, overlays, fio):
    print("First writes: each chunk once, in random order; 1 MiB: one after another.\n")
    names = ["snapshot", "origin", "bound snapshot", "bound origin", "linear", "nbdkit-cow", "qcow2", "qcow2-4k"]
    results = Results(list(FIRST), names)
    for turn in range(options.rounds):
        for number, case in enumerate(FIRST):
            start = (turn + number) % len(names)
            for name in names[start:] + names[:start]:
                if (case.startswith("1m") and name.startswith("bound")) or (name == "qcow2-4k" and case != "4k-first-qd16"):
                    got = None
                else:
                    for old in itertools.chain(shop.dir.glob("*.cow"), shop.dir.glob("qcow2.*")):
                        with contextlib.suppress(OSError):
                            old.unlink()
                    if options.flush or options.backing == "direct":
                        subprocess.run(["sync", "-f", options.dir])
                    try:
                        got = first(shop, overlays, fio, case, name)
                        say(f"round {turn + 1}/{options.rounds} {case:14} {name:14} "
                            f"{rate_text(case, got) if got else 'failed'}")
                    except (Missing, RuntimeError, OSError, ValueError, subprocess.SubprocessError) as why:
                        say(f"bench: {name}, {case}: {why}")
                        got = None
                results.rounds[case][name].append(got)
    print_medians(results)
    print_ratios(results, [(f"{side}", f"bound {side}") for side in ("snapshot", "origin")]
                 + [(side, peer) for side in ("snapshot", "origin") for peer in ("nbdkit-cow", "qcow2", "qcow2-4k")])
    print_turnaround(results)
    print_spread(results)
    return results.rounds


def print_turnaround(results):
    """The same beside the bound and FUSE's way to it one after the other: the cores are the same."""
    print("Beside the bound and a linear volume's requests, one after the other: 1 / (1 / bound + 1 / linear).\n")
    rows = []
    for side in ("snapshot", "origin"):
        row = [side]
        for case in results.cases:
            rates = [results.values(case, name, "iops") for name in (side, f"bound {side}", "linear")]
            each = [mine * (1 / alone + 1 / linear) for mine, alone, linear in zip(*rates) if mine and alone and linear]
            row.append(f"{statistics.median(each):.2f}" if each else "-")
        rows.append(row)
    markdown(["ratio"] + results.cases, rows)


# What exceptions cost.

def write_store(path, exceptions, chunk):
    """A store that had so many first writes, in random order."""
    old = array.array("Q", range(exceptions))
    random.Random(1).shuffle(old)
    size = chunk * SECTOR
    entries = size // 16
    with open(path, "wb") as file:
        file.truncate((2 + exceptions + exceptions // entries) * size)
        file.write(struct.pack("<4I", 0x70416E53, 1, 1, chunk))
        for area in range(exceptions // entries + 1):
            at = 1 + area * (entries + 1)
            part = old[area * entries:(area + 1) * entries]
            file.seek(at * size)
            file.write(b"".join(struct.pack("<2Q", chunk_number, at + 1 + i) for i, chunk_number in enumerate(part)))


def exceptions(shop, overlays):
    """Memory and time of a store of a million exceptions."""
    chunk, sectors = 8, EXCEPTIONS * 8
    origin, cow = shop.dir / "large.img", shop.dir / "large.cow"
    with open(origin, "wb") as file:
        file.truncate(sectors * SECTOR)
    write_store(cow, EXCEPTIONS, chunk)
    rounds = []
    for turn in range(5):
        mount = shop.dmfs_mount(f"large{turn}")
        mount.create("before", f"0 8 linear {quote(origin)} 0\n")
        before, began = memory(mount.pid), time.monotonic()
        mount.create("large", f"0 {sectors} snapshot {quote(origin)} {quote(cow)} P {chunk}\n")
        took, after = time.monotonic() - began, memory(mount.pid)
        status = (mount.mnt / ".control/large/status").read_text()
        wanted = f"{(2 + EXCEPTIONS + EXCEPTIONS // 256) * chunk}/"
        if f" snapshot {wanted}" not in status:
            raise RuntimeError(f"the store was not read: {status}")
        rounds.append({"seconds": took, "bytes": (after["pss"] - before["pss"]) / EXCEPTIONS})
    print(f"A store of {EXCEPTIONS} exceptions, made in random order: opened in "
          f"{statistics.median(r['seconds'] for r in rounds) * 1000:.0f} ms; "
          f"{statistics.median(r['bytes'] for r in rounds):.1f} bytes of memory each (the process's Pss).\n")
    return rounds


def snapshots(options, shop, fio):
    """Snapshots beside linear and other copy-on-write."""
    overlays = Overlays(shop)
    figures = {"exceptions": exceptions(shop, overlays)}
    with for_a_moment(shop):
        figures["untouched"] = untouched(options, overlays, fio)
    with for_a_moment(shop):
        figures["copied"] = copied(options, shop, overlays, fio)
    for volume in os.listdir(overlays.mount.mnt):
        if volume != ".control":
            overlays.remove(overlays.mount.mnt / volume)
    figures["first"] = first_writes(options, shop, overlays, fio)
    return figures
