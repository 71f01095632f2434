//! A collector of a program's own: operations that it names, counted as those of stores are.

use crate::{errors, metrics, value};
use forebay_io::Error;
use forebay_metrics::{self as rust, Digits, Preset, RecordingOptions};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use std::time::Duration;

/// Counts operations that a program names, with their latencies and sizes.
///
/// preset: "training" (three significant digits), "inference" (four) or "high_frequency" (two). Each takes
/// 1 B to 1 TiB and 1 ns to 1 h.
/// significant_digits: 1 to 5, in place of the preset's.
/// sampling_rate: the part of the values that goes into histograms; counters stay exact.
/// batch_size: values that a thread lists before it puts them into buckets, 1 to 4096.
#[pyclass(frozen, module = "forebay.metrics")]
pub(crate) struct MetricsCollector(rust::MetricsCollector);

fn refused(py: Python<'_>, text: String) -> PyErr {
    errors::raise(py, &Error::invalid(text))
}

/// A number of a range of its own; a number out of it is a value that is refused, and not an overflow.
fn whole<'py, T: FromPyObjectOwned<'py>>(given: &Bound<'py, PyAny>, name: &str, valid: &str) -> PyResult<T> {
    given.extract::<T>().map_err(Into::into).map_err(|error: PyErr| {
        let py = given.py();
        match error.is_instance_of::<PyOverflowError>(py) {
            true => refused(py, format!("{name} is {given}: {valid}")),
            false => error,
        }
    })
}

#[pymethods]
impl MetricsCollector {
    #[new]
    #[pyo3(signature = (preset = "training", *, significant_digits = None, sampling_rate = 1.0, batch_size = None), text_signature = "(preset=\"training\", *, significant_digits=None, sampling_rate=1.0, batch_size=1)")]
    fn new(
        py: Python<'_>,
        preset: &str,
        significant_digits: Option<&Bound<'_, PyAny>>,
        sampling_rate: f64,
        batch_size: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let Some(preset) = Preset::ALL.into_iter().find(|known| known.name() == preset) else {
            let names = Preset::ALL.map(Preset::name).join(", ");
            return Err(refused(py, format!("preset {preset:?} is not one of {names}")));
        };
        let digits = match significant_digits {
            None => preset.digits(),
            Some(digits) => {
                let digits = whole(digits, "significant_digits", "a whole number from 1 to 5")?;
                Digits::new(digits).map_err(|error| refused(py, error.to_string()))?
            }
        };
        let batch_size =
            batch_size.map_or(Ok(1), |n| whole(n, "batch_size", "a whole number from 1 to 4096"))?;
        let options = RecordingOptions { digits, sampling_rate, batch_size };
        let made = rust::MetricsCollector::with_options(options);
        Ok(MetricsCollector(made.map_err(|error| refused(py, error.to_string()))?))
    }

    /// Counts one operation that took `seconds`, and moved `bytes` if it moves any. The names of stores'
    /// operations (get, put, ...) are counted as those.
    #[pyo3(signature = (name, seconds, bytes = None))]
    fn record_operation(
        &self,
        py: Python<'_>,
        name: &str,
        seconds: f64,
        bytes: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let bytes = bytes.map(|n| whole(n, "bytes", "a whole number from 0 to 2^64 - 1")).transpose()?;
        let latency = Duration::try_from_secs_f64(seconds)
            .map_err(|_| refused(py, format!("seconds is {seconds}: a time from 0 on")))?;
        let recorded = self.0.record_operation(name, latency, bytes);
        recorded.map_err(|error| refused(py, error.to_string()))
    }

    /// What was counted so far, as text for a terminal.
    fn report(&self) -> String {
        self.0.report()
    }

    /// The latencies of one operation as a dict, in microseconds; None if it was never done.
    fn latency_summary<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(summary) = self.0.latency_summary(name) else { return Ok(None) };
        let summary = serde_json::to_value(summary).unwrap_or_default();
        value::to_python(py, &summary).map(Some)
    }

    /// Everything counted so far, as a dict that forebay.metrics merges, subtracts and writes.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        value::to_python(py, &metrics::to_value(&self.0.snapshot())?)
    }

    /// Puts what waits in this thread's lists into buckets. A snapshot has it in it either way.
    fn flush(&self) {
        self.0.flush();
    }
}
