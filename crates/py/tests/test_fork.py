"""Forked and spawned processes, also of a parent that has loaded before."""

FORK = """
    import os, sys, traceback
    import forebay

    def child(body):
        # Ends without the interpreter's own end, as multiprocessing's children do.
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                body()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    root = sys.argv[1]
    dataset = forebay.create_dataset(root)
    loader = forebay.create_async_loader(dataset, {"batch_size": 4, "shuffle": True})
    order = lambda batches: [id for batch in batches for id in batch.ids]
"""


def test_a_forked_child_of_a_warm_parent_loads(run, folder):
    run(
        FORK
        + """
    whole = order(loader)

    def use():
        assert forebay.get(dataset.uri(0)) == open(dataset.uri(0)[7:], "rb").read()
        assert len(list(forebay.list(root))) == 40
        assert len(loader) == 10 and loader.epoch == 1 and len(dataset) == 40
        epoch_1 = order(loader)
        assert sorted(epoch_1) == list(range(40)) and epoch_1 != whole
        loader.set_epoch(0)
        assert order(loader) == whole
        assert order(forebay.create_async_loader(root)) == list(range(40))
        assert forebay.metrics.snapshot()["backend_counters"]["gets"] == 121, "a child counts its own"
        child(lambda: order(loader))

    for _ in range(5):
        child(use)
    assert loader.epoch == 1 and len(order(loader)) == 40, "the parent goes on"
    """,
        folder([100] * 40),
    )


def test_what_belongs_to_the_parent_is_refused_in_the_child_and_goes_on_in_the_parent(run, folder):
    run(
        FORK
        + """
    batches = iter(loader)
    listing = forebay.list(root)
    head = order([next(batches)])
    next(listing)

    def use():
        global loader, batches, listing
        for call in (lambda: next(batches), batches.poll, batches.close, batches.fileno, lambda: next(listing)):
            try:
                call()
            except forebay.ForkedError as error:
                assert isinstance(error, RuntimeError) and "iterate the loader anew" in str(error), error
            else:
                raise AssertionError("not refused")
        assert loader.epoch == 1, "the next for is the next epoch, as it would be in the parent"
        assert sorted(order(loader)) == list(range(40))
        del loader, batches, listing

    child(use)
    assert sorted(head + order(batches)) == list(range(40))
    assert len(list(listing)) == 39
    """,
        folder([100] * 40),
    )


def test_batches_are_read_and_dropped_in_the_child(run, folder):
    run(
        FORK
        + """
    kept = list(loader)
    array = kept[0].to_numpy()
    view = kept[1][0]

    def use():
        global kept, array, view
        assert array[0].tobytes() == kept[0][0] == forebay.get(kept[0].uris[0])
        array[:] = 0
        assert view == forebay.get(kept[1].uris[0])
        del kept, array, view

    child(use)
    assert array.any(), "the child wrote to its own copy"
    """,
        folder([100] * 40),
    )


def test_a_loaded_state_goes_with_the_fork(run, folder):
    run(
        FORK
        + """
    batches = iter(loader)
    head = order([next(batches), next(batches)])
    other = forebay.create_async_loader(dataset, {"batch_size": 4, "shuffle": True})
    other.load_state_dict(loader.state_dict())
    child(lambda: None if sorted(head + order(other)) == list(range(40)) else 1 / 0)
    """,
        folder([100] * 40),
    )


def test_forks_while_threads_read(run, folder):
    # Whatever a thread of ours holds in the moment of the fork, the child must not wait for it.
    run(
        FORK
        + """
    import threading
    stop = False

    def busy():
        while not stop:
            for batch in forebay.create_async_loader(root, {"batch_size": 2, "num_workers": 4}):
                if stop:
                    break

    threads = [threading.Thread(target=busy) for _ in range(2)]
    [thread.start() for thread in threads]
    try:
        for _ in range(25):
            child(lambda: order(loader))
    finally:
        stop = True
        [thread.join() for thread in threads]
    """,
        folder([100] * 40),
    )


WORKERS = """
    import multiprocessing, sys
    import forebay

    def ids(loader):
        return [id for batch in loader for id in batch.ids]

    def work(rank, loader, out):
        options = loader.options.replace(shard_rank=rank, shard_world_size=2)
        mine = forebay.create_async_loader(loader.dataset, options)
        out.put((rank, ids(mine), ids(loader)))

    def main(method):
        context = multiprocessing.get_context(method)
        loader = forebay.create_async_loader(sys.argv[1], {"batch_size": 4, "shuffle": True})
        ids(loader)
        out = context.Queue()
        workers = [context.Process(target=work, args=(rank, loader, out)) for rank in range(2)]
        [worker.start() for worker in workers]
        parts = sorted(out.get(timeout=50) for _ in workers)
        [worker.join() for worker in workers]
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert sorted(parts[0][1] + parts[1][1]) == list(range(40))
        assert all(sorted(whole) == list(range(40)) for _, _, whole in parts)

    if __name__ == "__main__":
        main(sys.argv[2])
"""


def test_workers_that_were_forked(run, folder):
    run(WORKERS, folder([100] * 40), "fork")


def test_workers_that_were_spawned(run, folder):
    run(WORKERS, folder([100] * 40), "spawn")


def test_workers_of_a_fork_server(run, folder):
    run(WORKERS, folder([100] * 40), "forkserver")


def test_a_data_loader_of_torch_may_fork_workers_that_load(torch, run, folder):
    run(
        """
        import sys, torch, forebay
        from torch.utils.data import DataLoader, IterableDataset, get_worker_info

        class Samples(IterableDataset):
            def __init__(self, root):
                self.loader = forebay.create_async_loader(root, {"batch_size": 4})

            def __iter__(self):
                rank = get_worker_info().id
                options = self.loader.options.replace(shard_rank=rank, shard_world_size=2)
                for batch in forebay.create_async_loader(self.loader.dataset, options):
                    yield list(batch.ids)

        samples = Samples(sys.argv[1])
        list(samples.loader)
        found = [id for ids in DataLoader(samples, batch_size=None, num_workers=2) for id in ids]
        assert sorted(found) == list(range(40)), found
        """,
        folder([100] * 40),
    )
