"""`async for batch in loader`: waiting for batches on an event loop of asyncio.

The loop watches a descriptor that becomes readable when a batch is there. No thread of ours calls into
the loop or runs Python, so a loop that was closed, a cancelled task or the end of the interpreter leaves
nothing behind, and a cancelled wait takes no batch with it: the next one goes on where it was.
"""

import asyncio

from ._forebay import Batch, Batches

__all__ = ["AsyncBatches"]


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
