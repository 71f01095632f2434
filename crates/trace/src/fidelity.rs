//! How true a replay was: when operations were submitted against when they should have been, what was asked
//! for against what should have been, and how sizes, latencies and throughput compare with the recording.

use crate::error::{Error, Result};
use crate::multiset::Multiset;
use crate::replay::{Mode, Scheduling};
use crate::{Action, Record};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Everything a replay measured. Memory does not grow with the number of operations, only with the seconds they took.
#[derive(Clone)]
pub struct Fidelity {
    /// Operations of the plan that were submitted.
    pub submitted: u64,
    /// Of these, those that ended well, and the bytes they moved.
    pub done: u64,
    /// See `done`.
    pub bytes: u64,
    /// Failures by the name of their kind.
    pub failures: BTreeMap<String, u64>,
    /// What the first failure said.
    pub first_failure: Option<String>,
    /// Of the failures, those of operations that had failed when they were recorded.
    pub failed_as_recorded: u64,
    /// Operations that were left out because they would change the store, by action.
    pub left_out: BTreeMap<Action, u64>,
    /// How late operations were submitted, in nanoseconds; none where nothing said when they are due.
    pub submit_error: Histogram<u64>,
    /// Operations that were submitted later than they were due because a cap on operations or bytes in flight was reached.
    pub capped: u64,
    /// Times that a stream of a dependency replay stood still because the trace was not read far enough ahead.
    pub starved: u64,
    /// The most operations in flight, and the most bytes by the sizes that the trace knows.
    pub peak_in_flight: usize,
    /// See `peak_in_flight`.
    pub peak_bytes_in_flight: u64,
    /// Latency in nanoseconds from when an operation was submitted.
    pub latency: Histogram<u64>,
    /// Latency in nanoseconds from when it was due.
    pub latency_from_intended: Histogram<u64>,
    /// Latency in nanoseconds as recorded.
    pub recorded_latency: Histogram<u64>,
    /// Sizes in bytes, as replayed and as recorded.
    pub sizes: Histogram<u64>,
    /// See `sizes`.
    pub recorded_sizes: Histogram<u64>,
    /// Nanoseconds between one submission and the next, as they were and as they should have been.
    pub gaps: Histogram<u64>,
    /// See `gaps`.
    pub intended_gaps: Histogram<u64>,
    /// Bytes by the second of the replay in which they had arrived, as replayed and as recorded (in the replay's time).
    pub envelope: Vec<u64>,
    /// See `envelope`.
    pub recorded_envelope: Vec<u64>,
    /// From the first submission to the last end.
    pub elapsed: Duration,
    /// How the kernel scheduled the thread that paced; none where it does not tell.
    pub scheduling: Option<Scheduling>,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// Operations in flight that were given up when it was stopped.
    pub given_up: u64,
    /// Operations of the plan, submitted or not; those that were skipped are not among them.
    pub planned: u64,
    drift: Line,
    intended: Multiset,
    asked: Multiset,
}

/// What a replay is held to. Each is a bound that may not be exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bounds {
    /// The 99th percentile of the submit error.
    pub submit_error_p99: Option<Duration>,
    /// Drift, in parts of a million, either way.
    pub drift_ppm: Option<f64>,
    /// The Kolmogorov-Smirnov distance of the times between submissions, 0 to 1.
    pub gap_distance: Option<f64>,
    /// The distance of the size histograms, 0 to 1.
    pub size_distance: Option<f64>,
    /// The Kolmogorov-Smirnov distance of the latencies from those recorded, 0 to 1.
    pub latency_distance: Option<f64>,
    /// The deviation of the throughput envelope, as a fraction of the recording's.
    pub envelope_deviation: Option<f64>,
    /// Whether stores must have been asked for exactly what the trace says ([`Fidelity::is_exact`]).
    pub exact: bool,
    /// New failures.
    pub failures: Option<u64>,
    /// Operations that a cap delayed.
    pub capped: Option<u64>,
}

