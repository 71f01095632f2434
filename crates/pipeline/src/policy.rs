//! The choices a pipeline is built from: how many at once, in which order, what a failure does.

use std::num::NonZeroUsize;

/// How many items a stage works on at once; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Concurrency(NonZeroUsize);

impl Concurrency {
    /// One item at a time.
    pub const ONE: Self = Self(NonZeroUsize::MIN);

    /// `n` items at once.
    ///
    /// # Errors
    /// [`ZeroConcurrency`] when `n` is 0: such a stage would never take an item.
    pub fn new(n: usize) -> Result<Self, ZeroConcurrency> {
        NonZeroUsize::new(n).map(Self).ok_or(ZeroConcurrency)
    }

    /// The number.
    pub fn get(self) -> usize {
        self.0.get()
    }
}

impl From<NonZeroUsize> for Concurrency {
    fn from(n: NonZeroUsize) -> Self {
        Self(n)
    }
}

/// A stage was asked to work on no item at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a concurrency of 0 would never take an item: the least is 1")]
pub struct ZeroConcurrency;

/// The order in which a stage hands on what it finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// In the order of the source. A late item holds back those behind it, which wait inside the
    /// look-ahead of the stage.
    Delivery,
    /// As items finish. Nothing is held back, and two runs may differ.
    Completion,
    /// The first so many in the order of the source, and behind them the others as they finish.
    CompletionAfter(u64),
}

/// What becomes of a last batch that did not fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remainder {
    /// It is delivered, shorter than the others.
    Keep,
    /// It is dropped.
    Drop,
}

/// What happens after a failed item has been delivered as an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// The pipeline ends: work in flight behind the failure is dropped, and so is a batch that was
    /// still filling.
    #[default]
    Stop,
    /// The pipeline goes on with the next item. A failed item is missing from its batch, which
    /// fills with those after it; the error is delivered before that batch.
    Deliver,
}
