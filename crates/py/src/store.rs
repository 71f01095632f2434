//! Whole objects, one call each: get, put, list, stat, exists, delete, delete_many.
//!
//! For single objects and small numbers of them. Loading a dataset through these would make an object
//! and take the interpreter's lock for every sample; that is what the loader is for.
//!
//! Each takes `options`: a dict of what its store takes, such as `{"retries": 3}`.

use crate::buffer::Held;
use crate::entry::Entry;
use crate::listing::Listing;
use crate::process;
use crate::settings::Settings;
use crate::{errors, wait};
use bytes::Bytes;
use forebay_io::{
    Block, Body, Budget, Error, GetRequest, Glob, Kind, ListOptions, Location, Pool, PutMode, PutOptions,
    ReadOptions, Result, SLOT_ALIGN, Store, read,
};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyMemoryView};
use std::ops::Range;
use std::sync::Arc;

/// Addresses set aside for objects whose size is not known before. They cost nothing until used, and
/// larger objects are read at their true size after a second look.
const FIRST_TRY: u64 = 1 << 30;

/// Objects below this many bytes are copied out of the memory that they were read into, which keeps
/// whole pages and a mapping for itself. Above, a copy would cost more than that.
const COPY_BELOW: usize = 256 << 10;

/// Reads a whole object.
///
/// Returns a read-only memoryview. Raises NotFoundError, DeniedError and other forebay.Error.
#[pyfunction]
#[pyo3(signature = (uri, *, options = None))]
pub(crate) fn get<'py>(
    py: Python<'py>,
    uri: &Bound<'py, PyAny>,
    options: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyMemoryView>> {
    let mut settings = Settings::given(options)?;
    let location = settings.locate(uri)?;
    let process = process::current()?;
    let store = process.store(py, &location, &settings)?;
    let block = wait::until_ok(py, process, whole(&*store, &location))?;
    view(py, Arc::new(block), 0)
}

/// Reads `length` bytes from `start`, which must lie inside the object.
///
/// Returns a read-only memoryview.
#[pyfunction]
#[pyo3(signature = (uri, start, length, *, options = None))]
pub(crate) fn get_range<'py>(
    py: Python<'py>,
    uri: &Bound<'py, PyAny>,
    start: u64,
    length: u64,
    options: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyMemoryView>> {
    let mut settings = Settings::given(options)?;
    let location = settings.locate(uri)?;
    let process = process::current()?;
    let store = process.store(py, &location, &settings)?;
    let end = start.checked_add(length).ok_or_else(|| {
        let context = format!("start {start} and length {length} go beyond the largest offset there is");
        errors::raise(py, &Error::invalid(context).at(&location))
    })?;
    let block = wait::until_ok(py, process, part(&*store, &location, start..end))?;
    view(py, Arc::new(block), 0)
}

/// The places that were given, in their order, and the options for all of them.
pub(crate) fn located(
    uris: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyAny>>,
) -> PyResult<(Settings, Vec<Location>)> {
    let mut settings = Settings::given(options)?;
    let locations = uris.try_iter()?.map(|uri| settings.locate(&uri?)).collect::<PyResult<_>>()?;
    Ok((settings, locations))
}

/// One submission for each store, in the order given.
pub(crate) fn by_store(locations: &[Location]) -> impl Iterator<Item = &[Location]> {
    locations.chunk_by(|a, b| (a.scheme(), a.host()) == (b.scheme(), b.host()))
}

