//! The JSON form of a [`HistogramSummary`], and the checks on what is read back.

use serde::{Deserialize, Serialize};

use crate::layout::{Digits, Layout, LayoutError};
use crate::summary::HistogramSummary;

/// The JSON form. Everything but `recorded`, `sum` and `clamped` follows from those, and is written for
/// readers that want a figure and not arithmetic. `min` and `max` are kept exactly.
#[derive(Serialize, Deserialize)]
pub(crate) struct Wire {
    n: u64,
    min: Option<u64>,
    mean: Option<f64>,
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
    p99_9: Option<u64>,
    p99_99: Option<u64>,
    max: Option<u64>,
    sum: u64,
    clamped: u64,
    recorded: Recorded,
}

#[derive(Serialize, Deserialize)]
struct Recorded {
    lowest: u64,
    highest: u64,
    digits: Digits,
    buckets: Vec<(u64, u64)>,
}

impl From<HistogramSummary> for Wire {
    fn from(summary: HistogramSummary) -> Wire {
        Wire {
            n: summary.n(),
            min: summary.min(),
            mean: summary.mean(),
            p50: summary.percentile(0.5),
            p90: summary.percentile(0.9),
            p99: summary.percentile(0.99),
            p99_9: summary.percentile(0.999),
            p99_99: summary.percentile(0.9999),
            max: summary.max(),
            sum: summary.sum(),
            clamped: summary.clamped(),
            recorded: Recorded {
                lowest: summary.layout().lowest(),
                highest: summary.layout().highest(),
                digits: summary.layout().digits(),
                buckets: summary.buckets().to_vec(),
            },
        }
    }
}

/// Why a written summary cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("bucket {0}: not the lowest value of a bucket in range, above the one before it")]
    Bucket(u64),
    #[error("bucket {0}: its count is 0 or makes the total overflow")]
    Count(u64),
    #[error("n is {n}, but the buckets hold {held}")]
    Total { n: u64, held: u64 },
    #[error("{name} is {value:?}, which is not in the {place} bucket")]
    Extreme { name: &'static str, value: Option<u64>, place: &'static str },
    #[error("{clamped} values clamped out of {n}")]
    Clamped { clamped: u64, n: u64 },
}

impl TryFrom<Wire> for HistogramSummary {
    type Error = WireError;

    fn try_from(wire: Wire) -> Result<HistogramSummary, WireError> {
        let recorded = wire.recorded;
        let layout = Layout::new(recorded.lowest, recorded.highest, recorded.digits)?;
        let mut held = 0u64;
        let mut above = None;
        for &(low, count) in &recorded.buckets {
            let in_range = low <= layout.highest();
            if !in_range || above >= Some(low) || layout.low_of(layout.index_of(low)) != low {
                return Err(WireError::Bucket(low));
            }
            above = Some(low);
            held = match held.checked_add(count) {
                Some(sum) if count > 0 => sum,
                _ => return Err(WireError::Count(low)),
            };
        }
        if held != wire.n {
            return Err(WireError::Total { n: wire.n, held });
        }
        if wire.clamped > wire.n {
            return Err(WireError::Clamped { clamped: wire.clamped, n: wire.n });
        }
        let summary = HistogramSummary::from_parts(
            layout,
            recorded.buckets,
            wire.sum,
            wire.min.unwrap_or(u64::MAX),
            wire.max.unwrap_or(0),
            wire.clamped,
        );
        for (name, value, kept, place) in
            [("min", wire.min, summary.min(), "first"), ("max", wire.max, summary.max(), "last")]
        {
            if value != kept {
                return Err(WireError::Extreme { name, value, place });
            }
        }
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Histogram;

    #[test]
    fn a_written_summary_is_checked_when_read() {
        let histogram = Histogram::new(Layout::request_bytes(Digits::THREE));
        histogram.record_all([0, 5, 70_000]);
        let good = serde_json::to_value(histogram.summary()).unwrap();
        let change = |path: &str, to: serde_json::Value| {
            let mut bad = good.clone();
            *bad.pointer_mut(path).expect("the path exists") = to;
            serde_json::from_value::<HistogramSummary>(bad).unwrap_err().to_string()
        };
        assert!(change("/n", 4.into()).contains("n is 4, but the buckets hold 3"));
        assert!(change("/recorded/buckets/1/0", 0.into()).contains("bucket 0"));
        assert!(change("/recorded/buckets/2/0", 70_001.into()).contains("bucket 70001"));
        assert!(change("/recorded/buckets/2/0", (1u64 << 50).into()).contains("bucket 1125899906842624"));
        assert!(change("/recorded/buckets/2/1", 0.into()).contains("bucket 69952: its count is 0"));
        assert!(change("/max", 80_000.into()).contains("max is Some(80000)"));
        assert!(change("/clamped", 4.into()).contains("4 values clamped out of 3"));
        assert!(change("/recorded/digits", 9.into()).contains("9 significant digits"));
    }
}
