//! How fast a run went in each of its intervals, and between which two rates its mean lies.

use forebay_metrics::RunFacts;

/// One interval: what was delivered in it, and how long it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    seconds: f64,
    bytes: u64,
    samples: u64,
}

/// The interval that the mean rate lies in with 95 % confidence, and of how many readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MeanRate {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) readings: usize,
}

/// The fewest readings that say something of how much they differ.
const FEWEST: usize = 5;

impl Pace {
    /// Of readings that follow each other in one run.
    pub(super) fn between<'a>(readings: impl Iterator<Item = &'a RunFacts>) -> Vec<Pace> {
        let mut before = (0.0, 0, 0);
        let mut paces = Vec::new();
        let mut several = false;
        for facts in readings {
            let now = (facts.elapsed.as_secs_f64(), facts.bytes, facts.samples);
            several |= !paces.is_empty();
            paces.push(Pace {
                seconds: now.0 - before.0,
                bytes: now.1.saturating_sub(before.1),
                samples: now.2.saturating_sub(before.2),
            });
            before = now;
        }
        if several { paces } else { Vec::new() }
    }

    /// Bytes a second.
    pub(super) fn bytes(paces: &[Pace]) -> Option<MeanRate> {
        mean_rate(paces, |pace| pace.bytes)
    }

    /// Samples a second.
    pub(super) fn samples(paces: &[Pace]) -> Option<MeanRate> {
        mean_rate(paces, |pace| pace.samples)
    }
}

/// Student's interval over the rates of intervals. It takes them for independent of each other, which the seconds of
/// one run hardly are; short ones, as the last mostly is, are left out.
fn mean_rate(paces: &[Pace], count: fn(&Pace) -> u64) -> Option<MeanRate> {
    let mut lengths: Vec<f64> = paces.iter().map(|pace| pace.seconds).collect();
    lengths.sort_by(f64::total_cmp);
    let usual = *lengths.get(lengths.len() / 2)?;
    let rates: Vec<f64> = paces
        .iter()
        .filter(|pace| pace.seconds > 0.0 && pace.seconds >= usual / 2.0)
        .map(|pace| count(pace) as f64 / pace.seconds)
        .collect();
    let readings = rates.len();
    if readings < FEWEST {
        return None;
    }
    let mean = rates.iter().sum::<f64>() / readings as f64;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / (readings - 1) as f64;
    let half = student(readings - 1) * (variance / readings as f64).sqrt();
    Some(MeanRate { low: (mean - half).max(0.0), high: mean + half, readings })
}

/// How many standard errors 95 % lie within, of so many degrees of freedom: the expansion about the normal
/// distribution (Abramowitz and Stegun, 26.7.5), within 0.2 % from 4 on.
fn student(freedom: usize) -> f64 {
    const Z: f64 = 1.959_964;
    let n = freedom as f64;
    let first = (Z.powi(3) + Z) / 4.0;
    let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / 96.0;
    let third = (3.0 * Z.powi(7) + 19.0 * Z.powi(5) + 17.0 * Z.powi(3) - 15.0 * Z) / 384.0;
    Z + first / n + second / n.powi(2) + third / n.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn paces(bytes: &[u64]) -> Vec<Pace> {
        let mut facts = RunFacts::default();
        let readings = bytes.iter().map(|bytes| {
            facts.elapsed += Duration::from_secs(1);
            facts.bytes += bytes;
            facts.clone()
        });
        let readings: Vec<_> = readings.collect();
        Pace::between(readings.iter())
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, table) in [(4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042), (1000, 1.962)] {
            let found = student(freedom);
            assert!((found / table - 1.0).abs() < 3e-3, "{found} for {table}");
        }
    }

    #[test]
    fn the_mean_lies_between_and_a_single_reading_says_nothing() {
        let rate = Pace::bytes(&paces(&[90, 110, 100, 95, 105, 100])).unwrap();
        assert!(rate.low < 100.0 && rate.high > 100.0 && rate.high - rate.low < 20.0, "{rate:?}");
        assert_eq!(rate.readings, 6);
        assert_eq!(Pace::bytes(&paces(&[100])), None);
        assert_eq!(Pace::bytes(&paces(&[100, 100, 100, 100])), None);
        let steady = Pace::bytes(&paces(&[100; 5])).unwrap();
        assert_eq!((steady.low, steady.high), (100.0, 100.0));
    }

    #[test]
    fn a_short_last_interval_is_left_out() {
        let mut all = paces(&[100; 6]);
        all.push(Pace { seconds: 0.01, bytes: 0, samples: 0 });
        assert_eq!(Pace::bytes(&all).map(|rate| rate.readings), Some(6));
    }
}
