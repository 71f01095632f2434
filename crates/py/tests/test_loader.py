"""create_async_loader, and `for` over what it makes: order, epochs, state, failures, leaving early."""

import os
import pickle
import threading

import forebay
import pytest
from forebay import LoaderOptions

from conftest import content, threads


def ids(batches):
    return [id for batch in batches for id in batch.ids]


def test_every_sample_comes_once_and_whole(folder):
    sizes = [(i * 997) % 5000 for i in range(100)]
    root = folder(sizes)
    loader = forebay.create_async_loader(root, {"batch_size": 7, "shuffle": True, "seed": 3})
    seen = []
    for batch in loader:
        for id, sample in zip(batch.ids, batch):
            assert sample == content(id, sizes[id])
        seen += batch.ids
    assert sorted(seen) == list(range(100)) != seen


def test_len_counts_batches(folder):
    root = folder([10] * 100)
    for options, count in [({}, 4), ({"batch_size": 7}, 15), ({"batch_size": 7, "drop_last": True}, 14)]:
        loader = forebay.create_async_loader(root, options)
        assert len(loader) == count == len(list(loader))


def test_each_for_is_an_epoch(folder):
    loader = forebay.create_async_loader(folder([10] * 50), {"shuffle": True})
    orders = []
    for epoch in range(3):
        assert loader.epoch == epoch
        batches = list(loader)
        assert {batch.epoch for batch in batches} == {epoch}
        orders.append(tuple(ids(batches)))
    assert len(set(orders)) == 3 and loader.epoch == 3
    loader.set_epoch(1)
    assert tuple(ids(loader)) == orders[1]


def test_the_order_is_a_function_of_seed_and_epoch(folder):
    dataset = forebay.create_dataset(folder([10] * 50))

    def order(**options):
        return ids(forebay.create_async_loader(dataset, options))

    assert order() == list(range(50))
    assert order(shuffle=True, seed=1) == order(shuffle=True, seed=1, num_workers=1, prefetch=1)
    assert order(shuffle=True, seed=1) != order(shuffle=True, seed=2)
    assert sorted(order(shuffle=True, loading_mode="completion")) == list(range(50))


def test_ranks_share_the_dataset(folder):
    dataset = forebay.create_dataset(folder([10] * 50))
    parts = [
        ids(forebay.create_async_loader(dataset, LoaderOptions(shuffle=True, shard_rank=r, shard_world_size=3)))
        for r in range(3)
    ]
    assert sorted(sum(parts, [])) == list(range(50))


def test_state_resumes_in_the_middle_of_an_epoch(folder):
    dataset = forebay.create_dataset(folder([10] * 50))
    options = LoaderOptions(batch_size=4, shuffle=True, seed=5)
    whole = ids(forebay.create_async_loader(dataset, options))
    for taken in range(14):
        loader = forebay.create_async_loader(dataset, options)
        batches = iter(loader)
        head = ids(next(batches) for _ in range(min(taken, len(loader))))
        state = pickle.loads(pickle.dumps(loader.state_dict()))
        assert all(isinstance(value, (int, str, bool)) for value in state.values())

        other = forebay.create_async_loader(dataset, options.replace(batch_size=3, num_workers=1))
        other.load_state_dict(state)
        assert other.state_dict() == state
        tail = ids(other)
        if taken < len(loader):
            assert head + tail == whole, taken
        else:
            assert (head, tail != whole) == (whole, True), "a state at the end is the next epoch's beginning"


