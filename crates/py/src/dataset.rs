//! A dataset: where its samples are, and how they were found.
//!
//! Pickles as its configuration: unpickling lists again, and refuses if other names are found, since
//! the same number would then mean another sample in each process.

use crate::process;
use crate::settings::{CREDENTIALS, Settings};
use crate::stores::Stores;
use crate::{errors, value, wait};
use forebay_io::layer::Routed;
use forebay_io::{Error, Kind, Location, Operation, Store};
use forebay_io_open::KEYS;
use forebay_loader::{self as loader, DATASET_OPTIONS};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The samples beneath one location, in a manifest, or in a list of locations. Make one with create_dataset.
#[pyclass(frozen, weakref, module = "forebay")]
pub(crate) struct Dataset {
    inner: Arc<loader::Dataset>,
    asked: Asked,
}

/// What was given: where to look, and how.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    source: Source,
    options: DatasetOptions,
}

/// What was given as location.
#[derive(Debug, Clone)]
enum Source {
    One(Location),
    List(Vec<Location>),
}

/// How a dataset is made, and how the store beneath it is opened.
#[derive(Debug, Clone, PartialEq)]
struct DatasetOptions {
    /// Options of the dataset, as the loader's own table ([`DATASET_OPTIONS`]) names and reads them.
    dataset: Map<String, Value>,
    /// Options of the store, as its own table ([`KEYS`]) names and reads them.
    store: Settings,
}

impl DatasetOptions {
    /// `store` has what no text stands for already.
    fn read(given: &Map<String, Value>, store: Settings) -> Result<Self, Error> {
        let mut options = DatasetOptions { dataset: Map::new(), store };
        for (name, value) in given {
            if DATASET_OPTIONS.iter().any(|option| option.name == name) {
                options.dataset.insert(name.clone(), value.clone());
            } else if KEYS.iter().any(|key| key.name == name) {
                options.store.add(name, value);
            } else {
                return Err(unknown(name));
            }
        }
        Ok(options)
    }

    /// Everything that was given; of a listing also how it was listed.
    fn to_value(&self, listed: bool) -> Value {
        let mut all = Map::new();
        if listed {
            all.insert("recursive".to_owned(), true.into());
            all.insert("glob".to_owned(), Value::Null);
        }
        all.extend(self.dataset.clone());
        all.extend(self.store.iter().map(|(name, text)| (name.clone(), text.clone().into())));
        Value::Object(all)
    }
}

fn unknown(name: &str) -> Error {
    let own = DATASET_OPTIONS.iter().map(|option| option.name);
    let names: Vec<_> = own.chain(KEYS.iter().map(|key| key.name)).chain([CREDENTIALS]).collect();
    let near = |known: &str| strsim::jaro_winkler(known, name);
    let nearest = names.iter().copied().max_by(|a, b| near(a).total_cmp(&near(b)));
    let hint = match nearest.filter(|nearest| near(nearest) > 0.7) {
        Some(nearest) => format!("; did you mean {nearest:?}?"),
        None => String::new(),
    };
    Error::invalid(format!("unknown option {name:?}{hint} Options of a dataset are: {}", names.join(", ")))
}

impl Asked {
    /// `named` are options that were given by name beside the others.
    pub(crate) fn new(
        uri: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyAny>>,
        named: &[(&str, Option<&str>)],
    ) -> PyResult<Self> {
        let py = uri.py();
        let raise = |error: Error| errors::raise(py, &error);
        let (store, mut given) = match options {
            Some(options) => {
                Settings::split(options).and_then(|(store, rest)| Ok((store, value::map(&rest)?)))?
            }
            None => Default::default(),
        };
        for (name, value) in named {
            let Some(value) = value else { continue };
            if given.insert((*name).to_owned(), (*value).into()).is_some_and(|other| other != *value) {
                return Err(raise(Error::invalid(format!("{name} is given twice, with different values"))));
            }
        }
        let mut options = DatasetOptions::read(&given, store).map_err(raise)?;
        let source = match uri.cast::<PyList>() {
            Ok(list) => {
                let uris = list.iter().map(|uri| options.store.locate(&uri));
                Source::List(uris.collect::<PyResult<_>>()?)
            }
            Err(_) => Source::One(options.store.locate(uri)?),
        };
        if let Source::List(uris) = &source {
            for name in ["glob", "recursive"] {
                if options.dataset.get(name).is_some_and(|value| !value.is_null()) {
                    let context = format!("{name} changes nothing with a list of locations");
                    return Err(raise(Error::invalid(context)));
                }
            }
            if uris.is_empty() {
                return Err(raise(Error::invalid("a list of locations is empty; name at least one")));
            }
        }
        Ok(Asked { source, options })
    }

