//! The way out of a stage: a queue, or the hand-over to the next stage of the same task.

use std::sync::Arc;

use forebay_metrics::QueueStats;

use crate::watch::Watch;

/// An exit as those see it who measure a pipeline or end it, whatever passes through it.
/// Times are nanoseconds of the pipeline's clock.
pub(crate) trait Exit: Send + Sync {
    /// Measuring begins.
    fn open(&self, now: u64);

    /// The task before it has ended. What waits in a queue can still be taken.
    fn end(&self, now: u64);

    /// From now on this one sees how much waits in it.
    fn watched(&self, watch: &Arc<dyn Watch>);

    /// Nobody will take from it any more: what waits in it is dropped.
    fn abandon(&self, now: u64);

    /// Its statistics at this moment.
    fn read(&self, now: u64) -> QueueStats;
}
