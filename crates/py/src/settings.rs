//! Options of a store, as they stand in a dict: which there are and what each takes is `io-open`'s.
//!
//! One is of this package alone: `credentials`, a callable that the store asks for credentials when it
//! needs them.

use crate::credentials::Callable;
use crate::errors;
use forebay_io::{Error, Location};
use forebay_io_open::{KEYS, StoreOptions};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The option whose value is a callable.
pub(crate) const CREDENTIALS: &str = "credentials";

/// Names and values as text, sorted by name: two that are equal open the same store.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
    credentials: Option<Callable>,
}

impl Settings {
    /// Reads what a caller passes as `options`, which must be all the store's.
    pub(crate) fn given(options: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(options) = options else { return Ok(Self::default()) };
        let (mut settings, rest) = Self::split(options)?;
        for (name, value) in &crate::value::map(&rest)? {
            settings.add(name, value);
        }
        // Now, so that a mistake is named before anything is opened.
        settings.parse().map_err(|error| errors::raise(options.py(), &error))?;
        Ok(settings)
    }

    /// Takes the callable out of a mapping, which no text could stand for. The rest is given back.
    pub(crate) fn split<'py>(options: &Bound<'py, PyAny>) -> PyResult<(Self, Bound<'py, PyMapping>)> {
        let given = options.cast::<PyMapping>().map_err(|_| {
            PyTypeError::new_err(format!("options must be a dict, is {}", options.get_type()))
        })?;
        let mut settings = Self::default();
        if !given.contains(CREDENTIALS)? {
            return Ok((settings, given.clone()));
        }
        let rest = PyDict::new(options.py());
        for item in given.items()?.iter() {
            let (name, value) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            if !name.cast::<PyString>().is_ok_and(|name| name == CREDENTIALS) {
                rest.set_item(name, value)?;
            } else if !value.is_none() {
                settings.credentials = Some(Callable::new(&value)?);
            }
        }
        Ok((settings, rest.into_mapping()))
    }

    /// Adds one. Text stands for itself; numbers are written out, and so is a list, with commas between.
    pub(crate) fn add(&mut self, name: &str, value: &Value) {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let text = match value {
            Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
            one => text(one),
        };
        self.values.insert(name.to_owned(), text);
    }

    /// # Errors
    /// `InvalidConfig` for an unknown name or a bad value.
    pub(crate) fn parse(&self) -> forebay_io::Result<StoreOptions> {
        let options =
            StoreOptions::parse(self.values.iter().map(|(name, text)| (name.as_str(), text.as_str())))?;
        Ok(match &self.credentials {
            Some(callable) => callable.give_to(options),
            None => options,
        })
    }

    /// Reads a location. A signature in the query of an `https://` URL becomes the option `sas_token`, and is no
    /// part of the location.
    pub(crate) fn locate(&mut self, uri: &Bound<'_, PyAny>) -> PyResult<Location> {
        // In a directory that was removed, only relative paths fail.
        let base = std::env::current_dir().unwrap_or_default();
        let read = match uri.cast::<PyString>().map(|text| text.to_str()) {
            Ok(Ok(text)) => self.read(text, &base),
            // A path object, or a file name that is not UTF-8 as `os.listdir` gives it.
            _ => {
                let path = uri.extract::<PathBuf>().map_err(|_| {
                    let kind = uri.get_type();
                    PyTypeError::new_err(format!("a location must be str or os.PathLike, is {kind}"))
                })?;
                Location::from_path(&base.join(path))
            }
        };
        read.map_err(|error| errors::raise(uri.py(), &error))
    }

    fn read(&mut self, text: &str, base: &std::path::Path) -> forebay_io::Result<Location> {
        let location = StoreOptions::default().locate(text, base)?;
        let signature = text.split_once('?').filter(|_| location.scheme() == "https").map(|(_, query)| query);
        if let Some(signature) = signature {
            let earlier = self.values.insert("sas_token".to_owned(), signature.to_owned());
            if earlier.is_some_and(|earlier| earlier.trim_start_matches('?') != signature) {
                let context =
                    "two signatures are given, by sas_token or by another location; leave one of them out";
                return Err(Error::invalid(context).at(&location));
            }
        }
        Ok(location)
    }

    /// Names and values as text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.values.iter()
    }

    /// The callable that gives credentials.
    pub(crate) fn credentials(&self) -> Option<&Callable> {
        self.credentials.as_ref()
    }
}

/// Values may be secrets.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.values.keys().filter(|name| KEYS.iter().any(|key| key.name == *name));
        f.debug_set().entries(names).finish()
    }
}
