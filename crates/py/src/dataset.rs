//! A dataset: what was listed beneath a location, and how it was listed.
//!
//! Pickles as its configuration: unpickling lists again, and refuses if other names are found, since
//! the same number would then mean another sample in each process.

use crate::process;
use crate::settings::{CREDENTIALS, Settings};
use crate::{errors, value, wait};
use forebay_io::{Error, Glob, Kind, ListOptions, Operation, Store};
use forebay_io_open::KEYS;
use forebay_loader as loader;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The samples beneath one location: one file, one sample. Make one with create_dataset.
#[pyclass(frozen, weakref, module = "forebay")]
pub(crate) struct Dataset {
    inner: Arc<loader::Dataset>,
    options: DatasetOptions,
}

/// How a dataset is listed, and how the store beneath it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DatasetOptions {
    recursive: bool,
    glob: Option<String>,
    /// Options of the store, as its own table ([`KEYS`]) names and reads them.
    store: Settings,
}

impl DatasetOptions {
    /// `store` has what no text stands for already.
    fn read(given: &Map<String, Value>, store: Settings) -> Result<Self, Error> {
        let mut options = DatasetOptions { recursive: true, glob: None, store };
        for (name, value) in given {
            let bad = |valid: &str| Error::invalid(format!("{name} must be {valid}, is {value}"));
            match (name.as_str(), value) {
                ("recursive", Value::Bool(flag)) => options.recursive = *flag,
                ("recursive", _) => return Err(bad("true or false")),
                ("glob", Value::Null) => options.glob = None,
                ("glob", Value::String(pattern)) => options.glob = Some(pattern.clone()),
                ("glob", _) => return Err(bad("a pattern such as \"**/*.jpg\"")),
                (known, _) if KEYS.iter().any(|key| key.name == known) => {
                    options.store.add(known, value);
                }
                _ => return Err(unknown(name)),
            }
        }
        Ok(options)
    }

    fn to_value(&self) -> Value {
        let mut all = Map::from_iter([("recursive".to_owned(), self.recursive.into())]);
        all.insert("glob".to_owned(), self.glob.clone().into());
        all.extend(self.store.iter().map(|(name, text)| (name.clone(), text.clone().into())));
        Value::Object(all)
    }
}

fn unknown(name: &str) -> Error {
    let names: Vec<_> = ["recursive", "glob"]
        .into_iter()
        .chain(KEYS.iter().map(|key| key.name))
        .chain([CREDENTIALS])
        .collect();
    let near = |known: &str| strsim::jaro_winkler(known, name);
    let nearest = names.iter().copied().max_by(|a, b| near(a).total_cmp(&near(b)));
    let hint = match nearest.filter(|nearest| near(nearest) > 0.7) {
        Some(nearest) => format!("; did you mean {nearest:?}?"),
        None => String::new(),
    };
    Error::invalid(format!("unknown option {name:?}{hint} Options of a dataset are: {}", names.join(", ")))
}

impl Dataset {
    pub(crate) fn inner(&self) -> &Arc<loader::Dataset> {
        &self.inner
    }

    /// The store that it is read from, in this process.
    pub(crate) fn store(&self, py: Python<'_>) -> PyResult<Arc<dyn Store>> {
        process::current()?.store(py, self.inner.root(), &self.options.store)
    }

    pub(crate) fn list(uri: &Bound<'_, PyAny>, options: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let py = uri.py();
        let raise = |error: Error| errors::raise(py, &error);
        let (store, given) = match options {
            Some(options) => {
                Settings::split(options).and_then(|(store, rest)| Ok((store, value::map(&rest)?)))?
            }
            None => Default::default(),
        };
        let mut options = DatasetOptions::read(&given, store).map_err(raise)?;
        let root = options.store.locate(uri)?;
        let glob = options.glob.as_deref().map(Glob::new).transpose().map_err(raise)?;
        let listing = ListOptions { recursive: options.recursive, glob, details: false };
        let process = process::current()?;
        let store = process.store(py, &root, &options.store)?;
        let inner = wait::until_ok(py, process, loader::Dataset::list(&*store, &root, listing))?;
        Ok(Dataset { inner: Arc::new(inner), options })
    }
}

#[pymethods]
impl Dataset {
    fn __len__(&self) -> usize {
        self.inner.len() as usize
    }

    /// Where sample `id` is, from 0 to len - 1. Raises IndexError for others.
    fn uri(&self, id: u64) -> PyResult<String> {
        let found = self.inner.location(id).map(|location| location.to_string());
        found
            .ok_or_else(|| PyIndexError::new_err(format!("sample {id} of a dataset of {}", self.inner.len())))
    }

    /// The location that was listed.
    #[getter]
    fn root(&self) -> String {
        self.inner.root().to_string()
    }

    /// How it was listed.
    #[getter]
    fn options<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let options = value::to_python(py, &self.options.to_value())?;
        if let Some(callable) = self.options.store.credentials() {
            options.set_item(CREDENTIALS, callable.object(py))?;
        }
        Ok(options)
    }

    /// A digest of the names in their order: equal for two datasets that give the same number to the
    /// same name. Contents are not looked at.
    #[getter]
    fn fingerprint<'py>(&'py self, py: Python<'_>) -> &'py str {
        py.detach(|| self.inner.fingerprint())
    }

    fn __repr__(&self) -> String {
        format!("Dataset({:?}, samples={})", self.inner.root().to_string(), self.inner.len())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let this = slf.get();
        let restore = py.import("forebay._forebay")?.getattr("restore_dataset")?;
        let arguments = (this.root(), this.options(py)?, this.inner.len(), this.fingerprint(py).to_owned());
        Ok((restore, arguments.into_pyobject(py)?))
    }
}

/// Lists the samples beneath a location: one file, one sample, in bytewise order of their names.
///
/// options: a dict with `recursive` (default True: subdirectories too) and `glob` (only names that
/// match, such as "*.jpg" or "**/*.jpg"), and what the store beneath takes: `threads`, `retries`,
/// `limit_concurrency`, `limit_bytes_per_second`, and for services `endpoint`, `account_key`, `credentials` (a
/// callable) and so on. What they leave open is looked for in the environment.
#[pyfunction]
#[pyo3(signature = (uri, options = None))]
pub(crate) fn create_dataset(
    uri: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyAny>>,
) -> PyResult<Dataset> {
    Dataset::list(uri, options)
}

/// What unpickling calls.
#[pyfunction]
pub(crate) fn restore_dataset(
    uri: &Bound<'_, PyAny>,
    options: &Bound<'_, PyAny>,
    samples: u64,
    fingerprint: &str,
) -> PyResult<Dataset> {
    let dataset = create_dataset(uri, Some(options))?;
    if dataset.inner.len() != samples || dataset.fingerprint(uri.py()) != fingerprint {
        let context = format!(
            "the dataset was pickled with {samples} samples and is found with {}, or with other names: \
             the same number would mean another sample in each process; pickle it again",
            dataset.inner.len()
        );
        let error = Error::new(Kind::Precondition, Operation::List, context).at(dataset.inner.root());
        return Err(errors::raise(uri.py(), &error));
    }
    Ok(dataset)
}
