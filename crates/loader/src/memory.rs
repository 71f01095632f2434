//! The memory that a loader reads into: its own, or a part of what loaders share.

use crate::{Dataset, LoaderOptions, Source};
use forebay_io::{Budget, MemoryCap, Pool, Result, SLOT_ALIGN};
use std::sync::{Mutex, PoisonError};

/// See the module's words.
pub(crate) struct Memory {
    cap: Option<MemoryCap>,
    /// The most that one batch needs at once.
    largest: u64,
    /// The most that all need together.
    most: u64,
    pool: Pool,
    /// For samples that are read by id: made when there are some, because they wait for nobody else.
    picks: Mutex<Option<Pool>>,
}

impl Memory {
    /// Memory of its own, under `max_bytes_in_flight`.
    ///
    /// # Errors
    /// As [`Budget::new`].
    pub(crate) fn own(options: &LoaderOptions) -> Result<Self> {
        let most = options.max_bytes_in_flight;
        let pool = Pool::new(Budget::new(most)?);
        Ok(Memory { cap: None, largest: most, most, pool, picks: Mutex::default() })
    }

    /// Memory under `cap`, at most `max_bytes_in_flight` of it, where the largest batch that `source` has is
    /// guaranteed.
    ///
    /// # Errors
    /// As [`Budget::under`].
    pub(crate) fn under(cap: &MemoryCap, source: &Source, options: &LoaderOptions) -> Result<Self> {
        let most = options.max_bytes_in_flight.min(cap.bytes());
        let largest = largest_batch(source, options.batch_size).map_or(most, |bytes| bytes.clamp(1, most));
        let pool = Pool::new(Budget::under(cap, largest, most)?);
        Ok(Memory { cap: Some(cap.clone()), largest, most, pool, picks: Mutex::default() })
    }

    /// What epochs are charged to.
    pub(crate) fn budget(&self) -> &Budget {
        self.pool.budget()
    }

    /// The memory of an epoch: kept between epochs, or given back with the epoch's last batch.
    pub(crate) fn of_epoch(&self, kept: bool) -> Pool {
        if kept { self.pool.clone() } else { Pool::new(self.budget().clone()) }
    }

    /// The memory of samples that are read by id. An epoch has no part in it: it may wait for the one who asks.
    ///
    /// # Errors
    /// As [`Budget::under`], at the first call.
    pub(crate) fn of_picks(&self) -> Result<Pool> {
        let mut picks = self.picks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = &*picks {
            return Ok(pool.clone());
        }
        let budget = match &self.cap {
            None => Budget::new(self.most),
            Some(cap) => Budget::under(cap, self.largest, self.most).map_err(|error| {
                error.context("memory for samples that are read by id, beside that of epochs")
            }),
        };
        Ok(picks.insert(Pool::new(budget?)).clone())
    }

    /// Bytes of memory that are kept now, by all where it is shared.
    pub(crate) fn committed(&self) -> u64 {
        if self.cap.is_some() {
            return self.pool.committed();
        }
        let picks = self.picks.lock().unwrap_or_else(PoisonError::into_inner);
        self.pool.committed() + picks.as_ref().map_or(0, Pool::committed)
    }
}

/// The most that one batch takes, padding included; none where nobody knows how long samples are. (Spare bytes that
/// reads past the page cache ask for beside it are done without where there are none.)
fn largest_batch(source: &Source, batch_size: usize) -> Option<u64> {
    let Source::Dataset(dataset) = source else { return None };
    let sample = Dataset::largest_sample(dataset)?.checked_next_multiple_of(SLOT_ALIGN as u64)?;
    sample.checked_mul(dataset.len().min(batch_size as u64))
}
