from collections.abc import Callable, Mapping
from os import PathLike
from types import TracebackType
from typing import Any, Self

from ._options import LoaderOptions

class record:
    path: str | PathLike[str]
    rotate_bytes: int | None
    options: LoaderOptions | Mapping[str, Any] | None
    result: dict[str, Any] | None
    def __init__(
        self,
        path: str | PathLike[str],
        *,
        rotate_bytes: int | None = None,
        options: LoaderOptions | Mapping[str, Any] | None = None,
    ) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        *_: type[BaseException] | BaseException | TracebackType | None,
    ) -> None: ...

def info(
    path: str | PathLike[str],
    *,
    format: str | None = None,
    bucket: str | None = None,
    base: str | PathLike[str] | None = None,
) -> dict[str, Any]: ...
def convert(
    path: str | PathLike[str],
    out: str | PathLike[str],
    *,
    format: str | None = None,
    to: str | None = None,
    bucket: str | None = None,
    base: str | PathLike[str] | None = None,
) -> dict[str, Any]: ...
def diff(
    a: str | PathLike[str],
    b: str | PathLike[str],
    *,
    format: str | None = None,
    bucket: str | None = None,
    base: str | PathLike[str] | None = None,
) -> dict[str, Any]: ...
def synth(
    out: str | PathLike[str],
    prefix: str | PathLike[str],
    *,
    arrivals: str = "poisson:1000",
    sizes: str = "lognormal:128KiB,1.0",
    objects: int = 1000,
    operations: int = 10_000,
    seed: int = 0,
    to: str | None = None,
) -> int: ...
def replay(
    path: str | PathLike[str],
    *,
    options: Any = None,
    format: str | None = None,
    bucket: str | None = None,
    base: str | PathLike[str] | None = None,
    progress: Callable[[dict[str, Any]], object] | None = None,
    enable_metrics: bool | Mapping[str, Any] = False,
    mode: str = "open",
    time_scale: float | None = None,
    concurrency: int | None = None,
    start: float = 0.0,
    stop: float | None = None,
    max_in_flight: int = 1024,
    max_bytes_in_flight: int | str = ...,
    page_cache_mode: str = "default",
    priority: str = "fair",
    map: dict[str, str] | None = None,
    mutate: bool = False,
    loops: int = 1,
    skip: int = 0,
    prepare: bool = False,
    replace: bool = False,
    max_submit_error: float | None = None,
    max_drift: float | None = None,
    max_gap_distance: float | None = None,
    max_size_distance: float | None = None,
    max_latency_distance: float | None = None,
    max_envelope_deviation: float | None = None,
    max_failures: int | None = None,
    max_capped: int | None = None,
    exact: bool = False,
) -> dict[str, Any]: ...
