//! What a trace holds, and how two of them differ.

use crate::error::Result;
use crate::fidelity::{histogram, ks, percentiles};
use crate::{Action, Record};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::fmt;

/// A trace in numbers.
#[derive(Clone)]
pub struct Summary {
    /// Operations, by action.
    pub operations: BTreeMap<Action, u64>,
    /// Operations that did not end well, by status.
    pub failures: BTreeMap<&'static str, u64>,
    /// Bytes moved; none if no record says how many.
    pub bytes: Option<u64>,
    /// Different locations.
    pub locations: u64,
    /// From the first submission to the last end, in nanoseconds.
    pub span: u64,
    /// The most operations that were under way at once, of those whose end is known.
    pub peak_in_flight: u64,
    /// Bytes of reads.
    pub sizes: Histogram<u64>,
    /// Nanoseconds from asking to the end.
    pub latency: Histogram<u64>,
    /// Nanoseconds between one submission and the next.
    pub gaps: Histogram<u64>,
}

impl fmt::Debug for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Summary {}", self.to_json())
    }
}

impl Summary {
    /// Reads all of `records`, which come in the order of asking. Memory grows with the number of different locations,
    /// eight bytes each.
    ///
    /// # Errors
    /// The first error of `records`.
    pub fn of(records: impl Iterator<Item = Result<Record>>) -> Result<Summary> {
        let mut summary = Summary {
            operations: BTreeMap::new(),
            failures: BTreeMap::new(),
            bytes: None,
            locations: 0,
            span: 0,
            peak_in_flight: 0,
            sizes: histogram(),
            latency: histogram(),
            gaps: histogram(),
        };
        let mut names = HashSet::new();
        let mut in_flight = BinaryHeap::new();
        let mut first = None;
        let mut before: Option<u64> = None;
        for record in records {
            let record = record?;
            let start = *first.get_or_insert(record.t_submit);
            summary.span = summary.span.max(record.t_done.unwrap_or(record.t_submit).saturating_sub(start));
            *summary.operations.entry(record.op).or_default() += 1;
            if !record.status.is_ok() {
                *summary.failures.entry(record.status.name()).or_default() += 1;
            }
            let hash = blake3::hash(record.uri.as_bytes());
            names.insert(u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes")));
            if let Some(bytes) = record.bytes {
                *summary.bytes.get_or_insert(0) += bytes;
            }
            if record.op.is_read()
                && let Some(size) = record.size()
            {
                summary.sizes.saturating_record(size);
            }
            if let Some(latency) = record.latency() {
                summary.latency.saturating_record(latency);
            }
            if let Some(before) = before.replace(record.t_submit) {
                summary.gaps.saturating_record(record.t_submit.saturating_sub(before));
            }
            while in_flight.peek().is_some_and(|Reverse(done)| *done <= record.t_submit) {
                in_flight.pop();
            }
            if let Some(done) = record.t_done {
                in_flight.push(Reverse(done));
                summary.peak_in_flight = summary.peak_in_flight.max(in_flight.len() as u64);
            }
        }
        summary.locations = names.len() as u64;
        Ok(summary)
    }

    /// Operations of all kinds.
    pub fn count(&self) -> u64 {
        self.operations.values().sum()
    }

    /// As JSON, times in nanoseconds.
    pub fn to_json(&self) -> Value {
        let seconds = self.span as f64 / 1e9;
        let rate = |n: u64| (seconds > 0.0).then(|| n as f64 / seconds);
        json!({
            "operations": self.operations.iter().map(|(op, n)| (op.name(), n)).collect::<BTreeMap<_, _>>(),
            "failures": self.failures,
            "bytes": self.bytes,
            "locations": self.locations,
            "span_ns": self.span,
            "operations_per_second": rate(self.count()),
            "bytes_per_second": self.bytes.and_then(rate),
            "peak_in_flight": self.peak_in_flight,
            "size_bytes": percentiles(&self.sizes),
            "latency_ns": percentiles(&self.latency),
            "gap_ns": percentiles(&self.gaps),
        })
    }

    /// How `other` differs: distances of distributions (Kolmogorov-Smirnov, 0 to 1) and ratios of totals; null for what one
    /// of the two does not say.
    pub fn compare(&self, other: &Summary) -> Value {
        let ratio = |a: u64, b: u64| (a > 0).then(|| b as f64 / a as f64);
        let distance =
            |a: &Histogram<u64>, b: &Histogram<u64>| (!a.is_empty() && !b.is_empty()).then(|| ks(a, b));
        json!({
            "operations_ratio": ratio(self.count(), other.count()),
            "bytes_ratio": self.bytes.zip(other.bytes).and_then(|(a, b)| ratio(a, b)),
            "span_ratio": ratio(self.span, other.span),
            "locations_ratio": ratio(self.locations, other.locations),
            "size_distance": distance(&self.sizes, &other.sizes),
            "latency_distance": distance(&self.latency, &other.latency),
            "gap_distance": distance(&self.gaps, &other.gaps),
        })
    }
}
