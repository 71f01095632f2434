//! Counts what one loader or store does.
//!
//! A collector is an ordinary value: make one for each loader or store that is to be told apart, and
//! share it by `Arc`. Nothing is registered anywhere, and dropping it forgets everything.
//!
//! Operations are reported in batches. A batch costs one look-up of the thread's shard, one update
//! of each counter, and a few nanoseconds an operation for its histograms. Counters that only repeat
//! what the series say (`gets`, `bytes_read`, `errors` …) are added up when read, so they cannot
//! disagree and cost nothing before.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::attempts::{self, AttemptShard, AttemptSummary, Attempted};
use crate::gauge::Gauge;
use crate::histogram::{HistogramShard, summarize};
use crate::layout::{Digits, Layout};
use crate::named::Named;
use crate::names::Counter;
use crate::operation::{CacheUse, Ended, Extent, Failure, Happening, Operation, Outcome};
use crate::recording::{Plan, RecordingError, RecordingOptions};
use crate::sharded::{Sharded, Tally, Writer};
use crate::snapshot::{Downgrade, MetricsSnapshot, OperationSummary, PageCache};

/// Counts, levels and histograms of one loader or store.
///
/// Operations are reported in batches. A batch costs one look-up of the calling thread's shard, one
/// update of each counter, and a few nanoseconds an operation for its histograms. No lock is taken.
///
/// Where it stands among a store's wrappers says what it means: next to the device it sees every
/// attempt, outside retries and caches it sees what the caller sees. Use one collector in one
/// place; in two it counts everything twice.
pub struct MetricsCollector {
    plans: Plans,
    /// Of operations that were named by whoever did them.
    pub(crate) named: Named,
    shards: Sharded<Shard>,
    queue_depth: Gauge,
    inflight_bytes: Gauge,
    concurrency_limit: Gauge,
    happenings: [AtomicU64; Happening::COUNT],
    cached: Cached,
    retries: AtomicU64,
    throttles: AtomicU64,
    /// `[asked for][used]`.
    downgrades: [[AtomicU64; CacheUse::COUNT]; CacheUse::COUNT],
}

/// Bytes of reads before which a store looked into the page cache, and these reads. Told once a batch.
#[derive(Default)]
struct Cached {
    hit: AtomicU64,
    miss: AtomicU64,
    unknown: AtomicU64,
    reads: AtomicU64,
}

pub(crate) struct Plans {
    pub(crate) latency: Plan,
    pub(crate) bytes: Plan,
}

/// One thread's counts.
struct Shard {
    series: [OnceLock<Box<CachePadded<Series>>>; Operation::COUNT],
    attempts: [OnceLock<Box<CachePadded<AttemptShard>>>; Operation::COUNT],
    range_gets: Tally,
    cache: [Tally; CacheUse::COUNT],
}

/// One thread's counts of one kind of operation.
pub(crate) struct Series {
    done: Tally,
    bytes: Tally,
    cancelled: Tally,
    failed: [Tally; Failure::COUNT],
    latency: HistogramShard,
    first_byte: HistogramShard,
    request_bytes: HistogramShard,
}

impl Series {
    pub(crate) fn new(plans: &Plans) -> Series {
        Series {
            done: Tally::new(0),
            bytes: Tally::new(0),
            cancelled: Tally::new(0),
            failed: [const { Tally::new(0) }; Failure::COUNT],
            latency: HistogramShard::new(&plans.latency),
            first_byte: HistogramShard::new(&plans.latency),
            request_bytes: HistogramShard::new(&plans.bytes),
        }
    }
}

impl Series {
    /// One operation that was served.
    pub(crate) fn record(&self, plans: &Plans, bytes: Option<u64>, latency_ns: u64, writer: Writer) {
        self.done.add(1, writer);
        self.latency.record_n(&plans.latency, latency_ns, 1, writer);
        if let Some(bytes) = bytes {
            self.bytes.add(bytes, writer);
            self.request_bytes.record_n(&plans.bytes, bytes, 1, writer);
        }
    }

