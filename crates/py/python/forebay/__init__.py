"""Samples from files and object stores, in batches, inside a memory cap, at the speed of the device.

    import forebay

    loader = forebay.create_async_loader("/data/train", {"batch_size": 32, "shuffle": True})
    for batch in loader:          # or: async for batch in loader
        images = batch.to_torch()

Each `for` goes through one epoch. `get`, `put`, `list` and their like handle single objects;
`forebay.metrics.snapshot()` tells what this process did; everything raised is a `forebay.Error`.
"""

from . import aio, metrics, trace
from ._forebay import (
    AlreadyExistsError,
    Batch,
    Batches,
    CancelledError,
    CorruptError,
    Dataset,
    DeniedError,
    Entry,
    Error,
    ForkedError,
    InvalidConfigError,
    InvalidRangeError,
    Listing,
    Loader,
    LoaderOptions,
    NotFoundError,
    PreconditionError,
    Progress,
    ThrottledError,
    TimedOutError,
    UnavailableError,
    UnsupportedError,
    __version__,
    create_async_loader,
    create_dataset,
    delete,
    delete_many,
    exists,
    get,
    get_many,
    get_range,
    list,
    memory_cap,
    put,
    set_memory_cap,
    stat,
)

__all__ = [
    "AlreadyExistsError",
    "Batch",
    "Batches",
    "CancelledError",
    "CorruptError",
    "Dataset",
    "DeniedError",
    "Entry",
    "Error",
    "ForkedError",
    "InvalidConfigError",
    "InvalidRangeError",
    "Listing",
    "Loader",
    "LoaderOptions",
    "NotFoundError",
    "PreconditionError",
    "Progress",
    "ThrottledError",
    "TimedOutError",
    "UnavailableError",
    "UnsupportedError",
    "__version__",
    "aio",
    "create_async_loader",
    "create_dataset",
    "delete",
    "delete_many",
    "exists",
    "get",
    "get_many",
    "get_range",
    "list",
    "memory_cap",
    "metrics",
    "put",
    "set_memory_cap",
    "stat",
    "trace",
]
