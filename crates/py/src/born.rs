//! Values that belong to the process they were made in.
//!
//! After a `fork` the child has a copy of every object and none of the threads. A lock that such a
//! thread held stays locked in the child for ever, and a queue that it fed stays empty. So what holds
//! locks or is fed by threads is wrapped in [`Born`]: a child is refused it, with an error that says
//! what to do, and dropping it there frees nothing.
//!
//! The fork is noticed by `pthread_atfork`, which runs in the child before any code of Python does.
//! (`os.register_at_fork` comes later: the interpreter frees objects of vanished threads before it.)

use crate::errors;
use pyo3::prelude::*;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many forks lie between the process that loaded this library and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Begins to count forks. To be called before the first [`Born`] is made; calling again does nothing.
pub(crate) fn watch_forks() -> PyResult<()> {
    static ONCE: Once = Once::new();
    let mut failed = 0;
    ONCE.call_once(|| {
        // SAFETY: the handler only adds to an atomic, which is allowed in a child of a process with
        // threads. The library is never unloaded: Python keeps extension modules.
        failed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    match failed {
        0 => Ok(()),
        errno => Err(std::io::Error::from_raw_os_error(errno).into()),
    }
}

/// Which process this is: equal for two values only if no fork lies between them.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// A value that may only be used by the process that made it.
#[derive(Debug)]
pub(crate) struct Born<T> {
    generation: u64,
    value: Option<T>,
}

impl<T> Born<T> {
    /// Binds a value to this process.
    pub(crate) fn here(value: T) -> Self {
        Born { generation: generation(), value: Some(value) }
    }

    /// The value, in the process that made it.
    pub(crate) fn get(&self) -> Option<&T> {
        if self.generation == generation() { self.value.as_ref() } else { None }
    }

    /// The value, or the exception that names it and tells what to do in a forked child.
    pub(crate) fn get_or_raise(&self, py: Python<'_>, what: &str) -> PyResult<&T> {
        self.get().ok_or_else(|| errors::forked(py, what))
    }

    /// The value in any process, for reading what no lock guards and no thread changes.
    pub(crate) fn peek(&self) -> &T {
        self.value.as_ref().expect("only drop takes it")
    }
}

impl<T> Drop for Born<T> {
    fn drop(&mut self) {
        if self.generation != generation() {
            // Its destructor could wait for a lock that nobody will ever release. The copy is the
            // child's own, so nothing but a little of its memory is lost.
            std::mem::forget(self.value.take());
        }
    }
}
