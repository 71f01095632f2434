//! Traces: recorded from this process, described, converted, compared, made up, and replayed.

// The edge where host, clocks and the place for scratch files are looked up.
#![allow(clippy::disallowed_methods)]

use crate::settings::Settings;
use crate::wait::SLICE;
use crate::{errors, process, value};
use forebay_io::Location;
use forebay_trace::export::{self, Target};
use forebay_trace::import::{Import, ImportOptions, Source};
use forebay_trace::replay::{self, Mode, Plan, Remap, ReplayOptions, Stop};
use forebay_trace::synth::Model;
use forebay_trace::{Clock, Error, Header, Reader, Recorder, RecorderOptions, Sorted, Summary};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ENGINE: &str = concat!("forebay ", env!("CARGO_PKG_VERSION"), " (Python)");

fn raise(py: Python<'_>, error: Error) -> PyErr {
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
#[pyo3(signature = (path, rotate_bytes=None))]
pub(crate) fn begin_trace(py: Python<'_>, path: PathBuf, rotate_bytes: Option<u64>) -> PyResult<()> {
    let tap = process::current()?.tap();
    let busy = || PyRuntimeError::new_err("this process records a trace already; end it first");
    // Before the file is made, so that a mistake costs no trace.
    if tap.is_recording() {
        return Err(busy());
    }
    let origin = Instant::now();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let clock = Clock {
        realtime_ns: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX),
        monotonic_ns: u64::try_from(
            i128::from(monotonic.tv_sec) * 1_000_000_000 + i128::from(monotonic.tv_nsec),
        )
        .ok(),
    };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let options = RecorderOptions { rotate_bytes, ..RecorderOptions::default() };
    let recorder = Recorder::create(&path, Header::new(ENGINE, host, clock), origin, &options);
    match tap.record(recorder.map_err(|error| raise(py, error))?) {
        true => Ok(()),
        false => Err(busy()),
    }
}

/// Ends the trace and says what became of it.
#[pyfunction(name = "_end_trace")]
pub(crate) fn end_trace(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let recorder = process::current()?.tap().take();
    let recorded = py
        .detach(|| recorder.and_then(|recorder| recorder.finish()))
        .ok_or_else(|| PyRuntimeError::new_err("this process records no trace"))?;
    let files: Vec<_> = recorded.files.iter().map(|file| file.to_string_lossy()).collect();
    value::to_python(
        py,
        &json!({
            "files": files, "records": recorded.records, "dropped": recorded.dropped, "bytes": recorded.bytes,
            "failure": recorded.failure,
        }),
    )
}

/// A trace on disk, and how to read it.
#[derive(Clone)]
struct Input {
    path: PathBuf,
    source: Source,
    options: ImportOptions,
}

impl Input {
    fn new(path: PathBuf, format: Option<&str>, bucket: Option<String>) -> Result<Input, Error> {
        let source = match format {
            Some(word) => word.parse()?,
            None => Source::detect(&path)?,
        };
        let base = std::env::current_dir().ok();
        Ok(Input { path, source, options: ImportOptions { bucket, base } })
    }

    fn open(&self) -> Result<Import, Error> {
        Import::open(&self.path, self.source, &self.options)
    }

    fn sorted(&self) -> Result<(Header, Sorted), Error> {
        let import = self.open()?;
        let header = import.header().clone();
        Ok((header, Sorted::new(import, &std::env::temp_dir(), forebay_trace::RUN)?))
    }

    /// Operations that the trace says it lacks; none where its format does not say.
    fn dropped(&self) -> Result<Option<u64>, Error> {
        if self.source != Source::Forebay {
            return Ok(None);
        }
        let mut reader = Reader::open(&self.path)?;
        for record in reader.by_ref() {
            record?;
        }
        Ok(Some(reader.dropped()))
    }
}

