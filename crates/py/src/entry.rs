//! What a listing, a stat or a put says about one object.

use forebay_io::{self as io, EntryKind, Location, Meta};
use pyo3::prelude::*;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::SystemTime;

/// One object or directory.
///
/// uri: where it is, in a form that every function takes.
/// key: its name beneath the listed location; "" where a single object was asked for.
/// is_dir: whether it is a directory.
/// size: in bytes, None where the listing was not asked for details.
/// modified: time of the last change, None where unknown.
/// version: changes whenever the content does, None where unknown.
#[pyclass(frozen, eq, module = "forebay")]
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    #[pyo3(get)]
    uri: String,
    #[pyo3(get)]
    key: OsString,
    #[pyo3(get)]
    is_dir: bool,
    #[pyo3(get)]
    size: Option<u64>,
    #[pyo3(get)]
    modified: Option<SystemTime>,
    #[pyo3(get)]
    version: Option<String>,
}

impl Entry {
    pub(crate) fn listed(entry: &io::Entry<'_>) -> Self {
        let key = OsString::from_vec(entry.key.to_vec());
        Self::of(&entry.location(), key, entry.kind, entry.meta)
    }

    pub(crate) fn single(location: &Location, meta: &Meta) -> Self {
        Self::of(location, OsString::new(), meta.kind, Some(meta))
    }

    fn of(location: &Location, key: OsString, kind: EntryKind, meta: Option<&Meta>) -> Self {
        Entry {
            uri: location.to_string(),
            key,
            is_dir: kind == EntryKind::Directory,
            size: meta.map(|meta| meta.size),
            modified: meta.and_then(|meta| meta.modified),
            version: meta.and_then(|meta| meta.version.as_ref()).map(|v| v.as_str().to_owned()),
        }
    }
}

#[pymethods]
impl Entry {
    fn __repr__(&self) -> String {
        let size = self.size.map_or("None".to_owned(), |size| size.to_string());
        let is_dir = if self.is_dir { "True" } else { "False" };
        format!("Entry(uri={:?}, is_dir={is_dir}, size={size})", self.uri)
    }
}
