"""Two builds of dmfs side by side: what a change costs, or gains."""
import os

from measure import Results, interleave, only, print_medians, print_ratios, print_spread, rate_text
from snapshots import FIRST, Overlays, fill, first
from subjects import quote, say

CASES = ["4k-read-qd1", "4k-read-qd16", "4k-write-qd1", "4k-write-qd16", "1m-read-qd8", "1m-write-qd8"]


class Build:
    """A mount of one build, and a volume of each kind in it. Both builds show the same files."""

    def __init__(self, shop, name, dmfs):
        self.name, self.shop = name, shop
        self.overlays = Overlays(shop, shop.dmfs_mount(name, dmfs=dmfs))

    def volumes(self, key):
        create, sectors, image = self.overlays.mount.create, self.shop.sectors, quote(self.overlays.image)
        snapshot = self.overlays.snapshot(64 << 10)
        fill(snapshot, self.shop.bytes)
        return {
            "linear": create("linear", f"0 {sectors} linear {image} 0\n"),
            "crypt": create("crypt", f"0 {sectors} crypt aes-xts-plain64 {key} 0 {image} 0\n"),
            "snapshot": snapshot,
        }


def versions(options, shop, fio):
    """This build beside another one."""
    key = os.urandom(64).hex()
    builds = [Build(shop, "before", options.before), Build(shop, "after", options.dmfs)]
    paths = {build.name: build.volumes(key) for build in builds}
    names = list(paths["before"])
    results = interleave(options, fio, {f"{name} {build}": paths[build][name] for name in names for build in paths},
                         only(options, CASES))
    print_medians(results)
    print_ratios(results, [(f"{name} after", f"{name} before") for name in names])
    print_spread(results)
    return {"rounds": results.rounds, "first": first_writes(options, shop, builds, fio)}


def first_writes(options, shop, builds, fio):
    print("First writes: each chunk once, in random order; 1 MiB: one after another.\n")
    subjects_of = [(f"{side} {build.name}", side, build) for side in ("snapshot", "origin") for build in builds]
    results = Results(list(FIRST), [name for name, _, _ in subjects_of])
    for turn in range(options.rounds):
        for number, case in enumerate(FIRST):
            start = (turn + number) % len(subjects_of)
            for name, side, build in subjects_of[start:] + subjects_of[:start]:
                for old in shop.dir.glob("*.cow"):
                    old.unlink()
                got = first(shop, build.overlays, fio, case, side)
                say(f"round {turn + 1}/{options.rounds} {case:14} {name:16} {rate_text(case, got)}")
                results.rounds[case][name].append(got)
    print_medians(results)
    print_ratios(results, [(f"{side} after", f"{side} before") for side in ("snapshot", "origin")])
    print_spread(results)
    return results.rounds
