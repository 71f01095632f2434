//! How far an epoch is, for who shows it.

use std::time::Duration;

/// A reading after a batch was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Batches delivered since this epoch was started here.
    pub batches: u64,
    /// Batches that this start of the epoch will deliver in all; none while a listing that is loaded from
    /// has not ended.
    pub batches_total: Option<u64>,
    /// Samples delivered.
    pub samples: u64,
    /// Bytes of samples delivered, padding not counted.
    pub bytes: u64,
    /// Since the epoch was started here.
    pub elapsed: Duration,
}
