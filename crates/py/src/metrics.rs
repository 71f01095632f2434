//! What this process did, over all loaders and calls; and snapshots added up, subtracted and written.

use crate::options::mapping_of;
use crate::{errors, process, value};
use forebay_io::Error;
use forebay_metrics::MetricsSnapshot;
use forebay_metrics::hlog::{self, Interval};
use pyo3::exceptions::PySystemError;
use pyo3::prelude::*;
use serde_json::Value;
use std::time::Duration;

/// What is known of one loader only, and would be zero here: see `Loader.snapshot`.
const OF_A_LOADER: [&str; 6] =
    ["peak_inflight", "inflight_bytes", "inflight_cap", "memory", "stages", "queues"];

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
pub(crate) fn to_value(snapshot: &MetricsSnapshot) -> PyResult<Value> {
    serde_json::to_value(snapshot).map_err(|error| PySystemError::new_err(error.to_string()))
}

/// Adds snapshots up, of one or several processes, bucket by bucket.
#[pyfunction(name = "_metrics_merge")]
pub(crate) fn merge<'py>(py: Python<'py>, snapshots: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    let mut sum = MetricsSnapshot::default();
    for snapshot in &snapshots {
        let next = from_dict(snapshot)?;
        sum.merge(&next).map_err(|error| refused(py, &error.to_string()))?;
    }
    value::to_python(py, &to_value(&sum)?)
}

/// What happened between two snapshots of one loader or process.
#[pyfunction(name = "_metrics_diff")]
pub(crate) fn diff<'py>(
    py: Python<'py>,
    later: &Bound<'py, PyAny>,
    earlier: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let between = from_dict(later)?.diff(&from_dict(earlier)?);
    value::to_python(py, &to_value(&between.map_err(|error| refused(py, &error.to_string()))?)?)
}

/// Reads a snapshot's JSON form, and checks it.
#[pyfunction(name = "_metrics_read")]
pub(crate) fn read<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    let snapshot = MetricsSnapshot::from_json(text).map_err(|error| refused(py, &error.to_string()))?;
    value::to_python(py, &to_value(&snapshot)?)
}

/// A snapshot as text; the times are for an interval log only.
#[pyfunction(name = "_metrics_write")]
pub(crate) fn write(snapshot: &Bound<'_, PyAny>, form: &str, begin: f64, length: f64) -> PyResult<String> {
    let py = snapshot.py();
    let snapshot = from_dict(snapshot)?;
    let seconds = |name: &str, seconds: f64| {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| refused(py, &format!("{name} is {seconds}: seconds from 0 on")))
    };
    Ok(match form {
        "json" => snapshot.to_json(),
        "csv" => snapshot.to_csv(),
        "prometheus" => snapshot.to_prometheus(),
        "openmetrics" => snapshot.to_openmetrics(),
        "hlog" => {
            let interval = Interval { begin: seconds("begin", begin)?, length: seconds("length", length)? };
            hlog::log([(interval, &snapshot)])
        }
        _ => return Err(refused(py, &format!("{form:?}: json, csv, prometheus, openmetrics or hlog"))),
    })
}

fn from_dict(snapshot: &Bound<'_, PyAny>) -> PyResult<MetricsSnapshot> {
    let text = Value::Object(mapping_of(snapshot, "a snapshot", "what snapshot() returned")?).to_string();
    MetricsSnapshot::from_json(&text).map_err(|error| refused(snapshot.py(), &error.to_string()))
}

fn refused(py: Python<'_>, text: &str) -> PyErr {
    errors::raise(py, &Error::invalid(text))
}
