//! The JSON form of a [`MetricsSnapshot`]: its keys are those of the registry.
//!
//! What only repeats the rest (the distributions over all reads) is written for readers that want a figure
//! and not arithmetic, and passed over when read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::backend::BackendSummary;
use crate::gauge::GaugeReading;
use crate::queue::QueueStats;
use crate::snapshot::{MetricsSnapshot, OperationSummary, PageCache};
use crate::stage::StageStats;
use crate::summary::HistogramSummary;

/// As it is read.
#[derive(Deserialize)]
pub(crate) struct SnapshotJson {
    schema_version: u32,
    backend_counters: BTreeMap<String, u64>,
    max_qd: u64,
    queue_depth: u64,
    // What only a loader knows is left out of what a process counts.
    #[serde(default)]
    peak_inflight: u64,
    #[serde(default)]
    inflight_bytes: u64,
    #[serde(default)]
    inflight_cap: Option<u64>,
    #[serde(default)]
    memory: GaugeReading,
    #[serde(default)]
    concurrency_limit: GaugeReading,
    operations: BTreeMap<String, OperationSummary>,
    // Files from before backends were told apart have none.
    #[serde(default)]
    backends: BTreeMap<String, BackendSummary>,
    page_cache: PageCache,
    #[serde(default)]
    stages: Vec<StageStats>,
    #[serde(default)]
    queues: Vec<QueueStats>,
}

/// As it is written.
#[derive(Serialize)]
struct Written<'a> {
    schema_version: u32,
    req_bytes_hist: HistogramSummary,
    latency_us_hist: HistogramSummary,
    first_byte_us_hist: HistogramSummary,
    max_qd: u64,
    queue_depth: u64,
    peak_inflight: u64,
    inflight_bytes: u64,
    inflight_cap: Option<u64>,
    memory: &'a GaugeReading,
    concurrency_limit: &'a GaugeReading,
    backend_counters: &'a BTreeMap<String, u64>,
    page_cache: &'a PageCache,
    operations: &'a BTreeMap<String, OperationSummary>,
    backends: &'a BTreeMap<String, BackendSummary>,
    stages: &'a [StageStats],
    queues: &'a [QueueStats],
}

impl Serialize for MetricsSnapshot {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let reads = self.reads();
        Written {
            schema_version: self.schema_version,
            req_bytes_hist: reads.request_bytes,
            latency_us_hist: reads.latency_ns,
            first_byte_us_hist: reads.first_byte_ns,
            max_qd: self.queue_depth.peak,
            queue_depth: self.queue_depth.level,
            peak_inflight: self.inflight_bytes.peak,
            inflight_bytes: self.inflight_bytes.level,
            inflight_cap: self.inflight_bytes.cap,
            memory: &self.shared_bytes,
            concurrency_limit: &self.concurrency_limit,
            backend_counters: &self.backend_counters,
            page_cache: &self.page_cache,
            operations: &self.operations,
            backends: &self.backends,
            stages: &self.stages,
            queues: &self.queues,
        }
        .serialize(to)
    }
}

impl From<SnapshotJson> for MetricsSnapshot {
    fn from(json: SnapshotJson) -> MetricsSnapshot {
        MetricsSnapshot {
            schema_version: json.schema_version,
            backend_counters: json.backend_counters,
            inflight_bytes: GaugeReading {
                level: json.inflight_bytes,
                peak: json.peak_inflight,
                cap: json.inflight_cap,
            },
            shared_bytes: json.memory,
            queue_depth: GaugeReading { level: json.queue_depth, peak: json.max_qd, cap: None },
            concurrency_limit: json.concurrency_limit,
            operations: json.operations,
            backends: json.backends,
            page_cache: json.page_cache,
            stages: json.stages,
            queues: json.queues,
        }
    }
}
