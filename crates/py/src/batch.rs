//! A batch as Python sees it: one buffer, and where the samples are in it.
//!
//! Made once a batch with nothing inside but two references; views, columns and arrays are made when
//! asked for. Also readable in a forked child, because reading it needs no lock and no thread.

use crate::arrays::{self, Library};
use crate::born::Born;
use crate::buffer::{Exported, column};
use crate::dlpack::{self, Wanted};
use crate::errors;
use forebay_io::{Error, Kind, Operation};
use forebay_loader as loader;
use pyo3::exceptions::{PyBufferError, PyIndexError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyDict, PyIterator, PyList, PyMemoryView, PySlice};
use std::ffi::c_int;
use std::ops::Range;
use std::sync::Arc;

/// Some samples in one contiguous buffer that begins at a multiple of 64 bytes.
///
/// The buffer protocol and DLPack show the whole buffer; each sample begins at a multiple of 64, and
/// what lies between samples is zero. Its items are views of the samples; its length counts them.
#[pyclass(frozen, weakref, sequence, module = "forebay")]
pub(crate) struct Batch {
    contents: Arc<Contents>,
    shown: Exported,
    collate: loader::Collate,
}

/// What every view of a batch shares.
pub(crate) struct Contents {
    batch: Born<loader::Batch>,
    /// None of a listing that goes on while it is loaded.
    dataset: Option<Arc<loader::Dataset>>,
}

impl Contents {
    fn dataset(&self, py: Python<'_>) -> PyResult<&loader::Dataset> {
        self.dataset.as_deref().ok_or_else(|| {
            let text =
                "samples that are loaded with loading_mode='streaming' are whole files: there is no format";
            errors::raise(py, &Error::new(Kind::Unsupported, Operation::Configure, text))
        })
    }
}

impl Batch {
    pub(crate) fn new(
        batch: loader::Batch,
        dataset: Option<Arc<loader::Dataset>>,
        collate: loader::Collate,
    ) -> Self {
        let shown = Exported::memory(batch.as_ptr(), batch.as_slice().len());
        Batch { contents: Arc::new(Contents { batch: Born::here(batch), dataset }), shown, collate }
    }

    pub(crate) fn inner(&self) -> &loader::Batch {
        self.contents.batch.peek()
    }

    /// How the samples are handed to an array library.
    pub(crate) fn collate(&self) -> loader::Collate {
        self.collate
    }

    /// The id of sample `i`, its bytes, and where they begin.
    fn numbered(&self, i: usize) -> PyResult<(u64, &[u8], usize)> {
        let batch = self.inner();
        match batch.ids().get(i) {
            Some(&id) => Ok((id, batch.sample(i), batch.span(i).start)),
            None => Err(PyIndexError::new_err(format!("sample {i} of a batch of {}", batch.len()))),
        }
    }

    /// Where each sample is in the buffer.
    pub(crate) fn spans(&self) -> impl ExactSizeIterator<Item = Range<usize>> + Clone {
        (0..self.inner().len()).map(|i| self.inner().span(i))
    }
}