/// What a trace holds.
#[pyfunction(name = "_trace_info")]
pub(crate) fn trace_info(
    py: Python<'_>,
    path: PathBuf,
    format: Option<String>,
    bucket: Option<String>,
) -> PyResult<Bound<'_, PyAny>> {
    let info = py.detach(|| {
        let input = Input::new(path, format.as_deref(), bucket)?;
        let (header, records) = input.sorted()?;
        let summary = Summary::of(records)?;
        let dropped = input.dropped()?;
        Ok(json!({
            "header": header,
            "format": input.source.name(),
            "complete": dropped.map(|dropped| dropped == 0),
            "dropped": dropped,
            "lacks": input.source.lacks(),
            "summary": summary.to_json(),
        }))
    });
    value::to_python(py, &info.map_err(|error| raise(py, error))?)
}

/// From one format to another, in the order of asking.
#[pyfunction(name = "_trace_convert")]
pub(crate) fn trace_convert(
    py: Python<'_>,
    path: PathBuf,
    out: PathBuf,
    format: Option<String>,
    to: Option<String>,
    bucket: Option<String>,
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
        let input = Input::new(path, format.as_deref(), bucket)?;
        let (header, records) = input.sorted()?;
        let dropped = input.dropped()?.unwrap_or(0);
        let exported = export::write(&out, target, &header, records, dropped)?;
        Ok(json!({
            "written": exported.written, "left_out": exported.left_out, "dropped": dropped,
            "lacks": input.source.lacks(), "loses": target.loses(),
        }))
    });
    value::to_python(py, &converted.map_err(|error| raise(py, error))?)
}

/// How two traces differ.
#[pyfunction(name = "_trace_diff")]
pub(crate) fn trace_diff(py: Python<'_>, a: PathBuf, b: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let compared = py.detach(|| {
        let summary = |path| Summary::of(Input::new(path, None, None)?.sorted()?.1);
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
) -> PyResult<u64> {
    let mut prefix = Settings::default().locate(prefix)?.to_string();
    if !prefix.ends_with('/') {
        prefix.push('/');
    }
    let written = py.detach(|| {
        let (arrivals, sizes) = (arrivals.parse()?, sizes.parse()?);
        let model = Model { arrivals, sizes, objects, prefix, operations, seed };
        let target = Target::of(&out).unwrap_or(Target::Forebay);
        let clock = Clock { realtime_ns: 0, monotonic_ns: None };
        let header = Header::new(format!("{ENGINE} synth"), "", clock);
        Ok(export::write(&out, target, &header, model.records()?.map(Ok), 0)?.written)
    });
    written.map_err(|error| raise(py, error))
}

/// Reads the options of a replay. Every name that is not one of them is refused.
fn replay_options(given: &Map<String, Value>) -> Result<ReplayOptions, Error> {
    const NAMES: [&str; 13] = [
        "mode",
        "time_scale",
        "concurrency",
        "start",
        "stop",
        "max_in_flight",
        "max_bytes_in_flight",
        "page_cache_mode",
        "map",
        "mutate",
        "loops",
        "skip",
        "prepare",
    ];
    let invalid = |text: String| Error::Invalid(text);
    if let Some(name) = given.keys().find(|name| !NAMES.contains(&name.as_str())) {
        let near = NAMES
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let near = near.copied().unwrap_or_default();
        return Err(invalid(format!(
            "unknown option {name:?}; did you mean {near:?}? All options: {}",
            NAMES.join(", ")
        )));
    }
    let bad = |name: &str, valid: &str| {
        invalid(format!("{name} must be {valid}, is {}", given.get(name).unwrap_or(&Value::Null)))
    };
    let number = |name: &str, default: f64| match given.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value.as_f64().ok_or_else(|| bad(name, "a number")),
    };
    let whole = |name: &str, default: u64| match given.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::String(text)) => {
            forebay_io::parse_size(text).map_err(|_| bad(name, "a whole number or a size"))
        }
        Some(value) => value.as_u64().ok_or_else(|| bad(name, "a whole number of 0 or more")),
    };
    let flag = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| bad(name, "True or False")),
    };
    let seconds = |name: &str, default: f64| {
        Duration::try_from_secs_f64(number(name, default)?)
            .map_err(|_| bad(name, "a number of seconds of 0 or more"))
    };
    let defaults = ReplayOptions::default();
    let time_scale = number("time_scale", 1.0)?;
    let mode = match given.get("mode").and_then(Value::as_str).unwrap_or("open") {
        "open" => Mode::Open { time_scale },
        "closed" => Mode::Closed { concurrency: whole("concurrency", 32)? as usize },
        "dependency" => Mode::Dependency { time_scale },
        _ => return Err(bad("mode", "open, closed or dependency")),
    };
    let rules = match given.get("map") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(rules)) => {
            let rule =
                |(from, to): (&String, &Value)| format!("{from}={}", to.as_str().unwrap_or_default()).parse();
            rules.iter().map(rule).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(bad("map", "a dict from locations to locations")),
    };
    let page_cache = match given.get("page_cache_mode") {
        None | Some(Value::Null) => defaults.page_cache,
        Some(value) => value.as_str().unwrap_or_default().parse()?,
    };
    flag("prepare")?;
    Ok(ReplayOptions {
        mode,
        from: seconds("start", 0.0)?,
        until: if given.get("stop").is_some_and(|stop| !stop.is_null()) {
            Some(seconds("stop", 0.0)?)
        } else {
            None
        },
        max_in_flight: whole("max_in_flight", defaults.max_in_flight as u64)? as usize,
        max_bytes_in_flight: whole("max_bytes_in_flight", defaults.max_bytes_in_flight)?,
        page_cache,
        remap: Remap(rules),
        mutate: flag("mutate")?,
        loops: u32::try_from(whole("loops", 1)?).map_err(|_| bad("loops", "a number below 2^32"))?,
        skip: whole("skip", 0)?,
        ..defaults
    })
}

