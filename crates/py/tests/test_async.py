"""`async for batch in loader`."""

import asyncio
import os

import forebay
import pytest

from conftest import content, eventually, threads


@pytest.fixture
def slow(folder):
    """A loader whose first batches come at once and the others every 50 ms."""

    def make(count, **options):
        dataset = forebay.create_dataset(folder([1000] * count), {"limit_bytes_per_second": 20_000})
        return forebay.create_async_loader(
            dataset, {"batch_size": 1, "num_workers": 1, "prefetch": 1, **options}
        )

    return make


async def ids(batches):
    return [id async for batch in batches for id in batch.ids]


def test_every_sample_comes_once_and_whole(folder):
    loader = forebay.create_async_loader(folder([500] * 100), {"batch_size": 8, "shuffle": True})

    async def main():
        seen = []
        async for batch in loader:
            for id, sample in zip(batch.ids, batch):
                assert sample == content(id, 500)
            seen += batch.ids
        return seen

    first, second = asyncio.run(main()), asyncio.run(main())
    assert sorted(first) == sorted(second) == list(range(100)) and first != second
    assert loader.epoch == 2


def test_the_loop_goes_on_while_a_batch_is_waited_for(slow):
    loader = slow(25)

    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        seen = await ids(loader)
        ticking.cancel()
        return seen, ticks

    seen, ticks = asyncio.run(main())
    assert seen == list(range(25))
    assert ticks >= 20, "several waits of 50 ms, in which the loop had other work to do"


def test_the_loop_goes_on_also_where_every_batch_is_there(folder):
    loader = forebay.create_async_loader(folder([10] * 200), {"batch_size": 1})

    async def main():
        turns = 0

        async def turn():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        turning = asyncio.create_task(turn())
        await ids(loader)
        turning.cancel()
        return turns

    assert asyncio.run(main()) >= 200


def test_a_cancelled_wait_loses_no_batch(slow):
    loader = slow(30)

    async def main():
        batches = aiter(loader)
        seen, cancelled = [], 0
        while True:
            try:
                batch = await asyncio.wait_for(anext(batches), timeout=0.01)
            except TimeoutError:
                cancelled += 1
            except StopAsyncIteration:
                return seen, cancelled
            else:
                seen += batch.ids

    seen, cancelled = asyncio.run(main())
    assert seen == list(range(30)) and cancelled > 0


def test_what_was_begun_on_a_loop_goes_on_without_or_on_another(slow):
    loader = slow(26)

    async def some(batches, count):
        return [(await anext(batches)).ids[0] for _ in range(count)]

    async def cancelled(batches):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(batches), timeout=0.001)

    batches = aiter(loader)
    seen = asyncio.run(some(batches, 22))
    asyncio.run(cancelled(batches))
    seen += asyncio.run(some(batches, 2))
    asyncio.run(cancelled(batches))
    native = batches._batches
    seen += [batch.ids[0] for batch in native]
    assert seen == list(range(26))


def test_only_one_task_waits_for_an_iterator(slow):
    loader = slow(25)

    async def main():
        batches = aiter(loader)
        for _ in range(22):
            await anext(batches)
        waiting = asyncio.create_task(_next(batches))
        await asyncio.sleep(0.005)
        with pytest.raises(RuntimeError, match="another task is waiting"):
            await anext(batches)
        return (await waiting).ids[0]

    async def _next(batches):
        return await anext(batches)

    assert asyncio.run(main()) == 22


def test_failures_come_in_their_place(folder):
    root = folder([10] * 12)
    loader = forebay.create_async_loader(root, {"batch_size": 4})
    os.remove(root / "00006.bin")

    async def main():
        batches = aiter(loader)
        assert list((await anext(batches)).ids) == [0, 1, 2, 3]
        with pytest.raises(forebay.NotFoundError, match="00006"):
            await anext(batches)
        return await ids(batches)

    assert asyncio.run(main()) == []


def test_progress_is_told(folder):
    told = []
    loader = forebay.create_async_loader(folder([10] * 12), {"batch_size": 4}, progress=told.append)
    asyncio.run(ids(loader))
    assert [progress.batches for progress in told] == [1, 2, 3]


def test_leaving_early_leaves_nothing_behind(slow):
    loader = slow(40, max_bytes_in_flight=1100)

    async def leave(after):
        batches = aiter(loader)
        for _ in range(after):
            await anext(batches)
        if after % 2:
            await batches.aclose()
            assert await ids(batches) == []
        else:
            task = asyncio.create_task(ids(batches))
            await asyncio.sleep(0.001)
            task.cancel()

    asyncio.run(leave(3))
    before, descriptors = threads(), len(os.listdir("/proc/self/fd"))
    for after in range(6):
        asyncio.run(leave(after))
    # A file that is being read is closed when the read is done, which nobody waits for.
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
    assert threads() == before
    fast = forebay.create_async_loader(loader.dataset.root, loader.options)
    assert asyncio.run(ids(fast)) == list(range(40))


def test_several_loaders_on_one_loop(folder):
    dataset = forebay.create_dataset(folder([1000] * 50))
    loaders = [forebay.create_async_loader(dataset, {"batch_size": 3, "shuffle": True, "seed": i}) for i in range(5)]

    async def main():
        return await asyncio.gather(*[ids(loader) for loader in loaders])

    assert [sorted(found) for found in asyncio.run(main())] == [list(range(50))] * 5


def test_ctrl_c_ends_the_loop(script, folder):
    import signal

    process = script(
        """
        import asyncio, signal, sys, forebay
        signal.signal(signal.SIGINT, signal.default_int_handler)  # also where whoever started the tests ignores it
        async def main():
            print("waiting")
            async for batch in loader:
                pass
        dataset = forebay.create_dataset(sys.argv[1], {"limit_bytes_per_second": 1})
        loader = forebay.create_async_loader(dataset)
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """,
        folder([1000]),
    )
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert out == "interrupted\n", err
