//! Statistics of one pipeline stage, as data.
//!
//! A pipeline measures and fills these in; this crate keeps the shape so that snapshots, reports and
//! dashboards agree on it.

use serde::{Deserialize, Serialize};

use crate::summary::{HistogramSummary, MergeError};

/// What a stage did and what it waited for.
///
/// Read the three times together: a stage with long service is the work itself; long pool wait says
/// that it wants more concurrency; long blocked time says that the stage after it is the slow one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageStats {
    /// The stage's name, unique within its pipeline.
    pub name: String,
    /// Tasks that may run at the same time.
    pub concurrency: u64,
    /// Tasks that ended, failed ones among them.
    pub tasks: u64,
    /// Tasks that failed.
    pub failures: u64,
    /// Time a task ran, from its start to its end. Not the wait before or after. Recorded with
    /// [`Layout::latency`](crate::Layout::latency).
    #[serde(rename = "service_us_hist")]
    pub service_ns: HistogramSummary,
    /// From when a task's input was there to when one of the stage's workers took it up. Recorded with
    /// [`Layout::wait`](crate::Layout::wait).
    #[serde(rename = "pool_wait_us_hist")]
    pub pool_wait_ns: HistogramSummary,
    /// From when a task's result was ready to when the next queue had room for it. Recorded with
    /// [`Layout::wait`](crate::Layout::wait).
    #[serde(rename = "blocked_us_hist")]
    pub blocked_ns: HistogramSummary,
}

impl StageStats {
    /// Adds another run, or another process's part, of the same stage. Concurrency is the higher of
    /// the two. Nothing is changed on error.
    pub fn merge(&mut self, other: &StageStats) -> Result<(), MergeError> {
        let mut merged = self.clone();
        merged.service_ns.merge(&other.service_ns)?;
        merged.pool_wait_ns.merge(&other.pool_wait_ns)?;
        merged.blocked_ns.merge(&other.blocked_ns)?;
        merged.concurrency = merged.concurrency.max(other.concurrency);
        merged.tasks = merged.tasks.saturating_add(other.tasks);
        merged.failures = merged.failures.saturating_add(other.failures);
        *self = merged;
        Ok(())
    }
}