/// Waits for a moment, without the interpreter's lock.
fn wait<T: Send>(py: Python<'_>, receive: &mut mpsc::Receiver<T>) -> Result<T, RecvTimeoutError> {
    py.detach(move || receive.recv_timeout(SLICE))
}

/// Replays a trace and says how true that was.
#[pyfunction(name = "_trace_replay")]
pub(crate) fn trace_replay<'py>(
    py: Python<'py>,
    path: PathBuf,
    options: &Bound<'py, PyDict>,
    store_options: Option<&Bound<'py, PyAny>>,
    format: Option<String>,
    bucket: Option<String>,
) -> PyResult<Bound<'py, PyAny>> {
    let given = value::map(options.as_mapping())?;
    let prepare = given.get("prepare").and_then(Value::as_bool).unwrap_or(false);
    let options = replay_options(&given).map_err(|error| raise(py, error))?;
    let settings = Settings::given(store_options)?;
    let process = process::current()?;
    let input =
        py.detach(|| Input::new(path, format.as_deref(), bucket)).map_err(|error| raise(py, error))?;
    let stop = Stop::default();
    let (send, mut receive) = mpsc::channel();
    // On a thread of its own: it paces, and this one looks for Ctrl-C.
    let work = {
        let (stop, handle) = (stop.clone(), process.runtime().handle().clone());
        let plan = Plan::new(move || Ok(Box::new(input.open()?)), Path::new(&std::env::temp_dir()));
        move || {
            let stores = Arc::new(move |location: &Location| process.find(location, &settings));
            let run = || {
                let prepared = match prepare {
                    true => {
                        let made = replay::prepare(&plan, &options.remap, &*stores, 0, false, 16);
                        let made = handle.block_on(made)?;
                        Some(json!({ "objects": made.objects, "bytes": made.bytes, "present": made.present }))
                    }
                    false => None,
                };
                let fidelity = replay::replay(&plan, &options, &*stores, &handle, &stop, |_| {})?;
                let mut report = fidelity.to_json();
                report["prepared"] = prepared.into();
                report["position"] = (options.skip + fidelity.submitted).into();
                Ok(report)
            };
            let _ = send.send(run());
        }
    };
    let thread = std::thread::Builder::new().name("forebay-replay".into()).spawn(work)?;
    let result = loop {
        match wait(py, &mut receive) {
            Ok(result) => break result,
            Err(RecvTimeoutError::Timeout) => {
                if let Err(interrupt) = py.check_signals() {
                    stop.stop();
                    drop(py.detach(|| thread.join()));
                    return Err(interrupt);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the replay died; this is a defect of forebay"));
            }
        }
    };
    drop(py.detach(|| thread.join()));
    value::to_python(py, &result.map_err(|error| raise(py, error))?)
}
