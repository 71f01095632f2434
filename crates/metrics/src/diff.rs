//! What happened between two readings of the same run.
//!
//! Counts and buckets are subtracted, so an interval's percentiles are those of its own values. Peaks and
//! caps cannot be taken apart and stay those of the later reading.

use std::collections::BTreeMap;

use crate::attempts::AttemptSummary;
use crate::backend::BackendSummary;
use crate::queue::QueueStats;
use crate::snapshot::{Downgrade, MetricsSnapshot, OperationSummary, PageCache, SnapshotError};
use crate::stage::StageStats;
use crate::summary::HistogramSummary;

impl MetricsSnapshot {
    /// What was counted after `earlier`, an earlier snapshot of the same collector.
    ///
    /// Levels, peaks and caps are the later ones: a peak is that of the whole run until then. A stage
    /// or queue whose counts went back was begun anew in between (each epoch has its own), and is given
    /// as it is now. A name with nothing to count is left out, but for counters.
    ///
    /// # Errors
    /// [`SnapshotError::NotEarlier`] if anything else in `earlier` is more than here, and
    /// [`SnapshotError::Merge`] for histograms of another range.
    pub fn diff(&self, earlier: &MetricsSnapshot) -> Result<MetricsSnapshot, SnapshotError> {
        let operations = diff_operations(&self.operations, &earlier.operations, "operations")?;
        if let Some((name, gone)) =
            earlier.backends.iter().find(|(name, _)| !self.backends.contains_key(*name))
        {
            let had = gone.operations.values().map(|operation| operation.ops).sum();
            return Err(not_earlier(format!("backends.{name}"), had, 0));
        }
        let nothing = BackendSummary::default();
        let mut backends = BTreeMap::new();
        for (name, ours) in &self.backends {
            let interval = ours.diff(earlier.backends.get(name).unwrap_or(&nothing), name)?;
            if !interval.operations.is_empty() {
                backends.insert(name.clone(), interval);
            }
        }
        let place = "backend_counters";
        let mut backend_counters = subtract(&self.backend_counters, &earlier.backend_counters, place)?;
        for name in self.backend_counters.keys() {
            backend_counters.entry(name.clone()).or_default();
        }
        let mut stages = Vec::new();
        for ours in &self.stages {
            let before = earlier.stages.iter().find(|stage| stage.name == ours.name);
            stages.push(match before {
                Some(before) if ours.follows(before) => ours.diff(before)?,
                _ => ours.clone(),
            });
        }
        let mut queues = Vec::new();
        for ours in &self.queues {
            let before = earlier.queues.iter().find(|queue| queue.name == ours.name);
            queues.push(match before {
                Some(before) if ours.follows(before) => ours.diff(before)?,
                _ => ours.clone(),
            });
        }
        Ok(MetricsSnapshot {
            schema_version: self.schema_version,
            backend_counters,
            inflight_bytes: self.inflight_bytes,
            shared_bytes: self.shared_bytes,
            queue_depth: self.queue_depth,
            concurrency_limit: self.concurrency_limit,
            operations,
            backends,
            page_cache: self.page_cache.diff(&earlier.page_cache)?,
            stages,
            queues,
        })
    }
}

/// What was added to each operation, without those that nothing was added to.
pub(crate) fn diff_operations(
    later: &BTreeMap<String, OperationSummary>,
    earlier: &BTreeMap<String, OperationSummary>,
    place: &str,
) -> Result<BTreeMap<String, OperationSummary>, SnapshotError> {
    if let Some((name, gone)) = earlier.iter().find(|(name, _)| !later.contains_key(*name)) {
        return Err(not_earlier(format!("{place}.{name}"), gone.ops, 0));
    }
    let mut operations = BTreeMap::new();
    for (name, ours) in later {
        let interval = match earlier.get(name) {
            None => ours.clone(),
            Some(theirs) => ours.diff(theirs, &format!("{place}.{name}"))?,
        };
        let requests = interval.attempts.as_ref().map_or(0, |attempts| attempts.requests);
        let failures: u64 = interval.failures.values().copied().fold(0, u64::saturating_add);
        if interval.ops > 0 || interval.cancelled > 0 || failures > 0 || requests > 0 {
            operations.insert(name.clone(), interval);
        }
    }
    Ok(operations)
}

