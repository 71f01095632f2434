//! What a progress callback is told.

use forebay_loader as loader;
use pyo3::prelude::*;

/// How far an epoch is, after a batch was delivered.
///
/// epoch: from 0.
/// batches: delivered since this epoch was begun here; batches_total: to be delivered in all, None while a
/// listing that is loaded from has not ended.
/// samples, bytes: delivered; bytes counts samples, not what lies between them.
/// elapsed: seconds since the epoch was begun here.
#[pyclass(frozen, module = "forebay")]
pub(crate) struct Progress(pub(crate) loader::Progress);

#[pymethods]
impl Progress {
    #[getter]
    fn epoch(&self) -> u64 {
        self.0.epoch
    }

    #[getter]
    fn batches(&self) -> u64 {
        self.0.batches
    }

    #[getter]
    fn batches_total(&self) -> Option<u64> {
        self.0.batches_total
    }

    #[getter]
    fn samples(&self) -> u64 {
        self.0.samples
    }

    #[getter]
    fn bytes(&self) -> u64 {
        self.0.bytes
    }

    #[getter]
    fn elapsed(&self) -> f64 {
        self.0.elapsed.as_secs_f64()
    }

    fn __repr__(&self) -> String {
        let loader::Progress { epoch, batches, batches_total, samples, bytes, elapsed } = self.0;
        let batches_total = batches_total.map_or("None".to_owned(), |total| total.to_string());
        format!(
            "Progress(epoch={epoch}, batches={batches}, batches_total={batches_total}, samples={samples}, \
             bytes={bytes}, elapsed={:.3})",
            elapsed.as_secs_f64()
        )
    }
}