def test_ranks_that_deliver_in_completion_order_go_on_together_as_others(folder):
    dataset = forebay.create_dataset(folder([10] * 50))
    options = forebay.LoaderOptions(batch_size=3, num_workers=4, shuffle=True, loading_mode="completion")
    seen, states = [], []
    for rank in range(2):
        loader = forebay.create_async_loader(dataset, options.replace(shard_rank=rank, shard_world_size=2))
        batches = iter(loader)
        seen += ids(next(batches) for _ in range(2 + rank))
        states.append(pickle.loads(pickle.dumps(loader.state_dict())))
    with pytest.raises(forebay.PreconditionError, match="states of all 2 ranks"):
        forebay.create_async_loader(dataset, options).load_state_dict(states[0])
    with pytest.raises(ValueError, match="ranks \\[1\\] of 2"):
        forebay.create_async_loader(dataset, options).load_state_dict([states[1], states[1]])
    for rank in range(3):
        loader = forebay.create_async_loader(
            dataset, options.replace(shard_rank=rank, shard_world_size=3, batch_size=4)
        )
        loader.load_state_dict(states)
        seen += ids(loader)
    assert sorted(seen) == list(range(50))


def test_a_state_of_something_else_is_refused(folder):
    root = folder([10] * 10)
    state = forebay.create_async_loader(root, {"shuffle": True}).state_dict()
    with pytest.raises(forebay.PreconditionError, match="shuffle"):
        forebay.create_async_loader(root).load_state_dict(state)
    other = forebay.create_async_loader(folder([10] * 11, "other"), {"shuffle": True})
    with pytest.raises(forebay.PreconditionError, match="11"):
        other.load_state_dict(state)
    for wrong in ({}, {"epoch": 1}, state | {"version": 99}, state | {"place": -1}, state | {"extra": 1}):
        with pytest.raises(ValueError):
            other.load_state_dict(wrong)
    with pytest.raises(TypeError):
        other.load_state_dict("state")
    assert len(ids(other)) == 11, "what was refused changed nothing"


def test_a_uri_and_a_dataset_do(folder):
    root = folder([10] * 5)
    dataset = forebay.create_dataset(root)
    assert forebay.create_async_loader(dataset).dataset is dataset
    for uri in (root, str(root), f"file://{root}"):
        assert len(ids(forebay.create_async_loader(uri))) == 5
    with pytest.raises(ValueError, match="available"):
        forebay.create_async_loader("gopher://data/set")
    with pytest.raises(FileNotFoundError):
        forebay.create_async_loader(root / "none")
    with pytest.raises(TypeError):
        forebay.create_async_loader(5)


def test_progress_is_told_after_each_batch(folder):
    told = []
    loader = forebay.create_async_loader(folder([10] * 10), {"batch_size": 4}, progress=told.append)
    for count, _ in enumerate(loader, 1):
        assert len(told) == count
    assert [(p.batches, p.batches_total, p.samples, p.bytes, p.epoch) for p in told] == [
        (1, 3, 4, 40, 0),
        (2, 3, 8, 80, 0),
        (3, 3, 10, 100, 0),
    ]
    assert 0 <= told[0].elapsed <= told[2].elapsed < 60
    assert "batches=3" in repr(told[2])
    with pytest.raises(TypeError, match="callable"):
        forebay.create_async_loader(folder([1], "one"), progress=5)


def test_what_progress_raises_ends_the_loop(folder):
    def refuse(progress):
        raise KeyError(progress.batches)

    loader = forebay.create_async_loader(folder([10] * 10), progress=refuse)
    with pytest.raises(KeyError):
        next(iter(loader))


def test_pickles_as_configuration(folder):
    loader = forebay.create_async_loader(folder([10] * 10), {"batch_size": 4, "shuffle": True}, progress=print)
    next(iter(loader))
    again = pickle.loads(pickle.dumps(loader))
    assert again.options == loader.options and again.dataset.fingerprint == loader.dataset.fingerprint
    assert again.epoch == 0 and repr(again) == repr(loader)
    with pytest.raises(TypeError):
        pickle.dumps(iter(loader))


