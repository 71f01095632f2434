"""What was measured: counters, latencies and sizes, as plain dicts that can be added up and written.

    before = forebay.metrics.snapshot()
    train_one_epoch()
    print(forebay.metrics.to_csv(forebay.metrics.diff(forebay.metrics.snapshot(), before)))

`snapshot()` is of this process, over all loaders and calls; `Loader.snapshot()` is of one loader, its bytes
in flight, stages and queues among it. Processes and ranks send theirs to one place, as JSON or pickled, and
`merge` gives what one process would have counted, bucket by bucket. The names, and what a conspicuous value
points to, are in the project's `docs/metrics.md`.
"""

import contextlib
import multiprocessing.util
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ._forebay import Loader, MetricsCollector, _metrics_diff, _metrics_merge, _metrics_read, _metrics_write, snapshot
from ._live import Live

__all__ = [
    "Live",
    "MetricsCollector",
    "Spool",
    "diff",
    "from_json",
    "live",
    "merge",
    "snapshot",
    "to_csv",
    "to_hlog",
    "to_json",
    "to_openmetrics",
    "to_prometheus",
]


def live(loader: Loader) -> Live:
    """What a loader does now: `live(loader).figures()` is MiB/s, p99 and readiness since the last call.

        live = forebay.metrics.live(loader)
        for batch in (bar := tqdm(loader)):
            bar.set_postfix(live.figures())
    """
    made = Live()
    made.watch(loader)
    return made


def merge(*snapshots: Mapping[str, Any]) -> dict[str, Any]:
    """What these counted together. Levels and counts add up; of peaks and caps the highest stays.

    Raises InvalidConfigError (a ValueError) for what is no snapshot, or has other buckets.
    """
    return _metrics_merge(list(snapshots))


def diff(later: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """What was counted between two snapshots of the same loader or process.

    Peaks stay those of the whole run until then. Raises InvalidConfigError (a ValueError) if `earlier` has
    counted more.
    """
    return _metrics_diff(later, earlier)


def to_json(snapshot: Mapping[str, Any]) -> str:
    """One line of JSON, which `from_json` and `forebay report` read."""
    return _metrics_write(snapshot, "json", 0.0, 0.0)


def from_json(text: str) -> dict[str, Any]:
    """Reads and checks what `to_json` wrote. Raises InvalidConfigError (a ValueError) for anything else."""
    return _metrics_read(text)


def to_csv(snapshot: Mapping[str, Any]) -> str:
    """A table with one figure a row, its first line the names of the columns."""
    return _metrics_write(snapshot, "csv", 0.0, 0.0)


def to_prometheus(snapshot: Mapping[str, Any]) -> str:
    """The text that Prometheus scrapes, with exact buckets; durations are in seconds."""
    return _metrics_write(snapshot, "prometheus", 0.0, 0.0)


def to_openmetrics(snapshot: Mapping[str, Any]) -> str:
    """The same in the form of OpenMetrics 1.0, for collectors that read it strictly."""
    return _metrics_write(snapshot, "openmetrics", 0.0, 0.0)


def to_hlog(snapshot: Mapping[str, Any], begin: float = 0.0, length: float = 0.0) -> str:
    """An interval log of HdrHistogram (V2): every bucket of every distribution, a tag for each.

    begin: seconds since 1970-01-01 UTC at which counting began. length: for how many seconds.
    """
    return _metrics_write(snapshot, "hlog", begin, length)


class Measured(Protocol):
    """What counts: a `forebay.Loader`, or a `MetricsCollector`."""

    def snapshot(self) -> dict[str, Any]: ...


class Spool:
    """A place where worker processes leave what they counted, and from which one process reads the sum.

        spool = forebay.metrics.Spool()
        # in each worker, which got the spool with its arguments, over a fork or pickled:
        spool.follow(loader)
        # in the parent, once the workers have ended:
        print(forebay.metrics.to_json(spool.merged()))

    What a worker left is replaced by what it leaves later, so nothing counts twice. It is a folder of
    temporary files, which goes when the process that made the spool lets go of it.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="forebay-metrics-"))
        self._followed: tuple[int, str, list[Measured]] | None = None
        _folders[self._folder] = os.getpid()
        weakref.finalize(self, _remove, self._folder, os.getpid())

    def __getstate__(self) -> dict[str, Any]:
        return {"_folder": self._folder, "_followed": None}

    def _here(self) -> tuple[int, str, list[Measured]]:
        """The name of this process's file, and who is followed here: none of what a parent followed."""
        if self._followed is None or self._followed[0] != os.getpid():
            self._followed = (os.getpid(), f"{os.getpid()}-{secrets.token_hex(8)}", [])
        return self._followed

    def follow(self, measured: Measured) -> None:
        """Leaves what `measured` has counted when this process ends, and whenever `leave` is called before."""
        _, _, followed = self._here()
        if any(one is measured for one in followed):
            return
        followed.append(measured)
        if len(followed) == 1:
            # Also of processes that multiprocessing forked, which run no exit handlers of the interpreter.
            multiprocessing.util.Finalize(None, self.leave, exitpriority=100)

    def leave(self, snapshot: Mapping[str, Any] | None = None) -> None:
        """Leaves what was counted until now, in place of what this process left before.

        snapshot: what to leave, in place of what those have counted that this process follows.
        """
        _, name, followed = self._here()
        if snapshot is None:
            snapshot = merge(*(one.snapshot() for one in followed))
        # Never half a file under this name. Where the folder is gone, so is whoever would have read it.
        part = self._folder / f"{name}.part"
        with contextlib.suppress(FileNotFoundError):
            part.write_text(to_json(snapshot))
            part.replace(self._folder / f"{name}.json")

    def snapshots(self) -> list[dict[str, Any]]:
        """What each process left last."""
        return [from_json(path.read_text()) for path in sorted(self._folder.glob("*.json"))]

    def merged(self) -> dict[str, Any]:
        """What all processes counted together, bucket by bucket as if they had been one."""
        return merge(*self.snapshots())


# The folders of this process's spools, with the process; a forked child has its parent's here, too.
_folders: dict[Path, int] = {}
# Operations that were left in each, also of those that are gone.
_told: dict[Path, int] = {}


def _look(folder: Path) -> None:
    operations = 0
    for path in folder.glob("*.json"):
        # The spool may be let go of at any moment, and then it was looked at there.
        with contextlib.suppress(FileNotFoundError):
            operations += sum(operation["ops"] for operation in from_json(path.read_text())["operations"].values())
    if operations > _told.get(folder, 0):
        _told[folder] = operations


def _operations_of_workers() -> int:
    """Operations that worker processes have told this one of, since it began."""
    for folder, owner in list(_folders.items()):
        if owner == os.getpid():
            _look(folder)
    return sum(list(_told.values()))


def _remove(folder: Path, owner: int) -> None:
    # A forked child has the parent's spool, too.
    if os.getpid() == owner:
        _look(folder)
        _folders.pop(folder, None)
        shutil.rmtree(folder, ignore_errors=True)
