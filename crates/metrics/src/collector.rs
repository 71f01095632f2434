//! Counts what one loader or store does.
//!
//! A collector is an ordinary value: make one for each loader or store that is to be told apart, and
//! share it by `Arc`. Nothing is registered anywhere, and dropping it forgets everything.
//!
//! Operations are reported in batches. A batch costs one look-up of the thread's shard, one update
//! of each counter, and a few nanoseconds an operation for its histograms. Counters that only repeat
//! what the series say (`gets`, `bytes_read`, `errors` …) are added up when read, so they cannot
//! disagree and cost nothing before.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::attempts::{AttemptRun, AttemptShard, Attempted};
use crate::gauge::Gauge;
use crate::layout::{Digits, Layout};
use crate::named::Named;
use crate::operation::{Backend, CacheUse, Ended, Failure, Happening, Operation};
use crate::operation_series::{Run, Series};
use crate::recording::{Plan, RecordingError, RecordingOptions};
use crate::sharded::Sharded;
use crate::tally::Writer;

/// Counts, levels and histograms of one loader or store.
///
/// Operations are reported in batches. A batch costs one look-up of the calling thread's shard, one
/// update of each counter, and a few nanoseconds an operation for its histograms. No lock is taken.
///
/// Where it stands among a store's wrappers says what it means: next to the device it sees every
/// attempt, outside retries and caches it sees what the caller sees. Use one collector in one
/// place; in two it counts everything twice.
pub struct MetricsCollector {
    pub(crate) plans: Plans,
    /// Of operations that were named by whoever did them.
    pub(crate) named: Named,
    pub(crate) shards: Sharded<Shard>,
    queue_depth: Gauge,
    inflight_bytes: Gauge,
    concurrency_limit: Gauge,
    /// What was told of each backend beside its operations.
    pub(crate) told: [Told; Backend::COUNT],
    pub(crate) cached: Cached,
    /// `[asked for][used]`.
    pub(crate) downgrades: [[AtomicU64; CacheUse::COUNT]; CacheUse::COUNT],
}

/// What layers around one backend did about trouble, and it about connections.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) happenings: [AtomicU64; Happening::COUNT],
    pub(crate) retries: AtomicU64,
    pub(crate) throttles: AtomicU64,
    pub(crate) downgrades: AtomicU64,
}

/// Bytes of reads before which a store looked into the page cache, and these reads. Told once a batch.
#[derive(Default)]
pub(crate) struct Cached {
    pub(crate) hit: AtomicU64,
    pub(crate) miss: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) reads: AtomicU64,
}

pub(crate) struct Plans {
    pub(crate) latency: Plan,
    pub(crate) bytes: Plan,
}

type Lazy<T> = OnceLock<Box<CachePadded<T>>>;

/// Series that come into being when something is counted in them, `[backend][operation]`.
type Table<T> = [[Lazy<T>; Operation::COUNT]; Backend::COUNT];

/// One thread's counts.
pub(crate) struct Shard {
    series: Table<Series>,
    attempts: Table<AttemptShard>,
}

impl Shard {
    /// Of one kind of operation of one backend, if any ended.
    pub(crate) fn series(&self, backend: Backend, operation: Operation) -> Option<&Series> {
        self.series[backend as usize][operation as usize].get().map(|series| &***series)
    }

    /// The requests of one backend for one kind of operation, if it made any.
    pub(crate) fn attempts(&self, backend: Backend, operation: Operation) -> Option<&AttemptShard> {
        self.attempts[backend as usize][operation as usize].get().map(|attempts| &***attempts)
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
            told: Default::default(),
            cached: Cached::default(),
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
        let mut run: Option<Run<'_>> = None;
        for Ended { operation, backend, extent, outcome } in operations {
            ended += 1;
            let run = match &mut run {
                Some(run) if run.is_of(backend, operation) => run,
                _ => {
                    let series = shard.series[backend as usize][operation as usize]
                        .get_or_init(|| Box::new(CachePadded::new(Series::new(&self.plans))));
                    if let Some(last) = run.replace(Run::new(backend, operation, series)) {
                        last.write(&self.plans, writer);
                    }
                    run.as_mut().expect("just put there")
                }
            };
            if run.ended(&self.plans, extent, outcome, writer) == Some(Failure::Throttled) {
                self.told[backend as usize].throttles.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(run) = run {
            run.write(&self.plans, writer);
        }
        self.queue_depth.sub(ended);
    }

    /// A backend made these requests, which are over. They are counted beside the operations.
    pub fn attempted(&self, attempts: impl IntoIterator<Item = Attempted>) {
        let (shard, writer) = self.shard();
        let Plans { latency, bytes } = &self.plans;
        let mut run: Option<AttemptRun<'_>> = None;
        for attempt in attempts {
            let run = match &mut run {
                Some(run) if run.is_of(attempt.backend, attempt.operation) => run,
                _ => {
                    let attempts = shard.attempts[attempt.backend as usize][attempt.operation as usize]
                        .get_or_init(|| Box::new(CachePadded::new(AttemptShard::new(latency, bytes))));
                    let next = AttemptRun::new(attempt.backend, attempt.operation, attempts);
                    if let Some(last) = run.replace(next) {
                        last.write(latency, bytes, writer);
                    }
                    run.as_mut().expect("just put there")
                }
            };
            run.record(&attempt, latency, bytes, writer);
        }
        if let Some(run) = run {
            run.write(latency, bytes, writer);
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

    /// A wrapper did something about trouble at this backend, or the backend opened a connection.
    pub fn happened(&self, backend: Backend, happening: Happening) {
        self.happened_often(backend, happening, 1);
    }

    /// So many times.
    pub fn happened_often(&self, backend: Backend, happening: Happening, times: u64) {
        self.told[backend as usize].happenings[happening as usize].fetch_add(times, Ordering::Relaxed);
    }

    /// An attempt failed for this reason and will be made again.
    pub fn retried(&self, backend: Backend, failure: Failure) {
        let told = &self.told[backend as usize];
        told.retries.fetch_add(1, Ordering::Relaxed);
        if failure == Failure::Throttled {
            told.throttles.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A page-cache policy could not be obeyed for one read.
    pub fn downgraded(&self, backend: Backend, from: CacheUse, to: CacheUse) {
        self.told[backend as usize].downgrades.fetch_add(1, Ordering::Relaxed);
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
        for series in shard.series.iter().flatten().filter_map(OnceLock::get) {
            series.publish(&self.plans, writer);
        }
        for attempts in shard.attempts.iter().flatten().filter_map(OnceLock::get) {
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
            series: [const { [const { OnceLock::new() }; Operation::COUNT] }; Backend::COUNT],
            attempts: [const { [const { OnceLock::new() }; Operation::COUNT] }; Backend::COUNT],
        })
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
