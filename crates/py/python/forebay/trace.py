"""Traces of I/O: recorded from this process, described, converted, compared, made up and replayed.

    with forebay.trace.record("epoch.jsonl.zst"):
        for batch in loader: ...

    forebay.trace.info("epoch.jsonl.zst")["summary"]["operations"]
    forebay.trace.replay("epoch.jsonl.zst", map={"file:///data": "s3://bucket/data"})

The format is defined in the project's `docs/trace.md`. Times in results are nanoseconds.
"""

from ._forebay import (
    _begin_trace,
    _end_trace,
    _trace_convert,
    _trace_diff,
    _trace_info,
    _trace_replay,
    _trace_synth,
)
from .metrics import _operations_of_workers

__all__ = ["convert", "diff", "info", "record", "replay", "synth"]


class record:
    """Records everything that this process reads, writes and lists, while the `with` block runs.

    `path` is compressed if it ends in `.zst`. With `rotate_bytes` (65,536 or more) another file is begun
    when one has reached that size. `options` are what the job runs under, as the header of the trace will have them: a
    LoaderOptions, or a dict. `result` then says what became of it: files, records, dropped, bytes, failure. A full
    queue or disk drops operations, counts them, and never stops the work.

    What worker processes of PyTorch's DataLoader read over a dataset of `forebay.torch` is not in the trace either. It is
    counted among the dropped, as far as they have told (`forebay.metrics.Spool`), so that the trace is not complete:
    record with num_workers=0. Other processes record for themselves.
    """

    def __init__(self, path, *, rotate_bytes=None, options=None):
        self.path = path
        self.options = options
        self.rotate_bytes = rotate_bytes
        self.result = None
        self._elsewhere = 0

    def __enter__(self):
        _begin_trace(self.path, self.rotate_bytes, self.options)
        self._elsewhere = _operations_of_workers()
        return self

    def __exit__(self, *_):
        self.result = _end_trace(max(0, _operations_of_workers() - self._elsewhere))


def _reading(format, bucket, base):
    return {"format": format, "bucket": bucket, "base": base}


def info(path, *, format=None, bucket=None, base=None):
    """What a trace holds, as a dict: header, format, complete, dropped, left_out, lacks, summary.

    `format` is forebay, op-log, fio, darshan or strace; left out, it is found by the first lines. `bucket` is that of an
    operation log which names keys alone. Relative file names are taken from the directory `base`, else from the working
    directory. `convert`, `diff` and `replay` take the same.
    """
    return _trace_info(path, _reading(format, bucket, base))


def convert(path, out, *, format=None, to=None, bucket=None, base=None):
    """Converts a trace: to forebay, fio, op-log, csv or parquet, by the name of `out` unless `to` says.

    The result says how many operations were written and left out, and what is lost.
    """
    return _trace_convert(path, out, to, _reading(format, bucket, base))


def diff(a, b, *, format=None, bucket=None, base=None):
    """How two traces differ: both summaries, ratios of totals and distances of distributions."""
    return _trace_diff(a, b, _reading(format, bucket, base))


def synth(
    out,
    prefix,
    *,
    arrivals="poisson:1000",
    sizes="lognormal:128KiB,1.0",
    objects=1000,
    operations=10_000,
    seed=0,
    to=None,
):
    """Makes up a trace of operations on objects beneath `prefix`; the number written is returned.

    `arrivals` is poisson:RATE, bursty:RATE,ON,OFF or epochs:BATCH,STEP,PAUSE; `sizes` is fixed:SIZE or
    lognormal:MEDIAN,SIGMA. The format is that of `to`, else of the name of `out`, else this package's own.
    """
    return _trace_synth(out, prefix, arrivals, sizes, objects, operations, seed, to)


def replay(
    path,
    *,
    options=None,
    format=None,
    bucket=None,
    base=None,
    progress=None,
    enable_metrics=False,
    **replay_options,
):
    """Replays a trace against its locations, or others, and returns how true the replay was.

    Keywords: mode (open, closed, dependency), time_scale, concurrency, start and stop (seconds),
    max_in_flight, max_bytes_in_flight, page_cache_mode, map (a dict from locations to locations), mutate,
    loops, skip, prepare, replace, priority (fair, or realtime: the thread that submits goes before all others).
    `options` are those of the stores.

    Bounds: max_submit_error (seconds), max_drift (parts of a million), max_gap_distance, max_size_distance,
    max_latency_distance, max_envelope_deviation, max_failures, max_capped (operations that a cap delayed), exact (True:
    stores must have been asked for exactly what the trace says). The result's `violations` says
    which were exceeded, or could not be measured.

    What the mode cannot obey is a ValueError: concurrency is for closed, time_scale for the others, and so are bounds on
    times. So is a page_cache_mode that a store cannot obey.

    With `enable_metrics` (True, or a dict as for a loader) the result's `metrics` is a snapshot of what the replay's stores
    did, which `forebay.metrics` writes in any of its formats.

    `progress` is called a few times a second with a dict: position, total, ended, bytes, in_flight, elapsed,
    trace_time, left (seconds). If it returns False the replay ends; `skip` set to the result's `position` goes
    on from there. Ctrl-C ends it with KeyboardInterrupt.
    """
    reading = _reading(format, bucket, base)
    return _trace_replay(path, replay_options, options, reading, progress, enable_metrics)