impl Fidelity {
    pub(crate) fn new() -> Fidelity {
        Fidelity {
            submitted: 0,
            done: 0,
            bytes: 0,
            failures: BTreeMap::new(),
            first_failure: None,
            failed_as_recorded: 0,
            left_out: BTreeMap::new(),
            submit_error: histogram(),
            capped: 0,
            starved: 0,
            peak_in_flight: 0,
            peak_bytes_in_flight: 0,
            latency: histogram(),
            latency_from_intended: histogram(),
            recorded_latency: histogram(),
            sizes: histogram(),
            recorded_sizes: histogram(),
            gaps: histogram(),
            intended_gaps: histogram(),
            envelope: Vec::new(),
            recorded_envelope: Vec::new(),
            elapsed: Duration::ZERO,
            scheduling: None,
            stopped: false,
            given_up: 0,
            planned: 0,
            drift: Line::default(),
            intended: Multiset::default(),
            asked: Multiset::default(),
        }
    }

    /// What the plan says about one operation. `at` is its instant in the replay's time, `scale` what the trace's
    /// times are multiplied by; both are none where the replay goes at its own pace.
    pub(crate) fn plan(&mut self, record: &Record, uri: &str, at: Option<Duration>, scale: f64) {
        self.submitted += 1;
        self.intended.add(Multiset::of(record.op, uri, record.offset, record.len));
        if !record.status.is_ok() {
            return;
        }
        if let Some(latency) = record.latency() {
            self.recorded_latency.saturating_record(latency);
        }
        if record.op.is_read()
            && let Some(size) = record.size()
        {
            self.recorded_sizes.saturating_record(size);
            if let (Some(at), Some(took)) = (at, record.latency()) {
                let took = Duration::try_from_secs_f64(took as f64 / 1e9 * scale).unwrap_or(Duration::MAX);
                add_to_second(&mut self.recorded_envelope, at.saturating_add(took), size);
            }
        }
    }

    /// What a store was really asked for.
    pub(crate) fn ask(&mut self, asked: Multiset) {
        self.asked.add(asked);
    }

    /// Operations that a store was really asked for.
    pub fn asked(&self) -> u64 {
        self.asked.len()
    }

    /// When an operation was due and when it was submitted, from the beginning.
    pub(crate) fn submit(&mut self, due: Duration, actual: Duration) {
        self.submit_error.saturating_record(nanos(actual.saturating_sub(due)));
        self.drift.add(due.as_secs_f64(), actual.as_secs_f64() - due.as_secs_f64());
    }

    /// An operation that ended well, at `end` from the beginning.
    pub(crate) fn finish(&mut self, read: bool, bytes: u64, end: Duration) {
        self.done += 1;
        self.bytes += bytes;
        if read {
            self.sizes.saturating_record(bytes);
            add_to_second(&mut self.envelope, end, bytes);
        }
    }

    /// Whether stores were asked for exactly the operations of the plan, down to its last one: the same locations, offsets
    /// and lengths, each as often.
    pub fn is_exact(&self) -> bool {
        self.intended == self.asked && self.asked() == self.planned
    }

    /// By how many parts of a million the replay's clock runs slow: the slope of the best straight line through the
    /// submit errors over time.
    pub fn drift_ppm(&self) -> f64 {
        self.drift.slope() * 1e6
    }

    /// The largest difference between the distributions of times between submissions (Kolmogorov-Smirnov), 0 to 1.
    pub fn gap_distance(&self) -> f64 {
        ks(&self.gaps, &self.intended_gaps)
    }

    /// The part of the operations whose sizes are distributed otherwise than recorded (total variation), 0 to 1.
    pub fn size_distance(&self) -> f64 {
        total_variation(&self.sizes, &self.recorded_sizes)
    }

    /// The largest difference between the distributions of latency, replayed and recorded, 0 to 1. Another store has
    /// other latencies: it is a finding, not a fault.
    pub fn latency_distance(&self) -> f64 {
        ks(&self.latency, &self.recorded_latency)
    }

