"""Times whole epochs of a loader in one process and prints one line of JSON for `cargo xtask bench`.

Not a benchmark by itself: `peers.py` and `forebay_loader.py` hand it a function that runs one epoch.
"""

import argparse
import json
import os
import time


def arguments():
    """The arguments that every contender takes, as a parser to extend."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", help="holds the files, one sample each, nothing else")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--max-bytes-in-flight", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.0, help="repeat epochs for this long; 0: one epoch")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def files(folder):
    """Full paths of all files under `folder`, in name order."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        found.extend(os.path.join(parent, name) for name in sorted(names))
    return found


def epochs_of(loader):
    """A function that runs one epoch of a loader whose batches have a length and `nbytes`."""

    def epoch(_):
        samples = size = 0
        for batch in loader:
            samples += len(batch)
            size += batch.nbytes
        return samples, size

    return epoch


def _ticks(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            direct = [int(child) for child in children.read().split()]
    except FileNotFoundError:
        return []
    return direct + [grandchild for child in direct for grandchild in _children(child)]


def _children_seconds():
    """CPU seconds of worker processes, which `os.times` only knows once they have ended."""
    ended = os.times()
    alive = 0
    for child in _children(os.getpid()):
        try:
            alive += _ticks(child)
        except FileNotFoundError:
            pass
    return ended.children_user + ended.children_system + alive / os.sysconf("SC_CLK_TCK")


def run(args, epoch):
    """Calls `epoch(number)`, which returns (samples, bytes), until the time is up; prints the reading, with what
    `epoch.attempts()` says about failed requests if it has that.

    A first epoch is not counted when there is time for more than one, so that workers, pools and rings have
    started and buffers have been touched; a single (cold) epoch counts with all of that.
    """
    number = 0
    if args.seconds > 0:
        epoch(number)
        number += 1
    samples = size = 0
    own, workers, start = time.process_time(), _children_seconds(), time.perf_counter()
    while True:
        more, bytes_more = epoch(number)
        samples, size, number = samples + more, size + bytes_more, number + 1
        seconds = time.perf_counter() - start
        if seconds >= args.seconds:
            break
    cpu = time.process_time() - own + _children_seconds() - workers
    reading = {"samples": samples, "bytes": size, "seconds": seconds, "cpu_seconds": cpu}
    if hasattr(epoch, "attempts"):
        reading["attempts"] = epoch.attempts()
    if hasattr(epoch, "digest"):
        reading["digest"] = epoch.digest()
    print(json.dumps(reading), flush=True)
