#!/usr/bin/env python3
"""Which functions run, for the linker to put side by side (.cargo/ordered-link): those of calls first, then those of a start.

  benches/link_order.py BINARY      writes .cargo/link-order.txt

BINARY is the program that is shipped, with its names: CARGO_PROFILE_DIST_STRIP=none just dist. It serves each row of instructions.py
under callgrind, on one core and on all of them. What a later build does not have is left out when it is linked, so an older file is no
fault: it only helps less. Needs valgrind.
"""
import argparse
import os
import pathlib
import re
import subprocess
import tempfile

import instructions

ORDER = instructions.HERE.parent / ".cargo" / "link-order.txt"
CALLS = 100


def functions(profile):
    """The instructions that each function of the program took by itself."""
    names, counts, current, called = {}, {}, None, False
    for line in profile.read_text().splitlines():
        named = re.match(r"(c?)fn=\((\d+)\)(?: (.+))?$", line)
        if named:
            callee, number, name = named.groups()
            if name:
                names[number] = re.sub(r"'\d+$", "", name)
            if not callee:
                current = lasting(names[number])
        elif line.startswith("calls="):
            called = True
        elif re.match(r"[+*\d-]", line) and current:
            # The line after a call is what was called.
            if not called:
                counts[current] = counts.get(current, 0) + int(line.split()[-1])
            called = False
    return counts


def lasting(name):
    """A name without what changes from build to build."""
    name = re.sub(r"(\.llvm)?(\.\d+)+$", "", name)
    return re.sub(r"Cs[0-9A-Za-z]+_", "C", re.sub(r"17h[0-9a-f]+E", "", name))


def symbols(binary):
    """The program's functions."""
    listed = subprocess.run(["nm", "--defined-only", binary], capture_output=True, text=True, check=True).stdout
    return {lasting(name) for _, kind, name in (line.split(" ", 2) for line in listed.splitlines()) if kind in "tTwW"}


def run(binary, row):
    """What a row runs for each call, and what it runs at all."""
    with tempfile.TemporaryDirectory() as folder:
        profiles = []
        for calls in (CALLS, 2 * CALLS):
            profiles.append(pathlib.Path(folder, str(calls)))
            instructions.run(binary, row, calls, profiles[-1], "--demangle=no", "--compress-pos=no")
        once, twice = (functions(profile) for profile in profiles)
    return {name: count - once.get(name, 0) for name, count in twice.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    binary = parser.parse_args().binary.resolve()
    known = symbols(binary)
    # On one core everything runs on one thread.
    cores = os.sched_getaffinity(0)
    rows = [run(binary, "static")]
    os.sched_setaffinity(0, {min(cores)})
    rows += [run(binary, row) for row in instructions.ROWS]
    os.sched_setaffinity(0, cores)
    # What all rows do for each call, then what some do, then the start; in each, what costs most first.
    often, cost = {}, {}
    for row in rows:
        for name in row.keys() & known:
            often[name] = often.get(name, 0) + (row[name] >= CALLS)
            cost[name] = max(cost.get(name, 0), row[name])
    order = sorted(often, key=lambda name: (-often[name], -cost[name], name))
    ORDER.write_text("".join(f"{name}\n" for name in order))
    hot = sum(number > 0 for number in often.values())
    print(f"{ORDER.name}: {len(order)} functions, {hot} of them for calls")


if __name__ == "__main__":
    main()
