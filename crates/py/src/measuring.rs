//! `enable_metrics` of a loader: whether it measures, and how finely.

use crate::errors;
use crate::options::mapping;
use forebay_io::Error;
use forebay_metrics::{MetricsCollector, RecordingOptions};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};
use serde::Deserialize;
use serde_json::Value;

/// What was said, and what it comes to.
pub(crate) struct Measuring {
    /// None where nothing is measured.
    options: Option<RecordingOptions>,
    /// True, False or a dict.
    given: Py<PyAny>,
}

/// The keys of the dict.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    preset: Option<String>,
    significant_digits: Option<u8>,
    sampling_rate: Option<f64>,
    batch_size: Option<u32>,
}

impl Measuring {
    /// Of what `enable_metrics` was given.
    ///
    /// # Errors
    /// TypeError unless it is a bool or a mapping, ValueError for a key or value that cannot be honoured.
    pub(crate) fn given(given: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = given.py();
        if let Ok(given) = given.cast::<PyBool>() {
            let options = given.is_true().then(RecordingOptions::default);
            return Ok(Measuring { options, given: given.clone().unbind().into_any() });
        }
        let wanted = "True, False or a mapping of preset, significant_digits, sampling_rate and batch_size";
        let map = mapping(given, wanted)?;
        let refused = |why: String| errors::raise(py, &Error::invalid(format!("enable_metrics: {why}")));
        let asked =
            serde_json::from_value::<Asked>(Value::Object(map)).map_err(|e| refused(e.to_string()))?;
        let Asked { preset, significant_digits, sampling_rate, batch_size } = asked;
        let options =
            RecordingOptions::asked(preset.as_deref(), significant_digits, sampling_rate, batch_size)
                .map_err(|error| refused(error.to_string()))?;
        // A copy: what the caller does to theirs afterwards changes nothing here.
        let copy = PyDict::new(py);
        copy.update(given.cast()?)?;
        Ok(Measuring { options: Some(options), given: copy.unbind().into_any() })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.options.is_some()
    }

    /// As it was given, for a pickle.
    pub(crate) fn as_given(&self) -> &Py<PyAny> {
        &self.given
    }

    /// A collector as was asked for, if one was.
    pub(crate) fn collector(&self) -> Option<MetricsCollector> {
        // Options that cannot be were refused when they were given.
        self.options.and_then(|options| MetricsCollector::with_options(options).ok())
    }
}