    /// How far throughput was from the recording's, second by second: the sum of the differences over the recording's
    /// bytes. None where there is no recording to compare with.
    pub fn envelope_deviation(&self) -> Option<f64> {
        let total: u64 = self.recorded_envelope.iter().sum();
        let seconds = self.envelope.len().max(self.recorded_envelope.len());
        let at = |series: &[u64], i: usize| series.get(i).copied().unwrap_or(0);
        let apart: u64 =
            (0..seconds).map(|i| at(&self.envelope, i).abs_diff(at(&self.recorded_envelope, i))).sum();
        (total > 0).then(|| apart as f64 / total as f64)
    }

    /// Failures that the recording did not have.
    pub fn new_failures(&self) -> u64 {
        self.failures.values().sum::<u64>() - self.failed_as_recorded
    }

    /// What exceeds its bound, a sentence each. What could not be measured (no operation, no time or size to compare with)
    /// exceeds every bound.
    pub fn violations(&self, bounds: &Bounds) -> Vec<String> {
        let any = self.submitted > 0;
        let p99 =
            (!self.submit_error.is_empty()).then(|| self.submit_error.value_at_quantile(0.99) as f64 / 1e3);
        let both = |a: &Histogram<u64>, b: &Histogram<u64>| !a.is_empty() || !b.is_empty();
        let measured = [
            (
                "the submit error's p99",
                p99,
                bounds.submit_error_p99.map(|most| most.as_secs_f64() * 1e6),
                " us",
            ),
            ("drift", self.drift.has_slope().then(|| self.drift_ppm().abs()), bounds.drift_ppm, " ppm"),
            (
                "the distance of times between submissions",
                both(&self.gaps, &self.intended_gaps).then(|| self.gap_distance()),
                bounds.gap_distance,
                "",
            ),
            (
                "the distance of sizes",
                both(&self.sizes, &self.recorded_sizes).then(|| self.size_distance()),
                bounds.size_distance,
                "",
            ),
            (
                "the distance of latencies",
                (!self.latency.is_empty() && !self.recorded_latency.is_empty())
                    .then(|| self.latency_distance()),
                bounds.latency_distance,
                "",
            ),
            ("the deviation of throughput", self.envelope_deviation(), bounds.envelope_deviation, ""),
            (
                "the number of new failures",
                any.then(|| self.new_failures() as f64),
                bounds.failures.map(|most| most as f64),
                "",
            ),
            (
                "the number of operations that a cap delayed",
                any.then_some(self.capped as f64),
                bounds.capped.map(|most| most as f64),
                "",
            ),
        ];
        let exceeded = measured.into_iter().filter_map(|(name, value, bound, unit)| {
            let bound = bound?;
            match value {
                None => Some(format!("{name} could not be measured, the bound is {bound:.3}{unit}")),
                Some(value) if value > bound || value.is_nan() => {
                    Some(format!("{name} is {value:.3}{unit}, the bound is {bound:.3}{unit}"))
                }
                Some(_) => None,
            }
        });
        let inexact = (bounds.exact && !(any && self.is_exact())).then(|| {
            format!(
                "stores were not asked for exactly what the trace says: {} of {}",
                self.asked(),
                self.planned
            )
        });
        exceeded.chain(inexact).collect()
    }

    /// Whether nothing went well although something had when it was recorded.
    pub fn is_failure(&self) -> bool {
        self.done == 0 && self.new_failures() > 0
    }

