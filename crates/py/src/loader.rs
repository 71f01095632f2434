//! The loader as Python sees it: each `for` is an epoch.
//!
//! What the loader does is `forebay_loader`'s; here it is bound to this process. A forked child finds
//! it bound to its parent and makes one of its own, in the same place of the same dataset, when first
//! asked for batches.

use crate::batch::Batch;
use crate::born::Born;
use crate::dataset::{Asked, Dataset};
use crate::epoch::{Batches, Running};
use crate::ledger::Ledger;
use crate::measuring::Measuring;
use crate::memory::Uncapped;
use crate::options::{LoaderOptions, mapping};
use crate::stores::{Stores, Watch};
use crate::{errors, memory, metrics, process, value, wait};
use forebay_io::{Error, Kind, Operation, Store};
use forebay_loader::{self as loader, State};
use forebay_metrics::MetricsSnapshot;
use pyo3::PyTraverseError;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList, PyTuple};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Batches of a dataset, epoch after epoch. Make one with create_async_loader.
///
/// `for batch in loader` and `async for batch in loader` go through one epoch; the next one goes
/// through the next. An epoch that was left early is over, too: state_dict() tells where it was left.
#[pyclass(frozen, weakref, module = "forebay")]
pub(crate) struct Loader {
    source: Source,
    options: LoaderOptions,
    progress: Option<Py<PyAny>>,
    measuring: Measuring,
    /// Both are locked for a look only, with the interpreter's lock held: a fork finds them open.
    live: Mutex<Option<Born<Arc<Live>>>>,
    next: Mutex<Next>,
}

/// What is loaded.
enum Source {
    Dataset(Py<Dataset>),
    /// What is listed meanwhile: with `loading_mode="streaming"`.
    Asked(Box<Asked>),
}

impl Source {
    /// As the loader of this process takes it.
    fn bind(&self, py: Python<'_>, stores: Arc<Stores>) -> PyResult<(Arc<dyn Store>, loader::Source)> {
        Ok(match self {
            Source::Dataset(dataset) => {
                (dataset.get().store(py, stores)?, dataset.get().inner().clone().into())
            }
            Source::Asked(asked) => (asked.store(py, stores)?, Arc::new(asked.streamed(py)?).into()),
        })
    }
}

/// Where the next epoch begins: what a child needs to know of its parent's loader.
#[derive(Debug, Clone)]
enum Next {
    Epoch(u64),
    States(Vec<State>),
}

/// A loader bound to the threads of one process.
pub(crate) struct Live {
    loader: loader::Loader,
    ledger: Mutex<Ledger>,
    running: Mutex<Weak<Running>>,
    /// Where it shares no memory cap with others.
    _uncapped: Option<Uncapped>,
}

impl Live {
    pub(crate) fn loader(&self) -> &loader::Loader {
        &self.loader
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        open(&self.ledger)
    }

    /// What was measured, with the stages and queues of the last epoch that was begun.
    fn snapshot(&self) -> MetricsSnapshot {
        let running = open(&self.running).upgrade();
        let stats = running.and_then(|running| running.stats());
        let mut ledger = self.ledger();
        ledger.seen(stats);
        ledger.complete(self.loader.snapshot())
    }
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // None of these is left in the middle of a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loader {
    fn new(
        py: Python<'_>,
        source: Source,
        options: LoaderOptions,
        progress: Option<Py<PyAny>>,
        measuring: Measuring,
    ) -> PyResult<Self> {
        if let Some(tell) = &progress
            && !tell.bind(py).is_callable()
        {
            let kind = tell.bind(py).get_type();
            return Err(PyTypeError::new_err(format!("progress must be callable, True or None, is {kind}")));
        }
        let (live, next) = (Mutex::default(), Mutex::new(Next::Epoch(0)));
        let made = Loader { source, options, progress, measuring, live, next };
        made.live(py)?;
        Ok(made)
    }