fn sample<'py>(whole: &Bound<'py, PyMemoryView>, span: Range<usize>) -> PyResult<Bound<'py, PyAny>> {
    let slice = PySlice::new(whole.py(), span.start as isize, span.end as isize, 1);
    whole.get_item(slice)
}

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.inner().len()
    }

    fn __getitem__<'py>(slf: &Bound<'py, Self>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let batch = slf.get().inner();
        let whole = PyMemoryView::from(slf.as_any())?;
        if let Ok(slice) = index.cast::<PySlice>() {
            let chosen = slice.indices(batch.len() as isize)?;
            let samples = PyList::empty(slf.py());
            for k in 0..chosen.slicelength as isize {
                samples.append(sample(&whole, batch.span((chosen.start + k * chosen.step) as usize))?)?;
            }
            return Ok(samples.into_any());
        }
        let wanted = index.extract::<isize>()?;
        let from_start = if wanted < 0 { wanted + batch.len() as isize } else { wanted };
        match usize::try_from(from_start).ok().filter(|&i| i < batch.len()) {
            Some(i) => sample(&whole, batch.span(i)),
            None => {
                let text = format!("sample {wanted} of a batch of {}", batch.len());
                Err(PyIndexError::new_err(text))
            }
        }
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyIterator>> {
        let whole = PyMemoryView::from(slf.as_any())?;
        let samples = slf.get().spans().map(|span| sample(&whole, span)).collect::<PyResult<Vec<_>>>()?;
        PyList::new(slf.py(), samples)?.try_iter()
    }

    /// The numbers of the samples in the dataset (with loading_mode="streaming", in the listing), as a
    /// memoryview of 64-bit integers.
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        column(py, self.inner().ids().iter().map(|&id| id as i64))
    }

    /// Where each sample begins in the buffer, as a memoryview of 64-bit integers.
    #[getter]
    fn offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        column(py, self.spans().map(|span| span.start as i64))
    }

    /// How many bytes each sample has, as a memoryview of 64-bit integers.
    #[getter]
    fn lengths<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        column(py, self.spans().map(|span| span.len() as i64))
    }

    /// Where each sample was read from.
    #[getter]
    fn uris(&self) -> Vec<String> {
        let batch = self.inner();
        let uri = |(i, &id): (usize, &u64)| {
            let known = self.contents.dataset.as_ref().and_then(|dataset| dataset.location(id));
            known.or_else(|| batch.location(i).cloned()).map(|at| at.to_string()).unwrap_or_default()
        };
        batch.ids().iter().enumerate().map(uri).collect()
    }

    /// The files that sample `i` of a WebDataset is made of: a dict from extension to a view of the content,
    /// and `__key__` to the key. For format="webdataset" without member.
    fn members<'py>(slf: &Bound<'py, Self>, i: usize) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let (id, bytes, start) = slf.get().numbered(i)?;
        let members = slf.get().contents.dataset(py)?.members(id, bytes);
        let members = members.map_err(|error| errors::raise(py, &error))?;
        let whole = PyMemoryView::from(slf.as_any())?;
        let found = PyDict::new(py);
        for member in members {
            found.set_item("__key__", String::from_utf8_lossy(&member.key))?;
            let span = start + member.range.start..start + member.range.end;
            found.set_item(member.extension, sample(&whole, span)?)?;
        }
        Ok(found)
    }

    /// Sample `i`, a row group, as the bytes of a Parquet file of its own. For format="parquet".
    fn row_group_file<'py>(&self, py: Python<'py>, i: usize) -> PyResult<Bound<'py, PyBytes>> {
        let (id, bytes, _) = self.numbered(i)?;
        let dataset = self.contents.dataset(py)?;
        let file = py.detach(|| dataset.row_group_file(id, bytes));
        Ok(PyBytes::new(py, &file.map_err(|error| errors::raise(py, &error))?))
    }

    /// Bytes of the whole buffer, what lies between samples included.
    #[getter]
    fn nbytes(&self) -> usize {
        self.shown.len()
    }

    /// The epoch it belongs to, from 0.
    #[getter]
    fn epoch(&self) -> u64 {
        self.inner().epoch()
    }

    /// Which batch it is of those since its epoch was begun here, from 0.
    #[getter]
    fn index(&self) -> u64 {
        self.inner().index()
    }

    /// The samples as NumPy arrays of uint8 that share the batch's memory.
    ///
    /// One array of shape (samples, bytes) if all samples have the same size, else a list of arrays; or
    /// what the option `collate` says.
    fn to_numpy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        arrays::of(slf, Library::Numpy)
    }

    /// The samples as PyTorch tensors of uint8 that share the batch's memory.
    ///
    /// One tensor of shape (samples, bytes) if all samples have the same size, else a list of tensors; or
    /// what the option `collate` says.
    fn to_torch<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        arrays::of(slf, Library::Torch)
    }

    /// The whole buffer as a DLPack capsule.
    #[pyo3(signature = (*, stream = None, max_version = None, dl_device = None, copy = None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        if let Some(stream) = stream {
            let text = format!("a batch lies in CPU memory, where stream must be None, is {stream}");
            return Err(PyBufferError::new_err(text));
        }
        if let Some(device) = dl_device.filter(|&device| device != dlpack::CPU) {
            let text = format!("a batch lies on device {:?} (CPU), not on {device:?}", dlpack::CPU);
            return Err(PyBufferError::new_err(text));
        }
        let versioned = max_version.is_some_and(|(major, _)| major >= 1);
        let wanted = Wanted { versioned, copy: copy.unwrap_or(false) };
        dlpack::capsule(py, &self.contents, &self.shown, &wanted)
    }

    /// Where the memory is: the CPU.
    fn __dlpack_device__(&self) -> (i32, i32) {
        dlpack::CPU
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let shown = &slf.get().shown;
        // SAFETY: `view` is passed on; the batch is finished, so Rust leaves its bytes alone, and `slf`
        // holds it.
        unsafe { shown.fill(slf.clone().into_any(), view, flags) }
    }

    fn __repr__(&self) -> String {
        let batch = self.inner();
        let (epoch, index) = (batch.epoch(), batch.index());
        format!("Batch(epoch={epoch}, index={index}, samples={}, nbytes={})", batch.len(), self.shown.len())
    }
}
