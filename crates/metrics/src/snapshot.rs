//! What a run did until now, as plain data: to JSON and back, and merged with others.
//!
//! A snapshot holds sums and buckets, not just figures, so that nothing is lost by writing it down:
//! read back and merged it gives the same percentiles as one collector that had seen everything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attempts::AttemptSummary;
use crate::backend::BackendSummary;
use crate::gauge::GaugeReading;
use crate::layout::{Digits, Layout};
use crate::names::Counter;
use crate::operation::Operation;
use crate::queue::QueueStats;
use crate::snapshot_json::SnapshotJson;
use crate::stage::StageStats;
use crate::summary::{HistogramSummary, MergeError};

/// The version of the JSON form. It changes when a key goes away or changes meaning, not when one is
/// added.
pub const SCHEMA_VERSION: u32 = 2;

/// Counters, levels, histograms and pipeline statistics at one moment.
///
/// Fields are named here by the unit of their integers and in JSON as the registry has them: times are
/// nanoseconds here, and `…_us_hist` in microseconds there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "SnapshotJson")]
pub struct MetricsSnapshot {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// By name; [`crate::names`] says what each means. `connections` is absent where no backend counts them.
    pub backend_counters: BTreeMap<String, u64>,
    /// Bytes granted by the budget and not yet given back. Its peak is `peak_inflight` in JSON.
    pub inflight_bytes: GaugeReading,
    /// Bytes in flight and held by consumers, of all loaders under one memory cap. No cap where none is shared.
    pub shared_bytes: GaugeReading,
    /// Operations begun and not ended. Its peak is `max_qd` in JSON.
    pub queue_depth: GaugeReading,
    /// Operations that adaptive limits allow in flight.
    pub concurrency_limit: GaugeReading,
    /// By [`Operation`] name or by the name that was given to it, those that ended or made a request at
    /// least once.
    pub operations: BTreeMap<String, OperationSummary>,
    /// The same taken apart by what served it, by [`Backend`](crate::Backend) name, those that served or failed
    /// at least once. Operations that a program named itself are in none.
    pub backends: BTreeMap<String, BackendSummary>,
    /// What was really in the page cache, and done to it.
    pub page_cache: PageCache,
    /// Pipeline stages, source first.
    pub stages: Vec<StageStats>,
    /// Pipeline queues, source first.
    pub queues: Vec<QueueStats>,
}

/// What all reads of data, gets and ranges, did together.
#[derive(Clone, Debug, PartialEq)]
pub struct Reads {
    /// Bytes of each.
    pub request_bytes: HistogramSummary,
    /// From start to end.
    pub latency_ns: HistogramSummary,
    /// From start to first byte, where the store could tell.
    pub first_byte_ns: HistogramSummary,
}

/// One kind of operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationSummary {
    /// Operations that did what was asked. Failed and cancelled ones are not among them.
    pub ops: u64,
    /// Bytes moved by these.
    pub bytes: u64,
    /// Operations whose caller went away.
    pub cancelled: u64,
    /// Operations that failed, by kind of error.
    pub failures: BTreeMap<String, u64>,
    /// From start to end, of those that did what was asked.
    #[serde(rename = "latency_us_hist")]
    pub latency_ns: HistogramSummary,
    /// From start to first byte, where the store could tell.
    #[serde(rename = "first_byte_us_hist")]
    pub first_byte_ns: HistogramSummary,
    /// Bytes of each, for operations that move bytes.
    #[serde(rename = "req_bytes_hist")]
    pub request_bytes: HistogramSummary,
    /// The requests that the backend made for these, where it reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<AttemptSummary>,
}

impl OperationSummary {
    /// Of no operation.
    #[cfg(feature = "hlog")]
    pub(crate) fn nothing() -> OperationSummary {
        let latency = HistogramSummary::empty(Layout::latency(Digits::THREE));
        OperationSummary {
            ops: 0,
            bytes: 0,
            cancelled: 0,
            failures: BTreeMap::new(),
            latency_ns: latency.clone(),
            first_byte_ns: latency,
            request_bytes: HistogramSummary::empty(Layout::request_bytes(Digits::THREE)),
            attempts: None,
        }
    }

    /// Values that fell outside the range of their histogram.
    pub fn clamped(&self) -> u64 {
        let of_requests = self.attempts.as_ref().map_or(0, AttemptSummary::clamped);
        self.latency_ns.clamped() + self.first_byte_ns.clamped() + self.request_bytes.clamped() + of_requests
    }

