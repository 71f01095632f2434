//! Locations as Python gives them: a URI, a path as text, or anything with `__fspath__`.

use crate::errors;
use forebay_io::Location;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::path::PathBuf;

/// Reads a location. Relative paths are taken from the working directory of this moment.
pub(crate) fn location(uri: &Bound<'_, PyAny>) -> PyResult<Location> {
    // In a directory that was removed, only relative paths fail.
    let base = std::env::current_dir().unwrap_or_default();
    let parsed = match uri.cast::<PyString>().map(|text| text.to_str()) {
        Ok(Ok(text)) => Location::parse(text, &base),
        // A path object, or a file name that is not UTF-8 as `os.listdir` gives it.
        _ => Location::from_path(&base.join(uri.extract::<PathBuf>()?)),
    };
    parsed.map_err(|error| errors::raise(uri.py(), &error))
}
