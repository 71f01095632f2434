"""forebay.torch: the drop-in DataLoader, and datasets inside PyTorch's."""

import os
import pickle

import forebay
import pytest
from forebay import LoaderOptions

from conftest import content


@pytest.fixture
def faces(torch):
    import forebay.torch

    return forebay.torch


@pytest.fixture
def cuda(torch, monkeypatch):
    """Says that there is CUDA, whatever there is, and notes what is pinned."""
    pinned = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    return pinned


def number(sample):
    """Which sample of the test's data a tensor holds."""
    return int.from_bytes(bytes(sample[:4].tolist()), "little")


def numbers(batches):
    return [number(sample) for batch in batches for sample in batch]


def test_batches_are_tensors_in_the_order_of_the_loader(torch, faces, folder):
    root = folder([256] * 50)
    options = {"shuffle": True, "seed": 3}
    loader = faces.DataLoader(root, batch_size=8, options=options)
    plain = forebay.create_async_loader(root, options | {"batch_size": 8})
    assert len(loader) == len(plain) == 7
    for batch, expected in zip(loader, plain, strict=True):
        assert batch.dtype == torch.uint8 and batch.shape == (len(expected), 256)
        assert torch.equal(batch, expected.to_torch())
    assert loader.epoch == 1


def test_arguments_are_those_of_pytorch(torch, faces, folder):
    import inspect

    wanted = list(inspect.signature(torch.utils.data.DataLoader.__init__).parameters)
    ours = list(inspect.signature(faces.DataLoader.__init__).parameters)
    assert [name for name in ours if name in wanted] == wanted


def test_each_argument_does_what_it_says(torch, faces, folder):
    root = folder([64] * 20)
    assert faces.DataLoader(root).batch_size == 1
    assert faces.DataLoader(root, options={"batch_size": 5}).batch_size == 5
    assert faces.DataLoader(root, 4, options={"batch_size": 5}).batch_size == 4
    assert len(faces.DataLoader(root, 8, drop_last=True)) == 2
    assert faces.DataLoader(root, num_workers=3, prefetch_factor=2).options.prefetch == 6
    assert faces.DataLoader(root, num_workers=0).num_workers == LoaderOptions().num_workers
    assert faces.DataLoader(root, in_order=False).options.loading_mode == "completion"
    seeded = [
        numbers(faces.DataLoader(root, shuffle=True, generator=torch.Generator().manual_seed(seed)))
        for seed in (1, 1, 2)
    ]
    assert seeded[0] == seeded[1] != seeded[2]
    assert faces.DataLoader(root, shuffle=True, options={"shuffle_window": 4}).options.shuffle_window == 4


