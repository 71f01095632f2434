"""Epochs under a cap of an eighth of what a loader has in flight without one, and epochs without, in turn, at
equal concurrency, for `cargo xtask bench loader`. Prints one line of JSON.
"""

import argparse
import json
import time

import forebay

UNCAPPED = 4 << 30
# Long enough to fill what is read ahead: a consumer that always waits takes batches as they come.
RUN_AHEAD = 0.5


def loader(args, cap):
    options = {
        "batch_size": args.batch_size,
        "num_workers": args.num_workers,
        "prefetch": args.prefetch,
        "shuffle": True,
        "max_bytes_in_flight": cap,
    }
    return forebay.create_async_loader(args.folder, options)


def epochs(loader, seconds):
    """Samples a second, and samples a second of processor time, of whole epochs."""
    samples, begin, cpu = 0, time.perf_counter(), time.process_time()
    while True:
        samples += sum(len(batch) for batch in loader)
        wall = time.perf_counter() - begin
        if wall >= seconds:
            return samples / wall, samples / (time.process_time() - cpu)


def working_set(loader):
    """Bytes in flight of a loader that was left to run ahead as far as it does."""
    for number, _ in enumerate(loader):
        if number == 0:
            time.sleep(RUN_AHEAD)
    return loader.snapshot()["peak_inflight"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--num-workers", type=int, required=True)
    parser.add_argument("--prefetch", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    args = parser.parse_args()
    free = loader(args, UNCAPPED)
    ahead = working_set(free)
    capped = loader(args, ahead // 8)
    epochs(capped, 0)
    told = {"working_set": ahead, "cap": ahead // 8, "uncapped": [], "capped": []}
    for number in range(args.rounds):
        pair = [("uncapped", free), ("capped", capped)]
        for name, one in pair if number % 2 == 0 else reversed(pair):
            rate, by_cpu = epochs(one, args.seconds)
            told[name].append({"samples_per_second": rate, "samples_per_cpu_second": by_cpu})
    told["peak"] = capped.snapshot()["peak_inflight"]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
