"""Other loaders, each reading the same files in shuffled order, 32 or so a batch, for `cargo xtask bench`.

Each runs with the best reasonable settings found for local files on a machine with two cores. Forms that were
slower there are kept under names of their own (`s3dlio-stream`, `spdl-samples`, `obstore-async`), to be
tried elsewhere with `python peers.py FOLDER NAME …`. `torch0`, `torch2`, `spdl` and `obstore` end in one contiguous batch, as Forebay does; `s3dlio`
hands over separate objects and is spared that copy.
"""

import asyncio
import os
import random
from concurrent.futures import ThreadPoolExecutor

import measure


def shuffled_batches(paths, batch_size, seed):
    order = list(paths)
    random.Random(seed).shuffle(order)
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def read_into_one(paths):
    """Reads whole files into one array: no per-file object outlives the call, no byte moves twice."""
    import numpy

    opened = [os.open(path, os.O_RDONLY) for path in paths]
    sizes = [os.fstat(fd).st_size for fd in opened]
    batch = numpy.empty(sum(sizes), numpy.uint8)
    view, at = memoryview(batch), 0
    for fd, size in zip(opened, sizes):
        end = at + size
        while at < end:
            got = os.readv(fd, [view[at:end]])
            if got == 0:
                raise EOFError("a file became shorter while it was read")
            at += got
        os.close(fd)
    return batch


def torch_loader(args, paths, workers):
    """PyTorch's DataLoader: a map-style dataset of one tensor a file, the default collate into one tensor.

    Workers are kept between epochs, and twice the default number of batches is fetched ahead.
    """
    import numpy
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Files(Dataset):
        def __len__(self):
            return len(paths)

        def __getitem__(self, index):
            with open(paths[index], "rb", buffering=0) as file:
                sample = numpy.empty(os.fstat(file.fileno()).st_size, numpy.uint8)
                file.readinto(sample)
            return torch.from_numpy(sample)

    # Two workers with a pool of compute threads each only take the two cores from one another.
    torch.set_num_threads(1)
    keep = {"persistent_workers": True, "prefetch_factor": 4} if workers else {}
    order = torch.Generator().manual_seed(args.seed)
    loader = DataLoader(
        Files(), batch_size=args.batch_size, shuffle=True, num_workers=workers, generator=order, **keep
    )

    return measure.epochs_of(loader)


def s3dlio_loader(args, paths):
    """s3dlio's `get_many`, a batch of URIs at a time, the next batch fetched while this one is consumed.

    On local files this is about three times as fast as its own loader, `s3dlio-stream`.
    """
    import s3dlio

    uris = [f"file://{path}" for path in paths]

    def fetch(batch):
        return s3dlio.get_many(batch, max_in_flight=args.batch_size)

    def epoch(number):
        samples = size = 0
        with ThreadPoolExecutor(1) as ahead:
            batches = shuffled_batches(uris, args.batch_size, args.seed + number)
            pending = ahead.submit(fetch, batches[0])
            for following in [*batches[1:], None]:
                batch = pending.result()
                if following is not None:
                    pending = ahead.submit(fetch, following)
                samples += len(batch)
                size += sum(len(view) for _, view in batch)
        return samples, size

    return epoch


def s3dlio_stream(args, paths):
    """s3dlio's own loader with its shuffle."""
    import s3dlio

    def epoch(number):
        options = {"batch_size": args.batch_size, "shuffle": True, "seed": args.seed + number}
        options.update(prefetch=64, num_workers=2)
        samples = size = 0
        for view in s3dlio.create_async_loader(f"file://{args.folder}/", options):
            samples += 1
            size += len(view)
        return samples, size

    return epoch


def spdl_loader(args, paths):
    """SPDL with a stage that reads a whole batch of files into one array.

    The form its guide starts from, a stage that reads one file, then `aggregate` and a stage that joins, is
    `spdl-samples`; it pays its event loop for every sample, and is many times slower on small files.
    """
    from spdl.pipeline import PipelineBuilder

    def epoch(number):
        batches = shuffled_batches(paths, args.batch_size, args.seed + number)
        builder = PipelineBuilder().add_source(batches).pipe(read_into_one, concurrency=2).add_sink(4)
        return _drain_spdl(builder.build(num_threads=2), args.batch_size, len(paths))

    return epoch