def test_what_cannot_be_honoured_is_refused_with_a_reason(torch, faces, folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    root = folder([64] * 4)
    for arguments, why in [
        ({"sampler": [1, 2]}, "MapDataset"),
        ({"batch_sampler": [[1]]}, "MapDataset"),
        ({"worker_init_fn": print}, "no worker processes"),
        ({"multiprocessing_context": "spawn"}, "no worker processes"),
        ({"options": {"multiprocessing_context": "spawn"}}, "threads"),
        ({"pin_memory": True}, "pin_memory='auto'"),
        ({"pin_memory_device": "xpu"}, "CUDA"),
        ({"options": {"non_blocking": True}}, "device"),
        ({"collate_fn": list, "options": {"collate": "pad"}}, "one of them"),
        ({"batch_size": 0}, "batch_size"),
        ({"options": {"batchsize": 3}}, "batch_size"),
    ]:
        with pytest.raises(ValueError, match=why) as caught:
            faces.DataLoader(root, **arguments)
        assert isinstance(caught.value, forebay.InvalidConfigError), arguments
    with pytest.raises(TypeError, match="torch.utils.data.DataLoader loads it"):
        faces.DataLoader(torch.utils.data.TensorDataset(torch.zeros(3)))


def test_pin_memory_pins_where_there_is_cuda(faces, folder, cuda):
    root = folder([64] * 8)
    for pin_memory, count in [(True, 2), ("auto", 2), (False, 0)]:
        cuda.clear()
        list(faces.DataLoader(root, 4, pin_memory=pin_memory))
        assert len(cuda) == count
    with pytest.raises(ValueError, match="set pin_memory too"):
        faces.DataLoader(root, device="cuda", options={"non_blocking": True})


def test_non_blocking_is_how_batches_go_to_the_device(torch, faces, folder, cuda, monkeypatch):
    root = folder([64] * 4)
    seen = []
    monkeypatch.setattr(
        torch.Tensor, "to", lambda self, device, non_blocking=False: seen.append((device.type, non_blocking)) or self
    )
    for non_blocking, expected in [(True, True), ("auto", True), (False, False)]:
        options = {"non_blocking": non_blocking, "pin_memory": "auto"}
        list(faces.DataLoader(root, 4, device="cuda", options=options))
        assert seen.pop() == ("cuda", expected)
    list(faces.DataLoader(root, 4, device="cpu", options={"non_blocking": "auto"}))
    assert seen.pop() == ("cpu", False)


def test_collate_fn_gets_samples_and_collate_says_what_is_made_of_them(torch, faces, folder):
    sizes = [10, 300, 64, 70]
    root = folder(sizes)
    (made,) = faces.DataLoader(root, 4, collate_fn=lambda samples: {"n": [len(sample) for sample in samples]})
    assert made == {"n": sizes}
    (listed,) = faces.DataLoader(root, 4)
    assert [len(sample) for sample in listed] == sizes
    (padded,) = faces.DataLoader(root, 4, options={"collate": "pad"})
    assert padded.shape == (4, 300) and padded[0, 10:].sum() == 0
    assert bytes(padded[3, :70].tolist()) == content(3, 70)
    with pytest.raises(ValueError, match="from 10 to 300 bytes"):
        next(iter(faces.DataLoader(root, 4, options={"collate": "stack"})))
    (apart,) = faces.DataLoader(folder([64] * 3, "same"), 3, options={"collate": "list"})
    assert isinstance(apart, list) and len(apart) == 3


def test_with_ids_the_numbers_come_along(torch, faces, folder):
    for batch, ids in faces.DataLoader(folder([64] * 10), 4, shuffle=True, with_ids=True):
        assert ids.dtype == torch.int64 and [number(sample) for sample in batch] == ids.tolist()


def test_a_state_resumes_in_the_middle_of_an_epoch(faces, folder):
    root = folder([64] * 30)
    loader = faces.DataLoader(root, 4, shuffle=True)
    batches = iter(loader)
    seen = numbers([next(batches), next(batches)])
    resumed = faces.DataLoader(root, 7, shuffle=True)
    resumed.load_state_dict(pickle.loads(pickle.dumps(loader.state_dict())))
    assert sorted(seen + numbers(resumed)) == list(range(30))


def test_tqdm_counts_batches(faces, folder):
    from tqdm import tqdm

    with open(os.devnull, "w") as nowhere:
        bar = tqdm(faces.DataLoader(folder([64] * 10), 3), file=nowhere)
        assert bar.total == 4 and len(list(bar)) == 4 and bar.n == 4


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_workers_of_pytorch_read_disjoint_shards(torch, faces, folder, workers):
    dataset = faces.IterableDataset(folder([64] * 40), {"shuffle": True, "batch_size": 4})
    loader = torch.utils.data.DataLoader(dataset, batch_size=5, num_workers=workers)
    assert len(dataset) == 40
    for epoch in range(2):
        dataset.set_epoch(epoch)
        assert sorted(numbers(loader)) == list(range(40))


def test_workers_that_are_spawned_or_live_on_follow_the_epoch(torch, faces, folder):
    dataset = faces.IterableDataset(folder([64] * 24), {"shuffle": True, "batch_size": 4}, batches=True)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context="spawn", persistent_workers=True
    )
    orders = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        orders.append(numbers(loader))
        assert sorted(orders[-1]) == list(range(24))
    assert orders[0] == orders[2] != orders[1]


def test_ranks_and_workers_together_read_disjoint_shards(torch, faces, folder):
    root = folder([64] * 37)
    seen = []
    for rank in range(2):
        dataset = faces.IterableDataset(root, {"shard_rank": rank, "shard_world_size": 2, "batch_size": 3})
        seen += numbers(torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=2))
    assert sorted(seen) == list(range(37))


def test_the_cap_is_shared_out_among_workers(torch, faces, folder):
    # A sample that the whole cap has room for and half of it has not.
    dataset = faces.IterableDataset(folder([600] * 4), {"batch_size": 1, "max_bytes_in_flight": 1024})
    assert len(list(torch.utils.data.DataLoader(dataset, batch_size=1, num_workers=1))) == 4
    with pytest.raises(ValueError, match="max_bytes_in_flight=512"):
        list(torch.utils.data.DataLoader(dataset, batch_size=1, num_workers=2))


def test_a_transform_is_called_with_each_item(torch, faces, folder):
    root = folder([64] * 6)
    assert list(faces.IterableDataset(root, transform=number)) == list(range(6))
    assert faces.MapDataset(root, transform=number)[5] == 5


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 5, 11, 12])
@pytest.mark.parametrize("batches", [False, True])
def test_an_iterable_dataset_resumes_after_any_item(faces, folder, taken, batches):
    root = folder([64] * 12)
    options = {"shuffle": True, "batch_size": 4}
    dataset = faces.IterableDataset(root, options, batches=batches)
    list(dataset)
    items = iter(dataset)
    taken = min(taken, 3) if batches else taken
    seen = [next(items) for _ in range(taken)]
    resumed = faces.IterableDataset(root, options, batches=batches)
    resumed.load_state_dict(pickle.loads(pickle.dumps(dataset.state_dict())))
    rest = list(resumed)
    of = numbers if batches else lambda items: [number(item) for item in items]
    if batches and taken == 3:
        # All of the epoch was given: what comes is the next one.
        assert sorted(of(rest)) == list(range(12))
    else:
        assert sorted(of(seen) + of(rest)) == list(range(12))


