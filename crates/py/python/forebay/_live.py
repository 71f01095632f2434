"""One line that says how a loader goes now: MiB/s, p99 and readiness of the last interval, not of the whole run."""

import sys
import time
from typing import Any, TextIO


class Live:
    """A line on standard error, drawn again every `interval` seconds while a loader is iterated.

    `create_async_loader(..., progress=True)` makes one; `progress=Live(force=True)` one that also writes, line by
    line, where there is no terminal. `file` is standard error unless it is given.
    """

    def __init__(self, *, interval: float = 0.5, file: TextIO | None = None, force: bool = False) -> None:
        if not interval > 0:
            raise ValueError(f"interval is {interval}: seconds, more than 0")
        self._interval = interval
        self._file = file
        self._force = force
        self._loader: Any = None
        self._before: dict[str, Any] | None = None
        self._read_at = self._told_at = time.monotonic()
        self._epoch = -1
        # Whether a line stands on the terminal that has not been ended.
        self._open = False

    def __reduce__(self) -> tuple[Any, ...]:
        # What was measured, and where it is written, are of this process.
        return _made, (self._interval, self._force)

    def figures(self) -> dict[str, str]:
        """MiB/s, p99 and readiness since the last call, as `tqdm.set_postfix` takes them; "-" where nothing is known."""
        loader = self._loader
        if loader is None:
            return {}
        if not loader.enable_metrics:
            return {"MiB/s": "-", "p99": "-", "ready": "-"}
        now, at = loader.snapshot(), time.monotonic()
        before, self._before = self._before, now
        elapsed, self._read_at = at - self._read_at, at
        try:
            between = _diff(now, before) if before is not None else now
        except ValueError:
            # A loader that was made anew in this process, of a parent's.
            between = now
        rate = between["backend_counters"]["bytes_read"] / max(elapsed, 1e-9) / (1 << 20)
        latency = between["latency_us_hist"]["p99"]
        sink = next((queue for queue in between["queues"] if queue["role"] == "sink"), None)
        ready = sink["data_readiness"] if sink else None
        return {
            "MiB/s": f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}",
            "p99": "-" if latency is None else _duration(latency * 1e3),
            "ready": "-" if ready is None else f"{ready * 100:.1f} %",
        }

    def __call__(self, progress: Any) -> None:
        """Told by the loader after each batch."""
        file = self._file or sys.stderr
        on_terminal = bool(file is not None and getattr(file, "isatty", bool)())
        if file is None or not (on_terminal or self._force):
            return
        now = time.monotonic()
        ended = progress.batches == progress.batches_total
        if progress.epoch != self._epoch:
            self._epoch = progress.epoch
            if self._open:
                # Of an epoch that was left early, or whose length nobody knew.
                file.write("\n")
                self._open = False
            if self._before is None:
                # Not since the loader was made, which may be long ago.
                self._read_at = self._told_at = now - progress.elapsed
        if now - self._told_at < self._interval and not ended:
            return
        self._told_at = now
        figures = self.figures()
        if not figures:
            return
        # Unknown while a listing still goes on.
        total = "" if progress.batches_total is None else f"/{progress.batches_total:,}"
        line = (
            f"epoch {progress.epoch + 1}  {progress.batches:,}{total} batches  "
            f"{figures['MiB/s']} MiB/s  p99 {figures['p99']}  ready {figures['ready']}"
        )
        if on_terminal:
            file.write(f"\r\x1b[2K{line}" + ("\n" if ended else ""))
            self._open = not ended
        else:
            file.write(line + "\n")
        file.flush()

    def watch(self, loader: Any) -> None:
        """Speaks of this loader from now on. A loader that it is the progress of says so by itself."""
        self._loader = loader


def _made(interval: float, force: bool) -> Live:
    return Live(interval=interval, force=force)


def _diff(later: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    from .metrics import diff

    return diff(later, earlier)


def _duration(ns: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"
