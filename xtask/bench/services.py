"""Loaders and listings on an object service, one in each run, for `cargo xtask bench s3` and `bench az`.

The service's endpoint and keys are in the environment. The folder is the bucket or container, as `s3://BUCKET` or
`az://CONTAINER`; objects are `objects/00000000` and so on. All read in shuffled order, at most `--at-once` requests
at a time, and all but `s3dlio`, `s3torch` and `adlfs` end in one contiguous batch, as Forebay does.
"""

import hashlib
import http.client
import os
import random
import re
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import measure


def bucket(args):
    return args.folder.partition("://")[2]


def names(args):
    return [f"objects/{number:08}" for number in range(args.objects)]


def shuffled_batches(args, number):
    order = names(args)
    random.Random(args.seed + number).shuffle(order)
    return [order[i : i + args.batch_size] for i in range(0, len(order), args.batch_size)]


def side_by_side(args, fetch, threads):
    """Epochs of `fetch(batch)`, which returns (samples, bytes), in so many threads, fetched ahead."""

    def epoch(number):
        samples = size = 0
        batches = shuffled_batches(args, number)
        with ThreadPoolExecutor(threads) as pool:
            pending = [pool.submit(fetch, batch) for batch in batches[: 2 * threads]]
            for index in range(len(batches)):
                count, fetched = pending.pop(0).result()
                if index + 2 * threads < len(batches):
                    pending.append(pool.submit(fetch, batches[index + 2 * threads]))
                samples, size = samples + count, size + fetched
        return samples, size

    return epoch


def forebay_loader(args):
    import forebay

    loader = forebay.create_async_loader(
        f"{args.folder}/objects/",
        {
            "batch_size": args.batch_size,
            "shuffle": True,
            "seed": args.seed,
            "max_bytes_in_flight": args.max_bytes_in_flight,
        },
        storage_options={"concurrency": args.at_once},
    )
    epoch = digesting(loader) if args.program == "forebay-digest" else measure.epochs_of(loader)

    def attempts():
        counters = loader.snapshot()["backend_counters"]
        named = ("failed_requests", "retries", "throttles", "retries_withheld", "concurrency_cuts")
        return {name: counters[name] for name in named}

    epoch.attempts = attempts
    return epoch


def digesting(loader):
    """Epochs that look at every byte: two of the same digest delivered the same bytes in the same order."""
    digest = hashlib.blake2b(digest_size=8)

    def epoch(_):
        samples = size = 0
        for batch in loader:
            digest.update(batch)
            samples += len(batch)
            size += batch.nbytes
        return samples, size

    epoch.digest = lambda: int.from_bytes(digest.digest(), "little")
    return epoch