/// Reads many whole objects together.
///
/// Returns a list of read-only memoryviews, in the order of the URIs. The first failure is raised;
/// with return_exceptions=True every failure stands in the list in the place of its object.
#[pyfunction]
#[pyo3(signature = (uris, *, return_exceptions = false, options = None))]
pub(crate) fn get_many<'py>(
    py: Python<'py>,
    uris: &Bound<'py, PyAny>,
    return_exceptions: bool,
    options: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let (settings, locations) = located(uris, options)?;
    let found = PyList::empty(py);
    let process = process::current()?;
    for group in by_store(&locations) {
        let store = process.store(py, &group[0], &settings)?;
        for item in wait::until_ok(py, process, many(&*store, group))? {
            match item {
                Ok((block, slot)) => found.append(view(py, block, slot)?)?,
                Err(error) if return_exceptions => found.append(errors::raise(py, &error).into_value(py))?,
                Err(error) => return Err(errors::raise(py, &error)),
            }
        }
    }
    Ok(found)
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
    options: Option<&Bound<'_, PyAny>>,
) -> PyResult<Entry> {
    let mut settings = Settings::given(options)?;
    let location = settings.locate(uri)?;
    let process = process::current()?;
    let store = process.store(py, &location, &settings)?;
    let body = Body::from(contents(data)?);
    let mode = if create { PutMode::Create } else { PutMode::Overwrite };
    let options = PutOptions { mode, durable };
    let meta = wait::until_ok(py, process, store.put(&location, body, options))?;
    Ok(Entry::single(&location, &meta))
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
    options: Option<&Bound<'_, PyAny>>,
) -> PyResult<Listing> {
    let mut settings = Settings::given(options)?;
    let location = settings.locate(uri)?;
    let glob = glob.map(Glob::new).transpose().map_err(|error| errors::raise(py, &error))?;
    let process = process::current()?;
    let store = process.store(py, &location, &settings)?;
    Ok(Listing::begin(process, store, location, ListOptions { recursive, glob, details }))
}

/// Size, time and version of an object, without reading it.
#[pyfunction]
#[pyo3(signature = (uri, *, options = None))]
pub(crate) fn stat(
    py: Python<'_>,
    uri: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyAny>>,
) -> PyResult<Entry> {
    let mut settings = Settings::given(options)?;
    let location = settings.locate(uri)?;
    let process = process::current()?;
    let store = process.store(py, &location, &settings)?;
    let meta = wait::until_ok(py, process, store.stat(&location))?;
    Ok(Entry::single(&location, &meta))
}

/// Whether something is stored at the location. Whatever else than its absence prevents an answer is raised.
#[pyfunction]
#[pyo3(signature = (uri, *, options = None))]
pub(crate) fn exists(
    py: Python<'_>,
    uri: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyAny>>,
) -> PyResult<bool> {
    let mut settings = Settings::given(options)?;
    let location = settings.locate(uri)?;
    let process = process::current()?;
    let store = process.store(py, &location, &settings)?;
    match wait::until_done(py, process, store.stat(&location))? {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(errors::raise(py, &error)),
    }
}

/// Removes an object.
#[pyfunction]
#[pyo3(signature = (uri, *, options = None))]
pub(crate) fn delete(
    py: Python<'_>,
    uri: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let mut settings = Settings::given(options)?;
    let location = settings.locate(uri)?;
    let process = process::current()?;
    let store = process.store(py, &location, &settings)?;
    wait::until_ok(py, process, store.delete(&location))
}

/// Removes many objects, as many a request as the service takes: a list of None, in the order given.
///
/// return_exceptions: put the error of an object in its place instead of raising the first, once all were tried.
#[pyfunction]
#[pyo3(signature = (uris, *, return_exceptions = false, options = None))]
pub(crate) fn delete_many<'py>(
    py: Python<'py>,
    uris: &Bound<'py, PyAny>,
    return_exceptions: bool,
    options: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let (settings, locations) = located(uris, options)?;
    let process = process::current()?;
    let mut results = Vec::with_capacity(locations.len());
    for group in by_store(&locations) {
        let store = process.store(py, &group[0], &settings)?;
        results.extend(wait::until_done(py, process, store.delete_many(group))?);
    }
    deleted(py, results, return_exceptions)
}

