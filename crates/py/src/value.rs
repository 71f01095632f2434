//! Between Python values and JSON values: options and saved states come in, states and metrics go out.

use crate::errors;
use forebay_io::Error;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use serde_json::{Map, Value};

/// Reads a value, which is called `name` where it is refused: a number that is none (JSON would have null, which
/// means that nothing was said). What JSON does not have (an object of some class) is read as its text, so that
/// whoever checks the value can name it.
pub(crate) fn from_python(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    if object.is_none() {
        return Ok(Value::Null);
    }
    // Scalars of NumPy and of others say what they are.
    if let Some(plain) = plain(object)? {
        return from_python(name, &plain);
    }
    if let Ok(flag) = object.cast::<PyBool>() {
        return Ok(flag.is_true().into());
    }
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(text.to_string_lossy().into_owned().into());
    }
    if let Ok(number) = object.cast::<PyFloat>() {
        let number: f64 = number.extract()?;
        if !number.is_finite() {
            let error = Error::invalid(format!("{name} must be a finite number, is {number}"));
            return Err(errors::raise(object.py(), &error));
        }
        return Ok(number.into());
    }
    // Also what only behaves like an integer, such as NumPy's.
    if object.is_instance_of::<PyInt>() || object.hasattr("__index__")? {
        if let Ok(number) = object.extract::<u64>() {
            return Ok(number.into());
        }
        if let Ok(number) = object.extract::<i64>() {
            return Ok(number.into());
        }
    }
    if let Ok(mapping) = object.cast::<PyMapping>() {
        return map(mapping).map(Value::Object);
    }
    if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
        return object
            .try_iter()?
            .map(|item| from_python(name, &item?))
            .collect::<PyResult<Vec<_>>>()
            .map(Value::Array);
    }
    Ok(object.str()?.to_string_lossy().into_owned().into())
}

/// The value of Python itself that a scalar is, if it is one of another library.
fn plain<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if object.is_instance_of::<PyFloat>() || object.is_instance_of::<PyInt>() || !object.hasattr("item")? {
        return Ok(None);
    }
    // An array of several has no one value.
    let Ok(plain) = object.call_method0("item") else { return Ok(None) };
    let known = plain.is_instance_of::<PyBool>()
        || plain.is_instance_of::<PyInt>()
        || plain.is_instance_of::<PyFloat>()
        || plain.is_instance_of::<PyString>();
    Ok(known.then_some(plain))
}

/// Reads a mapping with text for keys.
pub(crate) fn map(mapping: &Bound<'_, PyMapping>) -> PyResult<Map<String, Value>> {
    let mut read = Map::new();
    for item in mapping.items()?.iter() {
        let (key, value) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
        let Ok(key) = key.cast::<PyString>() else {
            return Err(PyTypeError::new_err(format!(
                "keys must be str, {} is {}",
                key.repr()?,
                key.get_type()
            )));
        };
        let key = key.to_string_lossy().into_owned();
        let value = from_python(&key, &value)?;
        read.insert(key, value);
    }
    Ok(read)
}

/// Makes the Python value.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(flag) => PyBool::new(py, *flag).to_owned().into_any(),
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(n), _) => n.into_pyobject(py)?.into_any(),
            (None, Some(n)) => n.into_pyobject(py)?.into_any(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into_pyobject(py)?.into_any(),
        },
        Value::Array(items) => {
            let items = items.iter().map(|item| to_python(py, item)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any()
        }
        Value::Object(map) => {
            let dict = PyDict::new(py);
            for (key, value) in map {
                dict.set_item(key, to_python(py, value)?)?;
            }
            dict.into_any()
        }
    })
}
