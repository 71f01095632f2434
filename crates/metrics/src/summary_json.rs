//! The JSON form of a [`HistogramSummary`], and the checks on what is read back.

use serde::{Deserialize, Serialize, Serializer};

use crate::layout::{Digits, Layout, LayoutError};
use crate::names::Unit;
use crate::summary::HistogramSummary;

/// The JSON form. Figures are in microseconds for what was recorded in nanoseconds, else in the unit recorded.
/// All follow from `recorded`, and are written for readers that want a figure and not arithmetic.
#[derive(Serialize, Deserialize)]
pub(crate) struct Wire {
    /// Values recorded.
    n: u64,
    /// Values there were: more than `n` where only a part was recorded (`sampling_rate`).
    of: u64,
    #[serde(skip_deserializing)]
    min: Option<Figure>,
    #[serde(skip_deserializing)]
    mean: Option<Figure>,
    #[serde(skip_deserializing)]
    p50: Option<Figure>,
    #[serde(skip_deserializing)]
    p90: Option<Figure>,
    #[serde(skip_deserializing)]
    p99: Option<Figure>,
    #[serde(skip_deserializing)]
    p99_9: Option<Figure>,
    #[serde(skip_deserializing)]
    p99_99: Option<Figure>,
    #[serde(skip_deserializing)]
    max: Option<Figure>,
    #[serde(skip_deserializing)]
    sum: Option<Figure>,
    clamped: u64,
    /// Between which two values each percentile lies; only where a part was recorded.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    confidence_95: Option<Confidence>,
    recorded: Recorded,
}

/// Null where too few values lie beyond the percentile to bound it.
#[derive(Serialize)]
struct Confidence {
    p50: Option<(Figure, Figure)>,
    p90: Option<(Figure, Figure)>,
    p99: Option<(Figure, Figure)>,
    p99_9: Option<(Figure, Figure)>,
    p99_99: Option<(Figure, Figure)>,
}

/// A number that is written as an integer where it is one.
#[derive(Clone, Copy)]
struct Figure(f64);

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Above, an f64 no longer tells neighbours apart.
        if self.0.fract() == 0.0 && self.0.abs() < (1u64 << 53) as f64 {
            to.serialize_i64(self.0 as i64)
        } else {
            to.serialize_f64(self.0)
        }
    }
}

/// Exactly what was recorded, in the unit in which it was.
#[derive(Serialize, Deserialize)]
struct Recorded {
    unit: Unit,
    lowest: u64,
    highest: u64,
    digits: Digits,
    /// Only where a part was recorded.
    #[serde(default = "all", skip_serializing_if = "is_all")]
    sampling_rate: f64,
    min: Option<u64>,
    max: Option<u64>,
    sum: u64,
    buckets: Vec<(u64, u64)>,
}

fn all() -> f64 {
    1.0
}

fn is_all(rate: &f64) -> bool {
    *rate == 1.0
}

impl From<HistogramSummary> for Wire {
    fn from(summary: HistogramSummary) -> Wire {
        let layout = *summary.layout();
        let scale = if layout.unit() == Unit::Nanoseconds { 1e3 } else { 1.0 };
        let figure = |value: f64| Figure(value / scale);
        let whole = |value: u64| figure(value as f64);
        let percentile = |fraction| summary.percentile(fraction).map(whole);
        let between = |fraction| {
            let (low, high) = summary.percentile_interval(fraction)?;
            Some((whole(low), whole(high)))
        };
        Wire {
            n: summary.n(),
            of: summary.offered(),
            min: summary.min().map(whole),
            mean: summary.mean().map(figure),
            p50: percentile(0.5),
            p90: percentile(0.9),
            p99: percentile(0.99),
            p99_9: percentile(0.999),
            p99_99: percentile(0.9999),
            max: summary.max().map(whole),
            sum: Some(whole(summary.sum())),
            clamped: summary.clamped(),
            confidence_95: (summary.offered() > summary.n()).then(|| Confidence {
                p50: between(0.5),
                p90: between(0.9),
                p99: between(0.99),
                p99_9: between(0.999),
                p99_99: between(0.9999),
            }),
            recorded: Recorded {
                unit: layout.unit(),
                lowest: layout.lowest(),
                highest: layout.highest(),
                digits: layout.digits(),
                sampling_rate: summary.sampling_rate(),
                min: summary.min(),
                max: summary.max(),
                sum: summary.sum(),
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
    #[error("{clamped} values clamped out of {of}")]
    Clamped { clamped: u64, of: u64 },
    #[error("sampling_rate is {0}: it must be above 0 and at most 1")]
    SamplingRate(f64),
    #[error("{n} values recorded out of {of}")]
    Offered { n: u64, of: u64 },
}

impl TryFrom<Wire> for HistogramSummary {
    type Error = WireError;

    fn try_from(wire: Wire) -> Result<HistogramSummary, WireError> {
        let recorded = wire.recorded;
        let layout = Layout::new(recorded.unit, recorded.lowest, recorded.highest, recorded.digits)?;
        if !(recorded.sampling_rate > 0.0 && recorded.sampling_rate <= 1.0) {
            return Err(WireError::SamplingRate(recorded.sampling_rate));
        }
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
        if wire.n > wire.of {
            return Err(WireError::Offered { n: wire.n, of: wire.of });
        }
        if wire.clamped > wire.of {
            return Err(WireError::Clamped { clamped: wire.clamped, of: wire.of });
        }
        let summary = HistogramSummary::from_parts(
            layout,
            recorded.buckets,
            recorded.sum,
            recorded.min.unwrap_or(u64::MAX),
            recorded.max.unwrap_or(0),
            wire.clamped,
        )
        .sampled(recorded.sampling_rate, wire.of - wire.n);
        for (name, value, kept, place) in
            [("min", recorded.min, summary.min(), "first"), ("max", recorded.max, summary.max(), "last")]
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
    use crate::PerformanceHistogram;

    #[test]
    fn a_written_summary_is_checked_when_read() {
        let histogram = PerformanceHistogram::new(Layout::request_bytes(Digits::THREE));
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
        assert!(change("/recorded/max", 80_000.into()).contains("max is Some(80000)"));
        assert!(change("/of", 2.into()).contains("3 values recorded out of 2"));
        assert!(change("/recorded/unit", "pounds".into()).contains("unknown variant"));
        assert!(change("/clamped", 4.into()).contains("4 values clamped out of 3"));
        assert!(change("/recorded/digits", 9.into()).contains("9 significant digits"));
    }
}
