//! What a histogram says once it is read: figures for people, and the buckets to go on with.
//!
//! A summary is plain data. It goes to JSON and back without loss, and two of them merge into
//! exactly the summary that one histogram recording everything would have given.

use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::summary_json::Wire;

/// Figures and buckets of one histogram.
///
/// Values have the unit of what was recorded (the field that holds the summary is named for it:
/// `latency_ns`, `request_bytes`). Minimum, mean and maximum are exact, but for clamped values.
/// A percentile is the largest value of the bucket it falls into, at most the maximum, and is
/// absent where there are too few values to speak of it: see [`HistogramSummary::percentile`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct HistogramSummary {
    layout: Layout,
    /// Lowest value of each bucket that holds any, rising, with its count.
    buckets: Vec<(u64, u64)>,
    n: u64,
    sum: u64,
    min: u64,
    max: u64,
    clamped: u64,
    /// Values that sampling left out.
    skipped: u64,
    /// The part of the values that sampling was to keep.
    sampling_rate: f64,
}

impl HistogramSummary {
    /// Of a histogram in which nothing was recorded.
    pub fn empty(layout: Layout) -> HistogramSummary {
        HistogramSummary::from_parts(layout, Vec::new(), 0, u64::MAX, 0, 0)
    }

    /// `buckets` rise and hold no zero counts. `min` and `max` are held to the buckets, because a
    /// reader may see a count before it sees the minimum that goes with it.
    pub(crate) fn from_parts(
        layout: Layout,
        buckets: Vec<(u64, u64)>,
        sum: u64,
        min: u64,
        max: u64,
        clamped: u64,
    ) -> HistogramSummary {
        let hold = |value: u64, bucket: &(u64, u64)| {
            let index = layout.index_of(bucket.0);
            value.clamp(bucket.0, layout.high_of(index).min(layout.highest()))
        };
        let (min, max) = match (buckets.first(), buckets.last()) {
            (Some(first), Some(last)) => (hold(min, first), hold(max, last)),
            _ => (0, 0),
        };
        let n = buckets.iter().map(|&(_, count)| count).sum();
        HistogramSummary { layout, buckets, n, sum, min, max, clamped, skipped: 0, sampling_rate: 1.0 }
    }

    /// The same, recorded at this rate, at which so many values more were left out.
    pub(crate) fn sampled(self, sampling_rate: f64, skipped: u64) -> HistogramSummary {
        HistogramSummary { sampling_rate, skipped, ..self }
    }

    /// The part of the values that was to be recorded: 1 for all. See
    /// [`RecordingOptions::sampling_rate`](crate::RecordingOptions::sampling_rate).
    pub fn sampling_rate(&self) -> f64 {
        self.sampling_rate
    }

    /// Whether values of both may stand beside each other.
    fn check(&self, other: &HistogramSummary) -> Result<(), MergeError> {
        if self.layout != other.layout {
            return Err(MergeError::Layout { ours: self.layout, theirs: other.layout });
        }
        // Written down and read back, a rate may have changed in its last place.
        let same = (self.sampling_rate - other.sampling_rate).abs() <= 1e-9 * self.sampling_rate;
        if !same && self.offered() > 0 && other.offered() > 0 {
            let (ours, theirs) = (self.sampling_rate, other.sampling_rate);
            return Err(MergeError::SamplingRate { ours, theirs });
        }
        Ok(())
    }

    /// Values recorded, clamped ones among them.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Values there were, recorded or left out by sampling: exact always.
    pub fn offered(&self) -> u64 {
        self.n.saturating_add(self.skipped)
    }

    /// Sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Values that were out of range and were recorded as the nearest value in range, or would have been had
    /// sampling not left them out.
    pub fn clamped(&self) -> u64 {
        self.clamped
    }

    /// Range and digits.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The smallest value, if there is any.
    pub fn min(&self) -> Option<u64> {
        (self.n > 0).then_some(self.min)
    }