def test_a_failed_read_never_ends_an_epoch_early(folder):
    root = folder([10] * 20)
    loader = forebay.create_async_loader(root, {"batch_size": 4})
    os.remove(root / "00009.bin")
    batches = iter(loader)
    assert ids(next(batches) for _ in range(2)) == list(range(8))
    with pytest.raises(forebay.NotFoundError) as caught:
        next(batches)
    assert caught.value.location == f"file://{root}/00009.bin" and caught.value.kind == "not_found"
    assert list(batches) == [], "after an error it is at its end"
    (root / "00009.bin").write_bytes(content(9, 10))
    loader.load_state_dict(loader.state_dict())
    assert ids(loader) == list(range(8, 20)), "and goes on at the batch that failed"


def test_an_unreadable_file_is_denied(run):
    # In a program of its own, which gives up being root if it is: root may read everything.
    run(
        """
        import os, shutil, tempfile, forebay
        root = tempfile.mkdtemp()
        try:
            os.chmod(root, 0o755)
            for name in "abcd":
                with open(f"{root}/{name}", "wb") as file:
                    file.write(b"1")
            os.chmod(f"{root}/c", 0)
            loader = forebay.create_async_loader(root, {"batch_size": 1})
            user = os.geteuid()
            if user == 0:
                os.seteuid(65534)
            batches = iter(loader)
            next(batches), next(batches)
            try:
                next(batches)
            except PermissionError as error:
                assert isinstance(error, forebay.DeniedError) and error.location.endswith("/c"), error
            else:
                raise SystemExit("it was read")
            finally:
                os.seteuid(user)
        finally:
            shutil.rmtree(root)
        """
    )


def test_a_sample_larger_than_the_cap_is_named(folder):
    root = folder([100, 1 << 20, 100])
    loader = forebay.create_async_loader(root, {"batch_size": 1, "max_bytes_in_flight": "64KiB"})
    batches = iter(loader)
    next(batches)
    with pytest.raises(ValueError, match="max_bytes_in_flight") as caught:
        next(batches)
    assert isinstance(caught.value, forebay.InvalidRangeError) and caught.value.location.endswith("00001.bin")


def test_leaving_early_leaves_nothing_behind(folder):
    # A batch and a half fit: a leaked byte of the budget would hang the next epoch.
    loader = forebay.create_async_loader(
        folder([40_000] * 60), {"batch_size": 4, "max_bytes_in_flight": 250_000, "num_workers": 8, "prefetch": 8}
    )
    list(loader)
    before = threads()
    for left_after in range(12):
        batches = iter(loader)
        for _ in range(left_after):
            next(batches)
        if left_after % 3 == 0:
            batches.close()
            assert next(batches, None) is None
            batches.close()
        del batches
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            for _batch in loader:
                1 / 0
    assert len(ids(loader)) == 60
    assert threads() == before


def test_each_for_that_was_left_was_an_epoch(folder):
    loader = forebay.create_async_loader(folder([10] * 50), {"batch_size": 4})
    for _batch in loader:
        break
    state = loader.state_dict()
    assert (loader.epoch, state["place"]) == (0, 4)
    assert {batch.epoch for batch in loader} == {1}


def test_two_iterators_at_once(folder):
    loader = forebay.create_async_loader(folder([1000] * 40), {"batch_size": 4})
    pairs = list(zip(loader, loader))
    assert len(pairs) == 10
    for one, other in pairs:
        assert (one.epoch, other.epoch) == (0, 1) and one.ids == other.ids
        assert bytes(one) == bytes(other)


def test_many_loaders_share_threads(folder):
    dataset = forebay.create_dataset(folder([10] * 10))
    list(forebay.create_async_loader(dataset))
    before = threads()
    loaders = [forebay.create_async_loader(dataset) for _ in range(20)]
    for loader in loaders:
        assert len(ids(loader)) == 10
    assert threads() == before


