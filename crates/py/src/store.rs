//! Whole objects, one call each: get, put, list, stat, exists, delete, delete_many.
//!
//! For single objects and small numbers of them. Loading a dataset through these would make an object
//! and take the interpreter's lock for every sample; that is what the loader is for.
//!
//! Each takes `options`: a dict of what its store takes, such as `{"retries": 3}`.

use crate::listing::Listing;
use crate::target::{Given, at};
use crate::{call, errors, process};
use forebay_io::{Glob, ListOptions};
use pyo3::prelude::*;

/// Reads a whole object.
///
/// Returns a read-only memoryview. Raises NotFoundError, DeniedError and other forebay.Error.
#[pyfunction]
#[pyo3(signature = (uri, *, options = None))]
pub(crate) fn get(py: Python<'_>, uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Py<PyAny>> {
    call::get(uri, options)?.wait(py)
}

/// Reads `length` bytes from `start`, which must lie inside the object.
///
/// Returns a read-only memoryview.
#[pyfunction]
#[pyo3(signature = (uri, start, length, *, options = None))]
pub(crate) fn get_range(
    py: Python<'_>,
    uri: &Bound<'_, PyAny>,
    start: u64,
    length: u64,
    options: Given<'_, '_>,
) -> PyResult<Py<PyAny>> {
    call::get_range(uri, start, length, options)?.wait(py)
}

/// Reads many whole objects together.
///
/// Returns a list of read-only memoryviews, in the order of the URIs. The first failure is raised;
/// with return_exceptions=True every failure stands in the list in the place of its object.
#[pyfunction]
#[pyo3(signature = (uris, *, return_exceptions = false, options = None))]
pub(crate) fn get_many(
    py: Python<'_>,
    uris: &Bound<'_, PyAny>,
    return_exceptions: bool,
    options: Given<'_, '_>,
) -> PyResult<Py<PyAny>> {
    call::get_many(uris, return_exceptions, options)?.wait(py)
}

/// Writes an object: readers see the old bytes or the new, never a part.
///
/// data: bytes or anything with a contiguous buffer.
/// create: raise AlreadyExistsError instead of replacing.
/// durable: return only when the object would survive a power cut.
#[pyfunction]
#[pyo3(signature = (uri, data, *, create = false, durable = false, options = None))]
pub(crate) fn put(
    py: Python<'_>,
    uri: &Bound<'_, PyAny>,
    data: &Bound<'_, PyAny>,
    create: bool,
    durable: bool,
    options: Given<'_, '_>,
) -> PyResult<Py<PyAny>> {
    call::put(uri, data, create, durable, options)?.wait(py)
}

/// Lists what is beneath a location: an iterator over entries, in no promised order.
///
/// recursive: everything beneath, objects only; otherwise one level, with its directories.
/// glob: only names that match, such as "*.jpg", "**/*.jpg", "{train,val}/*".
/// details: fill in size, modified and version also where that costs a call for each entry.
#[pyfunction]
#[pyo3(signature = (uri, *, recursive = true, glob = None, details = false, options = None))]
pub(crate) fn list(
    py: Python<'_>,
    uri: &Bound<'_, PyAny>,
    recursive: bool,
    glob: Option<&str>,
    details: bool,
    options: Given<'_, '_>,
) -> PyResult<Listing> {
    let (location, store) = at(uri, options)?;
    let glob = glob.map(Glob::new).transpose().map_err(|error| errors::raise(py, &error))?;
    Ok(Listing::begin(process::current()?, store, location, ListOptions { recursive, glob, details }))
}

/// Size, time and version of an object, without reading it.
#[pyfunction]
#[pyo3(signature = (uri, *, options = None))]
pub(crate) fn stat(py: Python<'_>, uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Py<PyAny>> {
    call::stat(uri, options)?.wait(py)
}

/// Whether something is stored at the location. Whatever else than its absence prevents an answer is raised.
#[pyfunction]
#[pyo3(signature = (uri, *, options = None))]
pub(crate) fn exists(py: Python<'_>, uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Py<PyAny>> {
    call::exists(uri, options)?.wait(py)
}

/// Removes an object.
#[pyfunction]
#[pyo3(signature = (uri, *, options = None))]
pub(crate) fn delete(py: Python<'_>, uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Py<PyAny>> {
    call::delete(uri, options)?.wait(py)
}

/// Removes many objects, as many a request as the service takes: a list of None, in the order given.
///
/// return_exceptions: put the error of an object in its place instead of raising the first, once all were tried.
#[pyfunction]
#[pyo3(signature = (uris, *, return_exceptions = false, options = None))]
pub(crate) fn delete_many(
    py: Python<'_>,
    uris: &Bound<'_, PyAny>,
    return_exceptions: bool,
    options: Given<'_, '_>,
) -> PyResult<Py<PyAny>> {
    call::delete_many(uris, return_exceptions, options)?.wait(py)
}
