"""For event loops of asyncio: `async for batch in loader`, and the calls of this package to be awaited.

    from forebay import aio

    image = await aio.get("az://photos/1.jpg", options={"account_name": "acme"})

The loop watches a descriptor that becomes readable when a batch is there. No thread of ours calls into
the loop or runs Python, so a loop that was closed, a cancelled task or the end of the interpreter leaves
nothing behind, and a cancelled wait takes no batch with it: the next one goes on where it was.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import Any

from . import _forebay
from ._forebay import Batch, Batches, Entry, Error

__all__ = ["AsyncBatches", "delete", "delete_many", "exists", "get", "get_many", "get_range", "put", "stat"]

_Uri = str | os.PathLike[str]
_Options = Mapping[str, Any] | None


class AsyncBatches:
    """Asynchronous iterator over the batches of one epoch. Made by `aiter(loader)`."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._waiting = False

    def __aiter__(self) -> "AsyncBatches":
        return self

    async def __anext__(self) -> Batch:
        if self._waiting:
            raise RuntimeError("another task is waiting for this iterator over batches")
        # Once a batch the loop's other tasks have their turn, also where batches are always there.
        await asyncio.sleep(0)
        while (batch := self._batches.poll()) is None:
            await self._ready()
        return batch

    async def aclose(self) -> None:
        """Gives up what is under way. The iterator is at its end then."""
        self._batches.close()

    async def _ready(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        descriptor = self._batches.fileno()
        loop.add_reader(descriptor, _resolve, ready)
        self._waiting = True
        try:
            await ready
        finally:
            self._waiting = False
            loop.remove_reader(descriptor)


def _resolve(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


async def _over(pending: Any) -> Any:
    """Waits for a call that was begun. A wait that is cancelled gives the call up."""
    ready = asyncio.get_running_loop().create_future()
    descriptor = pending.fileno()
    ready.get_loop().add_reader(descriptor, _resolve, ready)
    try:
        await ready
        return pending.result()
    finally:
        ready.get_loop().remove_reader(descriptor)
        pending.close()


async def get(uri: _Uri, *, options: _Options = None) -> memoryview:
    """As `forebay.get`."""
    return await _over(_forebay._begin_get(uri, options))


async def get_range(uri: _Uri, start: int, length: int, *, options: _Options = None) -> memoryview:
    """As `forebay.get_range`."""
    return await _over(_forebay._begin_get_range(uri, start, length, options))


async def get_many(
    uris: Iterable[_Uri], *, return_exceptions: bool = False, options: _Options = None
) -> list[memoryview | Error]:
    """As `forebay.get_many`."""
    return await _over(_forebay._begin_get_many(uris, return_exceptions, options))


async def put(
    uri: _Uri, data: Any, *, create: bool = False, durable: bool = False, options: _Options = None
) -> Entry:
    """As `forebay.put`."""
    return await _over(_forebay._begin_put(uri, data, create, durable, options))


async def stat(uri: _Uri, *, options: _Options = None) -> Entry:
    """As `forebay.stat`."""
    return await _over(_forebay._begin_stat(uri, options))


async def exists(uri: _Uri, *, options: _Options = None) -> bool:
    """As `forebay.exists`."""
    return await _over(_forebay._begin_exists(uri, options))


async def delete(uri: _Uri, *, options: _Options = None) -> None:
    """As `forebay.delete`."""
    await _over(_forebay._begin_delete(uri, options))


async def delete_many(
    uris: Iterable[_Uri], *, return_exceptions: bool = False, options: _Options = None
) -> list[Error | None]:
    """As `forebay.delete_many`."""
    return await _over(_forebay._begin_delete_many(uris, return_exceptions, options))