impl OperationSummary {
    fn diff(&self, earlier: &OperationSummary, place: &str) -> Result<OperationSummary, SnapshotError> {
        let at = |field: &str| format!("{place}.{field}");
        let attempts = match (&self.attempts, &earlier.attempts) {
            (Some(ours), Some(theirs)) => Some(ours.diff(theirs, &at("attempts"))?),
            (ours, None) => ours.clone(),
            (None, Some(theirs)) => return Err(not_earlier(at("attempts"), theirs.requests, 0)),
        };
        Ok(OperationSummary {
            ops: less(self.ops, earlier.ops, &at("ops"))?,
            bytes: less(self.bytes, earlier.bytes, &at("bytes"))?,
            cancelled: less(self.cancelled, earlier.cancelled, &at("cancelled"))?,
            failures: subtract(&self.failures, &earlier.failures, &at("failures"))?,
            latency_ns: interval(&self.latency_ns, &earlier.latency_ns, &at("latency_us_hist"))?,
            first_byte_ns: interval(&self.first_byte_ns, &earlier.first_byte_ns, &at("first_byte_us_hist"))?,
            request_bytes: interval(&self.request_bytes, &earlier.request_bytes, &at("req_bytes_hist"))?,
            attempts,
        })
    }
}

impl AttemptSummary {
    fn diff(&self, earlier: &AttemptSummary, place: &str) -> Result<AttemptSummary, SnapshotError> {
        let at = |field: &str| format!("{place}.{field}");
        Ok(AttemptSummary {
            requests: less(self.requests, earlier.requests, &at("requests"))?,
            bytes: less(self.bytes, earlier.bytes, &at("bytes"))?,
            failures: subtract(&self.failures, &earlier.failures, &at("failures"))?,
            statuses: subtract(&self.statuses, &earlier.statuses, &at("statuses"))?,
            latency_ns: interval(&self.latency_ns, &earlier.latency_ns, &at("latency_us_hist"))?,
            first_byte_ns: interval(&self.first_byte_ns, &earlier.first_byte_ns, &at("first_byte_us_hist"))?,
            request_bytes: interval(&self.request_bytes, &earlier.request_bytes, &at("req_bytes_hist"))?,
        })
    }
}

impl PageCache {
    fn diff(&self, earlier: &PageCache) -> Result<PageCache, SnapshotError> {
        let had = |ours: &Downgrade| {
            let same = |theirs: &&Downgrade| theirs.from == ours.from && theirs.to == ours.to;
            earlier.downgrades.iter().find(same).map_or(0, |theirs| theirs.n)
        };
        let mut downgrades = Vec::new();
        for ours in &self.downgrades {
            let n = less(ours.n, had(ours), "page_cache.downgrades")?;
            if n > 0 {
                downgrades.push(Downgrade { n, ..ours.clone() });
            }
        }
        let of = |ours: u64, theirs: u64, name: &str| less(ours, theirs, &format!("page_cache.{name}"));
        Ok(PageCache {
            hit: of(self.hit, earlier.hit, "hit")?,
            miss: of(self.miss, earlier.miss, "miss")?,
            unknown: of(self.unknown, earlier.unknown, "unknown")?,
            reads_sampled: of(self.reads_sampled, earlier.reads_sampled, "reads_sampled")?,
            applied: subtract(&self.applied, &earlier.applied, "page_cache.applied")?,
            downgrades,
        })
    }
}

impl StageStats {
    fn follows(&self, earlier: &StageStats) -> bool {
        self.tasks >= earlier.tasks
            && self.failures >= earlier.failures
            && self.histograms().iter().zip(earlier.histograms()).all(|(ours, theirs)| ours.follows(theirs))
    }

