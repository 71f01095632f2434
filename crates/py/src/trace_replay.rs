//! Replays of traces: their options as Python spells them, their progress, and what they came to.

use crate::measuring::Measuring;
use crate::settings::Settings;
use crate::stores::{Stores, Watch};
use crate::trace::{Reading, raise};
use crate::wait::SLICE;
use crate::{metrics, process, value};
use forebay_io::Location;
use forebay_io::layer::Observed;
use forebay_trace::replay::{self, Mode, Outcome, Progress, Remap, ReplayOptions, Stop};
use forebay_trace::{Bounds, Error};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// All that a replay is told, but the trace and the stores.
struct Orders {
    options: ReplayOptions,
    bounds: Bounds,
    prepare: bool,
    replace: bool,
}

/// Reads the options of a replay. Every name that is not one of them is refused.
fn orders(given: &Map<String, Value>) -> Result<Orders, Error> {
    const NAMES: [&str; 24] = [
        "mode",
        "time_scale",
        "concurrency",
        "start",
        "stop",
        "max_in_flight",
        "max_bytes_in_flight",
        "page_cache_mode",
        "priority",
        "map",
        "mutate",
        "loops",
        "skip",
        "prepare",
        "replace",
        "max_submit_error",
        "max_drift",
        "max_gap_distance",
        "max_size_distance",
        "max_latency_distance",
        "max_envelope_deviation",
        "max_failures",
        "max_capped",
        "exact",
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
    let said = |name: &str| given.get(name).is_some_and(|value| !value.is_null());
    let time_scale = said("time_scale").then(|| number("time_scale", 1.0)).transpose()?;
    let concurrency = said("concurrency").then(|| whole("concurrency", 32)).transpose()?;
    let mode = match given.get("mode") {
        None | Some(Value::Null) => "open",
        Some(mode) => mode.as_str().ok_or_else(|| bad("mode", "open, closed or dependency"))?,
    };
    let mode = Mode::named(mode, time_scale, concurrency.map(|n| n as usize))?;
    let rules = match given.get("map") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(rules)) => {
            let rule = |(from, to): (&String, &Value)| match to.as_str() {
                Some(to) => format!("{from}={to}").parse(),
                None => Err(invalid(format!(
                    "map leads from {from:?} to {to}, which is no text; write one location, or \"TO1|TO2\" to spread"
                ))),
            };
            rules.iter().map(rule).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(bad("map", "a dict from locations to locations")),
    };
    let page_cache = match given.get("page_cache_mode") {
        None | Some(Value::Null) => defaults.page_cache,
        Some(value) => {
            value.as_str().ok_or_else(|| bad("page_cache_mode", "the name of a policy"))?.parse()?
        }
    };
    let priority = match given.get("priority") {
        None | Some(Value::Null) => defaults.priority,
        Some(value) => value.as_str().ok_or_else(|| bad("priority", "fair or realtime"))?.parse()?,
    };
    let bound = |name: &str| said(name).then(|| number(name, 0.0)).transpose();
    let count = |name: &str| said(name).then(|| whole(name, 0)).transpose();
    let bounds = Bounds {
        submit_error_p99: bound("max_submit_error")?.map(|_| seconds("max_submit_error", 0.0)).transpose()?,
        drift_ppm: bound("max_drift")?,
        gap_distance: bound("max_gap_distance")?,
        size_distance: bound("max_size_distance")?,
        latency_distance: bound("max_latency_distance")?,
        exact: flag("exact")?,
        envelope_deviation: bound("max_envelope_deviation")?,
        failures: count("max_failures")?,
        capped: count("max_capped")?,
    };
    bounds.validate(mode)?;
    let (prepare, replace) = (flag("prepare")?, flag("replace")?);
    if replace && !prepare {
        return Err(invalid("replace is only for what prepare makes; give prepare=True as well".into()));
    }
    let options = ReplayOptions {
        mode,
        priority,
        from: seconds("start", 0.0)?,
        until: said("stop").then(|| seconds("stop", 0.0)).transpose()?,
        max_in_flight: whole("max_in_flight", defaults.max_in_flight as u64)? as usize,
        max_bytes_in_flight: whole("max_bytes_in_flight", defaults.max_bytes_in_flight)?,
        page_cache,
        remap: Remap(rules),
        mutate: flag("mutate")?,
        loops: u32::try_from(whole("loops", 1)?).map_err(|_| bad("loops", "a number below 2^32"))?,
        skip: whole("skip", 0)?,
        ..defaults
    };
    options.validate()?;
    Ok(Orders { options, bounds, prepare, replace })
}

