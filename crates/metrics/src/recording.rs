//! How a histogram is recorded: where values fall, which part of them is kept, and how many wait before they
//! are put into buckets.

use std::fmt;

use crate::layout::{Digits, Layout};
use crate::preset::Preset;

/// What a [`MetricsCollector`](crate::MetricsCollector) or
/// [`PerformanceHistogram`](crate::PerformanceHistogram) keeps of what it is told. Counters are exact whatever
/// is said here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordingOptions {
    /// Significant digits of percentiles; see [`Digits`] for what they cost.
    pub digits: Digits,
    /// The part of the values that goes into histograms, above 0 up to 1. A summary says how many there were
    /// beside how many it is of, and between which values its percentiles lie. Only histograms of one rate are
    /// merged: of two, a value would stand for more than another.
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

    /// What somebody asked for in words: a preset, and whatever is said in place of what it stands for.
    ///
    /// # Errors
    /// A preset that is none, and digits, a rate or a batch size that cannot be.
    pub fn asked(
        preset: Option<&str>,
        significant_digits: Option<u8>,
        sampling_rate: Option<f64>,
        batch_size: Option<u32>,
    ) -> Result<RecordingOptions, RecordingError> {
        let preset = preset.map_or(Ok(Preset::Training), str::parse)?;
        let whole = preset.options();
        let options = RecordingOptions {
            digits: match significant_digits {
                None => whole.digits,
                Some(digits) => Digits::new(digits).map_err(|_| RecordingError::Digits(digits))?,
            },
            sampling_rate: sampling_rate.unwrap_or(whole.sampling_rate),
            batch_size: batch_size.unwrap_or(whole.batch_size),
        };
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), RecordingError> {
        let RecordingOptions { sampling_rate, batch_size, .. } = *self;
        if !(sampling_rate > 0.0 && sampling_rate <= 1.0) {
            return Err(RecordingError::SamplingRate(sampling_rate));
        }
        if !(1..=Self::MAX_BATCH_SIZE).contains(&batch_size) {
            return Err(RecordingError::BatchSize(batch_size));
        }
        Ok(())
    }

    pub(crate) fn plan(&self, layout: fn(Digits) -> Layout) -> Result<Plan, RecordingError> {
        self.check()?;
        let RecordingOptions { digits, sampling_rate, batch_size } = *self;
        // An f64 of 2^64 becomes the largest u64.
        let threshold = (sampling_rate * 2f64.powi(64)) as u64;
        Ok(Plan {
            layout: layout(digits),
            sampling_rate,
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
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecordingError {
    /// Not the name of a [`Preset`].
    #[error("preset {0:?} is none: training, inference and high_frequency are")]
    Preset(String),
    /// Not from 1 to 5.
    #[error("significant_digits is {0}: it must be from 1 to 5")]
    Digits(u8),
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
    pub(crate) sampling_rate: f64,
    /// A value is kept if a number drawn from all of u64 is not above this.
    pub(crate) threshold: u64,
    /// Values in a list; 0 for none.
    pub(crate) batch: usize,
}

impl Plan {
    /// Everything, at once.
    pub(crate) fn whole(layout: Layout) -> Plan {
        Plan { layout, sampling_rate: 1.0, threshold: u64::MAX, batch: 0 }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layout.fmt(f)
    }
}