    fn histograms(&self) -> [&HistogramSummary; 3] {
        [&self.service_ns, &self.pool_wait_ns, &self.blocked_ns]
    }

    fn diff(&self, earlier: &StageStats) -> Result<StageStats, SnapshotError> {
        let at = |field: &str| format!("stages.{}.{field}", self.name);
        Ok(StageStats {
            name: self.name.clone(),
            concurrency: self.concurrency,
            tasks: less(self.tasks, earlier.tasks, &at("tasks"))?,
            failures: less(self.failures, earlier.failures, &at("failures"))?,
            service_ns: interval(&self.service_ns, &earlier.service_ns, &at("service_us_hist"))?,
            pool_wait_ns: interval(&self.pool_wait_ns, &earlier.pool_wait_ns, &at("pool_wait_us_hist"))?,
            blocked_ns: interval(&self.blocked_ns, &earlier.blocked_ns, &at("blocked_us_hist"))?,
        })
    }
}

impl QueueStats {
    fn follows(&self, earlier: &QueueStats) -> bool {
        self.items >= earlier.items
            && self.measured_ns >= earlier.measured_ns
            && self.empty_ns >= earlier.empty_ns
            && self.depth_ns >= earlier.depth_ns
            && self.get_wait_ns.follows(&earlier.get_wait_ns)
            && self.put_wait_ns.follows(&earlier.put_wait_ns)
    }

    fn diff(&self, earlier: &QueueStats) -> Result<QueueStats, SnapshotError> {
        let at = |field: &str| format!("queues.{}.{field}", self.name);
        Ok(QueueStats {
            name: self.name.clone(),
            role: self.role,
            capacity: self.capacity,
            items: less(self.items, earlier.items, &at("items"))?,
            measured_ns: less(self.measured_ns, earlier.measured_ns, &at("measured_ns"))?,
            empty_ns: less(self.empty_ns, earlier.empty_ns, &at("empty_ns"))?,
            depth_ns: less(self.depth_ns, earlier.depth_ns, &at("depth_ns"))?,
            max_depth: self.max_depth,
            get_wait_ns: interval(&self.get_wait_ns, &earlier.get_wait_ns, &at("get_wait_us_hist"))?,
            put_wait_ns: interval(&self.put_wait_ns, &earlier.put_wait_ns, &at("put_wait_us_hist"))?,
        })
    }
}

fn interval(
    later: &HistogramSummary,
    earlier: &HistogramSummary,
    place: &str,
) -> Result<HistogramSummary, SnapshotError> {
    let since =
        later.since(earlier).map_err(|source| SnapshotError::Merge { place: place.to_owned(), source })?;
    match later.follows(earlier) {
        true => Ok(since),
        false => Err(not_earlier(place.to_owned(), earlier.n(), later.n())),
    }
}

/// Without the names that nothing was added to.
pub(crate) fn subtract(
    later: &BTreeMap<String, u64>,
    earlier: &BTreeMap<String, u64>,
    place: &str,
) -> Result<BTreeMap<String, u64>, SnapshotError> {
    for (name, &had) in earlier {
        less(later.get(name).copied().unwrap_or(0), had, &format!("{place}.{name}"))?;
    }
    let grown = |(name, &n): (&String, &u64)| {
        let grown = n - earlier.get(name).copied().unwrap_or(0);
        (grown > 0).then(|| (name.clone(), grown))
    };
    Ok(later.iter().filter_map(grown).collect())
}

fn less(later: u64, earlier: u64, place: &str) -> Result<u64, SnapshotError> {
    later.checked_sub(earlier).ok_or_else(|| not_earlier(place.to_owned(), earlier, later))
}

fn not_earlier(place: String, earlier: u64, later: u64) -> SnapshotError {
    SnapshotError::NotEarlier { place, earlier, later }
}