    /// All of it, times in nanoseconds.
    pub fn to_json(&self) -> Value {
        json!({
            "submitted": self.submitted,
            "done": self.done,
            "bytes": self.bytes,
            "failures": self.failures,
            "first_failure": self.first_failure,
            "failed_as_recorded": self.failed_as_recorded,
            "left_out": self.left_out.iter().map(|(op, n)| (op.name(), n)).collect::<BTreeMap<_, _>>(),
            "exact": self.is_exact(),
            "planned": self.planned,
            "asked": self.asked(),
            "scheduling": self.scheduling.map(|scheduling| scheduling.to_json()),
            "stopped": self.stopped,
            "given_up": self.given_up,
            "elapsed_ns": nanos(self.elapsed),
            "capped": self.capped,
            "starved": self.starved,
            "peak_in_flight": self.peak_in_flight,
            "peak_bytes_in_flight": self.peak_bytes_in_flight,
            "submit_error_ns": percentiles(&self.submit_error),
            "drift_ppm": self.drift_ppm(),
            "gap_distance": self.gap_distance(),
            "size_distance": self.size_distance(),
            "latency_distance": self.latency_distance(),
            "envelope_deviation": self.envelope_deviation(),
            "latency_ns": percentiles(&self.latency),
            "latency_from_intended_ns": percentiles(&self.latency_from_intended),
            "recorded_latency_ns": percentiles(&self.recorded_latency),
            "envelope_bytes": self.envelope,
            "recorded_envelope_bytes": self.recorded_envelope,
        })
    }
}

/// A histogram that takes any number, to three digits: half a MiB.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, u64::MAX / 2, 3).expect("the bounds are valid")
}

/// The percentiles that reports show; none where nothing was recorded.
pub fn percentiles(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let at = |q: f64| histogram.value_at_quantile(q);
    json!({
        "n": histogram.len(), "mean": histogram.mean(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99.9": at(0.999),
        "max": histogram.max(),
    })
}

impl fmt::Debug for Fidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fidelity {}", self.to_json())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A year of seconds: what lies beyond comes of a broken trace and would only take memory.
const MOST_SECONDS: u64 = 366 * 24 * 3600;

fn add_to_second(series: &mut Vec<u64>, at: Duration, bytes: u64) {
    let second = at.as_secs().min(MOST_SECONDS) as usize;
    if series.len() <= second {
        series.resize(second + 1, 0);
    }
    series[second] += bytes;
}

/// A straight line by least squares, through points as they come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line {
    n: f64,
    mean_x: f64,
    mean_y: f64,
    xx: f64,
    xy: f64,
}

impl Line {
    /// Welford's update, which does not lose small differences between large sums.
    pub(crate) fn add(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        let dx = x - self.mean_x;
        self.mean_x += dx / self.n;
        self.mean_y += (y - self.mean_y) / self.n;
        self.xx += dx * (x - self.mean_x);
        self.xy += dx * (y - self.mean_y);
    }

    /// Whether there are two points at least, apart from each other.
    fn has_slope(&self) -> bool {
        self.xx > 0.0
    }

    pub(crate) fn slope(&self) -> f64 {
        if self.has_slope() { self.xy / self.xx } else { 0.0 }
    }
}

/// The parts of the whole that lie in each bucket, by the bucket's highest value. Both histograms have one layout.
fn parts(histogram: &Histogram<u64>) -> BTreeMap<u64, f64> {
    let total = histogram.len() as f64;
    histogram
        .iter_recorded()
        .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value() as f64 / total))
        .collect()
}

fn differences(a: &Histogram<u64>, b: &Histogram<u64>) -> Option<Vec<f64>> {
    if a.is_empty() && b.is_empty() {
        return None;
    }
    let mut all: BTreeMap<u64, f64> = parts(a);
    for (value, part) in parts(b) {
        *all.entry(value).or_default() -= part;
    }
    Some(all.into_values().collect())
}

/// The Kolmogorov-Smirnov statistic, to the resolution of the histograms. 1 if only one has values.
pub(crate) fn ks(a: &Histogram<u64>, b: &Histogram<u64>) -> f64 {
    if a.is_empty() != b.is_empty() {
        return 1.0;
    }
    let mut sum = 0.0;
    differences(a, b).unwrap_or_default().into_iter().fold(0.0, |most: f64, difference| {
        sum += difference;
        most.max(f64::abs(sum))
    })
}