    /// The loader of this process, made now if it is that of a parent.
    fn live(&self, py: Python<'_>) -> PyResult<Arc<Live>> {
        if let Some(live) = open(&self.live).as_ref().and_then(Born::get) {
            return Ok(live.clone());
        }
        let raise = |error: Error| errors::raise(py, &error);
        let collector = self.measuring.collector().map(Arc::new);
        let watch = collector.clone().map_or(Watch::Nobody, Watch::Loader);
        let (store, source) = self.source.bind(py, Arc::new(Stores::new(watch)))?;
        let options = self.options.for_loader();
        let loader = loader::Loader::with_collector(store, source, options, collector).map_err(raise)?;
        let (loader, uncapped) = match memory::cap().map_err(raise)? {
            // It may have to look through the lengths of all samples.
            Some(cap) => (py.detach(|| loader.under(&cap)).map_err(raise)?, None),
            None => (loader, Some(Uncapped::new())),
        };
        match &*open(&self.next) {
            Next::Epoch(epoch) => loader.set_epoch(*epoch),
            Next::States(states) => loader.load_states(states).map_err(raise)?,
        }
        let live = Arc::new(Live {
            loader,
            ledger: Mutex::default(),
            running: Mutex::default(),
            _uncapped: uncapped,
        });
        let old = open(&self.live).replace(Born::here(live.clone()));
        drop(old);
        Ok(live)
    }
}

#[pymethods]
impl Loader {
    fn __iter__(&self, py: Python<'_>) -> PyResult<Batches> {
        let live = self.live(py)?;
        let runtime = process::current()?.runtime().handle();
        let epoch = live.loader.start(runtime).map_err(|error| errors::raise(py, &error))?;
        *open(&self.next) = Next::Epoch(epoch.progress().epoch + 1);
        live.ledger().begin();
        let progress = self.progress.as_ref().map(|tell| tell.clone_ref(py));
        if let Some(tell) = &progress
            && tell.bind(py).is_instance(&live_line(py)?)?
        {
            let measured = Measured { live: live.clone(), enable_metrics: self.measuring.is_on() };
            tell.call_method1(py, "watch", (measured,))?;
        }
        let collate = self.options.rust().collate;
        let (batches, running) = Batches::new(live.clone(), epoch, progress, collate);
        *open(&live.running) = running;
        Ok(batches)
    }

