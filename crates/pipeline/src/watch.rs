//! Who sees single tasks and changes of queues, beside the statistics that add them up: a timeline, for one.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Sees what a pipeline does, as it does it. Implementations must be quick and must not block: they are called
/// by the pipeline's tasks, and for queues under the queue's lock.
pub trait Watch: Send + Sync {
    /// A task of a stage ended. Stages that only hand items on are not told of.
    fn task(&self, task: TaskSeen<'_>);

    /// A queue holds so many items from `at` on, counted from the origin of the pipeline's clock.
    fn depth(&self, queue: &Arc<str>, at: Duration, items: usize);
}

/// A task that ended.
#[derive(Clone, Copy, Debug)]
pub struct TaskSeen<'a> {
    /// Of which stage.
    pub stage: &'a Arc<str>,
    /// When it began, counted from the origin of the pipeline's [`Clock`](crate::Clock).
    pub began: Duration,
    /// When it ended, likewise.
    pub ended: Duration,
    /// Whether it failed.
    pub failed: bool,
}

/// Where a stage or a queue finds its watcher. Empty for most pipelines, and before a pipeline is spawned.
#[derive(Default)]
pub(crate) struct Watcher(OnceLock<Arc<dyn Watch>>);

impl Watcher {
    pub(crate) fn set(&self, watch: &Arc<dyn Watch>) {
        // A pipeline is spawned once, and this is done then.
        let _ = self.0.set(watch.clone());
    }

    pub(crate) fn task(&self, stage: &Arc<str>, began: u64, ended: u64, failed: bool) {
        if let Some(watch) = self.0.get() {
            let [began, ended] = [began, ended].map(Duration::from_nanos);
            watch.task(TaskSeen { stage, began, ended, failed });
        }
    }

    pub(crate) fn depth(&self, queue: &Arc<str>, at: u64, items: usize) {
        if let Some(watch) = self.0.get() {
            watch.depth(queue, Duration::from_nanos(at), items);
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("set", &self.0.get().is_some()).finish()
    }
}
