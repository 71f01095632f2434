//! Memory of ours as Python's buffer protocol shows it: one dimension, contiguous, read-only.
//!
//! A `memoryview` over one of these keeps its owner alive and is all that Python sees of it.

use forebay_io::Block;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::born::Born;

/// Where a buffer is and what its items are. Kept inside of the object that owns the memory, because
/// the shape that a consumer is shown is this very one.
pub(crate) struct Exported {
    start: *const u8,
    bytes: isize,
    item: isize,
    count: isize,
    format: &'static CStr,
}

// SAFETY: an address and numbers, never changed; what may be done with the memory behind the address
// is settled where it is read.
unsafe impl Send for Exported {}
// SAFETY: as above.
unsafe impl Sync for Exported {}

impl Exported {
    /// Bytes (`B`).
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self::new(bytes.as_ptr(), bytes.len(), 1, c"B")
    }

    /// Bytes by their address: memory that whoever it is handed to may write to as well.
    pub(crate) fn memory(start: NonNull<u8>, bytes: usize) -> Self {
        Self::new(start.as_ptr(), bytes, 1, c"B")
    }

    /// Signed 64-bit numbers (`q`).
    fn integers(numbers: &[i64]) -> Self {
        Self::new(numbers.as_ptr().cast(), size_of_val(numbers), size_of::<i64>(), c"q")
    }

    fn new(start: *const u8, bytes: usize, item: usize, format: &'static CStr) -> Self {
        // No allocation is larger than `isize::MAX`.
        Exported { start, bytes: bytes as isize, item: item as isize, count: (bytes / item) as isize, format }
    }

    /// The address of the first byte.
    pub(crate) fn start(&self) -> *const u8 {
        self.start
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes as usize
    }

    /// Answers `__getbuffer__` of `owner`.
    ///
    /// # Safety
    /// `view` is what the interpreter passed to `owner`'s `__getbuffer__`; `self` is a field of the
    /// frozen `owner`; the bytes stay where they are, initialised and unchanged by Rust, for as long as
    /// `owner` lives.
    pub(crate) unsafe fn fill(
        &self,
        owner: Bound<'_, PyAny>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("there is no view to fill"));
        }
        // SAFETY: not null, and by contract a `Py_buffer` that the interpreter lets us write.
        let view = unsafe { &mut *view };
        view.obj = ptr::null_mut();
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("this buffer is read-only"));
        }
        let shown = |flag: c_int| flags & flag == flag;
        view.buf = self.start.cast_mut().cast();
        view.len = self.bytes;
        view.readonly = 1;
        view.itemsize = self.item;
        view.ndim = 1;
        view.format =
            if shown(ffi::PyBUF_FORMAT) { self.format.as_ptr().cast_mut() } else { ptr::null_mut() };
        // Consumers read shape and strides and do not write them; the types of the protocol are older
        // than `const`. Both outlive the view, which holds `owner`.
        view.shape =
            if shown(ffi::PyBUF_ND) { ptr::from_ref(&self.count).cast_mut() } else { ptr::null_mut() };
        view.strides =
            if shown(ffi::PyBUF_STRIDES) { ptr::from_ref(&self.item).cast_mut() } else { ptr::null_mut() };
        view.suboffsets = ptr::null_mut();
        view.internal = ptr::null_mut();
        view.obj = owner.into_ptr();
        Ok(())
    }
}

/// One slot of a block: an object that was read by itself.
#[pyclass(frozen)]
pub(crate) struct Held {
    shown: Exported,
    _block: Born<Arc<Block>>,
}

impl Held {
    pub(crate) fn new(block: Arc<Block>, slot: usize) -> Self {
        Held { shown: Exported::bytes(block.slot(slot).unwrap_or_default()), _block: Born::here(block) }
    }
}

#[pymethods]
impl Held {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let shown = &slf.get().shown;
        // SAFETY: `view` is passed on; the block is finished, so its bytes stay, and `slf` holds it.
        unsafe { shown.fill(slf.clone().into_any(), view, flags) }
    }
}

/// A column of numbers, one for each sample of a batch.
#[pyclass(frozen)]
struct Column {
    shown: Exported,
    _numbers: Box<[i64]>,
}

#[pymethods]
impl Column {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let shown = &slf.get().shown;
        // SAFETY: `view` is passed on; `slf` owns the numbers and never changes them.
        unsafe { shown.fill(slf.clone().into_any(), view, flags) }
    }
}

/// Numbers as a memoryview of format `q`: no Python object for each, and zero-copy for NumPy.
///
/// Signed, because unsigned arrays turn into floats when NumPy adds them to signed ones, and PyTorch
/// hardly knows them. Ids and offsets are far below 2⁶³.
pub(crate) fn column(
    py: Python<'_>,
    numbers: impl Iterator<Item = i64>,
) -> PyResult<Bound<'_, PyMemoryView>> {
    let numbers: Box<[i64]> = numbers.collect();
    let column = Bound::new(py, Column { shown: Exported::integers(&numbers), _numbers: numbers })?;
    PyMemoryView::from(column.as_any())
}