    fn __aiter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let batches = slf.get().__iter__(py)?;
        py.import("forebay.aio")?.getattr("AsyncBatches")?.call1((batches,))
    }

    /// How many batches a whole epoch has on this rank.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        match self.live(py)?.loader.batches() {
            Some(batches) => Ok(batches as usize),
            None => Err(PyTypeError::new_err(
                "a loader with loading_mode='streaming' has no length: nobody knows how many batches there are \
                 before the listing has ended",
            )),
        }
    }

    /// Reads the samples of these ids, in this order, as one batch, beside any epoch. Of the options `on_error` and
    /// `timeout` are an epoch's: here a sample that cannot be had raises, and `deadline` is the limit.
    fn read<'py>(&self, py: Python<'py>, ids: Vec<u64>) -> PyResult<Bound<'py, Batch>> {
        let live = self.live(py)?;
        let batch = wait::until_ok(py, process::current()?, live.loader.read(&ids))?;
        Batch::new(batch, live.loader.dataset().cloned(), self.options.rust().collate).into_pyobject(py)
    }

    /// What it loads; None with loading_mode="streaming".
    #[getter]
    fn dataset(&self, py: Python<'_>) -> Option<Py<Dataset>> {
        match &self.source {
            Source::Dataset(dataset) => Some(dataset.clone_ref(py)),
            Source::Asked(_) => None,
        }
    }

    /// How it loads.
    #[getter]
    fn options(&self) -> LoaderOptions {
        self.options.clone()
    }

    /// The epoch that is under way, or comes next where none is, from 0.
    #[getter]
    fn epoch(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.epoch())
    }

    /// Makes the next `for` go through `epoch` from its beginning.
    fn set_epoch(&self, py: Python<'_>, epoch: u64) -> PyResult<()> {
        self.live(py)?.loader.set_epoch(epoch);
        *open(&self.next) = Next::Epoch(epoch);
        Ok(())
    }

    /// Where the consumer is, after the last batch that it was given: a small dict of plain values.
    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let state = serde_json::from_str(&self.state(py)?.to_json()).unwrap_or(Value::Null);
        value::to_python(py, &state)
    }

    /// Where this rank alone is, or where it is within a batch that it was given, of which `taken` samples count: what
    /// forebay.torch saves, which hands on sample by sample.
    #[pyo3(name = "_own_state", signature = (batch = None, taken = 0))]
    fn own_state<'py>(
        &self,
        py: Python<'py>,
        batch: Option<&Bound<'py, Batch>>,
        taken: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let live = self.live(py)?;
        let within = batch.map(|batch| (batch.get().inner(), taken));
        let state = py.detach(|| live.loader.own_state(within)).map_err(|error| errors::raise(py, &error))?;
        value::to_python(py, &serde_json::from_str(&state.to_json()).unwrap_or(Value::Null))
    }

    /// Makes the next `for` go on where the state was saved, also with another number of ranks, workers
    /// or samples a batch. Several states are those that all ranks saved with loading_mode="completion", of which
    /// one alone goes on on its own rank only. Raises PreconditionError where that would repeat or lose samples.
    fn load_state_dict(&self, py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        let given: Vec<Bound<'_, PyAny>> = match state.cast::<PyList>() {
            Ok(list) => list.iter().collect(),
            Err(_) => match state.cast::<PyTuple>() {
                Ok(tuple) => tuple.iter().collect(),
                Err(_) => vec![state.clone()],
            },
        };
        let read = |state: &Bound<'_, PyAny>| {
            let state = mapping(state, "what state_dict() returned, or a list of those of all ranks")?;
            State::from_json(&Value::Object(state).to_string()).map_err(|error| errors::raise(py, &error))
        };
        let states = given.iter().map(read).collect::<PyResult<Vec<_>>>()?;
        self.live(py)?.loader.load_states(&states).map_err(|error| errors::raise(py, &error))?;
        *open(&self.next) = Next::States(states);
        Ok(())
    }

    /// Whether it counts what it does.
    #[getter]
    fn enable_metrics(&self) -> bool {
        self.measuring.is_on()
    }

    /// Everything measured so far, as a dict: operations, requests of the backends, latencies, bytes in flight, stages, queues.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        value::to_python(py, &metrics::to_value(&self.measured(py)?.snapshot())?)
    }

    /// The samples that could not be had so far, as a dict: `skipped`, `substituted`, `unlisted`, and
    /// `samples` with what, where, why and how often. Empty unless on_error lets some be lost.
    fn quarantine<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        value::to_python(py, &self.live(py)?.loader.quarantine().to_json())
    }

    /// What was measured so far, as text for a terminal.
    fn report(&self, py: Python<'_>) -> PyResult<String> {
        let live = self.measured(py)?;
        let snapshot = live.snapshot();
        let ledger = live.ledger();
        Ok(ledger.report(&snapshot, self.options.rust()))
    }

    /// The run so far as a dict: `facts` (wall and processor time, samples, bytes) and `metrics` (as
    /// snapshot()), as `forebay report` reads it.
    fn get_performance_report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let live = self.measured(py)?;
        let snapshot = live.snapshot();
        let facts = live.ledger().facts(self.options.rust());
        let report = serde_json::json!({ "facts": facts, "metrics": metrics::to_value(&snapshot)? });
        value::to_python(py, &report)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let source = match &self.source {
            Source::Dataset(dataset) => dataset.bind(py).repr()?,
            Source::Asked(asked) => asked.uri(py)?.repr()?,
        };
        Ok(format!("Loader({source}, {})", self.options.__repr__(py)?))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let this = slf.get();
        let restore = py.import("forebay._forebay")?.getattr("_restore_loader")?;
        let (source, storage) = match &this.source {
            Source::Dataset(dataset) => (dataset.bind(py).clone().into_any(), None),
            Source::Asked(asked) => (asked.uri(py)?, Some(asked.options(py)?)),
        };
        let arguments = (source, this.options(), this.progress.as_ref(), this.measuring.as_given(), storage);
        Ok((restore, arguments.into_pyobject(py)?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Source::Dataset(dataset) = &self.source {
            visit.call(dataset)?;
        }
        visit.call(&self.progress)
    }
}

impl Loader {
    /// The loader of this process, if it measures.
    fn measured(&self, py: Python<'_>) -> PyResult<Arc<Live>> {
        if !self.measuring.is_on() {
            let text = "nothing is measured: the loader was made with enable_metrics=False";
            return Err(errors::raise(py, &Error::new(Kind::Unsupported, Operation::Configure, text)));
        }
        self.live(py)
    }

