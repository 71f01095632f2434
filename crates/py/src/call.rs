//! A call on single objects, and what Python gets of its answer. `store` waits for one, `begin` lets an event loop wait.

use crate::answer::Answer;
use crate::buffer::Held;
use crate::entry::Entry;
use crate::pending::Pending;
use crate::target::{Given, at, groups};
use crate::{errors, process, reads, wait};
use bytes::Bytes;
use forebay_io::{Block, Body, Error, Kind, Location, Meta, PutMode, PutOptions, Result};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBool, PyBytes, PyList, PyMemoryView};
use std::pin::Pin;
use std::sync::Arc;

/// Objects below this many bytes are copied out of the memory that they were read into, which keeps
/// whole pages and a mapping for itself. Above, a copy would cost more than that.
const COPY_BELOW: usize = 256 << 10;

/// The work of a call, not begun yet.
pub(crate) struct Call(Pin<Box<dyn Future<Output = Result<Answer>> + Send>>);

impl Call {
    /// `answer` makes of what `work` comes to what Python gets.
    fn new<T: Send + 'static>(
        work: impl Future<Output = Result<T>> + Send + 'static,
        answer: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Self {
        Call(Box::pin(async move {
            let done = work.await?;
            Ok(Box::new(move |py: Python<'_>| answer(py, done)) as Answer)
        }))
    }

    /// Waits on this thread, without the interpreter's lock and awake to Ctrl-C.
    pub(crate) fn wait(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wait::until_ok(py, process::current()?, self.0)?(py)
    }

    /// Goes on by itself, for an event loop to wait for.
    pub(crate) fn begin(self) -> PyResult<Pending> {
        Pending::begin(self.0)
    }
}

/// A whole object, as a memoryview.
pub(crate) fn get(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Call> {
    let (location, store) = at(uri, options)?;
    Ok(Call::new(async move { reads::whole(&*store, &location).await }, block))
}

/// `length` bytes from `start`, as a memoryview.
pub(crate) fn get_range(
    uri: &Bound<'_, PyAny>,
    start: u64,
    length: u64,
    options: Given<'_, '_>,
) -> PyResult<Call> {
    let (location, store) = at(uri, options)?;
    let end = start.checked_add(length).ok_or_else(|| {
        let context = format!("start {start} and length {length} go beyond the largest offset there is");
        errors::raise(uri.py(), &Error::invalid(context).at(&location))
    })?;
    Ok(Call::new(async move { reads::part(&*store, &location, start..end).await }, block))
}

/// Whole objects, as a list of memoryviews, or of exceptions in the place of some if `return_exceptions`.
pub(crate) fn get_many(
    uris: &Bound<'_, PyAny>,
    return_exceptions: bool,
    options: Given<'_, '_>,
) -> PyResult<Call> {
    let groups = groups(uris, options)?;
    let work = async move {
        let mut found = Vec::new();
        for (store, group) in groups {
            found.extend(reads::many(&*store, &group).await?);
        }
        Ok(found)
    };
    let one = |py: Python<'_>, (block, slot)| Ok(view(py, block, slot)?.into_any().unbind());
    Ok(Call::new(work, move |py, found| each(py, found, return_exceptions, one)))
}

/// Writes an object; its entry.
pub(crate) fn put(
    uri: &Bound<'_, PyAny>,
    data: &Bound<'_, PyAny>,
    create: bool,
    durable: bool,
    options: Given<'_, '_>,
) -> PyResult<Call> {
    let (location, store) = at(uri, options)?;
    let body = Body::from(contents(data)?);
    let mode = if create { PutMode::Create } else { PutMode::Overwrite };
    let work = async move {
        let meta = store.put(&location, body, PutOptions { mode, durable }).await?;
        Ok((location, meta))
    };
    Ok(Call::new(work, entry))
}

/// Its entry.
pub(crate) fn stat(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Call> {
    let (location, store) = at(uri, options)?;
    let work = async move {
        let meta = store.stat(&location).await?;
        Ok((location, meta))
    };
    Ok(Call::new(work, entry))
}

/// Whether it is there: whatever else than its absence prevents an answer is an error.
pub(crate) fn exists(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Call> {
    let (location, store) = at(uri, options)?;
    let work = async move {
        match store.stat(&location).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    };
    Ok(Call::new(work, |py, found| Ok(PyBool::new(py, found).to_owned().into_any().unbind())))
}

/// Removes an object; None.
pub(crate) fn delete(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Call> {
    let (location, store) = at(uri, options)?;
    Ok(Call::new(async move { store.delete(&location).await }, |py, ()| Ok(py.None())))
}

/// Removes objects; a list of None, or of exceptions in the place of some if `return_exceptions`.
pub(crate) fn delete_many(
    uris: &Bound<'_, PyAny>,
    return_exceptions: bool,
    options: Given<'_, '_>,
) -> PyResult<Call> {
    let groups = groups(uris, options)?;
    let work = async move {
        let mut results = Vec::new();
        for (store, group) in groups {
            results.extend(store.delete_many(&group).await);
        }
        Ok(results)
    };
    let one = |py: Python<'_>, ()| Ok(py.None());
    Ok(Call::new(work, move |py, results| each(py, results, return_exceptions, one)))
}

/// One answer for each, in a list: an error is raised, or stands in the place of its object.
fn each<T>(
    py: Python<'_>,
    results: Vec<Result<T>>,
    return_exceptions: bool,
    one: impl Fn(Python<'_>, T) -> PyResult<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    let answers = PyList::empty(py);
    for result in results {
        match result {
            Ok(value) => answers.append(one(py, value)?)?,
            Err(error) if return_exceptions => answers.append(errors::raise(py, &error).into_value(py))?,
            Err(error) => return Err(errors::raise(py, &error)),
        }
    }
    Ok(answers.into_any().unbind())
}

fn entry(py: Python<'_>, (location, meta): (Location, Meta)) -> PyResult<Py<PyAny>> {
    Ok(Py::new(py, Entry::single(&location, &meta))?.into_any())
}

fn block(py: Python<'_>, block: Block) -> PyResult<Py<PyAny>> {
    Ok(view(py, Arc::new(block), 0)?.into_any().unbind())
}

fn view(py: Python<'_>, block: Arc<Block>, slot: usize) -> PyResult<Bound<'_, PyMemoryView>> {
    let bytes = block.slot(slot).unwrap_or_default();
    if bytes.len() < COPY_BELOW {
        return PyMemoryView::from(PyBytes::new(py, bytes).as_any());
    }
    let held = Bound::new(py, Held::new(block, slot))?;
    PyMemoryView::from(held.as_any())
}

/// The bytes to write. Those of a `bytes` object are used in place: nobody can change them.
fn contents(data: &Bound<'_, PyAny>) -> PyResult<Bytes> {
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