@pytest.mark.parametrize("mode", ["ordered", "completion"])
@pytest.mark.parametrize("before, after", [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_states_of_several_iterable_datasets_go_on_together(faces, folder, before, after, mode):
    root = folder([64] * 50)

    def dataset(rank, world):
        options = {"shuffle": True, "batch_size": 4, "loading_mode": mode, "shard_rank": rank, "shard_world_size": world}
        return faces.IterableDataset(root, options)

    seen, states = [], []
    # Unequally many, within batches, and of one rank none.
    for rank, taken in zip(range(before), [7, 0, 13]):
        saved = dataset(rank, before)
        items = iter(saved)
        seen += [number(next(items)) for _ in range(taken)]
        states.append(pickle.loads(pickle.dumps(saved.state_dict())))
    for rank in range(after):
        resumed = dataset(rank, after)
        resumed.load_state_dict(states)
        seen += [number(item) for item in resumed]
    assert sorted(seen) == list(range(50))


def test_states_go_on_in_workers_until_another_epoch_is_set(torch, faces, folder):
    root = folder([64] * 30)
    options = {"shuffle": True, "batch_size": 4}
    saved = faces.IterableDataset(root, options)
    items = iter(saved)
    seen = [number(next(items)) for _ in range(9)]
    resumed = faces.IterableDataset(root, options)
    resumed.load_state_dict([saved.state_dict()])
    resumed.set_epoch(0)
    rest = torch.utils.data.DataLoader(resumed, batch_size=None, num_workers=2)
    assert sorted(seen + [number(item) for item in rest]) == list(range(30))
    resumed.set_epoch(1)
    assert sorted(number(item) for item in rest) == list(range(30))


def test_states_that_do_not_go_on_together_are_refused(faces, folder):
    root = folder([64] * 10)
    state = faces.IterableDataset(root).state_dict()
    resumed = faces.IterableDataset(root)
    resumed.load_state_dict([{**state, "own": None}])
    with pytest.raises(ValueError, match="state 0 says nothing of its process alone"):
        iter(resumed)
    streaming = {"loading_mode": "streaming"}
    resumed = faces.IterableDataset(root, streaming)
    resumed.load_state_dict([{**faces.IterableDataset(root, streaming).state_dict(), "taken": 1}])
    with pytest.raises(ValueError, match="saved inside a batch"):
        iter(resumed)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_data_loader_resumes(torch, faces, folder, workers):
    from torchdata.stateful_dataloader import StatefulDataLoader

    root = folder([64] * 40)

    def loader():
        dataset = faces.IterableDataset(root, {"shuffle": True, "batch_size": 4})
        return StatefulDataLoader(dataset, batch_size=3, num_workers=workers)

    first = loader()
    batches = iter(first)
    seen = numbers([next(batches) for _ in range(5)])
    resumed = loader()
    resumed.load_state_dict(first.state_dict())
    assert sorted(seen + numbers(resumed)) == list(range(40))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_map_dataset_has_pytorchs_samplers(torch, faces, folder, workers):
    dataset = faces.MapDataset(folder([64] * 20))
    loader = torch.utils.data.DataLoader(dataset, batch_size=6, shuffle=True, num_workers=workers)
    assert len(dataset) == 20 and sorted(numbers(loader)) == list(range(20))
    assert [number(sample) for sample in dataset.__getitems__([3, -1, 3])] == [3, 19, 3]
    with pytest.raises(IndexError, match="sample 20 of a dataset of 20"):
        dataset[20]
    assert number(pickle.loads(pickle.dumps(dataset))[7]) == 7


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_workers_tell_their_parent_what_they_counted(torch, faces, folder, how):
    sizes = list(range(100, 160))
    root = folder(sizes)
    whole = forebay.create_async_loader(root, {"batch_size": 1})
    list(whole)
    wanted = whole.snapshot()["req_bytes_hist"]
    iterable = faces.IterableDataset(root, {"batch_size": 4})
    mapped = faces.MapDataset(root)
    for dataset in (iterable, mapped):
        # Samples of different sizes are not stacked.
        how_many = {"batch_size": None} if dataset is iterable else {"batch_size": 4, "collate_fn": list}
        loader = torch.utils.data.DataLoader(
            dataset, num_workers=2, multiprocessing_context=how, **how_many
        )
        assert sum(1 for _ in loader) == (60 if dataset is iterable else 15)
        snapshot = dataset.snapshot()
        assert snapshot["req_bytes_hist"] == wanted, "bucket by bucket what one process counts"
        assert snapshot["backend_counters"]["gets"] == 60


def test_a_trace_says_that_it_lacks_what_workers_read(torch, faces, folder, tmp_path):
    root = forebay.create_dataset(folder([64] * 20))
    path = tmp_path / "t.jsonl"

    def over(dataset, workers):
        loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers)
        return sum(1 for _ in loader)

    kept = faces.IterableDataset(root, {"batch_size": 4})
    # One that is gone before the recording ends, and one that is used before and goes on.
    for make in (lambda: faces.MapDataset(root), lambda: kept, lambda: kept):
        with forebay.trace.record(path) as trace:
            assert over(make(), 2) == 20
        assert (trace.result["records"], trace.result["dropped"]) == (0, 20)
        info = forebay.trace.info(path)
        assert (info["complete"], info["dropped"]) == (False, 20)
    with forebay.trace.record(path) as trace:
        assert over(kept, 0) == 20
    assert (trace.result["records"], trace.result["dropped"]) == (20, 0)
    # Workers that live on have told by then of some, if not of all.
    with forebay.trace.record(path) as trace:
        loader = torch.utils.data.DataLoader(kept, batch_size=None, num_workers=2, persistent_workers=True)
        batches = iter(loader)
        next(batches)
    assert trace.result["dropped"] > 0


def test_a_loader_takes_what_its_dataset_says_or_refuses_it(torch, faces, folder):
    root = folder([64] * 8)
    for make in (faces.MapDataset, faces.IterableDataset):
        with pytest.raises(forebay.InvalidConfigError, match="collate_fn"):
            faces.DataLoader(make(root, transform=number), batch_size=2)
    dataset = faces.IterableDataset(root, {"shuffle": True})
    dataset.set_epoch(3)
    loader = faces.DataLoader(dataset)
    assert loader.epoch == 3
    assert numbers(loader) == [number(sample) for sample in dataset]
    state = faces.IterableDataset(root, {"shuffle": True}).state_dict()
    dataset.load_state_dict(state)
    with pytest.raises(forebay.InvalidConfigError, match="load_state_dict"):
        faces.DataLoader(dataset)


def test_an_argument_that_is_given_wins_whatever_it_is(torch, faces, folder):
    root = folder([64] * 8)
    with pytest.raises(forebay.InvalidConfigError, match="batch_size=None"):
        faces.DataLoader(root, batch_size=None)
    for options in ({"loading_mode": "completion"}, LoaderOptions(loading_mode="completion")):
        assert faces.DataLoader(root, options=options).options.loading_mode == "completion"
        assert faces.DataLoader(root, options=options, in_order=True).options.loading_mode == "ordered"
    assert faces.DataLoader(root, options={"timeout": 5}).options.timeout == 5
    assert faces.DataLoader(root, timeout=0, options={"timeout": 5}).options.timeout is None
    assert faces.DataLoader(root, in_order=True, options={"loading_mode": "streaming"}).options.loading_mode == "streaming"
    with pytest.raises(forebay.InvalidConfigError, match="timeout must be a finite number"):
        faces.DataLoader(root, timeout=float("nan"))


def test_a_map_dataset_refuses_what_it_cannot_do(torch, faces, folder):
    root = folder([64] * 8)
    for options, why in [
        ({"shuffle": True}, "sampler"),
        ({"random_index_mode": "uniform"}, "sampler"),
        ({"loading_mode": "completion"}, "sampler"),
        ({"seed": 3}, "sampler"),
        ({"shard_world_size": 2}, "DistributedSampler"),
        ({"drop_last": True}, "torch.utils.data.DataLoader"),
        ({"batch_size": 4}, "torch.utils.data.DataLoader"),
        ({"timeout": 5}, "torch.utils.data.DataLoader"),
        ({"on_error": "skip:30"}, "catch the error"),
        ({"on_error": "substitute:3"}, "catch the error"),
    ]:
        with pytest.raises(forebay.InvalidConfigError, match=why):
            faces.MapDataset(root, options)
    dataset = faces.MapDataset(root, {"retries": 3, "deadline": 60, "target_request_bytes": 4096})
    assert number(dataset[torch.tensor(1)]) == 1
    with pytest.raises(TypeError):
        dataset[1.5]


def test_single_samples_are_not_collated(faces, folder):
    root = folder([64] * 8)
    with pytest.raises(forebay.InvalidConfigError, match="batches=True"):
        faces.IterableDataset(root, {"collate": "stack"})
    assert len(list(faces.IterableDataset(root, {"collate": "stack", "batch_size": 4}, batches=True))) == 2