def spdl_samples(args, paths):
    """SPDL with a stage that reads one file, `aggregate`, and a stage that joins the samples of a batch."""
    import numpy
    from spdl.pipeline import PipelineBuilder

    def read(path):
        return numpy.fromfile(path, numpy.uint8)

    def epoch(number):
        order = [path for batch in shuffled_batches(paths, args.batch_size, args.seed + number) for path in batch]
        builder = PipelineBuilder().add_source(order).pipe(read, concurrency=2)
        builder = builder.aggregate(args.batch_size).pipe(numpy.concatenate).add_sink(4)
        return _drain_spdl(builder.build(num_threads=3), args.batch_size, len(paths))

    return epoch


def _drain_spdl(pipeline, batch_size, expected):
    size = batches = 0
    with pipeline.auto_stop():
        for batch in pipeline:
            batches += 1
            size += batch.nbytes
    assert batches == -(-expected // batch_size), f"{batches} batches for {expected} samples"
    return expected, size


def obstore_loader(args, paths):
    """obstore's blocking `get` in two threads, a batch at a time each, joined into one array.

    On local files this is about four times as fast as awaiting its `get_async`, `obstore-async`.
    """
    import numpy
    import obstore
    from obstore.store import LocalStore

    store = LocalStore(args.folder)
    names = [os.path.relpath(path, args.folder) for path in paths]

    def fetch(batch):
        parts = [obstore.get(store, name).bytes() for name in batch]
        joined = numpy.empty(sum(len(part) for part in parts), numpy.uint8)
        at = 0
        for part in parts:
            joined[at : at + len(part)] = numpy.frombuffer(part, numpy.uint8)
            at += len(part)
        return len(parts), joined

    def epoch(number):
        samples = size = 0
        batches = shuffled_batches(names, args.batch_size, args.seed + number)
        with ThreadPoolExecutor(2) as pool:
            pending = [pool.submit(fetch, batch) for batch in batches[:4]]
            for index in range(len(batches)):
                count, joined = pending.pop(0).result()
                if index + 4 < len(batches):
                    pending.append(pool.submit(fetch, batches[index + 4]))
                samples, size = samples + count, size + joined.nbytes
        return samples, size

    return epoch


def obstore_async(args, paths):
    """obstore's `get_async`, the gets of a batch awaited together, joined into one array."""
    import numpy
    import obstore
    from obstore.store import LocalStore

    store = LocalStore(args.folder)
    names = [os.path.relpath(path, args.folder) for path in paths]

    async def one(name):
        result = await obstore.get_async(store, name)
        return numpy.frombuffer(await result.bytes_async(), numpy.uint8)

    async def fetch(batch):
        return len(batch), numpy.concatenate(await asyncio.gather(*map(one, batch)))

    async def all_of(batches):
        samples = size = 0
        pending = [asyncio.ensure_future(fetch(batch)) for batch in batches[:2]]
        for index in range(len(batches)):
            count, joined = await pending.pop(0)
            if index + 2 < len(batches):
                pending.append(asyncio.ensure_future(fetch(batches[index + 2])))
            samples, size = samples + count, size + joined.nbytes
        return samples, size

    return lambda number: asyncio.run(all_of(shuffled_batches(names, args.batch_size, args.seed + number)))


LOADERS = {
    "torch0": lambda args, paths: torch_loader(args, paths, 0),
    "torch2": lambda args, paths: torch_loader(args, paths, 2),
    "s3dlio": s3dlio_loader,
    "s3dlio-stream": s3dlio_stream,
    "spdl": spdl_loader,
    "spdl-samples": spdl_samples,
    "obstore": obstore_loader,
    "obstore-async": obstore_async,
}


if __name__ == "__main__":
    parser = measure.arguments()
    parser.add_argument("loader", choices=LOADERS)
    arguments = parser.parse_args()
    arguments.folder = os.path.abspath(arguments.folder)
    measure.run(arguments, LOADERS[arguments.loader](arguments, measure.files(arguments.folder)))
