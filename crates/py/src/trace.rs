//! Traces: recorded from this process, described, converted, compared and made up.

// The edge where host, clocks and the place for scratch files are looked up.
#![allow(clippy::disallowed_methods)]

use crate::options::{LoaderOptions, mapping};
use crate::settings::Settings;
use crate::{errors, process, value};
use forebay_trace::export::{self, Target};
use forebay_trace::import::{ImportOptions, Input};
use forebay_trace::synth::Model;
use forebay_trace::{Clock, Error, Header, Recorder, RecorderOptions};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use serde_json::{Map, json};
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const ENGINE: &str = concat!("forebay ", env!("CARGO_PKG_VERSION"), " (Python)");

pub(crate) fn raise(py: Python<'_>, error: Error) -> PyErr {
    match error {
        Error::Store(error) => errors::raise(py, &error),
        Error::File { ref source, .. } => {
            // With the number of the system's error, Python makes FileNotFoundError and its like of it.
            match source.raw_os_error() {
                Some(code) => pyo3::exceptions::PyOSError::new_err((code, error.to_string())),
                None => pyo3::exceptions::PyOSError::new_err(error.to_string()),
            }
        }
        other => PyValueError::new_err(other.to_string()),
    }
}

/// Everything from here on is recorded, until `_end_trace`.
#[pyfunction(name = "_begin_trace")]
#[pyo3(signature = (path, rotate_bytes=None, options=None))]
pub(crate) fn begin_trace(
    py: Python<'_>,
    path: PathBuf,
    rotate_bytes: Option<u64>,
    options: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let ran_under = match options {
        None => Map::new(),
        Some(options) => match options.cast::<LoaderOptions>() {
            Ok(options) => options.get().rust().to_json(),
            Err(_) => mapping(options, "LoaderOptions or a dict")?,
        },
    };
    let tap = process::current()?.tap();
    let busy = || PyRuntimeError::new_err("this process records a trace already; end it first");
    // Before the file is made, so that a mistake costs no trace.
    if tap.is_recording() {
        return Err(busy());
    }
    let origin = Instant::now();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let clock = Clock::now(since_1970);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let options = RecorderOptions { rotate_bytes, ..RecorderOptions::default() };
    let header = Header { options: ran_under, ..Header::new(ENGINE, host, clock) };
    let recorder = Recorder::create(&path, header, origin, &options);
    match tap.record(recorder.map_err(|error| raise(py, error))?) {
        true => Ok(()),
        false => Err(busy()),
    }
}

/// Ends the trace, of which so many operations of other processes are missing, and says what became of it.
#[pyfunction(name = "_end_trace")]
pub(crate) fn end_trace(py: Python<'_>, missed: u64) -> PyResult<Bound<'_, PyAny>> {
    let recorder = process::current()?.tap().take().inspect(|recorder| recorder.missed(missed));
    let recorded = py
        .detach(|| recorder.and_then(|recorder| recorder.finish()))
        .ok_or_else(|| PyRuntimeError::new_err("this process records no trace"))?;
    value::to_python(py, &recorded.to_json())
}

/// What a trace of another tool may need.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Reading {
    format: Option<String>,
    bucket: Option<String>,
    base: Option<PathBuf>,
}

impl Reading {
    /// A trace on disk. Relative names in it are taken from `base`, else from the working directory.
    pub(crate) fn input(&self, path: PathBuf) -> Result<Input, Error> {
        let source = self.format.as_deref().map(str::parse).transpose()?;
        let here = std::env::current_dir().ok();
        let base = match (&self.base, here) {
            (Some(base), Some(here)) => Some(here.join(base)),
            (Some(base), None) => Some(base.clone()).filter(|base| base.is_absolute()),
            (None, here) => here,
        };
        let options = ImportOptions { bucket: self.bucket.clone(), base };
        Input::new(path, source, options, std::env::temp_dir())
    }
}

/// What a trace holds.
#[pyfunction(name = "_trace_info")]
pub(crate) fn trace_info(py: Python<'_>, path: PathBuf, reading: Reading) -> PyResult<Bound<'_, PyAny>> {
    let info = py.detach(|| Ok(reading.input(path)?.info()?.to_json()));
    value::to_python(py, &info.map_err(|error| raise(py, error))?)
}

/// From one format to another, in the order of asking.
#[pyfunction(name = "_trace_convert")]
pub(crate) fn trace_convert(
    py: Python<'_>,
    path: PathBuf,
    out: PathBuf,
    to: Option<String>,
    reading: Reading,
) -> PyResult<Bound<'_, PyAny>> {
    let converted = py.detach(|| {
        let target = match &to {
            Some(word) => word.parse()?,
            None => Target::of(&out).ok_or_else(|| {
                let names: Vec<_> = Target::ALL.iter().map(|target| target.name()).collect();
                let text = format!(
                    "the name {:?} does not say which format to write; give to= with one of {}",
                    out.display(),
                    names.join(", ")
                );
                Error::Invalid(text)
            })?,
        };
        Ok(reading.input(path)?.convert(&out, target)?.to_json())
    });
    value::to_python(py, &converted.map_err(|error| raise(py, error))?)
}

/// How two traces differ.
#[pyfunction(name = "_trace_diff")]
pub(crate) fn trace_diff(
    py: Python<'_>,
    a: PathBuf,
    b: PathBuf,
    reading: Reading,
) -> PyResult<Bound<'_, PyAny>> {
    let compared = py.detach(|| {
        let summary = |path| Ok::<_, Error>(reading.input(path)?.info()?.summary);
        let (a, b) = (summary(a)?, summary(b)?);
        Ok(json!({ "a": a.to_json(), "b": b.to_json(), "difference": a.compare(&b) }))
    });
    value::to_python(py, &compared.map_err(|error| raise(py, error))?)
}

/// A trace from a model.
#[pyfunction(name = "_trace_synth")]
#[expect(clippy::too_many_arguments, reason = "each is a keyword in Python")]
pub(crate) fn trace_synth(
    py: Python<'_>,
    out: PathBuf,
    prefix: &Bound<'_, PyAny>,
    arrivals: &str,
    sizes: &str,
    objects: u64,
    operations: u64,
    seed: u64,
    to: Option<String>,
) -> PyResult<u64> {
    let mut prefix = Settings::default().locate(prefix)?.to_string();
    if !prefix.ends_with('/') {
        prefix.push('/');
    }
    let written = py.detach(|| {
        let (arrivals, sizes) = (arrivals.parse()?, sizes.parse()?);
        let model = Model { arrivals, sizes, objects, prefix, operations, seed };
        let target = match &to {
            Some(word) => word.parse()?,
            None => Target::of(&out).unwrap_or(Target::Forebay),
        };
        let clock = Clock { realtime_ns: 0, monotonic_ns: None };
        let header = Header::new(format!("{ENGINE} synth"), "", clock);
        let written = export::write(&out, target, &header, model.records()?.map(Ok), 0)?.written;
        match written {
            0 if operations > 0 => {
                Err(Error::Invalid(format!("the format {target} cannot hold operations on {}", model.prefix)))
            }
            written => Ok(written),
        }
    });
    written.map_err(|error| raise(py, error))
}
