//! Reads one batch: the requests of its samples, one submission, and what came of it.

use crate::{Batch, Dataset};
use forebay_io::{Error, GetRequest, Lease, ReadOptions, Result, Store};
use std::sync::Arc;

/// Everything that reading any batch of an epoch needs.
pub(crate) struct Reader {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) dataset: Arc<Dataset>,
    pub(crate) options: ReadOptions,
    pub(crate) epoch: u64,
}

impl Reader {
    /// Reads the samples `ids` into `lease`, which has a slot for each.
    ///
    /// # Errors
    /// The first failure in the order of the batch, with how many others failed beside it.
    pub(crate) async fn read(
        self: Arc<Self>,
        index: u64,
        ids: Box<[u64]>,
        lease: Arc<Lease>,
    ) -> Result<Batch> {
        let request = |(slot, &id): (usize, &u64)| self.dataset.request(id, slot as u32);
        let requests: Arc<[GetRequest]> = ids.iter().enumerate().map(request).collect::<Result<_>>()?;
        let results = self.store.get_many(requests, self.options.clone(), lease.clone()).await;
        let failed = results.iter().filter(|result| result.is_err()).count();
        if let Some(error) = results.into_iter().find_map(Result::err) {
            return Err(explain(error, failed, ids.len()));
        }
        let batch = Batch::new(lease.finish()?, ids, self.epoch, index)?;
        if self.dataset.checks() {
            batch
                .ids()
                .iter()
                .enumerate()
                .try_for_each(|(i, &id)| self.dataset.check(id, batch.sample(i)))?;
        }
        Ok(batch)
    }
}

fn explain(error: Error, failed: usize, of: usize) -> Error {
    match failed {
        1 => error,
        _ => error.context(format_args!("{failed} of the {of} samples of a batch failed; the first")),
    }
}
