//! The calls of `store` for event loops: each begins and answers a [`Pending`], which `forebay.aio` waits for.

use crate::call;
use crate::pending::Pending;
use crate::target::Given;
use pyo3::prelude::*;

#[pyfunction(name = "_begin_get")]
pub(crate) fn begin_get(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Pending> {
    call::get(uri, options)?.begin()
}

#[pyfunction(name = "_begin_get_range")]
pub(crate) fn begin_get_range(
    uri: &Bound<'_, PyAny>,
    start: u64,
    length: u64,
    options: Given<'_, '_>,
) -> PyResult<Pending> {
    call::get_range(uri, start, length, options)?.begin()
}

#[pyfunction(name = "_begin_get_many")]
pub(crate) fn begin_get_many(
    uris: &Bound<'_, PyAny>,
    return_exceptions: bool,
    options: Given<'_, '_>,
) -> PyResult<Pending> {
    call::get_many(uris, return_exceptions, options)?.begin()
}

#[pyfunction(name = "_begin_put")]
pub(crate) fn begin_put(
    uri: &Bound<'_, PyAny>,
    data: &Bound<'_, PyAny>,
    create: bool,
    durable: bool,
    options: Given<'_, '_>,
) -> PyResult<Pending> {
    call::put(uri, data, create, durable, options)?.begin()
}

#[pyfunction(name = "_begin_stat")]
pub(crate) fn begin_stat(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Pending> {
    call::stat(uri, options)?.begin()
}

#[pyfunction(name = "_begin_exists")]
pub(crate) fn begin_exists(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Pending> {
    call::exists(uri, options)?.begin()
}

#[pyfunction(name = "_begin_delete")]
pub(crate) fn begin_delete(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Pending> {
    call::delete(uri, options)?.begin()
}

#[pyfunction(name = "_begin_delete_many")]
pub(crate) fn begin_delete_many(
    uris: &Bound<'_, PyAny>,
    return_exceptions: bool,
    options: Given<'_, '_>,
) -> PyResult<Pending> {
    call::delete_many(uris, return_exceptions, options)?.begin()
}
