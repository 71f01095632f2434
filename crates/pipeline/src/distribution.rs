//! Durations of one kind, recorded as they happen: a count, a sum and a histogram.

use forebay_metrics::{Digits, Histogram, HistogramSummary, Layout};

/// Durations in nanoseconds, from 0 to an hour; longer ones are recorded as an hour, and counted
/// as clamped.
#[derive(Debug)]
pub(crate) struct Distribution(Histogram);

/// Layout of every distribution of a pipeline, so that all of them merge.
pub(crate) fn layout() -> Layout {
    const HOUR_NS: u64 = 3_600_000_000_000;
    // Three digits, as for latencies elsewhere. From 0, because not having waited is the common
    // case and is no clamped value.
    Layout::new(0, HOUR_NS, Digits::THREE).expect("0 to an hour is a range")
}

impl Distribution {
    pub(crate) fn new() -> Self {
        Self(Histogram::new(layout()))
    }

    pub(crate) fn record(&self, nanos: u64) {
        self.0.record(nanos);
    }

    pub(crate) fn read(&self) -> HistogramSummary {
        self.0.summary()
    }
}
