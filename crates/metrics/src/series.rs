//! The distributions of a snapshot as one list, whichever part of it they are in: what an export goes through.

use std::collections::BTreeMap;

use crate::snapshot::{MetricsSnapshot, OperationSummary};
use crate::summary::HistogramSummary;

/// One distribution.
pub(crate) struct Series<'a> {
    /// `operation`, `attempt`, `backend_operation`, `backend_attempt`, `stage` or `queue`.
    pub(crate) section: &'static str,
    /// Of which backend alone, if of one.
    pub(crate) backend: Option<&'a str>,
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
pub(crate) fn of<'a>(snapshot: &'a MetricsSnapshot) -> Vec<Series<'a>> {
    let mut all = Vec::new();
    let mut add = |section, backend, name, metric, summary| {
        all.push(Series { section, backend, name, metric, summary });
    };
    let mut operations = |[section, attempt]: [&'static str; 2],
                          backend: Option<&'a str>,
                          operations: &'a BTreeMap<String, OperationSummary>| {
        for (name, operation) in operations {
            add(section, backend, &**name, "latency_us_hist", &operation.latency_ns);
            add(section, backend, name, "first_byte_us_hist", &operation.first_byte_ns);
            add(section, backend, name, "req_bytes_hist", &operation.request_bytes);
            let Some(attempts) = &operation.attempts else { continue };
            add(attempt, backend, name, "latency_us_hist", &attempts.latency_ns);
            add(attempt, backend, name, "first_byte_us_hist", &attempts.first_byte_ns);
            add(attempt, backend, name, "req_bytes_hist", &attempts.request_bytes);
        }
    };
    operations(["operation", "attempt"], None, &snapshot.operations);
    for (backend, of) in &snapshot.backends {
        operations(["backend_operation", "backend_attempt"], Some(backend), &of.operations);
    }
    for stage in &snapshot.stages {
        add("stage", None, &stage.name, "service_us_hist", &stage.service_ns);
        add("stage", None, &stage.name, "pool_wait_us_hist", &stage.pool_wait_ns);
        add("stage", None, &stage.name, "blocked_us_hist", &stage.blocked_ns);
    }
    for queue in &snapshot.queues {
        add("queue", None, &queue.name, "get_wait_us_hist", &queue.get_wait_ns);
        add("queue", None, &queue.name, "put_wait_us_hist", &queue.put_wait_ns);
    }
    all.sort_by_key(|series| (series.section, series.metric));
    all
}
