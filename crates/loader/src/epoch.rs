//! One epoch on its way: batches in, one after another, until there are no more.

use crate::loader::Shared;
use crate::{Batch, Progress};
use forebay_io::{Error, Kind, Operation, Result, Retry};
use forebay_metrics::Snapshot;
use forebay_pipeline::{self as pipeline, PipelineError, PipelineStats, Sink};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a wait with a limit came to.
#[derive(Debug)]
pub enum Waited {
    /// A batch, or why there is none in its place.
    Ready(Result<Batch>),
    /// The epoch is over.
    Ended,
    /// No batch came in time. Nothing is lost: call again.
    TimedOut,
}

/// Batches of one epoch for one rank. Dropping it gives up what is under way: no task, no byte of
/// the budget and no descriptor stays behind.
///
/// After an error the epoch is over. The batch that failed was not delivered, so
/// [`Loader::state`](crate::Loader::state) still points before it.
pub struct Epoch {
    sink: Sink<Batch, Error>,
    delivery: Delivery,
}

/// What the consumer has been given.
struct Delivery {
    shared: Arc<Shared>,
    run: u64,
    began: Instant,
    progress: Progress,
    done: bool,
}

impl Epoch {
    pub(crate) fn new(
        sink: Sink<Batch, Error>,
        shared: Arc<Shared>,
        run: u64,
        epoch: u64,
        batches_total: u64,
    ) -> Self {
        let progress =
            Progress { epoch, batches: 0, batches_total, samples: 0, bytes: 0, elapsed: Duration::ZERO };
        Epoch { sink, delivery: Delivery { shared, run, began: Instant::now(), progress, done: false } }
    }

    /// The next batch; none at the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Batch>> {
        if self.delivery.done {
            return None;
        }
        let item = self.sink.next().await;
        self.delivery.accept(item)
    }

    /// The next batch, waiting on the calling thread, which must not be one of the runtime's. While it
    /// waits it does the loader's own work: it begins the reads that come next.
    pub fn next_blocking(&mut self) -> Option<Result<Batch>> {
        if self.delivery.done {
            return None;
        }
        // Until the batch's bytes are given back, so that the reads that they let begin are begun here.
        let attending = self.sink.attend();
        let item = attending.next_blocking();
        self.delivery.accept(item)
    }

    /// Like [`Epoch::next_blocking`], for at most `limit`: for callers that must look at something
    /// else now and then, such as a signal.
    pub fn next_timeout(&mut self, limit: Duration) -> Waited {
        if self.delivery.done {
            return Waited::Ended;
        }
        let attending = self.sink.attend();
        let item = match attending.next_timeout(limit) {
            pipeline::Waited::TimedOut => return Waited::TimedOut,
            pipeline::Waited::Ready(item) => Some(item),
            pipeline::Waited::Ended => None,
        };
        self.delivery.accept(item).map_or(Waited::Ended, Waited::Ready)
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.delivery.progress_now()
    }

    /// Statistics of the stages and queues of this epoch.
    pub fn stats(&self) -> PipelineStats {
        self.sink.stats()
    }

    /// Everything measured: the loader's operations so far, and this epoch's stages and queues.
    pub fn snapshot(&self) -> Snapshot {
        let stats = self.stats();
        Snapshot { stages: stats.stages, queues: stats.queues, ..self.delivery.shared.snapshot() }
    }

    /// Gives up what is under way. The next call says that the epoch was ended.
    pub fn cancel(&self) {
        self.sink.cancel();
    }

    /// Waits until every task of the epoch is gone, after its end, an error or [`Epoch::cancel`].
    pub async fn closed(&self) {
        self.sink.closed().await;
    }
}

impl Delivery {
    fn accept(&mut self, item: Option<pipeline::Item<Batch, Error>>) -> Option<Result<Batch>> {
        let batch = match item {
            None => {
                self.done = true;
                if self.progress.batches < self.progress.batches_total {
                    let context = format!(
                        "the epoch was ended after {} of {} batches",
                        self.progress.batches, self.progress.batches_total
                    );
                    return Some(Err(Error::new(Kind::Cancelled, Operation::Get, context)));
                }
                return None;
            }
            Some(Err(error)) => {
                self.done = true;
                return Some(Err(plain(error)));
            }
            Some(Ok(batch)) => batch,
        };
        batch.delivered();
        self.progress.batches += 1;
        self.progress.samples += batch.len() as u64;
        self.progress.bytes += batch.sample_bytes();
        self.progress.elapsed = self.began.elapsed();
        self.shared.delivered(self.run, &batch);
        if let Some(tell) = &self.shared.on_progress {
            tell(&self.progress);
        }
        Some(Ok(batch))
    }

    fn progress_now(&self) -> Progress {
        Progress { elapsed: self.began.elapsed(), ..self.progress }
    }
}

fn plain(error: PipelineError<Error>) -> Error {
    match error {
        PipelineError::Failed { source, .. } => source,
        // A defect, or a runtime that went away: nothing that trying again would mend.
        other => Error::new(Kind::Unavailable, Operation::Get, other.to_string()).with_retry(Retry::Never),
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoch").field("progress", &self.delivery.progress).finish_non_exhaustive()
    }
}
