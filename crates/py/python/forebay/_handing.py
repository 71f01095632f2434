"""What the loaders of `forebay.torch`, `forebay.jax` and `forebay.numpy` share: a loader whose batches are
handed over as somebody's arrays."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ._forebay import Batch, Dataset, Loader, LoaderOptions, create_async_loader

Source = str | os.PathLike[str] | Dataset
Options = LoaderOptions | Mapping[str, Any] | None


def read_options(options: Options) -> LoaderOptions:
    """The options that a caller gave, as an object."""
    if isinstance(options, LoaderOptions):
        return options
    return LoaderOptions(**(options or {}))


class HandingLoader:
    """Each `for` is an epoch, as of a `forebay.Loader`, which is in `loader`."""

    def __init__(
        self, source: Source, options: Options = None, *, with_ids: bool = False, enable_metrics: bool | Mapping[str, Any] = True
    ) -> None:
        self.loader: Loader = create_async_loader(source, options, enable_metrics=enable_metrics)
        self._with_ids = with_ids

    def _hand_over(self, batch: Batch) -> Any:
        raise NotImplementedError

    def _ids(self, batch: Batch) -> Any:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        # Begun by the call, as an epoch of the loader is, and not by the first `next`.
        return self._handed(iter(self.loader))

    def _handed(self, batches: Any) -> Iterator[Any]:
        try:
            for batch in batches:
                arrays = self._hand_over(batch)
                yield (arrays, self._ids(batch)) if self._with_ids else arrays
        finally:
            batches.close()

    def __len__(self) -> int:
        """How many batches a whole epoch has on this rank."""
        return len(self.loader)

    @property
    def options(self) -> LoaderOptions:
        return self.loader.options

    @property
    def epoch(self) -> int:
        """The epoch that is under way, or comes next where none is, from 0."""
        return self.loader.epoch

    def set_epoch(self, epoch: int) -> None:
        """Makes the next `for` go through `epoch` from its beginning."""
        self.loader.set_epoch(epoch)

    def get_performance_report(self) -> dict[str, Any]:
        """The run so far, as of a `forebay.Loader`. Not with `enable_metrics=False`."""
        return self.loader.get_performance_report()

    def state_dict(self) -> dict[str, Any]:
        """Where the consumer is, after the last batch that it was given."""
        return self.loader.state_dict()

    def load_state_dict(self, state: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Makes the next `for` go on where the state was saved, or all ranks' states were."""
        self.loader.load_state_dict(state)
