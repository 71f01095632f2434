//! The statistics of a whole pipeline as data, and of a window of its run.
//!
//! The shapes of one stage and one queue are `forebay-metrics`'; what is said here is how this
//! pipeline fills them in.

#[cfg(doc)]
use forebay_metrics::HistogramSummary;
use forebay_metrics::{MergeError, QueueStats, StageStats};
use serde::{Deserialize, Serialize};

/// What every stage did and what every queue held. Times are nanoseconds.
///
/// Begin with the last queue, `sink`: its get wait is time the training loop lost. If there is
/// none to speak of, data is not the bottleneck, and nothing else here needs attention. If there
/// is, walk from the sink towards the source: the slow stage is the one whose exit is rarely ready
/// while the exit before it is.
///
/// | of a stage | a high value means | it does not count |
/// |---|---|---|
/// | `tasks`, `failures` | work done. A source counts its items, an aggregate its lists | errors that pass by from stages before; items in work |
/// | `service_ns` | the work itself is slow: the storage, the network, the function. For a source: asking for an item takes long | the wait of a finished item for its turn; an aggregate, which has none |
/// | `pool_wait_ns` | an item was there and every slot was busy: more concurrency would help, if what the slots do is wait | time without input: that is the get wait of the queue before |
/// | `blocked_ns` | what comes after is slower. Slowing this stage down would cost nothing. For a source: it was not asked | the wait for an earlier item in delivery order; time blocked right now, until it is over |
///
/// | of a queue | a high value means | it does not count |
/// |---|---|---|
/// | `get_wait_ns` | what comes before is slower than what comes after | the wait for the end of the data |
/// | `put_wait_ns` | what comes after is slower | the wait of items that were finished and not first in line |
/// | `max_depth`, `mean_depth()` | ready data piles up: consumers are the slow side | items in work, and finished ones still inside the stage |
/// | `data_readiness()` | near 1: an item was there whenever one was wanted. Near 0: consumers starve, or take items as fast as they come | how much faster either side could be; it compares the two sides of one queue, never two queues |
///
/// Measuring begins when the pipeline is spawned, and ends for a queue when nothing will come any
/// more and nothing is left in it. An interval that is empty when the statistics are read counts.
///
/// Two stages that share a task pass items without a queue. Such an exit has capacity 0 and depth
/// 0: it is empty while the second stage wants an item and has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineStats {
    /// One for each stage, from the source on.
    pub stages: Vec<StageStats>,
    /// The exit of each stage, in the same order. Named after the stage, but for the last, which is
    /// called `sink`.
    pub queues: Vec<QueueStats>,
}

impl PipelineStats {
    /// The queue that the consumer takes from.
    pub fn sink(&self) -> Option<&QueueStats> {
        self.queues.last()
    }

    /// What happened after `earlier`, an earlier reading of the same pipeline.
    ///
    /// Counts, times and means are exact; for the extremes of a distribution see
    /// [`HistogramSummary::since`]. `max_depth` is that of the whole run.
    ///
    /// # Errors
    /// When the distributions of `earlier` have other buckets, which those of one pipeline never do.
    pub fn since(&self, earlier: &PipelineStats) -> Result<PipelineStats, MergeError> {
        let stages = self.stages.iter().zip(&earlier.stages);
        let queues = self.queues.iter().zip(&earlier.queues);
        Ok(PipelineStats {
            stages: stages.map(|(now, then)| stage_since(now, then)).collect::<Result<_, _>>()?,
            queues: queues.map(|(now, then)| queue_since(now, then)).collect::<Result<_, _>>()?,
        })
    }
}

fn stage_since(now: &StageStats, then: &StageStats) -> Result<StageStats, MergeError> {
    Ok(StageStats {
        name: now.name.clone(),
        concurrency: now.concurrency,
        tasks: now.tasks.saturating_sub(then.tasks),
        failures: now.failures.saturating_sub(then.failures),
        service_ns: now.service_ns.since(&then.service_ns)?,
        pool_wait_ns: now.pool_wait_ns.since(&then.pool_wait_ns)?,
        blocked_ns: now.blocked_ns.since(&then.blocked_ns)?,
    })
}

fn queue_since(now: &QueueStats, then: &QueueStats) -> Result<QueueStats, MergeError> {
    Ok(QueueStats {
        name: now.name.clone(),
        role: now.role,
        capacity: now.capacity,
        items: now.items.saturating_sub(then.items),
        measured_ns: now.measured_ns.saturating_sub(then.measured_ns),
        empty_ns: now.empty_ns.saturating_sub(then.empty_ns),
        depth_ns: now.depth_ns.saturating_sub(then.depth_ns),
        max_depth: now.max_depth,
        get_wait_ns: now.get_wait_ns.since(&then.get_wait_ns)?,
        put_wait_ns: now.put_wait_ns.since(&then.put_wait_ns)?,
    })
}
