//! One epoch on its way: batches in, one after another, until there are no more.

use crate::loader::Shared;
use crate::{Batch, OnError, Progress, Treatment};
use forebay_io::{Error, Kind, Operation, Result, Retry};
use forebay_metrics::MetricsSnapshot;
use forebay_pipeline::{self as pipeline, PipelineError, PipelineStats, Sink};
use futures::future::{Either, select};
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

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
    runtime: Handle,
    delivery: Delivery,
}

/// What the consumer has been given.
struct Delivery {
    shared: Arc<Shared>,
    run: u64,
    began: Instant,
    progress: Progress,
    /// Samples that were lost in this epoch.
    lost: u64,
    /// How many batches there are; known once nothing is listed any more.
    total: Arc<OnceLock<u64>>,
    /// Since when the consumer waits for the next batch, if it does.
    waits_since: Option<Instant>,
    done: bool,
}

impl Epoch {
    pub(crate) fn new(
        sink: Sink<Batch, Error>,
        runtime: Handle,
        shared: Arc<Shared>,
        run: u64,
        epoch: u64,
        total: Arc<OnceLock<u64>>,
    ) -> Self {
        let progress = Progress {
            epoch,
            batches: 0,
            batches_total: total.get().copied(),
            samples: 0,
            bytes: 0,
            elapsed: Duration::ZERO,
        };
        let delivery = Delivery {
            shared,
            run,
            began: Instant::now(),
            progress,
            lost: 0,
            total,
            waits_since: None,
            done: false,
        };
        Epoch { sink, runtime, delivery }
    }

    /// The next batch; none at the end. Cancel-safe. With a `timeout` the runtime must have time enabled.
    pub async fn next(&mut self) -> Option<Result<Batch>> {
        while !self.delivery.done {
            let next = self.sink.next();
            let item = match self.delivery.time_left() {
                None => next.await,
                Some(left) => {
                    let limit = {
                        let _inside = self.runtime.enter();
                        tokio::time::sleep(left)
                    };
                    match select(next, pin!(limit)).await {
                        Either::Left((item, _)) => item,
                        Either::Right(_) => return Some(Err(self.delivery.too_late())),
                    }
                }
            };
            if let Some(came) = self.delivery.accept(item) {
                return came;
            }
        }
        None
    }

    /// The next batch, waiting on the calling thread, which must not be one of the runtime's. While it
    /// waits it does the loader's own work: it begins the reads that come next.
    pub fn next_blocking(&mut self) -> Option<Result<Batch>> {
        match self.wait(None) {
            Waited::Ready(came) => Some(came),
            Waited::Ended | Waited::TimedOut => None,
        }
    }

    /// Like [`Epoch::next_blocking`], for at most `limit`: for callers that must look at something
    /// else now and then, such as a signal.
    pub fn next_timeout(&mut self, limit: Duration) -> Waited {
        self.wait(Some(limit))
    }

    fn wait(&mut self, limit: Option<Duration>) -> Waited {
        while !self.delivery.done {
            // Until the batch's bytes are given back, so that the reads that they let begin are begun here.
            let attending = self.sink.attend();
            let left = self.delivery.time_left();
            let item = match [limit, left].into_iter().flatten().min() {
                None => attending.next_blocking(),
                Some(wait) => match attending.next_timeout(wait) {
                    pipeline::Waited::Ready(item) => Some(item),
                    pipeline::Waited::Ended => None,
                    pipeline::Waited::TimedOut if self.delivery.time_left() == Some(Duration::ZERO) => {
                        return Waited::Ready(Err(self.delivery.too_late()));
                    }
                    pipeline::Waited::TimedOut => return Waited::TimedOut,
                },
            };
            if let Some(came) = self.delivery.accept(item) {
                return came.map_or(Waited::Ended, Waited::Ready);
            }
        }
        Waited::Ended
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
    pub fn snapshot(&self) -> MetricsSnapshot {
        let stats = self.stats();
        MetricsSnapshot { stages: stats.stages, queues: stats.queues, ..self.delivery.shared.snapshot() }
    }

    /// A handle by which others look at the stages and queues of this epoch, also while a batch is waited for.
    pub fn control(&self) -> pipeline::Control {
        self.sink.control()
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
    /// What is left of the `timeout`, if there is one. Begins a wait where none is under way.
    fn time_left(&mut self) -> Option<Duration> {
        let timeout = self.shared.options().timeout?;
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        Some(timeout.saturating_sub(since.elapsed()))
    }

    fn too_late(&mut self) -> Error {
        self.done = true;
        let timeout = self.shared.options().timeout.unwrap_or_default().as_secs_f64();
        let context = format!(
            "no batch came within timeout={timeout} s; raise it, or see in the report what the reads wait for"
        );
        Error::new(Kind::TimedOut, Operation::Get, context).with_retry(Retry::Never)
    }

    /// What the consumer is given for what came out of the pipeline; none if it is to wait on, because
    /// nothing is left of a batch.
    fn accept(&mut self, item: Option<pipeline::Item<Batch, Error>>) -> Option<Option<Result<Batch>>> {
        self.waits_since = None;
        let mut batch = match item {
            None => {
                self.done = true;
                let (came, total) = (self.progress.batches, self.total.get());
                if total.is_none_or(|total| came < *total) {
                    let all = total.map_or("unknown".to_owned(), u64::to_string);
                    let context = format!("the epoch was ended after {came} of {all} batches");
                    return Some(Some(Err(Error::new(Kind::Cancelled, Operation::Get, context))));
                }
                self.shared.ended(self.run);
                return Some(None);
            }
            Some(Err(error)) => {
                self.done = true;
                return Some(Some(Err(plain(error))));
            }
            Some(Ok(batch)) => batch,
        };
        if let Err(error) = self.quarantine(&mut batch) {
            self.done = true;
            return Some(Some(Err(error)));
        }
        batch.delivered();
        self.progress.batches += 1;
        self.progress.samples += batch.len() as u64;
        self.progress.bytes += batch.sample_bytes();
        self.progress.batches_total = self.total.get().copied();
        self.progress.elapsed = self.began.elapsed();
        self.shared.delivered(self.run, &batch);
        if let Some(tell) = &self.shared.on_progress {
            tell(&self.progress);
        }
        (!batch.is_empty()).then_some(Some(Ok(batch)))
    }

    /// Puts down what a batch lost on its way.
    ///
    /// # Errors
    /// Once the epoch has lost more than its quota.
    fn quarantine(&mut self, batch: &mut Batch) -> Result<()> {
        let losses = batch.take_losses();
        let Some(last) = losses.iter().rfind(|loss| loss.treatment != Treatment::PassedOver) else {
            return Ok(());
        };
        let mut quarantine = self.shared.quarantine();
        losses.iter().for_each(|loss| quarantine.add(self.progress.epoch, loss));
        drop(quarantine);
        self.lost += losses.iter().filter(|loss| loss.treatment != Treatment::PassedOver).count() as u64;
        let on_error = self.shared.options().on_error;
        match on_error {
            OnError::Skip { quota } | OnError::Substitute { quota } if self.lost > quota => {
                Err(last.error.duplicate().context(format_args!(
                    "on_error={on_error}: the epoch has lost {} samples, more than its quota; the last",
                    self.lost
                )))
            }
            _ => Ok(()),
        }
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
