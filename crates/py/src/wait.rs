//! Waiting for something that is read elsewhere: without the interpreter's lock, and awake to Ctrl-C.

use crate::errors;
use crate::process::Process;
use forebay_io::Result;
use pyo3::prelude::*;
use std::pin::pin;
use std::time::Duration;

/// How long a wait goes on before signals are looked for. A person notices 100 ms; half of it leaves
/// time to unwind. A look costs some microseconds, only in waits that last.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// Runs a future to its end on this thread. A signal whose handler raises, such as Ctrl-C, drops the
/// future, which takes nothing with it and leaves nothing behind.
pub(crate) fn until_done<T: Send>(
    py: Python<'_>,
    process: &Process,
    future: impl Future<Output = T> + Send,
) -> PyResult<T> {
    let mut future = pin!(future);
    loop {
        let slice =
            || process.runtime().block_on(async { tokio::time::timeout(SLICE, future.as_mut()).await });
        if let Ok(done) = py.detach(slice) {
            return Ok(done);
        }
        py.check_signals()?;
    }
}

/// As [`until_done`], with failures as exceptions.
pub(crate) fn until_ok<T: Send>(
    py: Python<'_>,
    process: &Process,
    future: impl Future<Output = Result<T>> + Send,
) -> PyResult<T> {
    until_done(py, process, future)?.map_err(|error| errors::raise(py, &error))
}