    /// The largest value, if there is any.
    pub fn max(&self) -> Option<u64> {
        (self.n > 0).then_some(self.max)
    }

    /// The mean, if there is any value.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| (self.sum as f64 / self.n as f64).clamp(self.min as f64, self.max as f64))
    }

    /// The value that `fraction` (0 to 1) of all values do not exceed.
    ///
    /// `None` unless at least one value lies above it: p99 wants 100 values, p99.99 wants 10,000.
    /// With fewer, the answer would be the maximum under another name.
    pub fn percentile(&self, fraction: f64) -> Option<u64> {
        let above = self.n as f64 * (1.0 - fraction);
        // 1 - 0.9999 is a little below 0.0001 in binary.
        if self.n == 0 || above < 1.0 - 1e-6 {
            return None;
        }
        let rank = ((self.n as f64 * fraction - 1e-6).ceil() as u64).max(1);
        Some(self.at_rank(rank))
    }

    /// Buckets that hold any value: lowest value and count, rising.
    pub fn buckets(&self) -> &[(u64, u64)] {
        &self.buckets
    }

    /// Counts by power of two, without gaps between the smallest and the largest.
    pub fn powers_of_two(&self) -> Vec<PowerOfTwo> {
        let class = |value: u64| value.checked_ilog2().map_or(0, |log| log + 1);
        let (Some(&(first, _)), Some(&(last, _))) = (self.buckets.first(), self.buckets.last()) else {
            return Vec::new();
        };
        let mut classes: Vec<PowerOfTwo> = (class(first)..=class(last))
            .map(|class| PowerOfTwo {
                from: if class == 0 { 0 } else { 1 << (class - 1) },
                below: 1 << class,
                n: 0,
            })
            .collect();
        for &(low, count) in &self.buckets {
            classes[(class(low) - class(first)) as usize].n += count;
        }
        classes
    }

    /// The same counts as an `hdrhistogram::Histogram`.
    pub fn to_hdr(&self) -> hdrhistogram::Histogram<u64> {
        let mut hdr = self.layout.empty();
        for &(low, count) in &self.buckets {
            hdr.record_n(low, count).expect("buckets are checked to be in range when they come in");
        }
        hdr
    }

    /// Whether `earlier` can be an earlier reading of the same histogram: nothing in it is more than here.
    pub(crate) fn follows(&self, earlier: &HistogramSummary) -> bool {
        let mut now = self.buckets.iter().peekable();
        earlier.clamped <= self.clamped
            && earlier.skipped <= self.skipped
            && earlier.buckets.iter().all(|&(low, had)| {
                while now.next_if(|bucket| bucket.0 < low).is_some() {}
                now.next_if(|bucket| bucket.0 == low).is_some_and(|bucket| bucket.1 >= had)
            })
    }

    /// Between which two values the percentile of everything that was sampled lies, at 95 % confidence.
    ///
    /// From the order statistics alone, so it holds for any distribution; it takes the values for
    /// independent of each other, which latencies in a burst are not. `None` where
    /// [`HistogramSummary::percentile`] is, or where too few values lie beyond it to bound it.
    pub fn percentile_interval(&self, fraction: f64) -> Option<(u64, u64)> {
        /// Standard deviations that 95 % of a normal distribution lie within.
        const Z: f64 = 1.959_964;
        self.percentile(fraction)?;
        let n = self.n as f64;
        let half = Z * (n * fraction * (1.0 - fraction)).sqrt();
        let (lower, upper) = ((n * fraction - half).floor(), (n * fraction + half).ceil() + 1.0);
        if lower < 1.0 || upper > n {
            return None;
        }
        Some((self.at_rank(lower as u64), self.at_rank(upper as u64)))
    }

    /// The largest value of the bucket that the value of this rank (from 1) falls into.
    fn at_rank(&self, rank: u64) -> u64 {
        let mut seen = 0u64;
        for &(low, count) in &self.buckets {
            seen = seen.saturating_add(count);
            if seen >= rank {
                return self.layout.high_of(self.layout.index_of(low)).clamp(self.min, self.max);
            }
        }
        self.max
    }

    /// What was recorded after `earlier`, an earlier reading of the same histogram.
    ///
    /// Counts, sum and mean are exact. The minimum and the maximum of the interval are known only
    /// where they are also those of the whole; elsewhere they are the bounds of their bucket.
    pub fn since(&self, earlier: &HistogramSummary) -> Result<HistogramSummary, MergeError> {
        self.check(earlier)?;
        let mut before = earlier.buckets.iter().peekable();
        let buckets = self
            .buckets
            .iter()
            .filter_map(|&(low, count)| {
                let had = before.next_if(|bucket| bucket.0 == low).map_or(0, |bucket| bucket.1);
                (count > had).then(|| (low, count - had))
            })
            .collect();
        Ok(HistogramSummary::from_parts(
            self.layout,
            buckets,
            self.sum.wrapping_sub(earlier.sum),
            // Held to the buckets of the interval by `from_parts`.
            self.min,
            self.max,
            self.clamped.saturating_sub(earlier.clamped),
        )
        .sampled(self.sampling_rate, self.skipped.saturating_sub(earlier.skipped)))
    }

    /// Adds another's values to these. Nothing is changed on error.
    pub fn merge(&mut self, other: &HistogramSummary) -> Result<(), MergeError> {
        self.check(other)?;
        if self.offered() == 0 {
            self.sampling_rate = other.sampling_rate;
        }
        if other.n == 0 {
            self.clamped = self.clamped.saturating_add(other.clamped);
            self.skipped = self.skipped.saturating_add(other.skipped);
            return Ok(());
        }
        if self.n == 0 {
            let (clamped, skipped) = (self.clamped, self.skipped);
            *self = other.clone();
            self.clamped = self.clamped.saturating_add(clamped);
            self.skipped = self.skipped.saturating_add(skipped);
            return Ok(());
        }
        let mut merged = Vec::with_capacity(self.buckets.len().max(other.buckets.len()));
        let (mut ours, mut theirs) =
            (self.buckets.iter().copied().peekable(), other.buckets.iter().copied().peekable());
        loop {
            merged.push(match (ours.peek(), theirs.peek()) {
                (Some(a), Some(b)) if a.0 == b.0 => {
                    let both = (a.0, a.1.saturating_add(b.1));
                    ours.next();
                    theirs.next();
                    both
                }
                (Some(a), Some(b)) if a.0 > b.0 => theirs.next().expect("just peeked"),
                (Some(_), _) => ours.next().expect("just peeked"),
                (None, Some(_)) => theirs.next().expect("just peeked"),
                (None, None) => break,
            });
        }
        self.buckets = merged;
        self.n = self.n.saturating_add(other.n);
        self.sum = self.sum.wrapping_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.clamped = self.clamped.saturating_add(other.clamped);
        self.skipped = self.skipped.saturating_add(other.skipped);
        Ok(())
    }
}