/// None for each that was removed.
pub(crate) fn deleted(
    py: Python<'_>,
    results: Vec<Result<()>>,
    return_exceptions: bool,
) -> PyResult<Bound<'_, PyList>> {
    let answers = PyList::empty(py);
    for result in results {
        match result {
            Ok(()) => answers.append(py.None())?,
            Err(error) if return_exceptions => answers.append(errors::raise(py, &error).into_value(py))?,
            Err(error) => return Err(errors::raise(py, &error)),
        }
    }
    Ok(answers)
}

/// A pool for one call: its memory goes back to the system with the last view of what was read.
fn pool(bytes: u64) -> Result<Pool> {
    Ok(Pool::new(Budget::new(bytes.max(1).checked_next_multiple_of(SLOT_ALIGN as u64).unwrap_or(bytes))?))
}

pub(crate) async fn whole(store: &dyn Store, location: &Location) -> Result<Block> {
    let options = ReadOptions::default;
    match read(store, location, None, options(), &pool(FIRST_TRY)?).await {
        // A whole object can only be refused for its size.
        Err(error) if error.kind() == Kind::InvalidRange => {
            let size = store.stat(location).await?.size;
            if size <= FIRST_TRY {
                return Err(error);
            }
            read(store, location, None, options(), &pool(size)?).await
        }
        result => result,
    }
}

pub(crate) async fn part(store: &dyn Store, location: &Location, range: Range<u64>) -> Result<Block> {
    let length = range.end - range.start;
    if length > Budget::MAX {
        let context = format!("{length} bytes are more than the {} that one read may have", Budget::MAX);
        return Err(Error::new(Kind::InvalidRange, forebay_io::Operation::Get, context).at(location));
    }
    read(store, location, Some(range), ReadOptions::default(), &pool(length)?).await
}

pub(crate) type Found = Result<(Arc<Block>, usize)>;

pub(crate) async fn many(store: &dyn Store, locations: &[Location]) -> Result<Vec<Found>> {
    let pool = pool(FIRST_TRY)?;
    let lease = pool.lease(pool.budget().ticket(), locations.len() as u32);
    let requests: Arc<[GetRequest]> =
        (0u32..).zip(locations).map(|(slot, location)| GetRequest::whole(location.clone(), slot)).collect();
    let results = store.get_many(requests, ReadOptions::default(), lease.clone()).await;
    let block = Arc::new(lease.finish()?);
    let mut found = Vec::with_capacity(locations.len());
    for (slot, (result, location)) in results.into_iter().zip(locations).enumerate() {
        found.push(match result {
            Ok(_) => Ok((block.clone(), slot)),
            // It did not fit beside the others.
            Err(error) if error.kind() == Kind::InvalidRange => {
                whole(store, location).await.map(|alone| (Arc::new(alone), 0))
            }
            Err(error) => Err(error),
        });
    }
    Ok(found)
}

pub(crate) fn view(py: Python<'_>, block: Arc<Block>, slot: usize) -> PyResult<Bound<'_, PyMemoryView>> {
    let bytes = block.slot(slot).unwrap_or_default();
    if bytes.len() < COPY_BELOW {
        return PyMemoryView::from(PyBytes::new(py, bytes).as_any());
    }
    let held = Bound::new(py, Held::new(block, slot))?;
    PyMemoryView::from(held.as_any())
}

/// The bytes to write. Those of a `bytes` object are used in place: nobody can change them.
pub(crate) fn contents(data: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(Bytes::from_owner(PyBackedBytes::from(bytes.clone())));
    }
    let view = PyMemoryView::from(data).map_err(|_| {
        let kind = data.get_type();
        PyTypeError::new_err(format!(
            "data must be bytes-like (bytes, bytearray, memoryview, array), is {kind}"
        ))
    })?;
    let bytes = view.call_method1("cast", ("B",))?;
    let buffer = PyBuffer::<u8>::get(&bytes)?;
    Ok(buffer.to_vec(data.py())?.into())
}