/// Half of the sum of absolute differences. 1 if only one has values.
fn total_variation(a: &Histogram<u64>, b: &Histogram<u64>) -> f64 {
    if a.is_empty() != b.is_empty() {
        return 1.0;
    }
    differences(a, b).unwrap_or_default().into_iter().fold(0.0, |sum, apart| sum + apart.abs()) / 2.0
}

impl Bounds {
    /// Checks that bounds are numbers that can be kept, and of what a replay in this mode measures.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the bound.
    pub fn validate(&self, mode: Mode) -> Result<()> {
        for (name, value, most) in [
            ("drift_ppm", self.drift_ppm, None),
            ("gap_distance", self.gap_distance, Some(1.0)),
            ("size_distance", self.size_distance, Some(1.0)),
            ("latency_distance", self.latency_distance, Some(1.0)),
            ("envelope_deviation", self.envelope_deviation, None),
        ] {
            let Some(value) = value else { continue };
            if !(value.is_finite() && value >= 0.0 && most.is_none_or(|most| value <= most)) {
                let valid = if most.is_some() { "from 0 to 1" } else { "of 0 or more" };
                return Err(Error::Invalid(format!("the bound {name} must be a number {valid}, is {value}")));
            }
        }
        if !matches!(mode, Mode::Closed { .. }) {
            return Ok(());
        }
        for (name, given) in [
            ("submit_error", self.submit_error_p99.is_some()),
            ("drift_ppm", self.drift_ppm.is_some()),
            ("gap_distance", self.gap_distance.is_some()),
            ("envelope_deviation", self.envelope_deviation.is_some()),
            ("capped", self.capped.is_some()),
        ] {
            if given {
                return Err(Error::Invalid(format!(
                    "the bound {name} is for modes in which the trace says when; closed goes at the store's pace"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut histogram = super::histogram();
        values.iter().for_each(|v| histogram.saturating_record(*v));
        histogram
    }

    #[test]
    fn a_histogram_takes_what_an_hour_and_a_tebibyte_are() {
        let histogram = histogram(&[0, 3_600_000_000_000, 1 << 40]);
        assert!(histogram.max() >= 3_600_000_000_000 && histogram.value_at_quantile(0.5) >= 1 << 40);
    }

    #[test]
    fn a_clock_that_runs_slow_shows_as_drift() {
        let mut fidelity = Fidelity::new();
        for i in 0..10_000u64 {
            let due = Duration::from_millis(i);
            // 50 us late with some noise, and 20 us slower each second.
            let late = Duration::from_nanos(50_000 + (i * 7919 % 100) + i * 20);
            fidelity.submit(due, due + late);
        }
        assert!((fidelity.drift_ppm() - 20.0).abs() < 0.1, "{}", fidelity.drift_ppm());
        let bounds = Bounds { drift_ppm: Some(5.0), ..Bounds::default() };
        assert_eq!(fidelity.violations(&bounds).len(), 1);
        assert!(fidelity.violations(&Bounds { drift_ppm: Some(21.0), ..bounds }).is_empty());
    }

    #[test]
    fn distances_are_those_of_the_textbook() {
        let a = histogram(&[1, 2, 3, 4]);
        assert_eq!((ks(&a, &a), total_variation(&a, &a)), (0.0, 0.0));
        let b = histogram(&[3, 4, 5, 6]);
        assert_eq!((ks(&a, &b), total_variation(&a, &b)), (0.5, 0.5));
        let far = histogram(&[1000, 2000]);
        assert_eq!((ks(&a, &far), total_variation(&a, &far)), (1.0, 1.0));
        assert_eq!((ks(&a, &histogram(&[])), ks(&histogram(&[]), &histogram(&[]))), (1.0, 0.0));
    }

    #[test]
    fn throughput_is_compared_second_by_second() {
        let mut fidelity = Fidelity::new();
        fidelity.recorded_envelope = vec![100, 100];
        fidelity.envelope = vec![90, 100, 10];
        assert_eq!(fidelity.envelope_deviation(), Some(0.1));
    }
}