    fn merge(&mut self, other: &OperationSummary, place: &str) -> Result<(), SnapshotError> {
        let at = |field: &'static str| {
            let place = format!("{place}.{field}");
            move |source| SnapshotError::Merge { place, source }
        };
        self.latency_ns.merge(&other.latency_ns).map_err(at("latency_us_hist"))?;
        self.first_byte_ns.merge(&other.first_byte_ns).map_err(at("first_byte_us_hist"))?;
        self.request_bytes.merge(&other.request_bytes).map_err(at("req_bytes_hist"))?;
        match (&mut self.attempts, &other.attempts) {
            (_, None) => {}
            (ours @ None, theirs) => ours.clone_from(theirs),
            (Some(ours), Some(theirs)) => ours.merge(theirs).map_err(|(field, source)| {
                let place = format!("{place}.attempts.{field}");
                SnapshotError::Merge { place, source }
            })?,
        }
        self.ops = self.ops.saturating_add(other.ops);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.cancelled = self.cancelled.saturating_add(other.cancelled);
        add_up(&mut self.failures, &other.failures);
        Ok(())
    }
}

/// What was really in the page cache before reads, and done to it by them.
///
/// `hit`, `miss` and `unknown` are bytes of those reads before which the store looked; they are not scaled
/// up to all reads. Their proportions are what a report shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageCache {
    /// Bytes that were in the page cache just before they were read.
    #[serde(default)]
    pub hit: u64,
    /// Bytes that were not.
    #[serde(default)]
    pub miss: u64,
    /// Bytes of which the kernel could or would not tell.
    #[serde(default)]
    pub unknown: u64,
    /// Reads before which the store looked: those that the bytes are of.
    #[serde(default)]
    pub reads_sampled: u64,
    /// Served reads by the mode that was applied to them.
    pub applied: BTreeMap<String, u64>,
    /// Reads for which the mode asked for could not be had.
    pub downgrades: Vec<Downgrade>,
}

impl PageCache {
    /// The part of the bytes looked at, as far as the kernel told, that was in the page cache: 0 to 1.
    /// `None` where it told of none.
    pub fn hit_ratio(&self) -> Option<f64> {
        let told = self.hit.saturating_add(self.miss);
        (told > 0).then(|| self.hit as f64 / told as f64)
    }
}

/// One mode used in place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downgrade {
    /// The mode asked for.
    pub from: String,
    /// The mode used.
    pub to: String,
    /// Reads concerned.
    pub n: u64,
}

/// Why a snapshot cannot be read or merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Not JSON, or not the JSON of a snapshot.
    #[error("not a metrics snapshot: {reason}")]
    Malformed {
        /// What is wrong, with line and column where that is known.
        reason: String,
    },
    /// Written by a version whose snapshots mean something else.
    #[error("metrics snapshot of schema version {found}: this version reads version {SCHEMA_VERSION}")]
    Version {
        /// The version found.
        found: u64,
    },
    /// What is said to be earlier has counted more.
    #[error("{place} went from {earlier} to {later}: not an earlier snapshot of the same run")]
    NotEarlier {
        /// Which count.
        place: String,
        /// In the one that was to be earlier.
        earlier: u64,
        /// In the one that was to be later.
        later: u64,
    },
    /// Two histograms of the same name have different buckets.
    #[error("{place}: {source}")]
    Merge {
        /// Which histogram.
        place: String,
        /// How they differ.
        source: MergeError,
    },
}

impl Default for MetricsSnapshot {
    /// Nothing happened yet.
    fn default() -> MetricsSnapshot {
        MetricsSnapshot {
            schema_version: SCHEMA_VERSION,
            backend_counters: Counter::ALL
                .iter()
                // Nobody has said that connections are counted.
                .filter(|counter| **counter != Counter::Connections)
                .map(|c| (c.definition().name.to_owned(), 0))
                .collect(),
            inflight_bytes: GaugeReading::default(),
            shared_bytes: GaugeReading::default(),
            queue_depth: GaugeReading::default(),
            concurrency_limit: GaugeReading::default(),
            operations: BTreeMap::new(),
            backends: BTreeMap::new(),
            page_cache: PageCache::default(),
            stages: Vec::new(),
            queues: Vec::new(),
        }
    }
}

