//! A histogram that many threads record into without waiting for each other.
//!
//! Each thread adds to buckets of its own; reading merges them into an `hdrhistogram::Histogram`
//! or a [`HistogramSummary`]. What is recorded can be read at any time, also while the recording
//! thread sleeps or after it has ended.
//!
//! It is not a time series: counts only ever grow. For an interval, see [`HistogramSummary::since`].
//!
//! # Memory
//!
//! Buckets are taken a page at a time, one page for each power of two of values that a thread has
//! really seen: 8 KiB with three digits, 1 MiB with five. A thread whose latencies lie between 8 µs
//! and 1 ms holds 8 pages or 64 KiB; the most that a latency histogram of three digits can take is
//! 33 pages or 264 KiB a thread. An unused histogram takes about 2 KiB.

use std::fmt;

use crate::histogram_shard::{HistogramShard, Totals};
use crate::layout::{Digits, Layout};
use crate::recording::{Plan, RecordingError, RecordingOptions};
use crate::sharded::Sharded;
use crate::summary::HistogramSummary;
use crate::tally::Writer;

/// Log-linear counts of values, recorded in per-thread shards; see the [module](self).
pub struct PerformanceHistogram {
    plan: Plan,
    shards: Sharded<HistogramShard>,
}

impl PerformanceHistogram {
    /// An empty histogram.
    pub fn new(layout: Layout) -> PerformanceHistogram {
        PerformanceHistogram { plan: Plan::whole(layout), shards: Sharded::new() }
    }

    /// An empty histogram of this range that keeps what the options say.
    ///
    /// # Errors
    /// A sampling rate or batch size that cannot be.
    pub fn with_options(
        layout: fn(Digits) -> Layout,
        options: RecordingOptions,
    ) -> Result<PerformanceHistogram, RecordingError> {
        Ok(PerformanceHistogram { plan: options.plan(layout)?, shards: Sharded::new() })
    }

    /// What is in range and how finely it is kept.
    pub fn layout(&self) -> &Layout {
        &self.plan.layout
    }

    /// Counts one value. A value out of range is clamped and counted as clamped.
    ///
    /// Wait-free but for the first value a thread records in each power of two, which allocates.
    #[inline]
    pub fn record(&self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts `n` values that are all the same.
    #[inline]
    pub fn record_n(&self, value: u64, n: u64) {
        let (shard, writer) = self.mine();
        shard.record_n(&self.plan, value, n, writer);
    }

    /// Counts a batch: the thread's shard is looked up once, and sum, least and most are written once.
    pub fn record_all(&self, values: impl IntoIterator<Item = u64>) {
        let (shard, writer) = self.mine();
        shard.record_all(&self.plan, values.into_iter(), writer);
    }

    #[inline]
    fn mine(&self) -> (&HistogramShard, Writer) {
        self.shards.mine(|| HistogramShard::new(&self.plan))
    }

    /// Everything recorded so far, as an `hdrhistogram::Histogram`.
    pub fn merged(&self) -> hdrhistogram::Histogram<u64> {
        self.summary().to_hdr()
    }

    /// Everything recorded so far: percentiles, exact minimum, mean and maximum, and the buckets.
    pub fn summary(&self) -> HistogramSummary {
        summarize(&self.plan, self.shards.all())
    }

    /// Puts what waits in the calling thread's list into buckets. Readings have it in them either way.
    pub fn flush(&self) {
        let (shard, writer) = self.mine();
        shard.publish(&self.plan, writer);
    }

    /// Values that wait in lists; see [`RecordingOptions::batch_size`].
    pub fn waiting(&self) -> u64 {
        self.shards.all().map(|shard| shard.waiting()).sum()
    }
}

impl fmt::Debug for PerformanceHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerformanceHistogram").field("layout", &self.plan).finish_non_exhaustive()
    }
}

/// Adds shards of one plan up.
pub(crate) fn summarize<'a>(
    plan: &Plan,
    shards: impl Iterator<Item = &'a HistogramShard>,
) -> HistogramSummary {
    let layout = &plan.layout;
    let mut totals = Totals::nothing(layout);
    shards.for_each(|shard| totals.add(shard.read(plan)));
    let Totals { pages, sum, min, max, clamped, skipped } = totals;
    let buckets = pages
        .iter()
        .enumerate()
        .flat_map(|(page, counts)| {
            let first = page * layout.page_len();
            counts
                .iter()
                .enumerate()
                .filter(|&(_, &count)| count > 0)
                .map(move |(offset, &count)| (layout.low_of(first + offset), count))
        })
        .collect();
    HistogramSummary::from_parts(*layout, buckets, sum, min, max, clamped)
        .sampled(plan.sampling_rate, skipped)
}
