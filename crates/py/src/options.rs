//! `LoaderOptions`: the loader's options as an object, checked when it is made.
//!
//! Names, ranges, defaults and the words of errors come from the loader's own table; there is no list
//! of options here.

use crate::{errors, value};
use forebay_loader as loader;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyMapping, PyTuple};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// How a dataset is loaded. Options that are not given have their defaults; bad ones raise
/// InvalidConfigError, which is a ValueError.
#[pyclass(frozen, eq, hash, module = "forebay")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LoaderOptions {
    inner: Checked,
}

/// Valid options. Two are equal if each option is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Checked(loader::LoaderOptions);

impl std::hash::Hash for Checked {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Value::Object(self.0.to_json()).to_string().hash(state);
    }
}

impl LoaderOptions {
    pub(crate) fn rust(&self) -> &loader::LoaderOptions {
        &self.inner.0
    }

    /// What the loader is made with: how batches are handed to array libraries is honoured here and not
    /// by it.
    pub(crate) fn for_loader(&self) -> loader::LoaderOptions {
        loader::LoaderOptions { collate: loader::Collate::Auto, ..self.rust().clone() }
    }

    fn checked(py: Python<'_>, given: &Map<String, Value>) -> PyResult<Self> {
        let read = loader::LoaderOptions::from_json(given).map_err(|error| errors::raise(py, &error))?;
        Ok(LoaderOptions { inner: Checked(read) })
    }

    /// Reads what a caller passes as `options`: an object of this class, a mapping, or None.
    pub(crate) fn given(options: Option<&Bound<'_, PyAny>>, py: Python<'_>) -> PyResult<Self> {
        match options {
            None => Self::checked(py, &Map::new()),
            Some(options) => match options.cast::<LoaderOptions>() {
                Ok(made) => Ok(made.get().clone()),
                Err(_) => Self::checked(py, &mapping(options, "LoaderOptions or a dict")?),
            },
        }
    }
}

/// Reads a mapping of options; `wanted` says what else would do.
pub(crate) fn mapping(options: &Bound<'_, PyAny>, wanted: &str) -> PyResult<Map<String, Value>> {
    mapping_of(options, "options", wanted)
}

/// The same of something else than options.
pub(crate) fn mapping_of(given: &Bound<'_, PyAny>, what: &str, wanted: &str) -> PyResult<Map<String, Value>> {
    let mapping = given.cast::<PyMapping>().map_err(|_| {
        let kind = given.get_type();
        PyTypeError::new_err(format!("{what} must be {wanted}, is {kind}"))
    })?;
    value::map(mapping)
}

#[pymethods]
impl LoaderOptions {
    #[new]
    #[pyo3(signature = (**options))]
    fn new(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Self::given(options.map(|options| options.as_any()), py)
    }

    /// A copy with some options changed.
    #[pyo3(signature = (**changes))]
    fn replace(&self, py: Python<'_>, changes: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut all = self.rust().to_json();
        if let Some(changes) = changes {
            all.extend(mapping(changes.as_any(), "keywords")?);
        }
        Self::checked(py, &all)
    }

    /// Every option by name.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = PyDict::new(py);
        for (name, set) in self.rust().to_json() {
            all.set_item(name, value::to_python(py, &set)?)?;
        }
        Ok(all)
    }

    /// How far the order carries a sample in a dataset of so many, in places: (mean, most). None for
    /// random_index_mode, which has no order to be carried from.
    fn displacement(&self, samples: u64) -> Option<(f64, u64)> {
        let order = loader::Order::new(samples, 0, self.rust());
        order.displacement().map(|displacement| (displacement.mean, displacement.max))
    }

    /// Options as a preset has them: training, gpu_optimized, distributed_optimized or inference.
    #[staticmethod]
    fn preset(py: Python<'_>, name: &str) -> PyResult<Self> {
        Self::checked(py, &Map::from_iter([(loader::Preset::KEY.to_owned(), name.into())]))
    }

    /// Options from a file of names and values, whose name ends in .toml, .yaml, .yml or .json.
    #[staticmethod]
    fn from_file(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let raise = |error: forebay_io::Error| errors::raise(py, &error.context(path.display()));
        let format = loader::OptionFormat::of(&path.to_string_lossy()).map_err(raise)?;
        let text = py.detach(|| std::fs::read_to_string(&path))?;
        let options = format.read(&text).and_then(|given| loader::LoaderOptions::from_json(&given));
        Ok(LoaderOptions { inner: Checked(options.map_err(raise)?) })
    }

    pub(crate) fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let default = loader::LoaderOptions::default();
        let mut shown = Vec::new();
        for option in loader::OPTIONS.iter().filter(|option| option.spells.is_none()) {
            let set = option.get(self.rust());
            if set != option.get(&default) {
                shown.push(format!("{}={}", option.name, value::to_python(py, &set)?.repr()?));
            }
        }
        Ok(format!("LoaderOptions({})", shown.join(", ")))
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        Ok((PyTuple::empty(py), self.to_dict(py)?))
    }
}

/// Gives the class a property for each option, with its help.
pub(crate) fn add_properties(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<LoaderOptions>();
    let property = py.import("builtins")?.getattr("property")?;
    for option in loader::OPTIONS {
        let getter = PyCFunction::new_closure(py, None, None, move |args, _| -> PyResult<Py<PyAny>> {
            let options = args.get_item(0)?.cast_into::<LoaderOptions>()?;
            Ok(value::to_python(args.py(), &option.get(options.get().rust()))?.unbind())
        })?;
        let unit = if option.unit.is_empty() { String::new() } else { format!(", in {}", option.unit) };
        let doc = format!("{}. Takes {}{unit}.", option.help, option.valid());
        class.setattr(option.name, property.call1((getter, py.None(), py.None(), doc))?)?;
    }
    Ok(())
}
