//! One epoch as an iterator, for threads that wait and for event loops that must not.
//!
//! There is one queue at the end of the loader and both ways take from it, so they may be mixed. A wait
//! that is given up (Ctrl-C, a cancelled task) takes nothing: the next call goes on where it was.

use crate::batch::Batch;
use crate::born::Born;
use crate::loader::Live;
use crate::progress::Progress;
use crate::waker::Bell;
use crate::{errors, process, wait};
use forebay_loader::{self as loader, Epoch, Waited};
use forebay_pipeline::PipelineStats;
use futures::FutureExt;
use futures::future::BoxFuture;
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Iterator over the batches of one epoch. Made by `iter(loader)`.
///
/// Dropping it, or close(), gives up what is under way. After an error it is at its end.
#[pyclass(frozen, weakref, module = "forebay")]
pub(crate) struct Batches {
    running: Born<Arc<Running>>,
    progress: Option<Py<PyAny>>,
    collate: loader::Collate,
}

/// What an iterator and its loader share.
pub(crate) struct Running {
    live: Arc<Live>,
    /// Locked for as long as somebody waits, so only tried by everybody else.
    stage: Mutex<Stage>,
    bell: OnceLock<Arc<Bell>>,
}

enum Stage {
    /// Nobody waits.
    Idle(Epoch),
    /// An event loop waits; the future gives the epoch back with what came.
    Waiting(BoxFuture<'static, (Epoch, Option<forebay_io::Result<loader::Batch>>)>),
    Over,
}

/// What a look at the queue came to.
type Came = Option<forebay_io::Result<loader::Batch>>;

impl Batches {
    pub(crate) fn new(
        live: Arc<Live>,
        epoch: Epoch,
        progress: Option<Py<PyAny>>,
        collate: loader::Collate,
    ) -> (Self, Weak<Running>) {
        let stage = Mutex::new(Stage::Idle(epoch));
        let running = Arc::new(Running { live, stage, bell: OnceLock::new() });
        let seen = Arc::downgrade(&running);
        (Batches { running: Born::here(running), progress, collate }, seen)
    }

    fn running(&self, py: Python<'_>) -> PyResult<&Running> {
        Ok(self.running.get_or_raise(py, "this iterator over batches")?)
    }

    /// Makes of what came a batch, the end, or an exception.
    fn take_in(
        &self,
        py: Python<'_>,
        mut stage: MutexGuard<'_, Stage>,
        came: Came,
    ) -> PyResult<Option<Batch>> {
        let running = self.running(py)?;
        let batch = match came {
            Some(Ok(batch)) => batch,
            over => {
                running.end(&mut stage);
                return match over {
                    Some(Err(error)) => Err(errors::raise(py, &error)),
                    _ => Ok(None),
                };
            }
        };
        let progress = match (&self.progress, &*stage) {
            (Some(tell), Stage::Idle(epoch)) => Some((tell, epoch.progress())),
            _ => None,
        };
        // What follows may run code of the user, who may ask this very iterator for the next batch.
        drop(stage);
        running.live.ledger().add(batch.len() as u64, batch.sample_bytes());
        let batch = Batch::new(batch, running.live.loader().dataset().cloned(), self.collate);
        if let Some((tell, progress)) = progress {
            tell.call1(py, (Progress(progress),))?;
        }
        Ok(Some(batch))
    }
}

impl Running {
    fn stage(&self) -> PyResult<MutexGuard<'_, Stage>> {
        match self.stage.try_lock() {
            Ok(stage) => Ok(stage),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
                "another thread is waiting for this iterator over batches; give each thread a loader of its own",
            )),
        }
    }

    /// What stages and queues say now; none while somebody waits, or after the end.
    pub(crate) fn stats(&self) -> Option<PipelineStats> {
        match &*self.stage.try_lock().ok()? {
            Stage::Idle(epoch) => Some(epoch.stats()),
            Stage::Waiting(_) | Stage::Over => None,
        }
    }

    /// Gives up what is under way.
    fn end(&self, stage: &mut Stage) {
        match std::mem::replace(stage, Stage::Over) {
            Stage::Idle(epoch) => self.live.ledger().end(Some(epoch.stats())),
            Stage::Waiting(_) => self.live.ledger().end(None),
            Stage::Over => {}
        }
    }
}

