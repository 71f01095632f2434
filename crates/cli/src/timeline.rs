//! `load --chrome-trace`: a timeline of the run that Perfetto shows: operations, tasks of stages, queues.

use crate::console::Console;
use crate::failure::Result;
use forebay_io::{Attempt, End, Event, Observe, Op};
use forebay_loader::{TaskSeen, Watch};
use forebay_metrics::units;
use forebay_trace::Header;
use forebay_trace::chrome::TimelineRecorder;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A timeline that is being written.
#[derive(Debug, Clone)]
pub(crate) struct Timeline(Arc<TimelineRecorder>);

impl Timeline {
    /// Begins one in the file at `path`.
    pub(crate) fn begin(path: &Path, header: &Header, origin: Instant) -> Result<Timeline> {
        Ok(Timeline(TimelineRecorder::create(path, header, origin)?))
    }

    /// What sees the operations of stores.
    pub(crate) fn observer(&self) -> Arc<dyn Observe> {
        self.0.clone()
    }

    /// What sees the stages of a loader, and from when it counts.
    pub(crate) fn watch(&self) -> (Instant, Arc<dyn Watch>) {
        (self.0.origin(), Arc::new(self.clone()))
    }

    /// Ends the file and says what became of it.
    pub(crate) fn end(&self, console: &Console) {
        let Some(recorded) = self.0.finish() else { return };
        if console.json() {
            console.err_record(&json!({ "timeline": {
                "file": recorded.path, "events": recorded.events, "dropped": recorded.dropped,
                "failure": recorded.failure,
            } }));
            return;
        }
        let mut text = format!(
            "{} events in {}; open it at https://ui.perfetto.dev",
            units::count(recorded.events),
            recorded.path.display()
        );
        if recorded.dropped > 0 {
            text += &format!("; INCOMPLETE: {} are missing", units::count(recorded.dropped));
        }
        if let Some(failure) = recorded.failure {
            text += &format!("; it ended early: {failure}");
        }
        console.note("timeline", text);
    }
}

impl Watch for Timeline {
    fn task(&self, task: TaskSeen<'_>) {
        self.0.task(task.stage, task.began, task.ended, task.failed);
    }

    fn depth(&self, queue: &Arc<str>, at: Duration, items: usize) {
        self.0.depth(queue, at, items as u64);
    }
}

/// Several who see the same operations.
pub(crate) struct Several(pub(crate) Vec<Arc<dyn Observe>>);

impl Observe for Several {
    fn started(&self, ops: &[Op<'_>]) {
        self.0.iter().for_each(|observer| observer.started(ops));
    }

    fn ended(&self, ops: &[Op<'_>], ends: &[End]) {
        self.0.iter().for_each(|observer| observer.ended(ops, ends));
    }

    fn attempted(&self, attempts: &[Attempt<'_>]) {
        self.0.iter().for_each(|observer| observer.attempted(attempts));
    }

    fn noted(&self, scheme: Option<&str>, event: Event) {
        self.0.iter().for_each(|observer| observer.noted(scheme, event));
    }
}
