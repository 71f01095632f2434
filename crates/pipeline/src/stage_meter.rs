//! What one stage records about itself while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use forebay_metrics::StageStats;

use crate::distribution::Distribution;
use crate::watch::Watcher;

/// Written by the one task that runs the stage, read by anyone.
#[derive(Debug)]
pub(crate) struct StageMeter {
    pub(crate) name: Arc<str>,
    concurrency: usize,
    tasks: AtomicU64,
    failures: AtomicU64,
    service: Distribution,
    pub(crate) blocked: Distribution,
    pub(crate) pool_wait: Distribution,
    pub(crate) watcher: Watcher,
}

impl StageMeter {
    pub(crate) fn new(name: Arc<str>, concurrency: usize) -> Self {
        Self {
            name,
            concurrency,
            tasks: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            service: Distribution::of_service(),
            blocked: Distribution::of_waits(),
            pool_wait: Distribution::of_waits(),
            watcher: Watcher::default(),
        }
    }

    /// An invocation that began at `began` ended at `now`.
    pub(crate) fn completed(&self, began: u64, now: u64, failed: bool) {
        self.service.record(now.saturating_sub(began));
        self.watcher.task(&self.name, began, now, failed);
        self.counted();
        if failed {
            self.failures.fetch_add(1, Relaxed);
        }
    }

    /// Something was done that takes no time worth measuring.
    pub(crate) fn counted(&self) {
        self.tasks.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> StageStats {
        StageStats {
            name: self.name.to_string(),
            concurrency: self.concurrency as u64,
            tasks: self.tasks.load(Relaxed),
            failures: self.failures.load(Relaxed),
            service_ns: self.service.read(),
            pool_wait_ns: self.pool_wait.read(),
            blocked_ns: self.blocked.read(),
        }
    }
}
