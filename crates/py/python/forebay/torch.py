"""Forebay where PyTorch is expected: a drop-in for `torch.utils.data.DataLoader`, and datasets for it.

    loader = forebay.torch.DataLoader("train", batch_size=32, shuffle=True, pin_memory="auto")
    for images in loader:         # a tensor of uint8, of shape (samples, bytes)
        ...

`DataLoader` reads with threads that never run Python, so `num_workers=0` is its fastest setting: there is no
worker process to feed. Where worker processes are wanted all the same, because a transform in Python costs
more than a core has, `IterableDataset` and `MapDataset` go into `torch.utils.data.DataLoader`, whose workers
then read disjoint shards.
"""

import itertools
import operator
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.utils.data

from ._forebay import (
    Batch,
    Batches,
    Dataset,
    InvalidConfigError,
    Loader,
    LoaderOptions,
    create_async_loader,
    create_dataset,
)
from ._handing import HandingLoader, Options, Source, read_options
from .metrics import Spool, merge

__all__ = ["DataLoader", "IterableDataset", "MapDataset"]


class _Ungiven:
    """The default of an argument for which None, or what PyTorch has for a default, is worth saying."""

    def __repr__(self) -> str:
        return "..."


_UNGIVEN: Any = _Ungiven()


def _refuse(name: str, value: object, why: str) -> InvalidConfigError:
    return InvalidConfigError(f"{name}={value!r} cannot be honoured: {why}")