def test_one_iterator_serves_one_thread_at_a_time(folder):
    # One byte a second: the first batch does not come while the test runs.
    dataset = forebay.create_dataset(folder([1000] * 2), {"limit_bytes_per_second": 1})
    loader = forebay.create_async_loader(dataset)
    batches = iter(loader)
    begun, done = threading.Event(), []

    def wait():
        begun.set()
        done.append(next(batches, None))

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    begun.wait()
    with pytest.raises(RuntimeError, match="another thread is waiting"):
        # The other thread may not have begun to wait yet; then this one would, so it only looks.
        while batches.poll() is None:
            pass


def test_other_threads_run_while_one_waits(folder):
    dataset = forebay.create_dataset(folder([1000] * 2), {"limit_bytes_per_second": 1})
    batches = iter(forebay.create_async_loader(dataset))
    threading.Thread(target=lambda: next(batches, None), daemon=True).start()
    counted = sum(1 for _ in range(100_000))
    assert counted == 100_000, "the interpreter's lock was free"
    assert len(forebay.get(dataset.uri(0))) == 1000, "and so was the runtime"


def test_the_interpreter_ends_in_the_middle_of_an_epoch(run, folder):
    run(
        """
        import sys, threading, forebay
        dataset = forebay.create_dataset(sys.argv[1], {"limit_bytes_per_second": 1})
        held = [iter(forebay.create_async_loader(sys.argv[1], {"batch_size": 1})) for _ in range(3)]
        kept = [next(batches) for batches in held]
        array = kept[0].to_numpy()
        stuck = iter(forebay.create_async_loader(dataset))
        threading.Thread(target=lambda: next(stuck), daemon=True).start()
        listing = forebay.list(sys.argv[1])
        next(listing)
        """,
        folder([1000] * 50),
        timeout=30,
    )


def test_what_on_error_lets_be_lost_is_reported(tmp_path):
    for i in range(20):
        (tmp_path / f"{i:02}").write_bytes(bytes([i]) * 100)
    (tmp_path / "99").write_bytes(bytes(10_000))
    options = {"batch_size": 4, "max_bytes_in_flight": 4096}
    loader = forebay.create_async_loader(tmp_path, {**options, "on_error": "skip:1"})
    assert sum(len(batch) for batch in loader) == 20
    report = loader.quarantine()
    assert (report["skipped"], report["substituted"]) == (1, 0)
    (lost,) = report["samples"]
    assert (lost["sample"], lost["kind"], lost["times"], lost["treatment"]) == (20, "invalid_range", 1, "skipped")
    assert lost["location"].endswith("/99") and "max_bytes_in_flight" in lost["reason"]

    loader = forebay.create_async_loader(tmp_path, {**options, "on_error": "substitute:1"})
    ids = [id for batch in loader for id in batch.ids]
    assert len(ids) == 21 and 20 not in ids
    assert loader.quarantine()["samples"][0]["by"] == ids[20]


def test_files_are_read_through_mappings(folder):
    sizes = [0, 1, 4096, 10_000]
    options = {"reader_mode": "mmap", "page_cache_mode": "fadvise_sequential"}
    before = forebay.metrics.snapshot()["backend_counters"]
    loader = forebay.create_async_loader(folder(sizes), options)
    samples = [bytes(sample) for batch in loader for sample in batch]
    assert samples == [content(index, size) for index, size in enumerate(sizes)]
    after = forebay.metrics.snapshot()["backend_counters"]
    assert after["mappings"] - before["mappings"] == 3
    assert after["mappings_advised"] - before["mappings_advised"] == 3
    with pytest.raises(ValueError, match="target_request_bytes=1 could size"):
        forebay.create_async_loader(folder([1], "other"), {"reader_mode": "mmap", "target_request_bytes": 1})
    past = f"direct://{folder([1], 'past')}"
    with pytest.raises(ValueError, match="reader_mode=mmap .* direct:// .* use sequential or range"):
        forebay.create_async_loader(past, {"reader_mode": "mmap"})
    dataset = forebay.create_dataset(past)
    with pytest.raises(ValueError, match="reader_mode=mmap"):
        forebay.create_async_loader(dataset, {"reader_mode": "mmap"})


