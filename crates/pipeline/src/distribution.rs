//! Durations of one kind, recorded as they happen: a count, a sum and a histogram.

use forebay_metrics::{Digits, HistogramSummary, Layout, PerformanceHistogram};

/// Durations in nanoseconds, up to an hour; a longer one is recorded as an hour, and counted as
/// clamped.
#[derive(Debug)]
pub(crate) struct Distribution(PerformanceHistogram);

impl Distribution {
    /// Of times that work took.
    pub(crate) fn of_service() -> Self {
        Self(PerformanceHistogram::new(Layout::latency(Digits::THREE)))
    }

    /// Of waits, which may be 0.
    pub(crate) fn of_waits() -> Self {
        Self(PerformanceHistogram::new(Layout::wait(Digits::THREE)))
    }

    pub(crate) fn record(&self, nanos: u64) {
        self.0.record(nanos.max(self.0.layout().lowest()));
    }

    pub(crate) fn read(&self) -> HistogramSummary {
        self.0.summary()
    }
}