def obstore_loader(args):
    """obstore's `get_async`, `--at-once` of them at a time, joined a batch at a time."""
    import asyncio

    import numpy
    import obstore
    from obstore.store import AzureStore, S3Store

    if args.folder.startswith("az://"):
        store = AzureStore(
            bucket(args),
            endpoint=os.environ["AZURE_STORAGE_ENDPOINT"],
            account_name=os.environ["AZURE_STORAGE_ACCOUNT_NAME"],
            account_key=os.environ["AZURE_STORAGE_ACCOUNT_KEY"],
            client_options={"allow_http": True},
        )
    else:
        store = S3Store(
            bucket(args),
            endpoint=os.environ["AWS_ENDPOINT_URL"],
            client_options={"allow_http": True},
            virtual_hosted_style_request=False,
        )

    async def all_of(number):
        gate = asyncio.Semaphore(args.at_once)

        async def one(name):
            async with gate:
                return await (await obstore.get_async(store, name)).bytes_async()

        async def fetch(batch):
            parts = await asyncio.gather(*map(one, batch))
            joined = numpy.empty(sum(len(part) for part in parts), numpy.uint8)
            at = 0
            for part in parts:
                joined[at : at + len(part)] = numpy.frombuffer(part, numpy.uint8)
                at += len(part)
            return len(parts), joined.nbytes

        samples = size = 0
        batches = shuffled_batches(args, number)
        ahead = max(2, args.at_once // args.batch_size + 1)
        pending = [asyncio.ensure_future(fetch(batch)) for batch in batches[:ahead]]
        for index in range(len(batches)):
            count, fetched = await pending.pop(0)
            if index + ahead < len(batches):
                pending.append(asyncio.ensure_future(fetch(batches[index + ahead])))
            samples, size = samples + count, size + fetched
        return samples, size

    return lambda number: asyncio.run(all_of(number))


def s3dlio_loader(args):
    import s3dlio

    def fetch(batch):
        got = s3dlio.get_many([f"{args.folder}/{name}" for name in batch], max_in_flight=args.at_once)
        return len(got), sum(len(view) for _, view in got)

    return side_by_side(args, fetch, max(1, args.at_once // args.batch_size))


def s3torch_loader(args):
    """The reader that PyTorch's S3 connector gives a dataset, in as many threads as requests."""
    from s3torchconnector._s3client import S3Client
    from s3torchconnector import S3ClientConfig

    client = S3Client(
        region=os.environ["AWS_REGION"],
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        s3client_config=S3ClientConfig(force_path_style=True),
    )

    def one(name):
        return len(client.get_object(bucket(args), name).read())

    def epoch(number):
        samples = size = 0
        with ThreadPoolExecutor(args.at_once) as pool:
            for batch in shuffled_batches(args, number):
                for fetched in pool.map(one, batch):
                    samples, size = samples + 1, size + fetched
        return samples, size

    return epoch


def adlfs_loader(args):
    """`cat` of a batch, which asks for its blobs side by side on a loop of its own.

    Its epochs are of a part of the objects: at some hundreds a second, and with one epoch that is not counted, whole
    ones would take minutes a round. A rate is a rate.
    """
    import adlfs

    args.objects = min(args.objects, 512)

    endpoint = os.environ["AZURE_STORAGE_ENDPOINT"]
    account, key = os.environ["AZURE_STORAGE_ACCOUNT_NAME"], os.environ["AZURE_STORAGE_ACCOUNT_KEY"]
    filesystem = adlfs.AzureBlobFileSystem(
        connection_string=(
            f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};BlobEndpoint={endpoint};"
        )
    )

    def fetch(batch):
        got = filesystem.cat([f"{bucket(args)}/{name}" for name in batch], batch_size=args.at_once)
        return len(got), sum(map(len, got.values()))

    return side_by_side(args, fetch, max(1, args.at_once // args.batch_size))


def forebay_listing(args):
    import forebay

    options = {} if args.list_fanout is None else {"list_fanout": args.list_fanout}

    def epoch(_):
        return len(forebay.create_dataset(f"{args.folder}/keys/", options)), 0

    return epoch


def raw_listing(args):
    """What the server needs to serve the pages: each is read and thrown away, but for where the next begins."""
    if args.folder.startswith("az://"):
        endpoint = urllib.parse.urlsplit(os.environ["AZURE_STORAGE_ENDPOINT"])
        first = f"{endpoint.path}/{bucket(args)}?restype=container&comp=list&prefix=keys/"
        name, marker, following = b"<Name>", rb"<NextMarker>([^<]+)<", "&marker="
    else:
        endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
        first = f"/{bucket(args)}?list-type=2&encoding-type=url&prefix=keys/"
        name, marker, following = b"<Key>", rb"<NextContinuationToken>([^<]+)<", "&continuation-token="

    def epoch(_):
        connection = http.client.HTTPConnection(endpoint.hostname, endpoint.port)
        keys, token = 0, ""
        while True:
            connection.request("GET", first + token)
            page = connection.getresponse().read()
            keys += page.count(name)
            found = re.search(marker, page)
            if found is None:
                return keys, 0
            token = following + urllib.parse.quote(found.group(1).decode(), safe="")

    return epoch


PROGRAMS = {
    "forebay": forebay_loader,
    "forebay-digest": forebay_loader,
    "obstore": obstore_loader,
    "s3dlio": s3dlio_loader,
    "s3torch": s3torch_loader,
    "adlfs": adlfs_loader,
    "forebay-list": forebay_listing,
    "forebay-fanout": forebay_listing,
    "raw-list": raw_listing,
}


if __name__ == "__main__":
    parser = measure.arguments()
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--objects", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--list-fanout", type=int)
    arguments = parser.parse_args()
    measure.run(arguments, PROGRAMS[arguments.program](arguments))