def test_neighbours_in_a_shard_are_one_request_of_the_size_that_was_asked_for(tmp_path):
    (tmp_path / "shard").write_bytes(content(0, 64 * 1024))
    for scheme in ["file", "direct"]:
        dataset = forebay.create_dataset(f"{scheme}://{tmp_path}", {"record_bytes": 256}, format="records")
        for options, requests in [({}, 256), ({"target_request_bytes": "16KiB"}, 4)]:
            loader = forebay.create_async_loader(dataset, {"batch_size": 256, **options})
            (batch,) = loader
            assert b"".join(map(bytes, batch)) == content(0, 64 * 1024)
            get = loader.snapshot()["operations"]["get"]
            assert (get["req_bytes_hist"]["n"], get["attempts"]["req_bytes_hist"]["n"]) == (256, requests)


def test_a_page_cache_policy_that_the_scheme_has_not_is_refused_before_anything_is_read(folder):
    root = folder([1])
    with pytest.raises(ValueError, match="cache_policy=direct.* is not for file://"):
        forebay.create_async_loader(root, {"cache_policy": "direct"})
    with pytest.raises(ValueError, match="page_cache_mode=dont_need is not for direct://"):
        forebay.create_async_loader(f"direct://{root}", {"page_cache_mode": "dont_need"})


def test_streaming_lists_while_it_loads(folder):
    root = folder([i * 37 for i in range(40)])
    loader = forebay.create_async_loader(root, {"loading_mode": "streaming", "batch_size": 7})
    seen = {}
    for batch in loader:
        assert list(batch.ids) == list(range(len(seen), len(seen) + len(batch))), "numbered as they are listed"
        seen.update(zip(batch.uris, map(bytes, batch)))
    assert {uri.removeprefix("file://"): data for uri, data in seen.items()} == {
        str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }
    assert loader.dataset is None
    with pytest.raises(TypeError, match="before the listing has ended"):
        len(loader)
    with pytest.raises(forebay.Error, match="no list of samples"):
        loader.read([0])


def test_streaming_resumes_pickles_and_finds_a_changed_listing(folder):
    root = folder([i * 37 for i in range(40)])
    options = {"loading_mode": "streaming", "batch_size": 5, "shuffle": True, "shuffle_window": 8, "seed": 3}
    loader = forebay.create_async_loader(root, options)
    batches = iter(loader)
    first = [next(batches).uris for _ in range(3)]
    state = loader.state_dict()
    rest = [batch.uris for batch in batches]
    other = pickle.loads(pickle.dumps(loader))
    assert [batch.uris for batch in other] == first + rest, "the first epoch of a loader of its own"
    other.load_state_dict(state)
    assert [batch.uris for batch in other] == rest
    other.load_state_dict({**state, "fingerprint": "0" * 32})
    with pytest.raises(forebay.PreconditionError, match="entries of the listing"):
        next(iter(other))


def test_what_streaming_cannot_do_says_what_to_use(folder):
    root = folder([i * 37 for i in range(40)])
    streaming = {"loading_mode": "streaming"}
    for options, text in [({"shuffle": True}, "shuffle_window"), ({"on_error": "substitute:2"}, "skip")]:
        with pytest.raises(ValueError, match=text):
            forebay.create_async_loader(root, {**streaming, **options})
    with pytest.raises(ValueError, match="format=jsonl"):
        forebay.create_async_loader(root, streaming, storage_options={"format": "jsonl"})
    with pytest.raises(ValueError, match="give the location"):
        forebay.create_async_loader(forebay.create_dataset(root), streaming)


def test_progress_of_a_listing_has_a_total_when_it_has_ended(folder):
    root = folder([i * 37 for i in range(40)])
    told = []
    loader = forebay.create_async_loader(root, {"loading_mode": "streaming"}, told.append)
    batches = len(list(loader))
    assert told[-1].batches == batches and told[-1].batches_total in (None, batches)
