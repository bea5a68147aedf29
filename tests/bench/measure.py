"""How the bench measures and prints: fio's runs, rounds that interleave subjects, tables."""
import contextlib
import json
import os
import statistics
import subprocess

import subjects
from subjects import say

# name: fio's rw, block size, queue depth
CASES = {
    "4k-read-qd1": ("randread", "4k", 1),
    "4k-read-qd16": ("randread", "4k", 16),
    "4k-write-qd1": ("randwrite", "4k", 1),
    "4k-write-qd16": ("randwrite", "4k", 16),
    "4k-mixed-qd16": ("randrw", "4k", 16),
    "1m-read-qd1": ("read", "1m", 1),
    "1m-read-qd8": ("read", "1m", 8),
    "1m-write-qd1": ("write", "1m", 1),
    "1m-write-qd8": ("write", "1m", 8),
}


class Fio:
    """One run of fio on one path; knows what all of them share."""

    def __init__(self, options, file_bytes):
        self.program = subjects.program("fio")
        self.seconds, self.bytes = options.seconds, file_bytes
        self.engine = options.engine or self._pick_engine(options.dir)

    def _pick_engine(self, where):
        """io_uring, unless it isn't compiled in or the system forbids it."""
        path = os.path.join(where, f".dmfs-bench-probe.{os.getpid()}")
        try:
            done = subprocess.run([self.program, "--name=probe", f"--filename={path}", "--size=4k",
                                   "--rw=write", "--ioengine=io_uring"], capture_output=True)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        if done.returncode == 0:
            return "io_uring"
        say("bench: fio has no io_uring here, using libaio")
        return "libaio"

    def run(self, path, case, direct=True):
        """{'iops', 'bytes_per_second', 'latency_ns'}, or None when fio failed."""
        rw, block, depth = CASES[case]
        escaped = str(path).replace(":", "\\:")
        return self.measure(path, case, [
            f"--filename={escaped}", f"--rw={rw}", f"--bs={block}",
            f"--iodepth={depth}", f"--ioengine={'psync' if depth == 1 else self.engine}",
            f"--direct={int(direct)}", f"--size={self.bytes}", "--rwmixread=70", "--norandommap",
            "--time_based", "--ramp_time=200ms"])

    def measure(self, path, case, more):
        """The same, of any arguments."""
        command = [
            self.program, f"--name={case}", *more, f"--runtime={round(self.seconds * 1000)}ms",
            # leave the page cache as it is, make no files, fork no processes
            "--invalidate=0", "--fallocate=none", "--allow_file_create=0", "--thread",
            "--output-format=json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              start_new_session=True) as process:
            try:
                out, errors = process.communicate(timeout=self.seconds + 60)
            except BaseException:
                process.kill()
                raise
        try:
            job = json.loads(out[out.index("{"):])["jobs"][0]
        except (ValueError, KeyError, IndexError):
            job = None
        if process.returncode or not job or job["error"]:
            say(f"bench: fio failed on {path}, {case}: {(errors or out).strip()[-500:]}")
            return None
        sides = [job["read"], job["write"]]
        ios = sum(side["total_ios"] for side in sides) or 1
        return {
            "iops": sum(side["iops"] for side in sides),
            "bytes_per_second": sum(side["bw_bytes"] for side in sides),
            "latency_ns": sum(s["lat_ns"]["mean"] * s["total_ios"] for s in sides) / ios,
        }


class Results:
    """rounds[case][subject]: what each round gave, None where fio failed."""

    def __init__(self, cases, names):
        self.cases, self.names = cases, names
        self.rounds = {case: {name: [] for name in names} for case in cases}

    def values(self, case, name, key):
        return [r and r[key] for r in self.rounds[case][name]]

    def median(self, case, name, key):
        got = [v for v in self.values(case, name, key) if v is not None]
        return statistics.median(got) if got else None

    def ratio(self, case, name, peer, key):
        """The median over rounds of name/peer within a round.

        The two were measured seconds apart, so what slows the whole machine
        down for a while leaves their ratio alone."""
        pairs = zip(self.values(case, name, key), self.values(case, peer, key))
        got = [a / b for a, b in pairs if a and b]
        return statistics.median(got) if got else None

    def spread(self):
        """(highest - lowest) / median of each cell's rates, sorted."""
        cells = []
        for case in self.cases:
            for name in self.names:
                got = [v for v in self.values(case, name, "iops") if v]
                if len(got) > 1:
                    cells.append((max(got) - min(got)) / statistics.median(got))
        return sorted(cells)


def interleave(options, fio, paths, cases, raw_direct=True, before_round=lambda: None):
    """Every subject once in every case in every round, in an order that rotates."""
    names = list(paths)
    results = Results(cases, names)
    for turn in range(options.rounds):
        before_round()
        for number, case in enumerate(cases):
            first = (turn + number) % len(names)
            for name in names[first:] + names[:first]:
                got = fio.run(paths[name], case, direct=raw_direct or name != "raw")
                results.rounds[case][name].append(got)
                rate = rate_text(case, got) if got else "failed"
                say(f"round {turn + 1}/{options.rounds} {case:14} {name:14} {rate}")
                if options.flush and "read" not in case:
                    # or the kernel writes this subject's dirty pages during the next one's turn
                    subprocess.run(["sync", "-f", options.dir])
    return results


# Printing.

def markdown(head, rows):
    cells = [head] + rows
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def line(row):
        first = row[0].ljust(widths[0])
        return "| " + " | ".join([first] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]) + " |"

    rule = "| " + " | ".join(["-" * widths[0]] + ["-" * (w - 1) + ":" for w in widths[1:]]) + " |"
    print("\n".join([line(head), rule] + [line(row) for row in rows]) + "\n")


