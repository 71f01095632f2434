"""Batch: buffer protocol, DLPack, samples, columns, arrays."""

import gc
import threading
import weakref

import forebay
import numpy
import pytest

from conftest import content

SIZES = [100, 0, 64, 4096, 1, 70_000, 63, 65]


def batches(root, **options):
    return list(forebay.create_async_loader(root, {"batch_size": 8, **options}))


@pytest.fixture
def mixed(folder):
    (batch,) = batches(folder(SIZES))
    return batch


@pytest.fixture
def equal(folder):
    def make(size, count=8):
        (batch,) = batches(folder([size] * count, f"of{size}"))
        return batch

    return make


def test_samples_are_views_of_one_buffer(mixed):
    assert len(mixed) == len(SIZES)
    for i, size in enumerate(SIZES):
        assert mixed[i] == content(i, size)
        assert mixed[i].readonly and mixed[i].obj is mixed
        assert mixed[i - len(SIZES)] == mixed[i]
    assert [bytes(sample) for sample in mixed] == [content(i, size) for i, size in enumerate(SIZES)]
    assert mixed[1:7:2] == [mixed[1], mixed[3], mixed[5]]
    assert mixed[::-1][0] == mixed[-1]
    assert mixed[5:2] == []


def test_beyond_the_last_sample_is_an_index_error(mixed):
    for beyond in (8, -9, 2**62, -(2**62)):
        with pytest.raises(IndexError, match="of a batch of 8"):
            mixed[beyond]
    with pytest.raises(TypeError):
        mixed["0"]


def test_the_buffer_is_contiguous_aligned_and_read_only(mixed):
    whole = memoryview(mixed)
    assert (whole.format, whole.itemsize, whole.ndim, whole.shape) == ("B", 1, 1, (mixed.nbytes,))
    assert whole.readonly and whole.contiguous and whole.nbytes == mixed.nbytes
    assert numpy.frombuffer(mixed, numpy.uint8).ctypes.data % 64 == 0
    assert bytes(mixed) == bytes(whole)
    with pytest.raises(TypeError):
        whole[0] = 1
    with open("/dev/zero", "rb") as zeros, pytest.raises((TypeError, BufferError)):
        zeros.readinto(mixed)


def test_columns_say_where_samples_are(mixed):
    assert mixed.ids.tolist() == list(range(8))
    assert mixed.lengths.tolist() == SIZES
    assert all(offset % 64 == 0 for offset in mixed.offsets)
    for column in (mixed.ids, mixed.offsets, mixed.lengths):
        assert (column.format, len(column)) == ("q", 8)
        assert numpy.asarray(column).dtype == numpy.int64
    whole = memoryview(mixed)
    for i in range(8):
        assert whole[mixed.offsets[i] : mixed.offsets[i] + mixed.lengths[i]] == mixed[i]
    between = bytearray(whole)
    for offset, length in zip(mixed.offsets, mixed.lengths):
        between[offset : offset + length] = bytes(length)
    assert not any(between), "what lies between samples is zero"


def test_a_batch_knows_where_it_comes_from(folder):
    root = folder([10] * 20)
    loader = forebay.create_async_loader(root, {"batch_size": 8, "shuffle": True})
    found = list(loader)
    assert [batch.index for batch in found] == [0, 1, 2]
    assert {batch.epoch for batch in found} == {0}
    for batch in found:
        assert batch.uris == [loader.dataset.uri(id) for id in batch.ids]
        for id, sample in zip(batch.ids, batch):
            assert sample == content(id, 10)
    assert "samples=4" in repr(found[-1])


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 4096, 5000])
def test_samples_of_one_size_become_one_numpy_array(equal, size):
    batch = equal(size)
    array = batch.to_numpy()
    assert array.shape == (8, size) and array.dtype == numpy.uint8
    for i in range(8):
        assert array[i].tobytes() == content(i, size)
    if size:
        assert numpy.shares_memory(array, numpy.frombuffer(batch, numpy.uint8)), "zero-copy"
    assert array.flags.c_contiguous == (size % 64 == 0)


def test_samples_of_several_sizes_become_a_list_of_numpy_arrays(mixed):
    arrays = mixed.to_numpy()
    assert [array.shape for array in arrays] == [(size,) for size in SIZES]
    for i, array in enumerate(arrays):
        assert array.tobytes() == mixed[i]
    assert numpy.shares_memory(arrays[3], numpy.frombuffer(mixed, numpy.uint8))


def test_one_sample_is_a_batch_too(equal):
    assert equal(100, count=1).to_numpy().shape == (1, 100)


def test_numpy_arrays_may_be_written_because_nobody_else_has_the_batch(equal):
    batch = equal(64)
    array = batch.to_numpy()
    array[3] = 7
    assert batch[3] == bytes([7]) * 64


