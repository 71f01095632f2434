//! Random numbers that are a pure function of where they stand: the draw at a place of an epoch is
//! known without the draws before it, so that a resume is exact and nothing is kept.
//!
//! Method: SplitMix64 read as a table (G. Steele, D. Lea and C. Flood, "Fast Splittable Pseudorandom
//! Number Generators", 2014): the finaliser over a Weyl sequence that starts where seed and epoch say.

use crate::permutation::{WEYL, mix, start};

/// The draws of one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Draws {
    start: u64,
}

/// Tells draws from the keys of a permutation.
const DRAWS: u64 = 0x2545_f491_4f6c_dd1d;

impl Draws {
    pub(crate) fn new(seed: u64, epoch: u64) -> Self {
        Draws { start: start(seed ^ DRAWS, epoch) }
    }

    /// 64 random bits that belong to `place`.
    #[inline]
    pub(crate) fn bits(&self, place: u64) -> u64 {
        mix(self.start.wrapping_add(WEYL.wrapping_mul(place.wrapping_add(1))))
    }

    /// Further bits of the same place, after those that are given.
    #[inline]
    pub(crate) fn further(bits: u64) -> u64 {
        mix(bits.wrapping_add(WEYL))
    }

    /// A number below `n`, all as likely to within n in 2^64 (D. Lemire, "Fast Random Integer
    /// Generation in an Interval", 2019, without the rejection that would make it exact).
    #[inline]
    pub(crate) fn below(&self, place: u64, n: u64) -> u64 {
        ((u128::from(self.bits(place)) * u128::from(n)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chi(cells: &[u64]) -> f64 {
        let expected = cells.iter().sum::<u64>() as f64 / cells.len() as f64;
        cells.iter().map(|&c| (c as f64 - expected).powi(2) / expected).sum()
    }

    /// χ² of single draws and of pairs of neighbouring ones: mean + 6 σ.
    #[test]
    fn draws_and_pairs_of_draws_are_uniform() {
        for (seed, epoch) in [(0, 0), (1, 0), (0, 1), (u64::MAX, 7)] {
            let draws = Draws::new(seed, epoch);
            let (mut single, mut pairs) = (vec![0; 1000], vec![0; 32 * 32]);
            for place in 0..300_000 {
                single[draws.below(place, 1000) as usize] += 1;
                pairs[(draws.below(place, 32) * 32 + draws.below(place + 1, 32)) as usize] += 1;
            }
            for cells in [single, pairs] {
                let freedom = (cells.len() - 1) as f64;
                let chi = chi(&cells);
                assert!((chi - freedom).abs() < 6.0 * (2.0 * freedom).sqrt(), "{seed} {epoch}: {chi}");
            }
        }
    }

    /// Kolmogorov-Smirnov against the uniform distribution, at a significance of one in a million.
    #[test]
    fn draws_fill_the_interval_evenly() {
        let draws = Draws::new(42, 0);
        let n = 100_000;
        let mut seen: Vec<f64> = (0..n).map(|place| draws.bits(place) as f64 / 2f64.powi(64)).collect();
        seen.sort_by(f64::total_cmp);
        let n = n as f64;
        let d = (0..).zip(&seen).fold(0f64, |d, (i, &x)| {
            d.max((f64::from(i + 1) / n - x).abs()).max((x - f64::from(i) / n).abs())
        });
        assert!(d * n.sqrt() < 2.7, "{d}");
    }

    #[test]
    fn seeds_and_epochs_draw_differently() {
        let first = |seed, epoch| Draws::new(seed, epoch).bits(0);
        assert_ne!(first(1, 0), first(0, 1));
        assert_ne!(first(0, 0), first(0, 1));
        assert_eq!(first(5, 5), first(5, 5));
    }
}
