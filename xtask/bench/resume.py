"""How soon a loader goes on where a state was saved after a million shuffled samples, for `cargo xtask bench
loader`: from `load_state_dict` to the first batch. Prints one line of JSON, seconds of each repeat.
"""

import argparse
import json
import os
import time

import forebay
import forebay.torch

SAMPLES, RECORD = 2_000_000, 64
DONE, BATCH = 1_000_000, 1000


def loader(dataset, batch_size, loading_mode):
    options = {"seed": 1, "loading_mode": loading_mode}
    return forebay.torch.DataLoader(dataset, batch_size=batch_size, shuffle=True, options=options)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", help="where the records are kept between runs")
    parser.add_argument("--rounds", type=int, required=True)
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    path = os.path.join(args.folder, "records.bin")
    if not os.path.exists(path) or os.path.getsize(path) != SAMPLES * RECORD:
        with open(path, "wb") as out:
            for first in range(0, SAMPLES, BATCH):
                out.write(b"".join(n.to_bytes(8, "little") * (RECORD // 8) for n in range(first, first + BATCH)))
    dataset = forebay.create_dataset(path, {"format": "records", "record_bytes": RECORD})
    told = {}
    for mode in ["ordered", "completion"]:
        first = loader(dataset, BATCH, mode)
        batches = iter(first)
        for _ in range(DONE // BATCH):
            next(batches)
        state = json.dumps(first.state_dict())
        batches.close()
        seconds = []
        for _ in range(args.rounds):
            again = loader(dataset, 32, mode)
            begin = time.perf_counter()
            again.load_state_dict(json.loads(state))
            batches = iter(again)
            next(batches)
            seconds.append(time.perf_counter() - begin)
            batches.close()
        told[mode] = {"seconds": seconds, "state_bytes": len(state)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
