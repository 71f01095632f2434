//! Options of a store, as they stand in a dict: which there are and what each takes is `io-open`'s.

use crate::errors;
use crate::options::mapping;
use forebay_io_open::StoreOptions;
use pyo3::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

/// Names and values as text, sorted by name: two that are equal open the same store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Reads what a caller passes as `options`, which must be all the store's.
    pub(crate) fn given(options: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(options) = options else { return Ok(Self::default()) };
        let mut settings = Self::default();
        for (name, value) in &mapping(options, "a dict")? {
            settings.add(name, value);
        }
        // Now, so that a mistake is named before anything is opened.
        settings.parse().map_err(|error| errors::raise(options.py(), &error))?;
        Ok(settings)
    }

    /// Adds one. Text stands for itself; numbers are written out.
    pub(crate) fn add(&mut self, name: &str, value: &Value) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.0.insert(name.to_owned(), text);
    }

    /// # Errors
    /// `InvalidConfig` for an unknown name or a bad value.
    pub(crate) fn parse(&self) -> forebay_io::Result<StoreOptions> {
        StoreOptions::parse(self.0.iter().map(|(name, text)| (name.as_str(), text.as_str())))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }
}
