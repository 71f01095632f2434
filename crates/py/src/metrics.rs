//! What this process did, over all loaders and calls.

use crate::{process, value};
use pyo3::exceptions::PySystemError;
use pyo3::prelude::*;
use serde_json::Value;

/// What is known of one loader only, and would be zero here: see `Loader.snapshot`.
const OF_A_LOADER: [&str; 3] = ["inflight_bytes", "stages", "queues"];

/// Everything that this process read, wrote and listed through forebay, as a dict.
#[pyfunction]
pub(crate) fn snapshot(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let mut all = to_value(&process::current()?.collector().snapshot())?;
    if let Value::Object(members) = &mut all {
        OF_A_LOADER.iter().for_each(|name| drop(members.remove(*name)));
    }
    value::to_python(py, &all)
}

/// A snapshot in the shape of its JSON form.
pub(crate) fn to_value(snapshot: &forebay_metrics::Snapshot) -> PyResult<Value> {
    serde_json::to_value(snapshot).map_err(|error| PySystemError::new_err(error.to_string()))
}
