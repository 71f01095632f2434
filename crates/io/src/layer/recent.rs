//! The latencies of the last operations, and which of them is rarely exceeded.

use crate::lock::Mutex;
use std::time::Duration;

/// So many are remembered: enough for a 99th percentile, and few enough to follow a service that changes.
const REMEMBERED: usize = 512;

/// The quantile is looked up anew after so many: sorting 512 numbers (10 µs) is too much for each.
const EVERY: usize = 32;

/// Below this many there is no saying what is rare.
const ENOUGH: usize = 64;

/// A quantile of recent latencies.
#[derive(Debug)]
pub(super) struct Recent {
    quantile: f64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    latencies: Vec<Duration>,
    /// How many there were in all.
    seen: usize,
    usual: Option<Duration>,
}

impl Recent {
    /// For a quantile above 0 and below 1.
    pub(super) fn new(quantile: f64) -> Self {
        Recent { quantile, state: Mutex::default() }
    }

    pub(super) fn record(&self, latency: Duration) {
        let mut state = self.state.lock();
        let State { latencies, seen, usual } = &mut *state;
        match latencies.get_mut(*seen % REMEMBERED) {
            Some(oldest) => *oldest = latency,
            None => latencies.push(latency),
        }
        *seen += 1;
        if *seen >= ENOUGH && seen.is_multiple_of(EVERY) {
            let mut sorted = latencies.clone();
            let rank = ((sorted.len() as f64 * self.quantile).ceil() as usize).clamp(1, sorted.len()) - 1;
            *usual = Some(*sorted.select_nth_unstable(rank).1);
        }
    }

    /// What all but a few do not exceed; none before enough is known.
    pub(super) fn usual(&self) -> Option<Duration> {
        self.state.lock().usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_usual_before_enough_is_known() {
        let recent = Recent::new(0.9);
        (0..ENOUGH - 1).for_each(|_| recent.record(Duration::from_millis(3)));
        assert_eq!(recent.usual(), None);
        recent.record(Duration::from_millis(3));
        assert_eq!(recent.usual(), Some(Duration::from_millis(3)));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let recent = Recent::new(0.95);
        (0..REMEMBERED).for_each(|_| recent.record(Duration::from_secs(9)));
        (0..REMEMBERED).for_each(|_| recent.record(Duration::from_millis(1)));
        assert_eq!(recent.usual(), Some(Duration::from_millis(1)));
    }

    proptest! {
        #[test]
        fn as_many_exceed_it_as_the_quantile_says(
            latencies in proptest::collection::vec(0u64..1_000_000, REMEMBERED),
            quantile in 0.01f64..0.999,
        ) {
            let recent = Recent::new(quantile);
            latencies.iter().for_each(|&l| recent.record(Duration::from_nanos(l)));
            let usual = recent.usual().unwrap();
            let above = latencies.iter().filter(|&&l| Duration::from_nanos(l) > usual).count();
            prop_assert!(above as f64 <= REMEMBERED as f64 * (1.0 - quantile) + 1e-9);
            let below = latencies.iter().filter(|&&l| Duration::from_nanos(l) < usual).count();
            prop_assert!((below as f64) < REMEMBERED as f64 * quantile + 1e-9);
        }
    }
}
