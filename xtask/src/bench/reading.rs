//! What one run of a contender measured, and the spread of several runs.

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Samples delivered in a timed stretch. Every contender's program prints one as its last line.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// User and system time of the program and its workers in that stretch.
    pub(crate) cpu_seconds: f64,
    /// What went wrong on the way, where the program tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<Attempts>,
    /// Of all bytes in the order in which they were delivered, where the program looked at them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<u64>,
}

/// Requests of a service that failed, and what was done about it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Attempts {
    pub(crate) failed_requests: u64,
    pub(crate) retries: u64,
    pub(crate) throttles: u64,
    pub(crate) retries_withheld: u64,
    pub(crate) concurrency_cuts: u64,
}

impl Reading {
    /// Takes the last line of a program's output.
    pub(crate) fn parse(output: &str) -> anyhow::Result<Self> {
        let line = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let reading: Self = serde_json::from_str(line).with_context(|| format!("no reading in `{line}`"))?;
        anyhow::ensure!(reading.samples > 0 && reading.seconds > 0.0, "nothing was read: {line}");
        Ok(reading)
    }

    pub(crate) fn samples_per_second(&self) -> f64 {
        self.samples as f64 / self.seconds
    }

    pub(crate) fn gib_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds / (1u64 << 30) as f64
    }

    /// Processors it had on average.
    pub(crate) fn cores(&self) -> f64 {
        self.cpu_seconds / self.seconds
    }

    pub(crate) fn cpu_micros_per_sample(&self) -> f64 {
        self.cpu_seconds / self.samples as f64 * 1e6
    }
}

/// The middle of several figures and their ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of one figure of each reading. There has to be at least one.
    pub(crate) fn of(readings: &[Reading], figure: impl Fn(&Reading) -> f64) -> Self {
        let figures: Vec<_> = readings.iter().map(figure).collect();
        let ends = |pick: fn(f64, f64) -> f64| figures.iter().copied().reduce(pick).expect("one at least");
        let (min, max) = (ends(f64::min), ends(f64::max));
        Self { median: median(figures), min, max }
    }
}

/// The middle of some figures, of which there is at least one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    // The two in the middle are one and the same when the count is odd.
    (figures[last / 2] + figures[last.div_ceil(2)]) / 2.0
}

/// Between which of these figures the middle of all that could be measured lies, 95 times in 100: by their ranks,
/// which asks nothing of how they are spread (the sign test's interval). Of less than eight it is all of them.
pub(crate) fn interval(mut figures: Vec<f64>) -> (f64, f64) {
    figures.sort_by(f64::total_cmp);
    let n = figures.len() as f64;
    // Rank `n / 2 - 1.96 * sqrt(n) / 2`, counted from one.
    let skip = (((n - 1.96 * n.sqrt()) / 2.0) as usize).saturating_sub(1);
    (figures[skip], figures[figures.len() - 1 - skip])
}

/// The middle of differences between pairs whose order was thrown, of which there is at least one, and between what
/// it lies 95 times in 100: the median of the means of any two, and their signed ranks. Such differences are spread
/// evenly about the middle, which makes this nearly as narrow as a mean's, and an outlier does not move it. (Hodges
/// and Lehmann, "Estimates of location based on rank tests", 1963.)
pub(crate) fn paired(differences: Vec<f64>) -> (f64, (f64, f64)) {
    let means = differences.iter().enumerate().flat_map(|(index, a)| {
        let others = differences[index..].iter();
        others.map(move |b| (a + b) / 2.0)
    });
    let mut means: Vec<_> = means.collect();
    means.sort_by(f64::total_cmp);
    let n = differences.len() as f64;
    let spread = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
    let skip = (means.len() as f64 / 2.0 - 1.96 * spread) as usize;
    let ends = (means[skip], means[means.len() - 1 - skip]);
    (median(means), ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(samples: &[u64]) -> Vec<Reading> {
        let one = |&samples| Reading {
            samples,
            bytes: samples << 30,
            seconds: 2.0,
            cpu_seconds: 1.0,
            ..Default::default()
        };
        samples.iter().map(one).collect()
    }

    #[test]
    fn rates_are_per_second_and_costs_per_sample() {
        let reading = readings(&[4])[0];
        assert_eq!(reading.samples_per_second(), 2.0);
        assert_eq!(reading.gib_per_second(), 2.0);
        assert_eq!(reading.cpu_micros_per_sample(), 250_000.0);
        assert_eq!(reading.cores(), 0.5);
    }

    #[test]
    fn a_spread_has_the_median_of_odd_and_even_counts() {
        let odd = Spread::of(&readings(&[9, 1, 5]), |r| r.samples as f64);
        assert_eq!(odd, Spread { median: 5.0, min: 1.0, max: 9.0 });
        let even = Spread::of(&readings(&[9, 1, 5, 7]), |r| r.samples as f64);
        assert_eq!(even, Spread { median: 6.0, min: 1.0, max: 9.0 });
    }

    #[test]
    fn the_interval_narrows_with_the_number_of_readings() {
        let of = |n: u32| interval((0..n).rev().map(f64::from).collect());
        assert_eq!(of(1), (0.0, 0.0));
        assert_eq!(of(7), (0.0, 6.0));
        // The ranks 7 and 18, and 40 and 61, of the tables.
        assert_eq!((of(24), of(100)), ((6.0, 17.0), (39.0, 60.0)));
    }

    #[test]
    fn pairs_have_a_middle_that_an_outlier_does_not_move() {
        assert_eq!(paired(vec![3.0]), (3.0, (3.0, 3.0)));
        let (middle, (least, greatest)) = paired((-50..=50).map(f64::from).chain([1e9]).collect());
        assert!(middle.abs() < 1.0 && least > -7.0 && least < -4.0, "{middle} {least}");
        assert!(greatest < 7.0 && greatest > 4.0, "{greatest}");
        // Of ten, eight of the 55 means lie outside at each end, by the tables.
        let (_, ends) = paired((1..=10).map(|n| f64::from(1 << n)).collect());
        assert_eq!(ends, (12.0, 514.0));
    }

    #[test]
    fn output_that_ends_without_a_reading_is_an_error() {
        let good = "warming up\n{\"samples\":1,\"bytes\":2,\"seconds\":0.5,\"cpu_seconds\":0.1}\n";
        assert_eq!(Reading::parse(good).unwrap().bytes, 2);
        assert!(Reading::parse("Killed\n").unwrap_err().to_string().contains("Killed"));
        assert!(Reading::parse("{\"samples\":0,\"bytes\":0,\"seconds\":1,\"cpu_seconds\":0}").is_err());
    }
}
