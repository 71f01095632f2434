"""forebay.numpy and forebay.jax: batches as arrays that share their memory."""

import importlib
import pickle

import numpy
import pytest
from forebay import LoaderOptions

from conftest import content


@pytest.fixture(params=["numpy", "jax"])
def face(request):
    return importlib.import_module(f"forebay.{request.param}")


def address(array):
    return array.unsafe_buffer_pointer() if hasattr(array, "unsafe_buffer_pointer") else array.ctypes.data


def rows(batches):
    return [bytes(numpy.asarray(row)) for batch in batches for row in batch]


def test_batches_are_matrices_of_samples(face, folder):
    root = folder([192] * 10)
    loader = face.DataLoader(root, {"batch_size": 4})
    assert len(loader) == 3
    batches = list(loader)
    assert [batch.shape for batch in batches] == [(4, 192), (4, 192), (2, 192)]
    assert rows(batches) == [content(i, 192) for i in range(10)]


@pytest.mark.parametrize("sizes", [[192] * 4, [70, 300, 64]])
def test_memory_is_that_of_the_batch(face, folder, sizes, monkeypatch):
    loader = face.DataLoader(folder(sizes), {"batch_size": 4})
    seen = []
    handed = loader._hand_over
    monkeypatch.setattr(loader, "_hand_over", lambda batch: seen.append(batch) or handed(batch))
    (arrays,) = loader
    begin = numpy.frombuffer(seen[0], dtype=numpy.uint8).ctypes.data
    parts = arrays if isinstance(arrays, list) else [arrays]
    assert [address(part) - begin for part in parts] == list(seen[0].offsets)[: len(parts)]


def test_samples_with_gaps_between_them_are_whole(face, folder):
    (batch,) = face.DataLoader(folder([100] * 3), {"batch_size": 3})
    assert batch.shape == (3, 100) and rows([batch]) == [content(i, 100) for i in range(3)]


def test_collate_says_what_is_made_of_a_batch(face, folder):
    root = folder([10, 70, 64])
    (listed,) = face.DataLoader(root, {"batch_size": 3})
    assert [len(sample) for sample in listed] == [10, 70, 64]
    (padded,) = face.DataLoader(root, {"batch_size": 3, "collate": "pad"})
    assert padded.shape == (3, 70) and bytes(numpy.asarray(padded[0])) == content(0, 10) + bytes(60)
    with pytest.raises(ValueError, match="collate=stack: the samples of a batch have from 10 to 70 bytes"):
        list(face.DataLoader(root, {"batch_size": 3, "collate": "stack"}))


def test_arrays_outlive_the_loader(face, folder):
    batches = list(face.DataLoader(folder([128] * 64), {"batch_size": 8}))
    kept = batches[3]
    del batches
    assert rows([kept]) == [content(i, 128) for i in range(24, 32)]


def test_ids_epochs_and_states_are_those_of_the_loader(face, folder):
    loader = face.DataLoader(folder([64] * 20), LoaderOptions(batch_size=4, shuffle=True), with_ids=True)
    for batch, ids in loader:
        assert rows([batch]) == [content(id, 64) for id in ids.tolist()]
    assert loader.epoch == 1 and loader.options.shuffle
    loader.set_epoch(5)
    batches = iter(loader)
    seen = [id for _ in range(2) for id in next(batches)[1].tolist()]
    state = pickle.loads(pickle.dumps(loader.state_dict()))
    assert state["epoch"] == 5
    batches.close()
    loader.load_state_dict(state)
    rest = [id for _, ids in loader for id in ids.tolist()]
    assert sorted(seen + rest) == list(range(20))


def test_a_window_tells_how_far_it_carries():
    assert LoaderOptions().displacement(1000) == (0, 0)
    mean, most = LoaderOptions(shuffle=True, shuffle_window=100).displacement(1_000_000)
    assert mean == pytest.approx(100 * 13 / 24, rel=1e-2) and most < 150
    assert LoaderOptions(shuffle=True).displacement(999)[0] == pytest.approx(333, rel=1e-2)
    assert LoaderOptions(random_index_mode="uniform").displacement(10) is None


def test_samples_are_read_by_id(folder):
    import forebay

    loader = forebay.create_async_loader(folder([10 * i for i in range(9)]))
    batch = loader.read([7, 0, 7])
    assert list(batch.ids) == [7, 0, 7] and batch[0] == batch[2] == content(7, 70)
    with pytest.raises(ValueError, match="sample 9 of a dataset of 9"):
        loader.read([9])
