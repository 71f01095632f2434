//! The best of several peers, without the luck of having been the best.
//!
//! Who was fastest of four in the same rounds that judge us was lucky in them, too: a peer against the best of four
//! copies of itself loses by percents, the more the fewer the rounds. So the best is chosen by one half of the
//! rounds, and the other half judges; then the reverse. All rounds judge, none by a peer that it helped to choose.
//! (The cross-fitting of Chernozhukov et al., "Double/debiased machine learning", 2018.)

use super::contest::Outcome;
use super::reading::{Reading, interval, median};

/// Ours, times the best peer's.
#[derive(Debug)]
pub(super) struct Share<'a> {
    /// Who was chosen: by the odd rounds, to be judged by in the even ones, and the reverse.
    pub(super) peers: [&'a str; 2],
    /// Of every round.
    ratios: Vec<f64>,
}

impl<'a> Share<'a> {
    /// By samples a second, round by round. None with less than two rounds, or nobody to choose.
    pub(super) fn of(ours: &Outcome, peers: &[&'a Outcome]) -> Option<Self> {
        let best_of = |half: usize| {
            let rate = |peer: &&Outcome| {
                let rates: Vec<_> =
                    every_other(&peer.readings, half).map(Reading::samples_per_second).collect();
                (!rates.is_empty()).then(|| median(rates))
            };
            let rated = peers.iter().copied().filter_map(|peer| Some((peer, rate(&peer)?)));
            rated.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(peer, _)| peer)
        };
        // Round 0 is even, to those who count from there.
        let chosen = [best_of(1)?, best_of(0)?];
        let judged = |half: usize| -> Vec<f64> {
            let pairs = every_other(&ours.readings, half).zip(every_other(&chosen[half].readings, half));
            pairs.map(ratio).collect()
        };
        let ratios = [judged(0), judged(1)].concat();
        Some(Share { peers: chosen.map(|peer| peer.name.as_str()), ratios })
    }

    /// The median, and between what it lies 95 times in 100.
    pub(super) fn median(&self) -> (f64, (f64, f64)) {
        (median(self.ratios.clone()), interval(self.ratios.clone()))
    }
}

/// The same against one peer alone.
pub(super) fn against(ours: &Outcome, peer: &Outcome) -> (f64, (f64, f64)) {
    let ratios: Vec<_> = ours.readings.iter().zip(&peer.readings).map(ratio).collect();
    (median(ratios.clone()), interval(ratios))
}

fn ratio((ours, peer): (&Reading, &Reading)) -> f64 {
    ours.samples_per_second() / peer.samples_per_second()
}

fn every_other(readings: &[Reading], first: usize) -> impl Iterator<Item = &Reading> {
    readings.iter().skip(first).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn outcome(name: &str, samples: impl IntoIterator<Item = u64>) -> Outcome {
        let one = |samples| Reading { samples, bytes: samples, seconds: 1.0, ..Reading::default() };
        Outcome { name: name.into(), readings: samples.into_iter().map(one).collect() }
    }

    #[test]
    fn each_half_is_judged_by_who_was_best_in_the_other() {
        // The best in rounds 0 and 2 is `a`, in 1 and 3 `b`.
        let (a, b) = (outcome("a", [100, 50, 100, 50]), outcome("b", [80, 100, 80, 100]));
        let share = Share::of(&outcome("ours", [40, 25, 40, 25]), &[&a, &b]).unwrap();
        assert_eq!(share.peers, ["b", "a"]);
        assert_eq!(share.ratios, [0.5, 0.5, 0.5, 0.5]);
        assert_eq!(share.median(), (0.5, (0.5, 0.5)));
    }

    #[test]
    fn one_round_cannot_choose_and_judge() {
        let one = outcome("a", [1]);
        assert!(Share::of(&one, &[&one]).is_none());
        assert!(Share::of(&one, &[]).is_none());
    }

    #[test]
    fn four_copies_of_ourselves_are_no_better_than_we_are() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut copy = |name: &str| outcome(name, (0..10).map(|_| random.random_range(900..1100)));
        let (mut fitted, mut naive) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            let (ours, peers) = (copy("ours"), ["a", "b", "c", "d"].map(&mut copy));
            let peers: Vec<_> = peers.iter().collect();
            fitted.push(Share::of(&ours, &peers).unwrap().median().0);
            let rate = |outcome: &Outcome| outcome.samples_per_second().median;
            naive.push(rate(&ours) / peers.iter().map(|peer| rate(peer)).fold(0.0, f64::max));
        }
        let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
        assert!((mean(&fitted) - 1.0).abs() < 0.005, "{}", mean(&fitted));
        assert!(mean(&naive) < 0.98, "{}", mean(&naive));
    }
}