impl MetricsSnapshot {
    /// A counter's value.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.backend_counters.get(counter.definition().name).copied().unwrap_or(0)
    }

    /// One kind of operation, if it ever ended.
    pub fn operation(&self, operation: Operation) -> Option<&OperationSummary> {
        self.operations.get(operation.name())
    }

    /// What gets and reads of ranges did together: the distributions at the top of the JSON form.
    pub fn reads(&self) -> Reads {
        let of = |part: fn(&OperationSummary) -> &HistogramSummary, layout: fn(Digits) -> Layout| {
            let mut all: Option<HistogramSummary> = None;
            for operation in [Operation::Get, Operation::Read] {
                let Some(next) = self.operation(operation).map(part) else { continue };
                match &mut all {
                    None => all = Some(next.clone()),
                    // Of one collector they have one layout; of what was put together by hand, the first.
                    Some(all) => drop(all.merge(next)),
                }
            }
            all.unwrap_or_else(|| HistogramSummary::empty(layout(Digits::THREE)))
        };
        Reads {
            request_bytes: of(|o| &o.request_bytes, Layout::request_bytes),
            latency_ns: of(|o| &o.latency_ns, Layout::latency),
            first_byte_ns: of(|o| &o.first_byte_ns, Layout::latency),
        }
    }

    /// The JSON form, on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a snapshot has string keys and finite numbers only")
    }

    /// Reads what [`MetricsSnapshot::to_json`] wrote. Keys that are not known are passed over.
    pub fn from_json(json: &str) -> Result<MetricsSnapshot, SnapshotError> {
        #[derive(Deserialize)]
        struct Versioned {
            schema_version: u64,
        }
        let malformed = |error: serde_json::Error| SnapshotError::Malformed { reason: error.to_string() };
        let Versioned { schema_version } = serde_json::from_str(json).map_err(malformed)?;
        if schema_version != u64::from(SCHEMA_VERSION) {
            return Err(SnapshotError::Version { found: schema_version });
        }
        serde_json::from_str(json).map_err(malformed)
    }

    /// Adds another snapshot: of another process, rank or run. Nothing is changed on error.
    ///
    /// Counts and buckets add up. Peaks and caps are the higher of the two (see
    /// [`GaugeReading::merge`]). Stages and queues are matched by name.
    pub fn merge(&mut self, other: &MetricsSnapshot) -> Result<(), SnapshotError> {
        let mut merged = self.clone();
        add_up(&mut merged.backend_counters, &other.backend_counters);
        merged.inflight_bytes.merge(&other.inflight_bytes);
        merged.shared_bytes.merge(&other.shared_bytes);
        merged.queue_depth.merge(&other.queue_depth);
        merged.concurrency_limit.merge(&other.concurrency_limit);
        merge_operations(&mut merged.operations, &other.operations, "operations")?;
        for (name, theirs) in &other.backends {
            merged.backends.entry(name.clone()).or_default().merge(theirs, name)?;
        }
        let (cache, theirs) = (&mut merged.page_cache, &other.page_cache);
        for (ours, theirs) in [
            (&mut cache.hit, theirs.hit),
            (&mut cache.miss, theirs.miss),
            (&mut cache.unknown, theirs.unknown),
            (&mut cache.reads_sampled, theirs.reads_sampled),
        ] {
            *ours = ours.saturating_add(theirs);
        }
        add_up(&mut cache.applied, &theirs.applied);
        for theirs in &other.page_cache.downgrades {
            let downgrades = &mut merged.page_cache.downgrades;
            match downgrades.iter_mut().find(|d| d.from == theirs.from && d.to == theirs.to) {
                Some(ours) => ours.n = ours.n.saturating_add(theirs.n),
                None => downgrades.push(theirs.clone()),
            }
        }
        for theirs in &other.stages {
            match merged.stages.iter_mut().find(|stage| stage.name == theirs.name) {
                Some(ours) => ours.merge(theirs).map_err(|source| SnapshotError::Merge {
                    place: format!("stages.{}", theirs.name),
                    source,
                })?,
                None => merged.stages.push(theirs.clone()),
            }
        }
        for theirs in &other.queues {
            match merged.queues.iter_mut().find(|queue| queue.name == theirs.name) {
                Some(ours) => ours.merge(theirs).map_err(|source| SnapshotError::Merge {
                    place: format!("queues.{}", theirs.name),
                    source,
                })?,
                None => merged.queues.push(theirs.clone()),
            }
        }
        *self = merged;
        Ok(())
    }
}

/// Adds operations of the same names up; on error some may have been added.
pub(crate) fn merge_operations(
    ours: &mut BTreeMap<String, OperationSummary>,
    theirs: &BTreeMap<String, OperationSummary>,
    place: &str,
) -> Result<(), SnapshotError> {
    for (name, theirs) in theirs {
        match ours.get_mut(name) {
            Some(ours) => ours.merge(theirs, &format!("{place}.{name}"))?,
            None => {
                ours.insert(name.clone(), theirs.clone());
            }
        }
    }
    Ok(())
}

pub(crate) fn add_up(ours: &mut BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) {
    for (name, n) in theirs {
        let sum = ours.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*n);
    }
}
