//! The calls of `store` for event loops: each begins and answers a [`Pending`], which `forebay.aio` waits for.

use crate::entry::Entry;
use crate::errors;
use crate::pending::Pending;
use crate::process;
use crate::settings::Settings;
use crate::store::{by_store, contents, deleted, located, many, part, view, whole};
use forebay_io::{Body, Error, Kind, Location, PutMode, PutOptions, Result, Store};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList};
use std::sync::Arc;

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// A store and what is asked of it.
type Group = (Arc<dyn Store>, Vec<Location>);

/// The place and its store.
fn at(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<(Location, Arc<dyn Store>)> {
    let mut settings = Settings::given(options)?;
    let location = settings.locate(uri)?;
    let store = process::current()?.store(uri.py(), &location, &settings)?;
    Ok((location, store))
}

/// The places of each store together, in the order given, every store open before the first is asked.
fn groups(uris: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Vec<Group>> {
    let process = process::current()?;
    let (settings, locations) = located(uris, options)?;
    by_store(&locations)
        .map(|group| Ok((process.store(uris.py(), &group[0], &settings)?, group.to_vec())))
        .collect()
}

fn none_of(py: Python<'_>, result: Result<()>) -> PyResult<Py<PyAny>> {
    result.map(|()| py.None()).map_err(|error| errors::raise(py, &error))
}

#[pyfunction(name = "_begin_get")]
pub(crate) fn begin_get(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Pending> {
    let (location, store) = at(uri, options)?;
    Pending::begin(async move { whole(&*store, &location).await }, |py, block| {
        let block = block.map_err(|error| errors::raise(py, &error))?;
        Ok(view(py, Arc::new(block), 0)?.into_any().unbind())
    })
}

#[pyfunction(name = "_begin_get_range")]
pub(crate) fn begin_get_range(
    uri: &Bound<'_, PyAny>,
    start: u64,
    length: u64,
    options: Given<'_, '_>,
) -> PyResult<Pending> {
    let (location, store) = at(uri, options)?;
    let end = start.checked_add(length).ok_or_else(|| {
        let context = format!("start {start} and length {length} go beyond the largest offset there is");
        errors::raise(uri.py(), &Error::invalid(context).at(&location))
    })?;
    Pending::begin(async move { part(&*store, &location, start..end).await }, |py, block| {
        let block = block.map_err(|error| errors::raise(py, &error))?;
        Ok(view(py, Arc::new(block), 0)?.into_any().unbind())
    })
}

#[pyfunction(name = "_begin_get_many")]
pub(crate) fn begin_get_many(
    uris: &Bound<'_, PyAny>,
    return_exceptions: bool,
    options: Given<'_, '_>,
) -> PyResult<Pending> {
    let groups = groups(uris, options)?;
    let call = async move {
        let mut found = Vec::new();
        for (store, group) in groups {
            found.extend(many(&*store, &group).await?);
        }
        Ok(found)
    };
    Pending::begin(call, move |py, found| {
        let views = PyList::empty(py);
        for item in found.map_err(|error| errors::raise(py, &error))? {
            match item {
                Ok((block, slot)) => views.append(view(py, block, slot)?)?,
                Err(error) if return_exceptions => views.append(errors::raise(py, &error).into_value(py))?,
                Err(error) => return Err(errors::raise(py, &error)),
            }
        }
        Ok(views.into_any().unbind())
    })
}

#[pyfunction(name = "_begin_put")]
pub(crate) fn begin_put(
    uri: &Bound<'_, PyAny>,
    data: &Bound<'_, PyAny>,
    create: bool,
    durable: bool,
    options: Given<'_, '_>,
) -> PyResult<Pending> {
    let (location, store) = at(uri, options)?;
    let body = Body::from(contents(data)?);
    let mode = if create { PutMode::Create } else { PutMode::Overwrite };
    let call = async move {
        let meta = store.put(&location, body, PutOptions { mode, durable }).await?;
        Ok((location, meta))
    };
    Pending::begin(call, entry)
}

#[pyfunction(name = "_begin_stat")]
pub(crate) fn begin_stat(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Pending> {
    let (location, store) = at(uri, options)?;
    let call = async move {
        let meta = store.stat(&location).await?;
        Ok((location, meta))
    };
    Pending::begin(call, entry)
}

fn entry(py: Python<'_>, found: Result<(Location, forebay_io::Meta)>) -> PyResult<Py<PyAny>> {
    let (location, meta) = found.map_err(|error| errors::raise(py, &error))?;
    Ok(Py::new(py, Entry::single(&location, &meta))?.into_any())
}

#[pyfunction(name = "_begin_exists")]
pub(crate) fn begin_exists(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Pending> {
    let (location, store) = at(uri, options)?;
    let call = async move {
        match store.stat(&location).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    };
    Pending::begin(call, |py, found| {
        let found = found.map_err(|error| errors::raise(py, &error))?;
        Ok(PyBool::new(py, found).to_owned().into_any().unbind())
    })
}

#[pyfunction(name = "_begin_delete")]
pub(crate) fn begin_delete(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Pending> {
    let (location, store) = at(uri, options)?;
    Pending::begin(async move { store.delete(&location).await }, none_of)
}

#[pyfunction(name = "_begin_delete_many")]
pub(crate) fn begin_delete_many(
    uris: &Bound<'_, PyAny>,
    return_exceptions: bool,
    options: Given<'_, '_>,
) -> PyResult<Pending> {
    let groups = groups(uris, options)?;
    let call = async move {
        let mut results = Vec::new();
        for (store, group) in groups {
            results.extend(store.delete_many(&group).await);
        }
        Ok(results)
    };
    Pending::begin(call, move |py, results| {
        let results = results.map_err(|error: Error| errors::raise(py, &error))?;
        Ok(deleted(py, results, return_exceptions)?.into_any().unbind())
    })
}
