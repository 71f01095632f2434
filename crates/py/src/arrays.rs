//! A batch as arrays of NumPy or PyTorch. Neither is imported before somebody asks for it.
//!
//! Both are reached through DLPack: the arrays share the batch's memory, keep it alive, and may be
//! written, because a batch belongs to its consumer alone.

use crate::batch::Batch;
use forebay_io::SLOT_ALIGN;
use forebay_loader::Collate;
use pyo3::exceptions::{PyImportError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySlice};
use std::ops::Range;

/// Whose arrays.
#[derive(Clone, Copy)]
pub(crate) enum Library {
    Numpy,
    Torch,
}

impl Library {
    fn import(self, py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
        let (module, method) = match self {
            Library::Numpy => ("numpy", "to_numpy"),
            Library::Torch => ("torch", "to_torch"),
        };
        py.import(module).map_err(|cause| {
            let text = format!("Batch.{method}() needs {module}; install it with: pip install {module}");
            let error = PyImportError::new_err(text);
            error.set_cause(py, Some(cause));
            error
        })
    }
}

/// How samples lie in their buffer.
#[derive(Debug, PartialEq, Eq)]
enum Layout {
    /// Of `len` bytes each, one every `stride` bytes from `start`: rows of a matrix.
    Rows { start: usize, stride: usize, len: usize },
    /// Of the same size, but not in their order.
    Scattered,
    /// Of different sizes.
    Ragged,
}

fn layout(mut spans: impl ExactSizeIterator<Item = Range<usize>>) -> Layout {
    let Some(first) = spans.next() else { return Layout::Ragged };
    let (start, len) = (first.start, first.len());
    let stride = len.next_multiple_of(SLOT_ALIGN);
    let mut in_order = true;
    for (i, span) in (1..).zip(spans) {
        if span.len() != len {
            return Layout::Ragged;
        }
        in_order &= span.start == start + i * stride;
    }
    if in_order { Layout::Rows { start, stride, len } } else { Layout::Scattered }
}

/// All samples as one matrix if they are of one size, else a list of vectors; or as `collate` says.
pub(crate) fn of<'py>(batch: &Bound<'py, Batch>, library: Library) -> PyResult<Bound<'py, PyAny>> {
    let py = batch.py();
    let module = library.import(py)?;
    let whole = module.call_method1("from_dlpack", (batch,))?;
    let spans = batch.get().spans();
    let cut =
        |span: Range<usize>| whole.get_item(PySlice::new(py, span.start as isize, span.end as isize, 1));
    let vectors = || PyList::new(py, spans.clone().map(cut).collect::<PyResult<Vec<_>>>()?);
    let collate = batch.get().collate();
    match layout(spans.clone()) {
        _ if collate == Collate::List => Ok(vectors()?.into_any()),
        Layout::Ragged if collate == Collate::Stack && spans.len() > 0 => {
            let lens = || spans.clone().map(|span| span.len());
            let (least, most) = (lens().min().unwrap_or(0), lens().max().unwrap_or(0));
            Err(PyValueError::new_err(format!(
                "collate=stack: the samples of a batch have from {least} to {most} bytes and make no matrix; \
                 collate=list or collate=pad takes them"
            )))
        }
        Layout::Ragged if collate == Collate::Pad => {
            let width = spans.clone().map(|span| span.len()).max().unwrap_or(0);
            let kwargs = PyDict::new(py);
            kwargs.set_item("dtype", module.getattr("uint8")?)?;
            let matrix = module.call_method("zeros", ((spans.len(), width),), Some(&kwargs))?;
            for (i, span) in spans.enumerate() {
                let row = (i, PySlice::new(py, 0, span.len() as isize, 1));
                matrix.set_item(row, cut(span)?)?;
            }
            Ok(matrix)
        }
        Layout::Rows { start, stride, len } => {
            let rows = spans.len();
            let matrix = cut(start..start + rows * stride)?.call_method1("reshape", ((rows, stride),))?;
            if stride == len {
                return Ok(matrix);
            }
            matrix.get_item((PySlice::full(py), PySlice::new(py, 0, len as isize, 1)))
        }
        Layout::Scattered => module.call_method1("stack", (vectors()?,)),
        Layout::Ragged => Ok(vectors()?.into_any()),
    }
}
