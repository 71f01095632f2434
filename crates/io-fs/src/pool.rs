//! The threads that make blocking system calls, so that no thread of an async runtime does.
//!
//! A job is one batch, page of a listing, or step of a put: never one file of many. It ends by waking
//! its caller once. Jobs do not wait for each other or for a consumer, so one thread is enough to make
//! progress, and a full one delays but never deadlocks.
//!
//! Not here: what the jobs do.

use crossbeam_channel::Sender;
use forebay_io::{Error, Kind, Operation, Result};
use futures::FutureExt;
use futures::channel::oneshot;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Job = Box<dyn FnOnce() + Send>;

/// Handle to the threads. When it is dropped they finish what was submitted, which they notice to be
/// no longer wanted, and end. Nobody waits for that: a call on a dead network filesystem may never
/// come back, and in a forked child the threads do not exist.
#[derive(Debug)]
pub(crate) struct Pool {
    queue: Sender<Job>,
    threads: usize,
}

impl Pool {
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let (queue, jobs) = crossbeam_channel::unbounded::<Job>();
        for index in 0..threads {
            let jobs = jobs.clone();
            std::thread::Builder::new()
                .name(format!("forebay-fs-{index}"))
                .spawn(move || {
                    for job in jobs {
                        // The caller hears of it, because its end of the channel is dropped.
                        let _ = catch_unwind(AssertUnwindSafe(job));
                    }
                })
                .map_err(|e| {
                    let context = format!("cannot start thread {} of {threads}", index + 1);
                    Error::new(Kind::Unavailable, Operation::Configure, context).with_source(e)
                })?;
        }
        Ok(Pool { queue, threads })
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `job` on a thread of the pool once it is waited for. The job is told how to ask whether its
    /// caller went away. The answer is none if it panicked.
    pub(crate) async fn run<T, F>(&self, job: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    {
        self.start(job).await
    }

    /// As [`Pool::run`], begun at once.
    pub(crate) fn start<T, F>(&self, job: F) -> impl Future<Output = Option<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    {
        let (answer, receive) = oneshot::channel();
        self.submit(move || {
            if answer.is_canceled() {
                return;
            }
            let value = job(&|| answer.is_canceled());
            // Where the caller went away meanwhile, the value is dropped here.
            let _ = answer.send(value);
        });
        receive.map(Result::ok)
    }

    /// Puts a job in line.
    pub(crate) fn submit(&self, job: impl FnOnce() + Send + 'static) {
        // Fails only where no thread is left to receive, and they stay as long as we do.
        let _ = self.queue.send(Box::new(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;

    #[test]
    fn a_panic_reaches_its_caller_and_the_thread_goes_on() {
        let pool = Pool::new(1).unwrap();
        assert_eq!(block_on(pool.run(|_| -> u32 { panic!("a test's own panic") })), None);
        assert_eq!(block_on(pool.run(|_| 7)), Some(7));
    }

    #[test]
    fn a_job_whose_caller_went_away_before_it_began_does_not_run() {
        let pool = Pool::new(1).unwrap();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        pool.submit(move || gate.recv().unwrap());
        let (ran, seen) = std::sync::mpsc::channel::<()>();
        {
            let mut unwanted = Box::pin(pool.run(move |_| ran.send(())));
            assert!(unwanted.as_mut().now_or_never().is_none());
        }
        open.send(()).unwrap();
        assert!(seen.recv().is_err(), "its closure is dropped unrun");
    }
}
