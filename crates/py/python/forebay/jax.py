"""Batches as arrays of JAX, on the CPU and without a copy where JAX allows one to be shared.

    for images in forebay.jax.DataLoader("train", {"batch_size": 32}):
        images.mean()

JAX shares memory that is dense: samples whose size is a multiple of 64 bytes are, and make a matrix that
costs no copy. The rows of other sizes have gaps between them in a batch's memory, which are closed by one
copy of the batch. Single samples (`collate="list"`, or where sizes differ) are never copied.
"""

from typing import Any

import jax.dlpack
import numpy

from ._forebay import Batch
from ._handing import HandingLoader

__all__ = ["DataLoader"]


def _array(array: Any) -> Any:
    return jax.dlpack.from_dlpack(numpy.ascontiguousarray(array))


class DataLoader(HandingLoader):
    """Each batch is an array of uint8 of shape (samples, bytes) if all samples have the same size, else a
    list of arrays; or what the option `collate` says. With `with_ids`, a pair of that and of the samples'
    numbers."""

    def _hand_over(self, batch: Batch) -> Any:
        arrays = batch.to_numpy()
        return [_array(array) for array in arrays] if isinstance(arrays, list) else _array(arrays)

    def _ids(self, batch: Batch) -> Any:
        # Without 64-bit numbers enabled JAX would narrow them, and warn of it.
        return numpy.asarray(batch.ids)