    /// Puts what waits in lists into buckets.
    pub(crate) fn publish(&self, plans: &Plans, writer: Writer) {
        self.latency.publish(&plans.latency, writer);
        self.first_byte.publish(&plans.latency, writer);
        self.request_bytes.publish(&plans.bytes, writer);
    }

    /// All threads' counts together.
    pub(crate) fn summary(shards: &[&Series], plans: &Plans) -> OperationSummary {
        let sum = |tally: fn(&Series) -> &Tally| shards.iter().map(|s| tally(s).get()).sum();
        OperationSummary {
            ops: sum(|s| &s.done),
            bytes: sum(|s| &s.bytes),
            cancelled: sum(|s| &s.cancelled),
            failures: Failure::ALL
                .iter()
                .map(|&f| (f, shards.iter().map(|s| s.failed[f as usize].get()).sum()))
                .filter(|&(_, n): &(_, u64)| n > 0)
                .map(|(f, n)| (f.name().to_owned(), n))
                .collect(),
            latency_ns: summarize(&plans.latency, shards.iter().map(|s| &s.latency)),
            first_byte_ns: summarize(&plans.latency, shards.iter().map(|s| &s.first_byte)),
            request_bytes: summarize(&plans.bytes, shards.iter().map(|s| &s.request_bytes)),
            attempts: None,
        }
    }
}

/// What a stretch of operations of one kind adds to its series' counters, written once at its end.
struct Run<'a> {
    operation: Operation,
    series: &'a Series,
    done: u64,
    bytes: u64,
}

impl Run<'_> {
    fn write(self, writer: Writer) {
        if self.done > 0 {
            self.series.done.add(self.done, writer);
            self.series.bytes.add(self.bytes, writer);
        }
    }
}

impl MetricsCollector {
    /// With three digits in every histogram.
    pub fn new() -> MetricsCollector {
        MetricsCollector::with_digits(Digits::THREE)
    }

    /// With so many digits in every histogram; see [`Digits`] for what they cost.
    pub fn with_digits(digits: Digits) -> MetricsCollector {
        let plan = |layout: fn(Digits) -> Layout| Plan::whole(layout(digits));
        MetricsCollector::of(Plans { latency: plan(Layout::latency), bytes: plan(Layout::request_bytes) })
    }

    /// That keeps what the options say in its histograms.
    ///
    /// # Errors
    /// A sampling rate or batch size that cannot be.
    pub fn with_options(options: RecordingOptions) -> Result<MetricsCollector, RecordingError> {
        let (latency, bytes) = (options.plan(Layout::latency)?, options.plan(Layout::request_bytes)?);
        Ok(MetricsCollector::of(Plans { latency, bytes }))
    }

    fn of(plans: Plans) -> MetricsCollector {
        MetricsCollector {
            plans,
            named: Named::default(),
            shards: Sharded::new(),
            queue_depth: Gauge::new(),
            inflight_bytes: Gauge::new(),
            concurrency_limit: Gauge::new(),
            happenings: [const { AtomicU64::new(0) }; Happening::COUNT],
            cached: Cached::default(),
            retries: AtomicU64::new(0),
            throttles: AtomicU64::new(0),
            downgrades: [const { [const { AtomicU64::new(0) }; CacheUse::COUNT] }; CacheUse::COUNT],
        }
    }

    /// So many operations begin now.
    pub fn started(&self, operations: u64) {
        self.queue_depth.add(operations);
    }