@pytest.mark.parametrize("size", [0, 1, 64, 65])
def test_samples_of_one_size_become_one_torch_tensor(torch, equal, size, recwarn):
    batch = equal(size)
    tensor = batch.to_torch()
    assert tensor.shape == (8, size) and tensor.dtype == torch.uint8
    for i in range(8):
        assert bytes(tensor[i].tolist()) == content(i, size)
    if size:
        assert tensor.data_ptr() == numpy.frombuffer(batch, numpy.uint8).ctypes.data, "zero-copy"
        tensor[0] = 9
        assert batch[0] == bytes([9]) * size
    assert not recwarn.list, "PyTorch warns of memory that may not be written"


def test_samples_of_several_sizes_become_a_list_of_torch_tensors(torch, mixed):
    tensors = mixed.to_torch()
    assert [tuple(tensor.shape) for tensor in tensors] == [(size,) for size in SIZES]
    assert bytes(tensors[0].tolist()) == mixed[0]


def test_torch_takes_a_batch_by_dlpack(torch, mixed):
    tensor = torch.from_dlpack(mixed)
    assert tensor.shape == (mixed.nbytes,) and tensor.data_ptr() % 64 == 0
    assert bytes(tensor.tolist()) == bytes(mixed)


def test_numpy_takes_a_batch_by_dlpack(mixed):
    array = numpy.from_dlpack(mixed)
    assert array.shape == (mixed.nbytes,) and array.tobytes() == bytes(mixed)
    copied = numpy.from_dlpack(mixed, copy=True)
    assert copied.tobytes() == bytes(mixed) and copied.ctypes.data % 64 == 0
    assert not numpy.shares_memory(copied, array)


def test_dlpack_capsules_have_the_form_that_was_asked_for(mixed):
    assert mixed.__dlpack_device__() == (1, 0)
    assert '"dltensor"' in repr(mixed.__dlpack__())
    assert '"dltensor"' in repr(mixed.__dlpack__(max_version=(0, 8)))
    assert '"dltensor_versioned"' in repr(mixed.__dlpack__(max_version=(1, 0)))
    assert '"dltensor_versioned"' in repr(mixed.__dlpack__(max_version=(2, 5), dl_device=(1, 0), copy=True))
    for wrong in ({"stream": 1}, {"dl_device": (2, 0)}):
        with pytest.raises(BufferError, match="CPU"):
            mixed.__dlpack__(**wrong)


def test_memory_lives_as_long_as_any_view_and_no_longer(equal):
    batch = equal(4096)
    gone = weakref.ref(batch)
    array, view, sample = batch.to_numpy(), memoryview(batch), batch[2]
    capsule = batch.__dlpack__()
    copies = [bytes(sample), array.tobytes()]
    del batch
    gc.collect()
    assert gone() is not None, "views hold the batch"
    view.release()
    del view, sample
    gc.collect()
    assert gone() is None, "arrays hold the memory, not the object"
    assert array.tobytes() == copies[1]
    del capsule
    assert array[2].tobytes() == copies[0]


def test_arrays_may_be_dropped_on_any_thread(equal):
    held = [equal(4096 + i).to_numpy() for i in range(4)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert held == []


def test_memory_is_used_again_once_a_batch_is_gone(folder):
    loader = forebay.create_async_loader(folder([100_000] * 64), {"batch_size": 8, "max_bytes_in_flight": "2MiB"})
    addresses = set()
    for _ in range(5):
        for batch in loader:
            addresses.add(numpy.frombuffer(batch, numpy.uint8).ctypes.data)
    # Three or four as a rule: the cap holds two, and one is in hand. Now and then a slab is given back to
    # the system and another mapped, so the promise is on most of the 40 batches.
    assert len(addresses) <= 15, addresses


def test_a_batch_is_no_configuration_and_does_not_pickle(mixed):
    import pickle

    with pytest.raises(TypeError, match="Batch"):
        pickle.dumps(mixed)


def test_a_missing_library_is_named(run, folder):
    run(
        """
        import sys
        sys.modules["numpy"] = sys.modules["torch"] = None
        import forebay
        batch = next(iter(forebay.create_async_loader(sys.argv[1])))
        for method in ("numpy", "torch"):
            try:
                getattr(batch, f"to_{method}")()
            except ImportError as error:
                assert f"pip install {method}" in str(error) and error.__cause__ is not None, error
            else:
                raise SystemExit(f"{method} was found")
        """,
        folder([10]),
    )


def test_libraries_are_imported_only_when_asked_for(run, folder):
    run(
        """
        import sys, forebay
        batch = next(iter(forebay.create_async_loader(sys.argv[1])))
        batch[0], batch.ids, batch.uris
        assert "numpy" not in sys.modules and "torch" not in sys.modules
        batch.to_numpy()
        assert "numpy" in sys.modules and "torch" not in sys.modules
        """,
        folder([10]),
    )