class DataLoader(HandingLoader):
    """Batches as tensors. Takes the arguments of `torch.utils.data.DataLoader`, obeys or refuses each, and
    more: `options` (what else a loader of Forebay takes, under its own names), `device` (where batches are
    to be) and `with_ids` (each item is a pair of the batch and its samples' numbers).

    `dataset` is a path, a URI, a `forebay.Dataset`, or one of the datasets of this module. An argument that
    is given wins over the same in `options`; what neither says is as in PyTorch (batches of one sample) or,
    where PyTorch has no such thing, the default of `LoaderOptions`. Of a dataset of this module its source, its
    options and the epoch that was set are taken; one with a `transform` or a loaded state is refused, because both
    are its own.

    `num_workers` counts batches that are read at the same time, by threads; 0 leaves it to Forebay.
    `in_order=False` is `loading_mode="completion"`. A `generator` gives its initial seed.
    """

    def __init__(
        self,
        dataset: "Source | IterableDataset | MapDataset",
        batch_size: int = _UNGIVEN,
        shuffle: bool | None = None,
        sampler: None = None,
        batch_sampler: None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[torch.Tensor]], Any] | None = None,
        pin_memory: bool | str | None = None,
        drop_last: bool | None = None,
        timeout: float = _UNGIVEN,
        worker_init_fn: None = None,
        multiprocessing_context: None = None,
        generator: torch.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool | None = None,
        pin_memory_device: str = "",
        in_order: bool = _UNGIVEN,
        device: torch.device | str | None = None,
        options: Options = None,
        with_ids: bool = False,
        enable_metrics: bool | Mapping[str, Any] = True,
    ) -> None:
        why_not = {
            "sampler": "the order is that of shuffle, shuffle_window, random_index_mode and seed; for another "
            "give the sampler to torch.utils.data.DataLoader over a forebay.torch.MapDataset",
            "batch_sampler": "give it to torch.utils.data.DataLoader over a forebay.torch.MapDataset",
            "worker_init_fn": "there are no worker processes that it could run in",
            "multiprocessing_context": "there are no worker processes; for some give it to "
            "torch.utils.data.DataLoader over a forebay.torch.IterableDataset",
        }
        given = {
            "sampler": sampler,
            "batch_sampler": batch_sampler,
            "worker_init_fn": worker_init_fn,
            "multiprocessing_context": multiprocessing_context,
        }
        for name, value in given.items():
            if value is not None:
                raise _refuse(name, value, why_not[name])
        if batch_size is None:
            why = "batches are what is read; for single samples give a forebay.torch.IterableDataset to "
            raise _refuse("batch_size", None, why + "torch.utils.data.DataLoader")
        epoch = 0
        if isinstance(dataset, (IterableDataset, MapDataset)):
            if dataset.transform is not None:
                why = "batches are handed over whole; give a collate_fn that does it, or give the dataset to "
                raise _refuse("transform", dataset.transform, why + "torch.utils.data.DataLoader")
            if isinstance(dataset, IterableDataset):
                if dataset._state is not None:
                    why = "a state was loaded into it, which is in its own samples; give it a new dataset, and the "
                    raise _refuse("dataset", dataset, why + "state of a DataLoader to its load_state_dict")
                epoch = dataset._set[1].item()
            if options is None:
                options = dataset.options
            dataset = dataset.source
        elif isinstance(dataset, torch.utils.data.Dataset):
            raise TypeError(
                f"dataset must be a path, a URI, a forebay.Dataset or one of forebay.torch, is {type(dataset)}; "
                "torch.utils.data.DataLoader loads it"
            )

        changes: dict[str, Any] = {}
        if batch_size is not _UNGIVEN:
            changes["batch_size"] = batch_size
        elif options is None or (not isinstance(options, LoaderOptions) and "batch_size" not in options):
            changes["batch_size"] = 1
        if shuffle is not None:
            changes["shuffle"] = shuffle
        if num_workers:
            changes["num_workers"] = num_workers
        if pin_memory is not None:
            changes["pin_memory"] = pin_memory
        if drop_last is not None:
            changes["drop_last"] = drop_last
        if timeout is not _UNGIVEN:
            # 0 is PyTorch's word for no limit.
            changes["timeout"] = None if timeout == 0 else timeout
        if generator is not None:
            changes["seed"] = generator.initial_seed() % 2**64
        if prefetch_factor is not None:
            changes["prefetch"] = prefetch_factor * max(1, num_workers)
        if persistent_workers is not None:
            changes["persistent_workers"] = persistent_workers
        if in_order is not _UNGIVEN and not in_order:
            changes["loading_mode"] = "completion"
        if isinstance(options, LoaderOptions):
            wanted = options.replace(**changes)
        else:
            wanted = LoaderOptions(**{**(options or {}), **changes})
        if in_order is not _UNGIVEN and in_order and wanted.loading_mode == "completion":
            wanted = wanted.replace(loading_mode="ordered")

        self.device = None if device is None else torch.device(device)
        self.pin_memory = _pins(wanted, pin_memory_device)
        self.non_blocking = _blocks_not(wanted, self.device, self.pin_memory)
        if collate_fn is not None and wanted.collate != "auto":
            raise _refuse("collate", wanted.collate, "collate_fn says how a batch is put together; give one of them")
        self.collate_fn = collate_fn
        self.wanted = wanted
        super().__init__(dataset, wanted.replace(pin_memory=False, non_blocking=False), with_ids=with_ids, enable_metrics=enable_metrics)
        if epoch:
            self.set_epoch(epoch)

    @property
    def options(self) -> LoaderOptions:
        """What was asked for."""
        return self.wanted

    @property
    def dataset(self) -> Dataset | None:
        return self.loader.dataset

    @property
    def batch_size(self) -> int:
        return self.wanted.batch_size

    @property
    def num_workers(self) -> int:
        """Batches that are read at the same time."""
        return self.wanted.num_workers

    @property
    def drop_last(self) -> bool:
        return self.wanted.drop_last

    def _hand_over(self, batch: Batch) -> Any:
        if self.collate_fn is None:
            return self._moved(batch.to_torch())
        whole = torch.from_dlpack(batch)
        spans = zip(batch.offsets, batch.lengths)
        return self._moved(self.collate_fn([whole[start : start + length] for start, length in spans]))

    def _ids(self, batch: Batch) -> torch.Tensor:
        return torch.tensor(batch.ids)

    def _moved(self, value: Any) -> Any:
        """Pinned and on the device, wherever tensors are in it."""
        if not self.pin_memory and self.device is None:
            return value
        if isinstance(value, torch.Tensor):
            if self.pin_memory:
                value = value.pin_memory()
            return value if self.device is None else value.to(self.device, non_blocking=self.non_blocking)
        if isinstance(value, Mapping):
            return {key: self._moved(item) for key, item in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(self._moved(item) for item in value))
        if isinstance(value, (list, tuple)):
            return type(value)(self._moved(item) for item in value)
        return value


