//! What is left to do of a finished call with the interpreter's lock held.

use pyo3::prelude::*;

/// Makes what Python gets of what was found.
pub(crate) type Answer = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
