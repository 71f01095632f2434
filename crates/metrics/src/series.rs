//! The distributions of a snapshot as one list, whichever part of it they are in: what an export goes through.

use crate::snapshot::MetricsSnapshot;
use crate::summary::HistogramSummary;

/// One distribution.
pub(crate) struct Series<'a> {
    /// `operation`, `attempt`, `stage` or `queue`.
    pub(crate) section: &'static str,
    /// Of which operation, stage or queue.
    pub(crate) name: &'a str,
    /// Its name in the registry.
    pub(crate) metric: &'static str,
    pub(crate) summary: &'a HistogramSummary,
}

impl Series<'_> {
    /// Its name without the unit in which JSON has its figures: an export writes others.
    pub(crate) fn bare(&self) -> &'static str {
        let name = self.metric;
        name.strip_suffix("_us_hist").or_else(|| name.strip_suffix("_hist")).unwrap_or(name)
    }
}

/// Every distribution of a snapshot, the same ones of a metric beside each other.
pub(crate) fn of(snapshot: &MetricsSnapshot) -> Vec<Series<'_>> {
    let mut all = Vec::new();
    let mut add = |section, name, metric, summary| all.push(Series { section, name, metric, summary });
    for (name, operation) in &snapshot.operations {
        add("operation", &**name, "latency_us_hist", &operation.latency_ns);
        add("operation", name, "first_byte_us_hist", &operation.first_byte_ns);
        add("operation", name, "req_bytes_hist", &operation.request_bytes);
        if let Some(attempts) = &operation.attempts {
            add("attempt", name, "latency_us_hist", &attempts.latency_ns);
            add("attempt", name, "first_byte_us_hist", &attempts.first_byte_ns);
            add("attempt", name, "req_bytes_hist", &attempts.request_bytes);
        }
    }
    for stage in &snapshot.stages {
        add("stage", &stage.name, "service_us_hist", &stage.service_ns);
        add("stage", &stage.name, "pool_wait_us_hist", &stage.pool_wait_ns);
        add("stage", &stage.name, "blocked_us_hist", &stage.blocked_ns);
    }
    for queue in &snapshot.queues {
        add("queue", &queue.name, "get_wait_us_hist", &queue.get_wait_ns);
        add("queue", &queue.name, "put_wait_us_hist", &queue.put_wait_ns);
    }
    all.sort_by_key(|series| (series.section, series.metric));
    all
}