    fn state(&self, py: Python<'_>) -> PyResult<State> {
        let live = self.live(py)?;
        // The first time, every name of the dataset goes into its fingerprint.
        Ok(py.detach(|| live.loader.state()))
    }
}

/// A loader over a dataset, or over what is listed beneath a location: before anything is loaded, or, with
/// loading_mode="streaming", meanwhile.
///
/// options: a LoaderOptions or a dict of the same names.
/// storage_options: how the location is listed and its store opened, as create_dataset's options; a dataset
/// has its own.
/// progress: True shows a line with how it goes, on a terminal. Or what is called with a Progress after each
/// batch, on the thread that iterates; what it raises ends the loop as if the loop's body had raised it.
/// enable_metrics: whether operations and requests are counted; or how: a dict of preset ("training", "inference",
/// "high_frequency"), significant_digits, sampling_rate and batch_size, as of metrics.MetricsCollector. Without, snapshot(), report() and
/// get_performance_report() raise UnsupportedError, and forebay.metrics.snapshot() has nothing of this loader.
#[pyfunction]
#[pyo3(
    signature = (uri_or_dataset, options = None, progress = None, *, storage_options = None, enable_metrics = None),
    text_signature = "(uri_or_dataset, options=None, progress=None, *, storage_options=None, enable_metrics=True)"
)]
pub(crate) fn create_async_loader(
    uri_or_dataset: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyAny>>,
    progress: Option<Py<PyAny>>,
    storage_options: Option<&Bound<'_, PyAny>>,
    enable_metrics: Option<&Bound<'_, PyAny>>,
) -> PyResult<Loader> {
    let py = uri_or_dataset.py();
    let measuring = match enable_metrics {
        Some(given) => Measuring::given(given)?,
        None => Measuring::given(&PyBool::new(py, true))?,
    };
    // Before the listing, which may take its time.
    let options = LoaderOptions::given(options, py)?;
    let source = match uri_or_dataset.cast::<Dataset>() {
        Ok(_) if storage_options.is_some() => {
            let text = "storage_options are for a location; a dataset has those that it was created with";
            return Err(errors::raise(py, &Error::invalid(text)));
        }
        Ok(dataset) => Source::Dataset(dataset.clone().unbind()),
        Err(_) => {
            let asked = Asked::new(uri_or_dataset, storage_options, &[])?;
            match options.rust().loading_mode {
                loader::LoadingMode::Streaming => Source::Asked(Box::new(asked)),
                _ => Source::Dataset(Py::new(py, asked.list(py, Some(options.rust().on_error))?)?),
            }
        }
    };
    let progress = match progress {
        Some(given) if given.bind(py).is(PyBool::new(py, true)) => Some(live_line(py)?.call0()?.unbind()),
        Some(given) if given.bind(py).is(PyBool::new(py, false)) => None,
        given => given,
    };
    Loader::new(py, source, options, progress, measuring)
}

/// The class of what `progress=True` shows.
fn live_line(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("forebay._live")?.getattr("Live")
}

/// What a loader measures, for the line that shows it. The loader that a `for` was given, and that nobody else
/// kept, is gone while its batches come; this is not, and does not keep it.
#[pyclass(frozen, module = "forebay")]
struct Measured {
    live: Arc<Live>,
    enable_metrics: bool,
}

#[pymethods]
impl Measured {
    #[getter]
    fn enable_metrics(&self) -> bool {
        self.enable_metrics
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        value::to_python(py, &metrics::to_value(&self.live.snapshot())?)
    }
}

/// What a pickled loader becomes.
#[pyfunction(name = "_restore_loader")]
#[pyo3(signature = (uri_or_dataset, options, progress, enable_metrics, storage_options))]
pub(crate) fn restore_loader(
    uri_or_dataset: &Bound<'_, PyAny>,
    options: &Bound<'_, PyAny>,
    progress: Option<Py<PyAny>>,
    enable_metrics: &Bound<'_, PyAny>,
    storage_options: Option<&Bound<'_, PyAny>>,
) -> PyResult<Loader> {
    create_async_loader(uri_or_dataset, Some(options), progress, storage_options, Some(enable_metrics))
}