    /// The location, the manifest, or the first of a list.
    fn root(&self) -> &Location {
        match &self.source {
            Source::One(root) => root,
            // Never empty: see `new`.
            Source::List(uris) => &uris[0],
        }
    }

    /// The store that all of it is read from, in this process: one of `stores`.
    pub(crate) fn store(&self, py: Python<'_>, stores: Arc<Stores>) -> PyResult<Arc<dyn Store>> {
        let manifest = self.options.dataset.get("manifest").is_some_and(|kind| !kind.is_null());
        let anywhere = manifest || matches!(self.source, Source::List(_));
        reached(py, stores, self.root(), &self.options.store, anywhere)
    }

    fn made(&self, py: Python<'_>) -> PyResult<loader::DatasetOptions> {
        let process = process::current()?;
        let base = std::env::current_dir().unwrap_or_default();
        let folder = |text: &str| {
            let folder = Location::parse(text, &base)?;
            Ok((process.find(&folder, &self.options.store)?, folder))
        };
        let made = loader::DatasetOptions::from_json(&self.options.dataset, folder);
        made.map_err(|error| errors::raise(py, &error))
    }

    /// Lists it. What a loader's `on_error` says goes for damage too, where nothing else was said of it.
    pub(crate) fn list(mut self, py: Python<'_>, on_error: Option<loader::OnError>) -> PyResult<Dataset> {
        let (mut made, process) = (self.made(py)?, process::current()?);
        if let (None, Some(on_error), true) = (made.on_damage, on_error, made.format.may_be_damaged()) {
            made.on_damage = Some(on_error);
            // It is the dataset's own from now on, also where it is pickled. (Where others stood in for samples there
            // is no damage: it would have been raised.)
            if let loader::OnError::Skip { .. } = on_error {
                self.options.dataset.insert("on_damage".to_owned(), on_error.to_string().into());
            }
        }
        let store = self.store(py, process.stores().clone())?;
        let inner = match &self.source {
            Source::One(root) => wait::until_ok(py, process, loader::Dataset::open(&*store, root, made))?,
            Source::List(uris) => wait::until_ok(py, process, loader::Dataset::of_uris(&*store, uris, made))?,
        };
        Ok(Dataset { inner: Arc::new(inner), asked: self })
    }

    /// As it will be listed while it is loaded.
    pub(crate) fn streamed(&self, py: Python<'_>) -> PyResult<loader::Listing> {
        let made = self.made(py)?;
        let listing = match &self.source {
            Source::One(root) => loader::Listing::new(root, made),
            Source::List(uris) => loader::Listing::of_uris(uris.clone(), made),
        };
        listing.map_err(|error| errors::raise(py, &error))
    }

    /// Where it is, as Python was told.
    pub(crate) fn uri<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match &self.source {
            Source::One(root) => root.to_string().into_pyobject(py)?.into_any(),
            Source::List(uris) => PyList::new(py, uris.iter().map(Location::to_string))?.into_any(),
        })
    }

    /// How it was to be listed.
    pub(crate) fn options<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let listed = matches!(self.source, Source::One(_)) && !self.options.dataset.contains_key("manifest");
        let options = value::to_python(py, &self.options.to_value(listed))?;
        if let Some(callable) = self.options.store.credentials() {
            options.set_item(CREDENTIALS, callable.object(py))?;
        }
        Ok(options)
    }
}

