//! One thread's part of a histogram: how a value is recorded without waiting, and read while others are.
//!
//! Recording takes a number of steps that no other thread can lengthen; `tests/wait_free.rs` goes through the orders
//! of events to check it.

use crate::layout::Layout;
use crate::recording::Plan;
use crate::sync::{AtomicU64, OnceLock, Ordering, fence, yield_now};
use crate::tally::{Tally, Writer};

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
        let mut sums = Sums::default();
        self.record_into(plan, value, n, writer, &mut sums);
        self.settle(sums, writer);
    }

    /// As [`HistogramShard::record_n`], but for what [`HistogramShard::settle`] writes once for many values.
    #[inline]
    pub(crate) fn record_into(&self, plan: &Plan, value: u64, n: u64, writer: Writer, sums: &mut Sums) {
        if n == 0 {
            return;
        }
        if plan.threshold != u64::MAX && !self.draws(plan, writer) {
            return self.skip(plan, value, n, writer);
        }
        if !self.list.is_empty() && n == 1 && matches!(writer, Writer::Sole) {
            return self.put_aside(plan, value, writer);
        }
        self.bucket(plan, value, n, writer, sums);
    }

    /// Records values one after the other.
    pub(crate) fn record_all(&self, plan: &Plan, values: impl Iterator<Item = u64>, writer: Writer) {
        let mut burst = Burst::default();
        values.for_each(|value| burst.record(self, plan, value, writer));
        burst.write(self, plan, writer);
    }

    /// Puts values into buckets of which nothing is drawn or listed.
    fn bucket_each(&self, plan: &Plan, values: &[u64], writer: Writer, sums: &mut Sums) {
        let layout = &plan.layout;
        let mut indexes = [0; BURST];
        for (index, &value) in indexes.iter_mut().zip(values) {
            let kept = layout.clamp(value);
            if kept != value {
                self.clamped.add(1, writer);
            }
            *index = layout.index_of(kept);
            sums.add(kept, 1);
        }
        for &index in &indexes[..values.len().min(BURST)] {
            self.page(layout, index)[layout.offset_of(index)].add(1, writer);
        }
    }

    #[inline(always)]
    fn page(&self, layout: &Layout, index: usize) -> &[Tally] {
        let page = &self.pages[layout.page_of(index)];
        page.get().map_or_else(|| first_use(page, layout), |page| &**page)
    }

    // Called for each of many values: a call costs as much as what is done.
    #[inline(always)]
    fn bucket(&self, plan: &Plan, value: u64, n: u64, writer: Writer, sums: &mut Sums) {
        let layout = &plan.layout;
        let kept = layout.clamp(value);
        if kept != value {
            self.clamped.add(n, writer);
        }
        let index = layout.index_of(kept);
        self.page(layout, index)[layout.offset_of(index)].add(n, writer);
        sums.add(kept, n);
    }

    /// Writes what the values of [`HistogramShard::record_into`] come to.
    #[inline]
    pub(crate) fn settle(&self, sums: Sums, writer: Writer) {
        if sums.min <= sums.max {
            self.sum.add(sums.sum, writer);
            self.min.lower_to(sums.min);
            self.max.raise_to(sums.max);
        }
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
        let mut sums = Sums::default();
        for value in &self.list[..filled] {
            self.bucket(plan, value.load(Ordering::Relaxed), 1, writer, &mut sums);
        }
        self.settle(sums, writer);
        self.filled.store(0, Ordering::Relaxed);
        self.publishing.store(before.wrapping_add(2), Ordering::Release);
    }

    /// Values that wait in the list.
    pub(crate) fn waiting(&self) -> u64 {
        self.filled.load(Ordering::Relaxed)
    }

    /// What is recorded here, with what waits in the list.
    pub(crate) fn read(&self, plan: &Plan) -> Totals {
        for _ in 1..LOOKS {
            let before = self.publishing.load(Ordering::Acquire);
            let totals = self.look(plan);
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.publishing.load(Ordering::Relaxed) == before {
                return totals;
            }
            yield_now();
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

/// Values that a [`Burst`] holds: those of a batch of the usual size.
const BURST: usize = 32;

/// Values of one histogram that go to their buckets together. Those lie apart in memory that the bytes of samples have
/// pushed out of the nearer caches, and are waited for all at once in place of one after the other with what else is
/// done for each.
pub(crate) struct Burst {
    values: [u64; BURST],
    filled: usize,
    sums: Sums,
}

impl Default for Burst {
    fn default() -> Self {
        Burst { values: [0; BURST], filled: 0, sums: Sums::default() }
    }
}

impl Burst {
    /// As [`HistogramShard::record_n`] of this shard, which must be the same for all, and is done by the time of
    /// [`Burst::write`].
    #[inline]
    pub(crate) fn record(&mut self, shard: &HistogramShard, plan: &Plan, value: u64, writer: Writer) {
        if plan.threshold != u64::MAX || !shard.list.is_empty() {
            return shard.record_into(plan, value, 1, writer, &mut self.sums);
        }
        self.values[self.filled] = value;
        self.filled += 1;
        if self.filled == BURST {
            self.spend(shard, plan, writer);
        }
    }

    fn spend(&mut self, shard: &HistogramShard, plan: &Plan, writer: Writer) {
        let filled = std::mem::take(&mut self.filled);
        if filled > 0 {
            shard.bucket_each(plan, &self.values[..filled], writer, &mut self.sums);
        }
    }

    #[inline]
    pub(crate) fn write(mut self, shard: &HistogramShard, plan: &Plan, writer: Writer) {
        self.spend(shard, plan, writer);
        shard.settle(self.sums, writer);
    }
}

/// What several values come to beside their buckets: kept in registers, and written once.
pub(crate) struct Sums {
    sum: u64,
    min: u64,
    max: u64,
}

impl Default for Sums {
    fn default() -> Self {
        Sums { sum: 0, min: u64::MAX, max: 0 }
    }
}

impl Sums {
    #[inline]
    fn add(&mut self, kept: u64, n: u64) {
        self.sum = self.sum.wrapping_add(kept.wrapping_mul(n));
        self.min = self.min.min(kept);
        self.max = self.max.max(kept);
    }
}

/// Counts of one or several shards.
pub(crate) struct Totals {
    /// Empty where nothing was recorded.
    pub(crate) pages: Vec<Vec<u64>>,
    pub(crate) sum: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
    pub(crate) clamped: u64,
    pub(crate) skipped: u64,
}

impl Totals {
    pub(crate) fn nothing(layout: &Layout) -> Totals {
        Totals {
            pages: vec![Vec::new(); layout.pages()],
            sum: 0,
            min: u64::MAX,
            max: 0,
            clamped: 0,
            skipped: 0,
        }
    }

    pub(crate) fn add(&mut self, other: Totals) {
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
#[inline(never)]
fn first_use<'a>(page: &'a OnceLock<Box<[Tally]>>, layout: &Layout) -> &'a [Tally] {
    page.get_or_init(|| (0..layout.page_len()).map(|_| Tally::new(0)).collect())
}
