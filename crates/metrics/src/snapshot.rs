//! What a run did until now, as plain data: to JSON and back, and merged with others.
//!
//! A snapshot holds sums and buckets, not just figures, so that nothing is lost by writing it down:
//! read back and merged it gives the same percentiles as one collector that had seen everything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attempts::AttemptSummary;
use crate::gauge::GaugeReading;
use crate::names::Counter;
use crate::operation::Operation;
use crate::queue::QueueStats;
use crate::stage::StageStats;
use crate::summary::{HistogramSummary, MergeError};

/// The version of the JSON form. It changes when a key goes away or changes meaning, not when one is
/// added.
pub const SCHEMA_VERSION: u32 = 1;

/// Counters, levels, histograms and pipeline statistics at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// By name; [`crate::names`] says what each means.
    pub counters: BTreeMap<String, u64>,
    /// Bytes granted by the budget and not yet given back.
    #[serde(default)]
    pub inflight_bytes: GaugeReading,
    /// Operations begun and not ended.
    pub queue_depth: GaugeReading,
    /// Operations that adaptive limits allow in flight.
    #[serde(default)]
    pub concurrency_limit: GaugeReading,
    /// By [`Operation`] name, those that ended or made a request at least once.
    pub operations: BTreeMap<String, OperationSummary>,
    /// What was really done to the page cache.
    pub page_cache: PageCache,
    /// Pipeline stages, source first.
    #[serde(default)]
    pub stages: Vec<StageStats>,
    /// Pipeline queues, source first.
    #[serde(default)]
    pub queues: Vec<QueueStats>,
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
    pub latency_ns: HistogramSummary,
    /// From start to first byte, where the store could tell.
    pub first_byte_ns: HistogramSummary,
    /// Bytes of each, for operations that move bytes.
    #[serde(flatten, with = "request_bytes")]
    pub request_bytes: HistogramSummary,
    /// The requests that the backend made for these, where it reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<AttemptSummary>,
}

impl OperationSummary {
    /// Values that fell outside the range of their histogram.
    pub fn clamped(&self) -> u64 {
        let of_requests = self.attempts.as_ref().map_or(0, AttemptSummary::clamped);
        self.latency_ns.clamped() + self.first_byte_ns.clamped() + self.request_bytes.clamped() + of_requests
    }

    fn merge(&mut self, other: &OperationSummary, place: &str) -> Result<(), SnapshotError> {
        let at = |field: &'static str| {
            let place = format!("operations.{place}.{field}");
            move |source| SnapshotError::Merge { place, source }
        };
        self.latency_ns.merge(&other.latency_ns).map_err(at("latency_ns"))?;
        self.first_byte_ns.merge(&other.first_byte_ns).map_err(at("first_byte_ns"))?;
        self.request_bytes.merge(&other.request_bytes).map_err(at("request_bytes"))?;
        match (&mut self.attempts, &other.attempts) {
            (_, None) => {}
            (ours @ None, theirs) => ours.clone_from(theirs),
            (Some(ours), Some(theirs)) => ours.merge(theirs).map_err(|(field, source)| {
                let place = format!("operations.{place}.attempts.{field}");
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

/// Request sizes are also written by power of two, which is how people look at them.
mod request_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::summary::{HistogramSummary, PowerOfTwo};

    #[derive(Serialize)]
    struct Written<'a> {
        request_bytes: &'a HistogramSummary,
        request_bytes_by_power_of_two: Vec<PowerOfTwo>,
    }

    #[derive(Deserialize)]
    struct Read {
        request_bytes: HistogramSummary,
    }

    pub(super) fn serialize<S: Serializer>(summary: &HistogramSummary, to: S) -> Result<S::Ok, S::Error> {
        Written { request_bytes: summary, request_bytes_by_power_of_two: summary.powers_of_two() }
            .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HistogramSummary, D::Error> {
        Read::deserialize(from).map(|read| read.request_bytes)
    }
}

/// What was really done to the page cache, read by read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageCache {
    /// Served reads by the mode that was applied to them.
    pub applied: BTreeMap<String, u64>,
    /// Reads for which the mode asked for could not be had.
    pub downgrades: Vec<Downgrade>,
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

impl Default for Snapshot {
    /// Nothing happened yet.
    fn default() -> Snapshot {
        Snapshot {
            schema_version: SCHEMA_VERSION,
            counters: Counter::ALL.iter().map(|c| (c.definition().name.to_owned(), 0)).collect(),
            inflight_bytes: GaugeReading::default(),
            queue_depth: GaugeReading::default(),
            concurrency_limit: GaugeReading::default(),
            operations: BTreeMap::new(),
            page_cache: PageCache::default(),
            stages: Vec::new(),
            queues: Vec::new(),
        }
    }
}

impl Snapshot {
    /// A counter's value.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(counter.definition().name).copied().unwrap_or(0)
    }

    /// One kind of operation, if it ever ended.
    pub fn operation(&self, operation: Operation) -> Option<&OperationSummary> {
        self.operations.get(operation.name())
    }

    /// The JSON form, on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a snapshot has string keys and finite numbers only")
    }

    /// Reads what [`Snapshot::to_json`] wrote. Keys that are not known are passed over.
    pub fn from_json(json: &str) -> Result<Snapshot, SnapshotError> {
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
    pub fn merge(&mut self, other: &Snapshot) -> Result<(), SnapshotError> {
        let mut merged = self.clone();
        add_up(&mut merged.counters, &other.counters);
        merged.inflight_bytes.merge(&other.inflight_bytes);
        merged.queue_depth.merge(&other.queue_depth);
        merged.concurrency_limit.merge(&other.concurrency_limit);
        for (name, theirs) in &other.operations {
            match merged.operations.get_mut(name) {
                Some(ours) => ours.merge(theirs, name)?,
                None => {
                    merged.operations.insert(name.clone(), theirs.clone());
                }
            }
        }
        add_up(&mut merged.page_cache.applied, &other.page_cache.applied);
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

fn add_up(ours: &mut BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) {
    for (name, n) in theirs {
        let sum = ours.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*n);
    }
}
