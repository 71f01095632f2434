//! A count that threads add to without waiting for each other.

use crate::sync::{AtomicU64, Ordering};

/// Who else may be writing to the shard at hand.
#[derive(Clone, Copy)]
pub(crate) enum Writer {
    /// No other thread: a load and a store do.
    Sole,
    /// Any number of others: additions must be atomic.
    Shared,
}

/// A count that one or several threads add to and any thread may read.
#[derive(Debug)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    pub(crate) fn new(value: u64) -> Tally {
        Tally(AtomicU64::new(value))
    }

    /// Wait-free in both forms.
    #[inline]
    pub(crate) fn add(&self, n: u64, writer: Writer) {
        match writer {
            Writer::Sole => {
                let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
                self.0.store(sum, Ordering::Relaxed);
            }
            Writer::Shared => {
                self.0.fetch_add(n, Ordering::Relaxed);
            }
        }
    }

    /// Makes this the smaller of itself and `value`. Writes only where that changes something, which
    /// soon is almost never.
    #[inline]
    pub(crate) fn lower_to(&self, value: u64) {
        if value < self.0.load(Ordering::Relaxed) {
            self.0.fetch_min(value, Ordering::Relaxed);
        }
    }

    /// Makes this the larger of itself and `value`; see [`Tally::lower_to`].
    #[inline]
    pub(crate) fn raise_to(&self, value: u64) {
        if value > self.0.load(Ordering::Relaxed) {
            self.0.fetch_max(value, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
