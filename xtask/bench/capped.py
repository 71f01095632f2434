"""Epochs under a cap of an eighth of what a loader has in flight without one, and epochs without, in turn, at
equal concurrency, for `cargo xtask bench loader`. Prints one line of JSON.
"""

import argparse
import json
import time

import forebay

UNCAPPED = 4 << 30


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
    epochs(free, 0)
    working_set = free.snapshot()["peak_inflight"]
    capped = loader(args, working_set // 8)
    epochs(capped, 0)
    told = {"working_set": working_set, "cap": working_set // 8, "uncapped": [], "capped": []}
    for number in range(args.rounds):
        pair = [("uncapped", free), ("capped", capped)]
        for name, one in pair if number % 2 == 0 else reversed(pair):
            rate, by_cpu = epochs(one, args.seconds)
            told[name].append({"samples_per_second": rate, "samples_per_cpu_second": by_cpu})
    told["peak"] = capped.snapshot()["peak_inflight"]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
