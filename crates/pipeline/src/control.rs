//! What can be done to a running pipeline besides taking its items: watch it, end it.

use std::fmt;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::exit::Exit;
use crate::stage_meter::StageMeter;
use crate::task::Upstream;
use crate::{Clock, PipelineStats};

/// A handle on a running pipeline. Clones refer to the same one; it stays readable when the
/// pipeline has ended. It does not keep the pipeline running: that is what the sink does.
#[derive(Clone)]
pub struct Control(Arc<Core>);

struct Core {
    clock: Clock,
    stages: Vec<Arc<StageMeter>>,
    /// One for each stage; the last is the sink's queue.
    exits: Vec<Arc<dyn Exit>>,
    /// Ends the last task, which ends the one before it, and so on.
    last: Upstream,
    tasks: TaskTracker,
}

impl Control {
    pub(crate) fn new(
        clock: Clock,
        stages: Vec<Arc<StageMeter>>,
        exits: Vec<Arc<dyn Exit>>,
        last: Upstream,
        tasks: TaskTracker,
    ) -> Self {
        Self(Arc::new(Core { clock, stages, exits, last, tasks }))
    }

    /// Statistics of every stage and queue since the pipeline was spawned.
    pub fn stats(&self) -> PipelineStats {
        let now = self.0.clock.now();
        PipelineStats {
            stages: self.0.stages.iter().map(|stage| stage.read()).collect(),
            queues: self.0.exits.iter().map(|exit| exit.read(now)).collect(),
        }
    }

    /// Ends the pipeline: what waits in the sink is dropped, its consumers are told that it ended,
    /// and tasks are dropped with all they have in flight as soon as the runtime gets to them.
    /// [`Control::closed`] tells when that is done. Does nothing to a pipeline that has ended.
    pub fn cancel(&self) {
        if let Some(sink) = self.0.exits.last() {
            sink.abandon(self.0.clock.now());
        }
        if let Some(last) = self.0.last.get() {
            last.abort();
        }
    }

    /// Waits until every task of the pipeline is gone, and with them every future of its stages.
    pub async fn closed(&self) {
        self.0.tasks.wait().await;
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("tasks_alive", &self.0.tasks.len()).finish_non_exhaustive()
    }
}
