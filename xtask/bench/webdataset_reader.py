"""The webdataset package over the same tar shards, from beginning to end, for `cargo xtask bench shards`.

In this one process, as it is fastest on a machine with two cores when nothing is decoded; batches are lists,
so that it is spared the copy into one array.
"""

import measure
import webdataset


def epochs(args):
    shards = measure.files(args.folder)

    def epoch(_):
        samples = size = 0
        for sample in webdataset.WebDataset(shards, shardshuffle=False):
            samples += 1
            size += len(sample["bin"])
        return samples, size

    return epoch


if __name__ == "__main__":
    arguments = measure.arguments().parse_args()
    measure.run(arguments, epochs(arguments))
