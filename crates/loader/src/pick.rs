//! Samples by id, outside of any epoch: for whoever has an order of their own.

use crate::{Batch, Loader};
use forebay_io::{Error, Result};

impl Loader {
    /// Reads these samples, in this order, as one batch. An id may come more than once. No epoch is
    /// disturbed, and no state remembers it. Its bytes count against a `max_bytes_in_flight` of their own:
    /// an epoch whose batches wait for the caller of this could otherwise keep it waiting for ever. Under a
    /// [`MemoryCap`](forebay_io::MemoryCap) they have a minimum of their own there, from the first call on.
    /// `on_error` and `timeout` are an epoch's: here a sample that cannot be had is an error, and a `deadline` is
    /// the limit.
    ///
    /// # Errors
    /// `InvalidRange` for an id that the dataset does not have; else as a batch of an epoch.
    pub async fn read(&self, ids: &[u64]) -> Result<Batch> {
        let Some(dataset) = self.dataset() else {
            let context = "loading_mode=streaming keeps no list of samples that an id could be looked up in; use \
                           ordered or completion";
            return Err(Error::new(forebay_io::Kind::Unsupported, forebay_io::Operation::Get, context)
                .at(self.source().root()));
        };
        let total = dataset.len();
        if let Some(beyond) = ids.iter().find(|id| **id >= total) {
            return Err(Error::new(
                forebay_io::Kind::InvalidRange,
                forebay_io::Operation::Get,
                format!("sample {beyond} of a dataset of {total}"),
            )
            .at(dataset.root()));
        }
        let (reader, lease) = self.picking(dataset, ids.len() as u32)?;
        let batch = reader.read(0, ids.into(), lease).await?;
        batch.delivered();
        Ok(batch)
    }
}