def _pins(options: LoaderOptions, device: str) -> bool:
    if device not in ("", "cuda"):
        raise _refuse("pin_memory_device", device, "memory is pinned for CUDA only")
    if options.pin_memory is False:
        return False
    there = torch.cuda.is_available()
    if options.pin_memory is True and not there:
        raise _refuse("pin_memory", True, "PyTorch finds no CUDA here; pin_memory='auto' pins where there is some")
    return there


def _blocks_not(options: LoaderOptions, device: torch.device | None, pinned: bool) -> bool:
    if options.non_blocking is True and device is None:
        raise _refuse("non_blocking", True, "it says how batches are copied to `device`, which is not given")
    if options.non_blocking is True and device is not None and device.type == "cuda" and not pinned:
        raise _refuse("non_blocking", True, "a copy from memory that is not pinned blocks; set pin_memory too")
    return options.non_blocking is True or (options.non_blocking == "auto" and pinned and device is not None)


class IterableDataset(torch.utils.data.IterableDataset):
    """Samples for `torch.utils.data.DataLoader`, one tensor of uint8 each; or, with `batches=True`, whole
    batches as `forebay.torch.DataLoader` has them, for a DataLoader with `batch_size=None`.

    In the worker processes of a DataLoader each reads a shard of its own: with W workers on each of R ranks
    the dataset is cut into R·W disjoint shards, and `max_bytes_in_flight` is shared out among the W. What does
    not divide evenly among those is `shard_remainder`'s.

    `transform` is called with each item. Each iteration is an epoch; where a DataLoader starts new workers for
    each of its epochs they know of no earlier one: call `set_epoch` before.
    """

    def __init__(
        self,
        source: Source,
        options: Options = None,
        *,
        batches: bool = False,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.options = read_options(options)
        if not batches and self.options.collate != "auto":
            raise _refuse("collate", self.options.collate, "samples are handed over one by one; give batches=True")
        # A listing that goes on while it is loaded is each process's own.
        known = isinstance(source, Dataset) or self.options.loading_mode == "streaming"
        self.source = source if known else create_dataset(source)
        self.batches = batches
        self.transform = transform
        # Shared with workers that live on: how often the epoch was set, and to what.
        self._set = torch.zeros(2, dtype=torch.int64).share_memory_()
        self._seen = 0
        self._loader: Loader | None = None
        # Where worker processes leave what they counted.
        self._spool = Spool()
        self._left = 0.0
        self._state: _State | None = None
        # How often the epoch had been set when that was loaded.
        self._state_set = 0
        self._running: "_Items | None" = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loader": None, "_running": None}

    def _bound(self) -> Loader:
        """The loader of this process: of its worker's shard, if it is one."""
        options = self.options
        worker = torch.utils.data.get_worker_info()
        if worker is not None:
            options = options.replace(
                shard_rank=worker.id * options.shard_world_size + options.shard_rank,
                shard_world_size=options.shard_world_size * worker.num_workers,
                max_bytes_in_flight=max(1, options.max_bytes_in_flight // worker.num_workers),
            )
        if self._loader is None or self._loader.options != options:
            self._loader = create_async_loader(self.source, options)
            if worker is not None:
                self._spool.follow(self._loader)
            # Also where a fork brought along what the parent had seen: the loader is new.
            self._seen = 0
        return self._loader

    def __iter__(self) -> "_Items":
        loader = self._bound()
        times, epoch = self._set.tolist()
        if times != self._seen:
            self._seen = times
            loader.set_epoch(epoch)
        self._running = _Items(self, loader)
        # An epoch that was set since is gone through from its beginning, unless it is the state's.
        if self._state is not None and (times == self._state_set or epoch == _epoch(self._state)):
            self._running.load_state_dict(self._state)
        self._state = None
        return self._running

    def __len__(self) -> int:
        """How many samples this rank has."""
        if self.batches:
            raise TypeError("how many batches there are depends on the number of workers")
        # It is made for the count alone, and needs no room in a memory cap for batches.
        options = self.options.replace(batch_size=1, max_bytes_in_flight=1)
        return len(create_async_loader(self.source, options))

    def snapshot(self) -> dict[str, Any]:
        """What was counted by this process and by workers, together: as of one loader (`forebay.metrics`).

        Workers tell with their first batch, once a second while they read, at the end of each of their epochs, and when
        they end.
        """
        return _with_workers(self._loader, self._spool)

    def _tell(self) -> None:
        """Leaves what was counted in a worker process, with its first batch and once a second."""
        if torch.utils.data.get_worker_info() is not None and time.monotonic() - self._left >= 1.0:
            self._spool.leave()
            self._left = time.monotonic()

    def set_epoch(self, epoch: int) -> None:
        """Makes the next iteration go through `epoch`, also in worker processes that are running."""
        self._set[1] = epoch
        self._set[0] += 1

    def state_dict(self) -> dict[str, Any]:
        """Where this process is, after the last item that it gave."""
        if self._running is not None:
            return self._running.state_dict()
        loader = self._bound()
        return {"loader": loader.state_dict(), "taken": 0, "own": _own(loader)}

    def load_state_dict(self, state: "_State") -> None:
        """Makes the next iteration go on where the state was saved, with the same ranks and workers.

        A list of the states of all of them, each after as many items as it likes, goes on on any number of ranks and
        workers, which must all be given it.
        """
        self._state = state if isinstance(state, Mapping) else list(state)
        self._state_set = self._set[0].item()
        self._running = None


class _Items:
    """One epoch of an `IterableDataset`, sample by sample or batch by batch, in one process."""

    def __init__(self, dataset: IterableDataset, loader: Loader) -> None:
        self._dataset = dataset
        self._loader = loader
        self._batches: Batches | None = None
        self._samples: Iterator[torch.Tensor] = iter(())
        # Where the batch in hand begins, and how many of its samples were given.
        self._before: Mapping[str, Any] = {}
        self._taken = 0
        # The batch in hand, of which samples are given.
        self._batch: Batch | None = None

    def __iter__(self) -> "_Items":
        return self

    def _begun(self) -> Batches:
        """The batches of the epoch, which begins when the first is asked for."""
        if self._batches is None:
            self._batches = iter(self._loader)
            self._before = self._loader.state_dict()
        return self._batches

    def __next__(self) -> Any:
        try:
            return self._next(self._begun())
        except StopIteration:
            # Before anybody hears of the end.
            if torch.utils.data.get_worker_info() is not None:
                self._dataset._spool.leave()
            raise

    def _next(self, batches: Batches) -> Any:
        if self._dataset.batches:
            batch = next(batches)
            self._dataset._tell()
            return self._given(batch.to_torch())
        sample = next(self._samples, None)
        while sample is None:
            # All that was given before is a whole number of batches.
            self._before, self._taken = self._loader.state_dict(), 0
            self._batch = next(batches)
            self._dataset._tell()
            self._samples = _samples(self._batch)
            sample = next(self._samples, None)
        self._taken += 1
        return self._given(sample)

    def _given(self, item: Any) -> Any:
        transform = self._dataset.transform
        return item if transform is None else transform(item)

    def state_dict(self) -> dict[str, Any]:
        self._begun()
        before = self._loader.state_dict() if self._dataset.batches else self._before
        return {"loader": dict(before), "taken": self._taken, "own": _own(self._loader, self._batch, self._taken)}

    def load_state_dict(self, state: "_State") -> None:
        if self._batches is not None:
            self._batches.close()
            self._batches, self._samples, self._taken, self._batch = None, iter(()), 0, None
        if not isinstance(state, Mapping):
            self._loader.load_state_dict(_together(state, self._loader))
            self._begun()
            return
        self._loader.load_state_dict(state["loader"])
        batches = self._begun()
        if state["taken"]:
            self._batch = next(batches)
            self._samples = _samples(self._batch)
            self._taken = sum(1 for _ in itertools.islice(self._samples, state["taken"]))


# Where a process is, or where all of them are.
_State = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def _own(loader: Loader, batch: Batch | None = None, taken: int = 0) -> dict[str, Any] | None:
    """Where this process alone is, sample by sample; of a listing under way nobody can say."""
    if loader.options.loading_mode == "streaming":
        return None
    return loader._own_state() if batch is None else loader._own_state(batch, taken)


def _epoch(state: _State) -> int:
    states = [state] if isinstance(state, Mapping) else state
    return min(one["loader"]["epoch"] for one in states)


def _together(states: Sequence[Mapping[str, Any]], loader: Loader) -> list[Mapping[str, Any]]:
    """The states of loaders that go on together from these of datasets."""
    if loader.options.loading_mode != "streaming":
        missing = [number for number, state in enumerate(states) if state.get("own") is None]
        if missing:
            raise ValueError(f"state {missing[0]} says nothing of its process alone; several go on together if all do")
        return [state["own"] for state in states]
    inside = [number for number, state in enumerate(states) if state["taken"]]
    if inside:
        raise ValueError(
            f"state {inside[0]} was saved inside a batch, and with loading_mode='streaming' several go on together only "
            "from between batches"
        )
    return [state["loader"] for state in states]


def _with_workers(loader: Loader | None, spool: Spool) -> dict[str, Any]:
    here = [] if loader is None else [loader.snapshot()]
    return merge(*here, *spool.snapshots())


def _samples(batch: Batch) -> Iterator[torch.Tensor]:
    whole = torch.from_dlpack(batch)
    return (whole[start : start + length] for start, length in zip(batch.offsets, batch.lengths))


_DEFAULTS = LoaderOptions()

# What reading samples by their numbers has no use for, and why.
_NOT_BY_NUMBER = {
    (
        "shuffle",
        "shuffle_window",
        "random_index_mode",
        "seed",
        "loading_mode",
    ): "which sample comes when is the sampler's of torch.utils.data.DataLoader; give that one, or use a "
    "forebay.torch.IterableDataset or DataLoader",
    (
        "shard_rank",
        "shard_world_size",
        "shard_remainder",
    ): "ranks are torch.utils.data.DistributedSampler's; give that one, or use a forebay.torch.IterableDataset",
    ("batch_size", "drop_last", "collate", "timeout"): "batches are torch.utils.data.DataLoader's; give it there",
    (
        "num_workers",
        "prefetch",
        "persistent_workers",
    ): "what is asked for together is read at once, and nothing ahead; give torch.utils.data.DataLoader its own",
    ("on_error",): "a sampler that asks for a sample must get that one, and no other or none; catch the error, or use "
    "a forebay.torch.IterableDataset",
}


class MapDataset(torch.utils.data.Dataset):
    """Samples by number for `torch.utils.data.DataLoader`, one tensor of uint8 each: `shuffle`, samplers and
    batch samplers are PyTorch's. The samples of a batch are read together.

    `transform` is called with each sample. Options say how a sample is read; those of an order, of ranks and of
    losses are refused, because samplers say which sample is wanted, and it is that or an error.
    """

    def __init__(
        self, source: Source, options: Options = None, *, transform: Callable[[torch.Tensor], Any] | None = None
    ) -> None:
        self.options = read_options(options)
        for names, why in _NOT_BY_NUMBER.items():
            for name in names:
                value = getattr(self.options, name)
                if value != getattr(_DEFAULTS, name):
                    raise _refuse(name, value, why)
        self.source = source if isinstance(source, Dataset) else create_dataset(source)
        self.transform = transform
        self._loader = create_async_loader(self.source, self.options)
        # Where worker processes leave what they counted, and when this one did.
        self._spool = Spool()
        self._left = 0.0

    def snapshot(self) -> dict[str, Any]:
        """What was counted by this process and by workers, together: as of one loader (`forebay.metrics`).

        Workers tell when they end; those that live on, once a second while they read.
        """
        return _with_workers(self._loader, self._spool)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        total = len(self)
        ids = []
        for index in map(operator.index, indices):
            if not -total <= index < total:
                raise IndexError(f"sample {index} of a dataset of {total}")
            ids.append(index % total)
        samples = _samples(self._loader.read(ids))
        if torch.utils.data.get_worker_info() is not None:
            self._spool.follow(self._loader)
            if time.monotonic() - self._left >= 1.0:
                self._spool.leave()
                self._left = time.monotonic()
        return list(samples if self.transform is None else map(self.transform, samples))