/// What a callback is told.
fn told(progress: &Progress) -> Value {
    json!({
        "position": progress.position,
        "total": progress.total,
        "ended": progress.ended,
        "bytes": progress.bytes,
        "in_flight": progress.in_flight,
        "elapsed": progress.elapsed.as_secs_f64(),
        "trace_time": progress.trace_time.as_secs_f64(),
        "left": progress.left.map(|left| left.as_secs_f64()),
    })
}

/// What the thread of a replay says.
enum News {
    Progress(Progress),
    Over(Result<Value, Error>),
}

/// Waits for a moment, without the interpreter's lock.
fn wait<T: Send>(py: Python<'_>, receive: &mut mpsc::Receiver<T>) -> Result<T, RecvTimeoutError> {
    py.detach(move || receive.recv_timeout(SLICE))
}

/// Whether the replay is to go on, as the callback says: anything but False.
fn answer(py: Python<'_>, call: Option<&Bound<'_, PyAny>>, now: &Progress) -> PyResult<bool> {
    let Some(call) = call else { return Ok(true) };
    let answer = call.call1((value::to_python(py, &told(now))?,))?;
    Ok(!matches!(answer.extract::<bool>(), Ok(false)))
}

/// Replays a trace and says how true that was.
#[pyfunction(name = "_trace_replay")]
pub(crate) fn trace_replay<'py>(
    py: Python<'py>,
    path: PathBuf,
    options: &Bound<'py, PyDict>,
    store_options: Option<&Bound<'py, PyAny>>,
    reading: Reading,
    progress: Option<&Bound<'py, PyAny>>,
    enable_metrics: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let given = value::map(options.as_mapping())?;
    let orders = orders(&given).map_err(|error| raise(py, error))?;
    let settings = Settings::given(store_options)?;
    let process = process::current()?;
    let collector = Measuring::given(enable_metrics)?.collector().map(Arc::new);
    let input = py.detach(|| reading.input(path)).map_err(|error| raise(py, error))?;
    let stop = Stop::default();
    let (send, mut receive) = mpsc::channel();
    // On a thread of its own: it paces, and this one looks for Ctrl-C.
    let work = {
        let (stop, handle) = (stop.clone(), process.runtime().handle().clone());
        let measured = collector.clone();
        move || {
            let plan = input.plan();
            let stores: Arc<replay::Stores> = match measured {
                None => Arc::new(move |location: &Location| process.find(location, &settings)),
                Some(collector) => {
                    let own = Stores::new(Watch::Loader(collector.clone()));
                    Arc::new(move |location: &Location| {
                        let store = own.find(process, location, &settings)?;
                        Ok(Arc::new(Observed::new(store, collector.clone())) as _)
                    })
                }
            };
            let Orders { options, bounds, prepare, replace } = orders;
            let run = || {
                let prepared = match prepare {
                    true => {
                        let made = replay::prepare(&plan, &options.remap, &*stores, 0, replace, 16);
                        Some(handle.block_on(made)?)
                    }
                    false => None,
                };
                let fidelity = replay::replay(&plan, &options, &*stores, &handle, &stop, |progress| {
                    let _ = send.send(News::Progress(*progress));
                })?;
                let outcome = Outcome::of(fidelity, &options, prepared, &bounds);
                let mut report = outcome.to_json();
                // What there is to know about fidelity stands beside the rest, not beneath it.
                let fidelity = report["fidelity"].take();
                if let (Value::Object(report), Value::Object(fidelity)) = (&mut report, fidelity) {
                    report.remove("fidelity");
                    report.extend(fidelity);
                }
                Ok(report)
            };
            let _ = send.send(News::Over(run()));
        }
    };
    let thread = std::thread::Builder::new().name("forebay-replay".into()).spawn(work)?;
    let result = loop {
        let answer = match wait(py, &mut receive) {
            Ok(News::Over(result)) => break result,
            Ok(News::Progress(now)) => answer(py, progress, &now),
            Err(RecvTimeoutError::Timeout) => Ok(true),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the replay died; this is a defect of forebay"));
            }
        };
        let failed = match answer.and_then(|go_on| py.check_signals().map(|()| go_on)) {
            Ok(go_on) => {
                if !go_on {
                    stop.stop();
                }
                continue;
            }
            Err(error) => error,
        };
        stop.give_up();
        drop(py.detach(|| thread.join()));
        return Err(failed);
    };
    drop(py.detach(|| thread.join()));
    let mut report = result.map_err(|error| raise(py, error))?;
    if let Some(collector) = collector {
        report["metrics"] = metrics::to_value(&collector.snapshot())?;
    }
    value::to_python(py, &report)
}