impl Dataset {
    pub(crate) fn inner(&self) -> &Arc<loader::Dataset> {
        &self.inner
    }

    /// The store that it is read from, in this process: one of `stores`.
    pub(crate) fn store(&self, py: Python<'_>, stores: Arc<Stores>) -> PyResult<Arc<dyn Store>> {
        self.asked.store(py, stores)
    }
}

/// The store of `root`, or one that reaches everything that may be named beside it.
fn reached(
    py: Python<'_>,
    stores: Arc<Stores>,
    root: &Location,
    settings: &Settings,
    anywhere: bool,
) -> PyResult<Arc<dyn Store>> {
    let process = process::current()?;
    let store = stores.find(process, root, settings).map_err(|error: Error| errors::raise(py, &error))?;
    if !anywhere {
        return Ok(store);
    }
    let settings = settings.clone();
    Ok(Arc::new(Routed::new(store, move |location: &Location| stores.find(process, location, &settings))))
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

    /// The location that was listed, the manifest, or the first of a list.
    #[getter]
    fn root(&self) -> String {
        self.inner.root().to_string()
    }

    /// How it was listed.
    #[getter]
    fn options<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.asked.options(py)
    }

    /// How samples lie in the objects: "raw", "tfrecord", ...
    #[getter]
    fn format(&self) -> &'static str {
        self.inner.format().name()
    }

    /// What was done to have an index of the samples, in words.
    #[getter]
    fn index(&self) -> String {
        self.inner.indexed().to_string()
    }

    /// What of its files was set aside because it is damaged: dicts with `location`, `offset` and `reason`. Empty
    /// unless `on_damage`, or a loader's `on_error`, lets some be lost.
    #[getter]
    fn damage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let damage = self.inner.damage().iter().map(loader::Damage::to_json).collect();
        value::to_python(py, &Value::Array(damage))
    }

    /// NumPy's name of the type of the samples' elements, such as "<f4", where they are rows of arrays.
    #[getter]
    fn dtype(&self) -> Option<&str> {
        self.inner.array().map(|array| array.dtype.as_str())
    }

    /// The shape of each sample, where they are rows of arrays.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.inner.array().map(|array| PyTuple::new(py, &array.shape)).transpose()
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
        let source = this.asked.uri(py)?;
        let arguments = (source, this.options(py)?, this.inner.len(), this.fingerprint(py).to_owned());
        Ok((restore, arguments.into_pyobject(py)?))
    }
}

/// The samples beneath a location, in a manifest, or in a list of locations.
///
/// By default one file is one sample, in bytewise order of their names. format: how samples lie inside files
/// ("records", "webdataset", "tfrecord", "npy", "npz", "parquet", "jsonl"). manifest: the location is a file
/// that names the objects ("jsonl", "csv", "parquet").
///
/// options: a dict of these two and `record_bytes`, `header_bytes`, `member`, `index` ("beside", "none" or a
/// folder), `index_resident_bytes`, `on_damage` ("raise", "skip:QUOTA"), `verify_samples`, `glob` (only names that match, such as "*.tar") and
/// `recursive` (default True), and what the store beneath takes, such as `threads`, `retries`, `limit_concurrency`,
/// `limit_bytes_per_second`, and for services `endpoint`, `account_key`, `credentials` (a callable) and so on.
/// What they leave open is looked for in the environment.
#[pyfunction]
#[pyo3(signature = (uri, options = None, *, format = None, manifest = None))]
pub(crate) fn create_dataset(
    uri: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyAny>>,
    format: Option<&str>,
    manifest: Option<&str>,
) -> PyResult<Dataset> {
    Asked::new(uri, options, &[("format", format), ("manifest", manifest)])?.list(uri.py(), None)
}

/// What unpickling calls.
#[pyfunction]
pub(crate) fn restore_dataset(
    uri: &Bound<'_, PyAny>,
    options: &Bound<'_, PyAny>,
    samples: u64,
    fingerprint: &str,
) -> PyResult<Dataset> {
    let dataset = create_dataset(uri, Some(options), None, None)?;
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
