"""What this process did: counters, latencies and sizes over all loaders and calls.

The names, and what a conspicuous value points to, are in the project's `docs/metrics.md`. What one
loader did, its bytes in flight, stages and queues among it, is in `Loader.snapshot()`.
"""

from ._forebay import snapshot

__all__ = ["snapshot"]