/// How many values lie in `from..below`, one power of two. Values of 0 are a class of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerOfTwo {
    /// The smallest value of the class.
    pub from: u64,
    /// The smallest value above the class.
    pub below: u64,
    /// Values in it.
    pub n: u64,
}

/// Two summaries whose values cannot stand beside each other.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum MergeError {
    /// Their buckets differ.
    #[error(
        "histograms of {ours:?} and {theirs:?} cannot be merged: record both with the same range and digits"
    )]
    Layout {
        /// Of the one that was to take the other up.
        ours: Layout,
        /// Of the other.
        theirs: Layout,
    },
    /// A value of one stands for more than a value of the other.
    #[error(
        "histograms of sampling_rate {ours} and {theirs} cannot be merged: record both with the same sampling_rate"
    )]
    SamplingRate {
        /// Of the one that was to take the other up.
        ours: f64,
        /// Of the other.
        theirs: f64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digits, PerformanceHistogram};

    fn of(values: impl IntoIterator<Item = u64>) -> HistogramSummary {
        let histogram = PerformanceHistogram::new(Layout::request_bytes(Digits::THREE));
        histogram.record_all(values);
        histogram.summary()
    }

    #[test]
    fn equal_values_have_that_mean_and_percentile() {
        let summary = of([65_536; 100]);
        assert_eq!(summary.mean(), Some(65_536.0));
        assert_eq!(summary.percentile(0.5), Some(65_536));
        assert_eq!(summary.percentile(0.99), Some(65_536));
        assert_eq!((summary.min(), summary.max()), (Some(65_536), Some(65_536)));
    }

    #[test]
    fn percentiles_want_a_value_above_them() {
        for (fraction, wanted) in [(0.5, 2), (0.9, 10), (0.99, 100), (0.999, 1_000), (0.9999, 10_000)] {
            assert_eq!(of(0..wanted - 1).percentile(fraction), None, "{fraction} of {}", wanted - 1);
            let enough = of(0..wanted).percentile(fraction).expect("enough values");
            let exact = (wanted as f64 * fraction).ceil() as u64 - 1;
            assert!(enough >= exact && enough <= exact + exact / 1_000, "{enough} for {exact}");
        }
        assert_eq!(of([]).percentile(0.5), None);
    }

    #[test]
    fn percentiles_are_bounded_by_what_the_values_allow() {
        let summary = of(0..1_000);
        let (low, high) = summary.percentile_interval(0.5).unwrap();
        assert!((465..=472).contains(&low) && (529..=536).contains(&high), "{low} {high}");
        assert_eq!(of(0..100).percentile_interval(0.99), None, "one value beyond bounds nothing");
    }

    #[test]
    fn nothing_recorded_has_no_figures() {
        let summary = of([]);
        assert_eq!((summary.min(), summary.max(), summary.mean()), (None, None, None));
        assert!(summary.powers_of_two().is_empty());
        assert_eq!(HistogramSummary::empty(*summary.layout()), summary);
    }

    #[test]
    fn powers_of_two_are_exact_at_their_edges() {
        let summary = of([0, 0, 1, 4_095, 4_096, 8_191, 8_192]);
        let classes = summary.powers_of_two();
        assert_eq!(classes.len(), 15);
        let filled: Vec<_> = classes.iter().filter(|c| c.n > 0).map(|c| (c.from, c.below, c.n)).collect();
        assert_eq!(filled, [(0, 1, 2), (1, 2, 1), (2_048, 4_096, 1), (4_096, 8_192, 2), (8_192, 16_384, 1)]);
    }

    #[test]
    fn an_interval_is_what_was_recorded_in_it() {
        let histogram = PerformanceHistogram::new(Layout::request_bytes(Digits::THREE));
        histogram.record_all([5, 100, 5_000]);
        let earlier = histogram.summary();
        histogram.record_all([100, 5_000, 5_001, 900]);
        let interval = histogram.summary().since(&earlier).unwrap();
        assert_eq!(interval.buckets(), [(100, 1), (900, 1), (5_000, 2)]);
        assert_eq!((interval.n(), interval.sum()), (4, 11_001));
        assert_eq!((interval.min(), interval.max()), (Some(100), Some(5_001)));
        let nothing = histogram.summary().since(&histogram.summary()).unwrap();
        assert_eq!(nothing, HistogramSummary::empty(*histogram.layout()));
    }

    #[test]
    fn other_layouts_do_not_merge() {
        let mut bytes = of([1, 2, 3]);
        let before = bytes.clone();
        let latency = PerformanceHistogram::new(Layout::latency(Digits::THREE)).summary();
        let error = bytes.merge(&latency).unwrap_err().to_string();
        assert!(error.contains("0..=1099511627776") && error.contains("1..=3600000000000"), "{error}");
        assert_eq!(bytes, before);
    }
}