    /// These operations ended. Each was announced to [`MetricsCollector::started`] before.
    pub fn ended(&self, operations: impl IntoIterator<Item = Ended>) {
        let (shard, writer) = self.shard();
        let mut ended = 0;
        let mut range_gets = 0;
        let mut cache = [0u64; CacheUse::COUNT];
        let mut run: Option<Run<'_>> = None;
        for Ended { operation, extent, outcome } in operations {
            ended += 1;
            let run = match &mut run {
                Some(run) if run.operation == operation => run,
                _ => {
                    let next = Run {
                        operation,
                        series: shard.series[operation as usize]
                            .get_or_init(|| Box::new(CachePadded::new(Series::new(&self.plans)))),
                        done: 0,
                        bytes: 0,
                    };
                    if let Some(last) = run.replace(next) {
                        last.write(writer);
                    }
                    run.as_mut().expect("just put there")
                }
            };
            match outcome {
                Outcome::Done { bytes, latency_ns, first_byte_ns, cache: used } => {
                    run.done += 1;
                    run.bytes += bytes;
                    let series = run.series;
                    series.latency.record_n(&self.plans.latency, latency_ns, 1, writer);
                    if let Some(first_byte_ns) = first_byte_ns {
                        series.first_byte.record_n(&self.plans.latency, first_byte_ns, 1, writer);
                    }
                    if operation.moves_bytes() {
                        series.request_bytes.record_n(&self.plans.bytes, bytes, 1, writer);
                    }
                    match (operation, extent) {
                        (Operation::Read, _) | (Operation::Get, Extent::Part) => range_gets += 1,
                        _ => {}
                    }
                    if matches!(operation, Operation::Get | Operation::Read) {
                        cache[used as usize] += 1;
                    }
                }
                Outcome::Failed(failure) => {
                    run.series.failed[failure as usize].add(1, writer);
                    if failure == Failure::Throttled {
                        self.throttles.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Outcome::Cancelled => run.series.cancelled.add(1, writer),
            }
        }
        if let Some(run) = run {
            run.write(writer);
        }
        if range_gets > 0 {
            shard.range_gets.add(range_gets, writer);
        }
        for (tally, n) in shard.cache.iter().zip(cache) {
            if n > 0 {
                tally.add(n, writer);
            }
        }
        self.queue_depth.sub(ended);
    }

    /// A backend made these requests, which are over. They are counted beside the operations.
    pub fn attempted(&self, attempts: impl IntoIterator<Item = Attempted>) {
        let (shard, writer) = self.shard();
        let Plans { latency, bytes } = &self.plans;
        for attempt in attempts {
            shard.attempts[attempt.operation as usize]
                .get_or_init(|| Box::new(CachePadded::new(AttemptShard::new(latency, bytes))))
                .record(&attempt, latency, bytes, writer);
        }
    }

    /// A store looked into the page cache before it made this many reads, and found of their bytes so many
    /// there, so many not, and of so many it could not tell.
    pub fn cached(&self, reads: u64, hit: u64, miss: u64, unknown: u64) {
        let Cached { hit: hits, miss: misses, unknown: unknowns, reads: all } = &self.cached;
        for (tally, n) in [(hits, hit), (misses, miss), (unknowns, unknown), (all, reads)] {
            tally.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// A wrapper did something about trouble, or a backend opened a connection.
    pub fn happened(&self, happening: Happening) {
        self.happened_often(happening, 1);
    }

    /// So many times.
    pub fn happened_often(&self, happening: Happening, times: u64) {
        self.happenings[happening as usize].fetch_add(times, Ordering::Relaxed);
    }

    /// An attempt failed for this reason and will be made again.
    pub fn retried(&self, failure: Failure) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        if failure == Failure::Throttled {
            self.throttles.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A page-cache policy could not be obeyed for one read.
    pub fn downgraded(&self, from: CacheUse, to: CacheUse) {
        self.downgrades[from as usize][to as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes in flight. Kept by whoever holds the byte budget, who alone knows them.
    pub fn inflight_bytes(&self) -> &Gauge {
        &self.inflight_bytes
    }

    /// Operations that adaptive limits allow in flight. Kept by those limits, which alone know it.
    pub fn concurrency_limit(&self) -> &Gauge {
        &self.concurrency_limit
    }

    /// Puts what waits in the calling thread's lists into buckets
    /// (see [`RecordingOptions::batch_size`]). Snapshots have it in them either way.
    pub fn flush(&self) {
        let (shard, writer) = self.shard();
        for series in shard.series.iter().filter_map(OnceLock::get) {
            series.publish(&self.plans, writer);
        }
        for attempts in shard.attempts.iter().filter_map(OnceLock::get) {
            attempts.publish(&self.plans.latency, &self.plans.bytes, writer);
        }
        self.named.flush(&self.plans);
    }

    pub(crate) fn plans(&self) -> &Plans {
        &self.plans
    }

    /// Operations in flight, kept by [`MetricsCollector::started`] and [`MetricsCollector::ended`].
    pub fn queue_depth(&self) -> &Gauge {
        &self.queue_depth
    }

    fn shard(&self) -> (&Shard, Writer) {
        self.shards.mine(|| Shard {
            series: [const { OnceLock::new() }; Operation::COUNT],
            attempts: [const { OnceLock::new() }; Operation::COUNT],
            range_gets: Tally::new(0),
            cache: [const { Tally::new(0) }; CacheUse::COUNT],
        })
    }

    /// Everything until now. Stages and queues are left for a pipeline to fill in.
    ///
    /// Writers are not stopped, so a batch that is being written may be in it in part.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let operations: BTreeMap<String, OperationSummary> = Operation::ALL
            .iter()
            .filter_map(|&operation| Some((operation.name().to_owned(), self.series(operation)?)))
            .collect();
        let named = self.named.summaries(&self.plans);
        let sum = |tally: fn(&Shard) -> &Tally| self.shards.all().map(|s| tally(s).get()).sum();
        let applied: BTreeMap<String, u64> = CacheUse::ALL
            .iter()
            .map(|&used| (used, self.shards.all().map(|s| s.cache[used as usize].get()).sum()))
            .filter(|&(_, n): &(_, u64)| n > 0)
            .map(|(used, n)| (used.name().to_owned(), n))
            .collect();
        let downgrades = self.downgrades();
        let ops = |operation: Operation| operations.get(operation.name()).map_or(0, |o| o.ops);
        let bytes = |operation: Operation| operations.get(operation.name()).map_or(0, |o| o.bytes);
        let cached = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed);
        let happened = |happening: Happening| self.happenings[happening as usize].load(Ordering::Relaxed);
        let requests = RequestTotals::of(&operations, self.retries.load(Ordering::Relaxed));
        let backend_counters = Counter::ALL
            .iter()
            .map(|&counter| {
                let n = match counter {
                    Counter::Gets => ops(Operation::Get),
                    Counter::RangeGets => sum(|shard| &shard.range_gets),
                    Counter::Lists => ops(Operation::List),
                    Counter::Puts => ops(Operation::Put),
                    Counter::Stats => ops(Operation::Stat),
                    Counter::Opens => ops(Operation::Open),
                    Counter::Deletes => ops(Operation::Delete),
                    Counter::Retries => self.retries.load(Ordering::Relaxed),
                    Counter::Throttles => self.throttles.load(Ordering::Relaxed),
                    Counter::CacheHintsApplied => CacheUse::ALL
                        .iter()
                        .filter(|used| used.is_hint())
                        .filter_map(|used| applied.get(used.name()))
                        .sum(),
                    Counter::Downgrades => downgrades.iter().map(|d| d.n).sum(),
                    Counter::BytesRead => bytes(Operation::Get) + bytes(Operation::Read),
                    Counter::BytesWritten => bytes(Operation::Put),
                    Counter::Requests => requests.made,
                    Counter::FailedRequests => requests.failed,
                    Counter::Bytes => requests.bytes,
                    Counter::RetriesWithheld => happened(Happening::RetryWithheld),
                    Counter::Hedges => happened(Happening::Hedged),
                    Counter::HedgesWon => happened(Happening::HedgeWon),
                    Counter::BreakerOpens => happened(Happening::BreakerOpened),
                    Counter::BreakerRefusals => happened(Happening::BreakerRefused),
                    Counter::Failovers => happened(Happening::FailedOver),
                    Counter::ConcurrencyCuts => happened(Happening::ConcurrencyCut),
                    Counter::Connections => happened(Happening::Connected),
                    Counter::Mappings => happened(Happening::Mapped),
                    Counter::MappingsAdvised => happened(Happening::MappingAdvised),
                    Counter::Errors => operations.values().map(|o| o.failures.values().sum::<u64>()).sum(),
                    Counter::Cancelled => operations.values().map(|o| o.cancelled).sum(),
                    Counter::Clamped => operations.values().map(OperationSummary::clamped).sum(),
                };
                (counter, n)
            })
            // Where no backend tells of connections, none is not a number of them.
            .filter(|&(counter, n)| counter != Counter::Connections || n > 0)
            .map(|(counter, n)| (counter.definition().name.to_owned(), n))
            .collect();
        MetricsSnapshot {
            backend_counters,
            inflight_bytes: self.inflight_bytes.reading(),
            queue_depth: self.queue_depth.reading(),
            concurrency_limit: self.concurrency_limit.reading(),
            operations: operations.into_iter().chain(named).collect(),
            page_cache: PageCache {
                hit: cached(&self.cached.hit),
                miss: cached(&self.cached.miss),
                unknown: cached(&self.cached.unknown),
                reads_sampled: cached(&self.cached.reads),
                applied,
                downgrades,
            },
            ..MetricsSnapshot::default()
        }
    }

    /// One kind of operation over all threads; `None` if it never ended and made no request.
    fn series(&self, operation: Operation) -> Option<OperationSummary> {
        let shards: Vec<&Series> = self
            .shards
            .all()
            .filter_map(|shard| shard.series[operation as usize].get().map(|series| &***series))
            .collect();
        let attempts = self.attempts(operation);
        if shards.is_empty() && attempts.is_none() {
            return None;
        }
        Some(OperationSummary { attempts, ..Series::summary(&shards, &self.plans) })
    }

    /// The requests made for one kind of operation, over all threads.
    fn attempts(&self, operation: Operation) -> Option<AttemptSummary> {
        let shards: Vec<&AttemptShard> = self
            .shards
            .all()
            .filter_map(|shard| shard.attempts[operation as usize].get().map(|shard| &***shard))
            .collect();
        attempts::summary(&shards, &self.plans.latency, &self.plans.bytes)
    }

    fn downgrades(&self) -> Vec<Downgrade> {
        let mut found = Vec::new();
        for &from in CacheUse::ALL {
            for &to in CacheUse::ALL {
                let n = self.downgrades[from as usize][to as usize].load(Ordering::Relaxed);
                if n > 0 {
                    found.push(Downgrade { from: from.name().to_owned(), to: to.name().to_owned(), n });
                }
            }
        }
        found
    }
}

/// Requests over all kinds of operation, as [`Counter::Requests`] and its neighbours define them.
#[derive(Default)]
struct RequestTotals {
    made: u64,
    failed: u64,
    bytes: u64,
}

impl RequestTotals {
    fn of(operations: &BTreeMap<String, OperationSummary>, retries: u64) -> RequestTotals {
        let mut totals = RequestTotals::default();
        for operation in operations.values() {
            let (made, failed, bytes) = match &operation.attempts {
                Some(attempts) => (attempts.requests, attempts.failed(), attempts.bytes),
                None => {
                    let failed = operation.failures.values().sum::<u64>();
                    (operation.ops + failed + operation.cancelled, failed, operation.bytes)
                }
            };
            totals.made += made;
            totals.failed += failed;
            totals.bytes += bytes;
        }
        // Reported requests have the repeated ones among them.
        if operations.values().all(|operation| operation.attempts.is_none()) {
            totals.made += retries;
            totals.failed += retries;
        }
        totals
    }
}

impl Default for MetricsCollector {
    fn default() -> MetricsCollector {
        MetricsCollector::new()
    }
}

impl fmt::Debug for MetricsCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsCollector")
            .field("queue_depth", &self.queue_depth.reading())
            .field("inflight_bytes", &self.inflight_bytes.reading())
            .finish_non_exhaustive()
    }
}
