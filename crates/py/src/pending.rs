//! A call that goes on while an event loop does other things: a future on the runtime, and a bell that tells
//! the loop when it is over. No thread of ours calls into the loop.

use crate::answer::Answer;
use crate::born::Born;
use crate::waker::Bell;
use crate::{errors, process};
use forebay_io::Result;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;
use tokio::task::AbortHandle;

/// A call that is under way. Made by what `forebay.aio` calls.
#[pyclass(frozen, module = "forebay")]
pub(crate) struct Pending(Born<Running>);

struct Running {
    /// What the call came to. Locked for a moment only, by the one who leaves and the one who takes.
    left: Arc<Mutex<Option<Result<Answer>>>>,
    bell: Arc<Bell>,
    task: AbortHandle,
}

struct RingOnDrop(Arc<Bell>);

impl Drop for RingOnDrop {
    fn drop(&mut self) {
        self.0.wake_by_ref();
    }
}

impl Pending {
    pub(crate) fn begin(call: impl Future<Output = Result<Answer>> + Send + 'static) -> PyResult<Self> {
        let (bell, left) = (Bell::new()?, Arc::new(Mutex::new(None)));
        // Rung when the call is over, however it ends.
        let (ring, leave) = (RingOnDrop(bell.clone()), left.clone());
        let task = process::current()?.runtime().spawn(async move {
            let _ring = ring;
            let result = call.await;
            *leave.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        });
        Ok(Pending(Born::here(Running { left, bell, task: task.abort_handle() })))
    }

    fn running(&self, py: Python<'_>) -> PyResult<&Running> {
        self.0.get_or_raise(py, "this call")
    }
}

#[pymethods]
impl Pending {
    /// The descriptor that becomes readable when the call is over. Never to be read, written or closed.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        Ok(self.running(py)?.bell.descriptor())
    }

    /// What the call came to. Once, and only when the descriptor is readable.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let left = self.running(py)?.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        match left {
            Some(Ok(answer)) => answer(py),
            Some(Err(error)) => Err(errors::raise(py, &error)),
            None => Err(PyRuntimeError::new_err("the call is not over, or its result was taken already")),
        }
    }

    /// Gives up what is under way.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.running(py)?.task.abort();
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
