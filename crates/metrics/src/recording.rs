//! How a histogram is recorded: where values fall, which part of them is kept, and how many wait before they
//! are put into buckets.

use std::fmt;

use crate::layout::{Digits, Layout};

/// What a [`MetricsCollector`](crate::MetricsCollector) or
/// [`PerformanceHistogram`](crate::PerformanceHistogram) keeps of what it is told. Counters are exact whatever
/// is said here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordingOptions {
    /// Significant digits of percentiles; see [`Digits`] for what they cost.
    pub digits: Digits,
    /// The part of the values that goes into histograms, above 0 up to 1. A summary says how many there were
    /// beside how many it is of, and between which values its percentiles lie. Collectors whose histograms are
    /// to be merged want the same rate: of two, each value counts alike.
    pub sampling_rate: f64,
    /// Values that a thread keeps in a list before it puts them into buckets, 1 to
    /// [`RecordingOptions::MAX_BATCH_SIZE`] for each histogram. With 1 each goes there at once, which is the
    /// least work in all. More makes the single recording shorter and the work come in bursts. A reading has
    /// what waits in lists in it too.
    pub batch_size: u32,
}

impl RecordingOptions {
    /// More values than this are 32 KiB a list, and a burst of 10 us.
    pub const MAX_BATCH_SIZE: u32 = 4096;

    /// Everything, at once, with so many digits.
    pub fn new(digits: Digits) -> RecordingOptions {
        RecordingOptions { digits, sampling_rate: 1.0, batch_size: 1 }
    }

    pub(crate) fn plan(&self, layout: fn(Digits) -> Layout) -> Result<Plan, RecordingError> {
        let RecordingOptions { digits, sampling_rate, batch_size } = *self;
        if !(sampling_rate > 0.0 && sampling_rate <= 1.0) {
            return Err(RecordingError::SamplingRate(sampling_rate));
        }
        if !(1..=Self::MAX_BATCH_SIZE).contains(&batch_size) {
            return Err(RecordingError::BatchSize(batch_size));
        }
        // An f64 of 2^64 becomes the largest u64.
        let threshold = (sampling_rate * 2f64.powi(64)) as u64;
        Ok(Plan {
            layout: layout(digits),
            threshold,
            batch: if batch_size == 1 { 0 } else { batch_size as usize },
        })
    }
}

impl Default for RecordingOptions {
    /// Three digits.
    fn default() -> RecordingOptions {
        RecordingOptions::new(Digits::THREE)
    }
}

/// Options that cannot be honoured.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum RecordingError {
    /// Not above 0 and up to 1.
    #[error("sampling_rate is {0}: it must be above 0 and at most 1")]
    SamplingRate(f64),
    /// Not from 1 to [`RecordingOptions::MAX_BATCH_SIZE`].
    #[error("batch_size is {0}: it must be from 1 to 4096")]
    BatchSize(u32),
}

/// The same, worked out.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) layout: Layout,
    /// A value is kept if a number drawn from all of u64 is not above this.
    pub(crate) threshold: u64,
    /// Values in a list; 0 for none.
    pub(crate) batch: usize,
}

impl Plan {
    /// Everything, at once.
    pub(crate) fn whole(layout: Layout) -> Plan {
        Plan { layout, threshold: u64::MAX, batch: 0 }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layout.fmt(f)
    }
}
