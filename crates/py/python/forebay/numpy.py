"""Batches as NumPy arrays that share their memory.

    for images in forebay.numpy.DataLoader("train", {"batch_size": 32}):
        images.mean()
"""

from typing import Any

import numpy

from ._forebay import Batch
from ._handing import HandingLoader

__all__ = ["DataLoader"]


class DataLoader(HandingLoader):
    """Each batch is an array of uint8 of shape (samples, bytes) if all samples have the same size, else a
    list of arrays; or what the option `collate` says. With `with_ids`, a pair of that and of the samples'
    numbers."""

    def _hand_over(self, batch: Batch) -> Any:
        return batch.to_numpy()

    def _ids(self, batch: Batch) -> Any:
        return numpy.asarray(batch.ids)
