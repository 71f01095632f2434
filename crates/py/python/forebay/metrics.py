"""What was measured: counters, latencies and sizes, as plain dicts that can be added up and written.

    before = forebay.metrics.snapshot()
    train_one_epoch()
    print(forebay.metrics.to_csv(forebay.metrics.diff(forebay.metrics.snapshot(), before)))

`snapshot()` is of this process, over all loaders and calls; `Loader.snapshot()` is of one loader, its bytes
in flight, stages and queues among it. Processes and ranks send theirs to one place, as JSON or pickled, and
`merge` gives what one process would have counted, bucket by bucket. The names, and what a conspicuous value
points to, are in the project's `docs/metrics.md`.
"""

from collections.abc import Mapping
from typing import Any

from ._forebay import _metrics_diff, _metrics_merge, _metrics_read, _metrics_write, snapshot

__all__ = ["diff", "from_json", "merge", "snapshot", "to_csv", "to_hlog", "to_json", "to_prometheus"]


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


def to_hlog(snapshot: Mapping[str, Any], begin: float = 0.0, length: float = 0.0) -> str:
    """An interval log of HdrHistogram (V2): every bucket of every distribution, a tag for each.

    begin: seconds since 1970-01-01 UTC at which counting began. length: for how many seconds.
    """
    return _metrics_write(snapshot, "hlog", begin, length)
