//! What one stage records about itself while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::distribution::Distribution;

/// Written by the one task that runs the stage, read by anyone.
#[derive(Debug)]
pub(crate) struct StageMeter {
    pub(crate) name: Arc<str>,
    pub(crate) concurrency: usize,
    tasks: AtomicU64,
    failures: AtomicU64,
    pub(crate) service: Distribution,
    pub(crate) blocked: Distribution,
    pub(crate) pool_wait: Distribution,
    intake: Mutex<Intake>,
}

/// How the stage gets its items.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Intake {
    pub(crate) taken: u64,
    /// Time during which an item was wanted and there was none.
    starved: u64,
    /// Since when an item has been waited for, if that is so now.
    waiting_since: Option<u64>,
    /// When the input was found to have ended.
    pub(crate) ended_at: Option<u64>,
}

impl Intake {
    /// Time without an item that was wanted, a wait that is still open included.
    pub(crate) fn starved(&self, now: u64) -> u64 {
        self.starved + self.waiting_since.map_or(0, |since| now.saturating_sub(since))
    }
}

impl StageMeter {
    pub(crate) fn new(name: Arc<str>, concurrency: usize) -> Self {
        Self {
            name,
            concurrency,
            tasks: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            service: Distribution::new(),
            blocked: Distribution::new(),
            pool_wait: Distribution::new(),
            intake: Mutex::default(),
        }
    }

    /// An invocation ended after `service` ns.
    pub(crate) fn completed(&self, service: u64, failed: bool) {
        self.service.record(service);
        self.tasks.fetch_add(1, Relaxed);
        if failed {
            self.failures.fetch_add(1, Relaxed);
        }
    }

    /// Something was done that takes no time worth measuring.
    pub(crate) fn counted(&self) {
        self.tasks.fetch_add(1, Relaxed);
    }

    pub(crate) fn tasks(&self) -> u64 {
        self.tasks.load(Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(crate) fn intake(&self) -> Intake {
        *self.intake.lock()
    }
}

/// A stage's wait for its next item. Only a wait that lasts is published before it is over.
pub(crate) struct Asking {
    meter: Arc<StageMeter>,
    since: Option<u64>,
    published: bool,
}

impl Asking {
    pub(crate) fn new(meter: Arc<StageMeter>) -> Self {
        Self {
            meter,
            since: None,
            published: false,
        }
    }

    /// An item is wanted.
    pub(crate) fn wants(&mut self, now: u64) {
        self.since.get_or_insert(now);
    }

    /// There is none yet.
    pub(crate) fn waits(&mut self) {
        if !self.published {
            self.published = true;
            self.meter.intake.lock().waiting_since = self.since;
        }
    }

    /// It came.
    pub(crate) fn took(&mut self, now: u64) {
        let waited = self.close(now, |intake| intake.taken += 1);
        self.meter.pool_wait.record(waited);
    }

    /// There will be none. The wait for this is no wait for an item, and is in no distribution.
    pub(crate) fn ended(&mut self, now: u64) {
        self.close(now, |intake| intake.ended_at = Some(now));
    }

    fn close(&mut self, now: u64, note: impl FnOnce(&mut Intake)) -> u64 {
        let waited = self.since.take().map_or(0, |since| now.saturating_sub(since));
        self.published = false;
        let mut intake = self.meter.intake.lock();
        intake.waiting_since = None;
        intake.starved += waited;
        note(&mut intake);
        waited
    }
}