#[pymethods]
impl Batches {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        let mut stage = self.running(py)?.stage()?;
        // A batch that is there is taken without letting go of the interpreter's lock, which another
        // thread might then keep for milliseconds.
        let mut limit = Duration::ZERO;
        loop {
            let came = match &mut *stage {
                Stage::Over => return Ok(None),
                Stage::Idle(epoch) => match wait_for(py, epoch, limit) {
                    Waited::Ready(item) => Some(item),
                    Waited::Ended => None,
                    Waited::TimedOut => {
                        if limit != Duration::ZERO {
                            py.check_signals()?;
                        }
                        limit = wait::SLICE;
                        continue;
                    }
                },
                Stage::Waiting(future) => {
                    let (epoch, came) = wait::until_done(py, process::current()?, future)?;
                    *stage = Stage::Idle(epoch);
                    came
                }
            };
            return self.take_in(py, stage, came);
        }
    }

    /// The next batch if it is there, or None: the descriptor then becomes readable when it is worth
    /// asking again. For event loops; raises StopAsyncIteration at the end.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        let running = self.running(py)?;
        let mut stage = running.stage()?;
        let mut came = None;
        if let Stage::Idle(epoch) = &mut *stage {
            came = match epoch.next_timeout(Duration::ZERO) {
                Waited::Ready(item) => Some(Some(item)),
                Waited::Ended => Some(None),
                Waited::TimedOut => None,
            };
        }
        if came.is_none() {
            let bell = running.bell()?;
            bell.quiet();
            let mut future = match std::mem::replace(&mut *stage, Stage::Over) {
                Stage::Over => return Err(PyStopAsyncIteration::new_err(())),
                Stage::Waiting(future) => future,
                Stage::Idle(mut epoch) => async move {
                    let came = epoch.next().await;
                    (epoch, came)
                }
                .boxed(),
            };
            match future.poll_unpin(&mut Context::from_waker(&Waker::from(bell.clone()))) {
                Poll::Pending => {
                    *stage = Stage::Waiting(future);
                    return Ok(None);
                }
                Poll::Ready((epoch, item)) => {
                    *stage = Stage::Idle(epoch);
                    came = Some(item);
                }
            }
        }
        match self.take_in(py, stage, came.flatten())? {
            Some(batch) => Ok(Some(batch)),
            None => Err(PyStopAsyncIteration::new_err(())),
        }
    }

    /// The descriptor that becomes readable after poll() returned None. For event loops; never to be
    /// read, written or closed.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        Ok(self.running(py)?.bell()?.descriptor())
    }

    /// Gives up what is under way. The iterator is at its end then.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let running = self.running(py)?;
        let mut stage = running.stage()?;
        running.end(&mut stage);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.progress)
    }
}

fn wait_for(py: Python<'_>, epoch: &mut Epoch, limit: Duration) -> Waited {
    if limit == Duration::ZERO { epoch.next_timeout(limit) } else { py.detach(|| epoch.next_timeout(limit)) }
}

impl Running {
    fn bell(&self) -> PyResult<&Arc<Bell>> {
        if let Some(bell) = self.bell.get() {
            return Ok(bell);
        }
        let bell = Bell::new()?;
        Ok(self.bell.get_or_init(|| bell))
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // Not in a child, where it is the parent's. Nobody else has the stage: whoever waits holds us.
        if let Some(running) = self.running.get()
            && let Ok(mut stage) = running.stage.try_lock()
        {
            running.end(&mut stage);
        }
    }
}
