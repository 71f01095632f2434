//! What sees every operation of this process: the counters always, and a recorder while one is at work.

use forebay_io::{Attempt, End, Event, Observe, Op};
use forebay_metrics::MetricsCollector;
use forebay_trace::Recorder;
use std::sync::{Arc, PoisonError, RwLock};

/// See the module's words. The lock is taken for a look only, and a forked child has a tap of its own.
#[derive(Default)]
pub(crate) struct Tap {
    collector: MetricsCollector,
    recorder: RwLock<Option<Arc<Recorder>>>,
}

impl Tap {
    pub(crate) fn collector(&self) -> &MetricsCollector {
        &self.collector
    }

    /// Puts a recorder in; false if there is one.
    pub(crate) fn record(&self, recorder: Arc<Recorder>) -> bool {
        let mut place = self.recorder.write().unwrap_or_else(PoisonError::into_inner);
        if place.is_some() {
            return false;
        }
        *place = Some(recorder);
        true
    }

    /// Whether a recorder is at work.
    pub(crate) fn is_recording(&self) -> bool {
        self.recorder.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Takes the recorder out.
    pub(crate) fn take(&self) -> Option<Arc<Recorder>> {
        self.recorder.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Tap {
    fn record_ended(&self, ops: &[Op<'_>], ends: &[End]) {
        if let Some(recorder) = &*self.recorder.read().unwrap_or_else(PoisonError::into_inner) {
            recorder.ended(ops, ends);
        }
    }
}

impl Observe for Tap {
    fn started(&self, ops: &[Op<'_>]) {
        Observe::started(&self.collector, ops);
    }

    fn ended(&self, ops: &[Op<'_>], ends: &[End]) {
        Observe::ended(&self.collector, ops, ends);
        self.record_ended(ops, ends);
    }

    fn attempted(&self, attempts: &[Attempt<'_>]) {
        Observe::attempted(&self.collector, attempts);
    }

    fn noted(&self, scheme: Option<&str>, event: Event) {
        Observe::noted(&self.collector, scheme, event);
    }
}

/// Hears for one loader what its stores' backends and layers do, and passes it on to the process.
pub(crate) struct Shared {
    tap: Arc<Tap>,
    collector: Arc<MetricsCollector>,
}

impl Shared {
    pub(crate) fn new(tap: Arc<Tap>, collector: Arc<MetricsCollector>) -> Self {
        Shared { tap, collector }
    }
}

impl Observe for Shared {
    // Operations are the caller's observer's, and the loader's own.
    fn started(&self, _: &[Op<'_>]) {}

    fn ended(&self, _: &[Op<'_>], _: &[End]) {}

    fn attempted(&self, attempts: &[Attempt<'_>]) {
        self.tap.attempted(attempts);
        Observe::attempted(&*self.collector, attempts);
    }

    fn noted(&self, scheme: Option<&str>, event: Event) {
        self.tap.noted(scheme, event);
        Observe::noted(&*self.collector, scheme, event);
    }
}

/// Records while there is a recorder, and counts nothing.
pub(crate) struct Unmetered(Arc<Tap>);

impl Unmetered {
    pub(crate) fn new(tap: Arc<Tap>) -> Self {
        Unmetered(tap)
    }
}

impl Observe for Unmetered {
    fn started(&self, _: &[Op<'_>]) {}

    fn ended(&self, ops: &[Op<'_>], ends: &[End]) {
        self.0.record_ended(ops, ends);
    }

    fn attempted(&self, _: &[Attempt<'_>]) {}

    fn noted(&self, _: Option<&str>, _: Event) {}
}
