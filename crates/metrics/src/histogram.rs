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
use std::sync::OnceLock;

use crate::layout::Layout;
use crate::sharded::{Sharded, Tally, Writer};
use crate::summary::HistogramSummary;

/// Log-linear counts of values, recorded in per-thread shards; see the [module](self).
pub struct PerformanceHistogram {
    layout: Layout,
    shards: Sharded<HistogramShard>,
}

impl PerformanceHistogram {
    /// An empty histogram.
    pub fn new(layout: Layout) -> PerformanceHistogram {
        PerformanceHistogram { layout, shards: Sharded::new() }
    }

    /// What is in range and how finely it is kept.
    pub fn layout(&self) -> &Layout {
        &self.layout
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
        shard.record_n(&self.layout, value, n, writer);
    }

    /// Counts a batch: the thread's shard is looked up once.
    pub fn record_all(&self, values: impl IntoIterator<Item = u64>) {
        let (shard, writer) = self.mine();
        for value in values {
            shard.record_n(&self.layout, value, 1, writer);
        }
    }

    #[inline]
    fn mine(&self) -> (&HistogramShard, Writer) {
        self.shards.mine(|| HistogramShard::new(&self.layout))
    }

    /// Everything recorded so far, as an `hdrhistogram::Histogram`.
    pub fn merged(&self) -> hdrhistogram::Histogram<u64> {
        self.summary().to_hdr()
    }

    /// Everything recorded so far: percentiles, exact minimum, mean and maximum, and the buckets.
    pub fn summary(&self) -> HistogramSummary {
        summarize(&self.layout, self.shards.all())
    }
}

impl fmt::Debug for PerformanceHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerformanceHistogram").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// One thread's part of a histogram. The layout is the owner's, given with each call.
pub(crate) struct HistogramShard {
    pages: Box<[OnceLock<Box<[Tally]>>]>,
    /// Exact, unlike a sum over buckets, so that the mean of equal values is that value.
    sum: Tally,
    min: Tally,
    max: Tally,
    clamped: Tally,
}

impl HistogramShard {
    pub(crate) fn new(layout: &Layout) -> HistogramShard {
        HistogramShard {
            pages: (0..layout.pages()).map(|_| OnceLock::new()).collect(),
            sum: Tally::new(0),
            min: Tally::new(u64::MAX),
            max: Tally::new(0),
            clamped: Tally::new(0),
        }
    }

    #[inline]
    pub(crate) fn record_n(&self, layout: &Layout, value: u64, n: u64, writer: Writer) {
        if n == 0 {
            return;
        }
        let kept = layout.clamp(value);
        if kept != value {
            self.clamped.add(n, writer);
        }
        let index = layout.index_of(kept);
        let page = self.pages[layout.page_of(index)].get_or_init(|| empty_page(layout));
        page[layout.offset_of(index)].add(n, writer);
        self.sum.add(kept.wrapping_mul(n), writer);
        self.min.lower_to(kept);
        self.max.raise_to(kept);
    }
}

#[cold]
fn empty_page(layout: &Layout) -> Box<[Tally]> {
    (0..layout.page_len()).map(|_| Tally::new(0)).collect()
}

/// Adds shards of one layout up.
pub(crate) fn summarize<'a>(
    layout: &Layout,
    shards: impl Iterator<Item = &'a HistogramShard>,
) -> HistogramSummary {
    let mut pages: Vec<Vec<u64>> = vec![Vec::new(); layout.pages()];
    let (mut sum, mut min, mut max, mut clamped) = (0u64, u64::MAX, 0, 0);
    for shard in shards {
        for (total, page) in pages.iter_mut().zip(&shard.pages) {
            let Some(page) = page.get() else { continue };
            total.resize(layout.page_len(), 0);
            for (total, count) in total.iter_mut().zip(page.iter()) {
                *total += count.get();
            }
        }
        sum = sum.wrapping_add(shard.sum.get());
        min = min.min(shard.min.get());
        max = max.max(shard.max.get());
        clamped += shard.clamped.get();
    }
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
}