def rate_text(case, got):
    if case.startswith("1m"):
        return f"{got['bytes_per_second'] / 1e9:.2f} GB/s"
    return f"{got['iops'] / 1e3:.1f} k"


def number_text(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def print_medians(results):
    print("Medians: thousands of requests a second at 4 KiB, GB/s at 1 MiB.\n")
    rows = []
    for case in results.cases:
        if case.startswith("1m"):
            key, unit, digits = "bytes_per_second", 1e9, 2
        else:
            key, unit, digits = "iops", 1e3, 1
        got = [results.median(case, name, key) for name in results.names]
        rows.append([case] + [number_text(v and v / unit, digits) for v in got])
    markdown(["case"] + results.names, rows)


def print_ratios(results, pairs):
    pairs = [(a, b) for a, b in pairs if a in results.names and b in results.names]
    if not pairs:
        return
    print("Ratios: the median of each round's own ratio (and the ratio of the medians above).\n")
    rows = []
    for a, b in pairs:
        row = [f"{a} / {b}"]
        for case in results.cases:
            each = results.ratio(case, a, b, "iops")
            over, under = results.median(case, a, "iops"), results.median(case, b, "iops")
            row.append(f"{each:.2f} ({over / under:.2f})" if each else "-")
        rows.append(row)
    markdown(["ratio"] + results.cases, rows)


def print_spread(results):
    cells = results.spread()
    if cells:
        print(f"Spread of a cell over its rounds, (highest - lowest) / median: "
              f"{statistics.median(cells):.0%} in the middle, {cells[-1]:.0%} at worst.\n")


def only(options, cases):
    """Those of an experiment's cases that --only leaves."""
    return [case for case in cases if case in options.cases] or cases


def memory(pid):
    """Pss and Rss of a process, in bytes."""
    got = {}
    with open(f"/proc/{pid}/smaps_rollup") as text:
        for line in text:
            words = line.split()
            if words[0] in ("Pss:", "Rss:"):
                got[words[0][:-1].lower()] = int(words[1]) * 1024
    return got
