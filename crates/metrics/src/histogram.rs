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
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::layout::{Digits, Layout};
use crate::recording::{Plan, RecordingError, RecordingOptions};
use crate::sharded::{Sharded, Tally, Writer};
use crate::summary::HistogramSummary;

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

    /// Counts a batch: the thread's shard is looked up once.
    pub fn record_all(&self, values: impl IntoIterator<Item = u64>) {
        let (shard, writer) = self.mine();
        for value in values {
            shard.record_n(&self.plan, value, 1, writer);
        }
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
        self.shards.all().map(|shard| shard.filled.load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Debug for PerformanceHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerformanceHistogram").field("layout", &self.plan).finish_non_exhaustive()
    }
}

/// One thread's part of a histogram. The plan is the owner's, given with each call.
pub(crate) struct HistogramShard {
    pages: Box<[OnceLock<Box<[Tally]>>]>,
    /// Exact, unlike a sum over buckets, so that the mean of equal values is that value.
    sum: Tally,
    min: Tally,
    max: Tally,
    clamped: Tally,
    skipped: Tally,
    /// Where the numbers come from that decide what is kept.
    drawn: AtomicU64,
    /// Values that wait for their buckets, the first `filled` of them. Only a sole writer has any.
    list: Box<[AtomicU64]>,
    filled: AtomicU64,
    /// Odd while the list is put into buckets, so that a reader can tell that it saw a value twice or not at all.
    publishing: AtomicU64,
}

/// How often a reader looks again because a list was being put into buckets meanwhile. That takes some
/// microseconds in which a reading of some tens goes wrong, so a few times are enough; after all of them the
/// reading may have a list in it in part, as it may have a batch that is being written.
const LOOKS: usize = 100;

impl HistogramShard {
    pub(crate) fn new(plan: &Plan) -> HistogramShard {
        HistogramShard {
            pages: (0..plan.layout.pages()).map(|_| OnceLock::new()).collect(),
            sum: Tally::new(0),
            min: Tally::new(u64::MAX),
            max: Tally::new(0),
            clamped: Tally::new(0),
            skipped: Tally::new(0),
            drawn: AtomicU64::new(0),
            list: (0..plan.batch).map(|_| AtomicU64::new(0)).collect(),
            filled: AtomicU64::new(0),
            publishing: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn record_n(&self, plan: &Plan, value: u64, n: u64, writer: Writer) {
        if n == 0 {
            return;
        }
        if plan.threshold != u64::MAX && !self.draws(plan, writer) {
            return self.skip(plan, value, n, writer);
        }
        if !self.list.is_empty() && n == 1 && matches!(writer, Writer::Sole) {
            return self.put_aside(plan, value, writer);
        }
        self.bucket(plan, value, n, writer);
    }

    #[inline]
    fn bucket(&self, plan: &Plan, value: u64, n: u64, writer: Writer) {
        let layout = &plan.layout;
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

    /// Whether the next value is kept: splitmix64, which takes every number once before it comes round.
    fn draws(&self, plan: &Plan, writer: Writer) -> bool {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = match writer {
            Writer::Sole => {
                let next = self.drawn.load(Ordering::Relaxed).wrapping_add(STEP);
                self.drawn.store(next, Ordering::Relaxed);
                next
            }
            Writer::Shared => self.drawn.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP),
        };
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) <= plan.threshold
    }

    #[cold]
    fn skip(&self, plan: &Plan, value: u64, n: u64, writer: Writer) {
        self.skipped.add(n, writer);
        if plan.layout.clamp(value) != value {
            self.clamped.add(n, writer);
        }
    }

    fn put_aside(&self, plan: &Plan, value: u64, writer: Writer) {
        let filled = self.filled.load(Ordering::Relaxed) as usize;
        self.list[filled].store(value, Ordering::Relaxed);
        self.filled.store(filled as u64 + 1, Ordering::Release);
        if filled + 1 == self.list.len() {
            self.publish(plan, writer);
        }
    }

    /// Puts the list into buckets. Nothing to do for others than its sole writer.
    pub(crate) fn publish(&self, plan: &Plan, writer: Writer) {
        if self.list.is_empty() || matches!(writer, Writer::Shared) {
            return;
        }
        let before = self.publishing.load(Ordering::Relaxed);
        self.publishing.store(before.wrapping_add(1), Ordering::Relaxed);
        // A reader that sees anything of what follows sees the odd number, too.
        fence(Ordering::Release);
        let filled = self.filled.load(Ordering::Relaxed) as usize;
        for value in &self.list[..filled] {
            self.bucket(plan, value.load(Ordering::Relaxed), 1, writer);
        }
        self.filled.store(0, Ordering::Relaxed);
        self.publishing.store(before.wrapping_add(2), Ordering::Release);
    }

    /// What is recorded here, with what waits in the list.
    fn read(&self, plan: &Plan) -> Totals {
        for _ in 1..LOOKS {
            let before = self.publishing.load(Ordering::Acquire);
            let totals = self.look(plan);
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.publishing.load(Ordering::Relaxed) == before {
                return totals;
            }
            std::thread::yield_now();
        }
        self.look(plan)
    }

    fn look(&self, plan: &Plan) -> Totals {
        let layout = &plan.layout;
        let filled = self.filled.load(Ordering::Acquire) as usize;
        let counts = |page: &[Tally]| page.iter().map(Tally::get).collect();
        let mut totals = Totals {
            pages: self.pages.iter().map(|page| page.get().map_or(Vec::new(), |page| counts(page))).collect(),
            sum: self.sum.get(),
            min: self.min.get(),
            max: self.max.get(),
            clamped: self.clamped.get(),
            skipped: self.skipped.get(),
        };
        for value in self.list.iter().take(filled) {
            let value = value.load(Ordering::Relaxed);
            let kept = layout.clamp(value);
            totals.clamped += u64::from(kept != value);
            let index = layout.index_of(kept);
            let page = &mut totals.pages[layout.page_of(index)];
            page.resize(layout.page_len(), 0);
            page[layout.offset_of(index)] += 1;
            totals.sum = totals.sum.wrapping_add(kept);
            totals.min = totals.min.min(kept);
            totals.max = totals.max.max(kept);
        }
        totals
    }
}

/// Counts of one or several shards.
struct Totals {
    /// Empty where nothing was recorded.
    pages: Vec<Vec<u64>>,
    sum: u64,
    min: u64,
    max: u64,
    clamped: u64,
    skipped: u64,
}

impl Totals {
    fn nothing(layout: &Layout) -> Totals {
        Totals {
            pages: vec![Vec::new(); layout.pages()],
            sum: 0,
            min: u64::MAX,
            max: 0,
            clamped: 0,
            skipped: 0,
        }
    }

    fn add(&mut self, other: Totals) {
        for (ours, theirs) in self.pages.iter_mut().zip(other.pages) {
            if ours.is_empty() {
                *ours = theirs;
            } else {
                ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
            }
        }
        self.sum = self.sum.wrapping_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.clamped += other.clamped;
        self.skipped += other.skipped;
    }
}

#[cold]
fn empty_page(layout: &Layout) -> Box<[Tally]> {
    (0..layout.page_len()).map(|_| Tally::new(0)).collect()
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
    HistogramSummary::from_parts(*layout, buckets, sum, min, max, clamped).with_skipped(skipped)
}
