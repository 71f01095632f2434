//! Popularity by Zipf's law: the k-th most popular of `n` is drawn with a probability proportional to
//! k^-θ, without a table of the `n` probabilities.
//!
//! Method: rejection-inversion (W. Hörmann and G. Derflinger, "Rejection-Inversion to Generate Variates
//! from Monotone Discrete Distributions", 1996). A draw from the continuous density x^-θ is inverted in
//! closed form and rounded; what the rounding made too likely is rejected, less than one draw in four
//! for any θ.

use crate::Theta;
use crate::draws::Draws;

/// See the module's words.
#[derive(Debug, Clone)]
pub(crate) struct Zipf {
    n: u64,
    theta: f64,
    /// 1 - θ.
    q: f64,
    /// The range of what is inverted: from `low`, so wide.
    low: f64,
    width: f64,
    /// Roundings up by no more than this are never rejected.
    sure: f64,
}

impl Zipf {
    /// Ranks `0..n`, of which there is one at least.
    pub(crate) fn new(n: u64, theta: Theta) -> Self {
        let theta = theta.get();
        let mut zipf = Zipf { n: n.max(1), theta, q: 1.0 - theta, low: 0.0, width: 0.0, sure: 0.0 };
        zipf.low = zipf.area(1.5) - 1.0;
        zipf.width = zipf.area(zipf.n as f64 + 0.5) - zipf.low;
        zipf.sure = 2.0 - zipf.inverse(zipf.area(2.5) - zipf.density(2.0));
        zipf
    }

    /// The rank that is drawn at `place`, 0 the most popular.
    #[inline]
    pub(crate) fn at(&self, draws: &Draws, place: u64) -> u64 {
        let mut bits = draws.bits(place);
        loop {
            // 53 bits are what a double holds.
            let u = self.low + self.width * ((bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64));
            let x = self.inverse(u);
            let k = (x + 0.5).floor().clamp(1.0, self.n as f64);
            if k - x <= self.sure || u >= self.area(k + 0.5) - self.density(k) {
                return (k as u64 - 1).min(self.n - 1);
            }
            bits = Draws::further(bits);
        }
    }

    fn density(&self, x: f64) -> f64 {
        x.powf(-self.theta)
    }

    /// The integral of the density from 1 to x: (x^q - 1) / q, or ln x.
    fn area(&self, x: f64) -> f64 {
        match self.q == 0.0 {
            true => x.ln(),
            // By exp_m1, so that a θ next to 1 does not cancel.
            false => (self.q * x.ln()).exp_m1() / self.q,
        }
    }

    /// The x up to which the area is `area`.
    #[inline]
    fn inverse(&self, area: f64) -> f64 {
        // Next to 1 the sum below would lose what tells it from 1; elsewhere its logarithm is cheaper.
        if self.q == 0.0 {
            area.exp()
        } else if self.q.abs() < 1e-3 {
            ((self.q * area).ln_1p() / self.q).exp()
        } else {
            ((1.0 + self.q * area).ln() / self.q).exp()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probabilities(n: u64, theta: f64) -> Vec<f64> {
        let weights: Vec<f64> = (1..=n).map(|k| (k as f64).powf(-theta)).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum).collect()
    }

    fn counts(n: u64, theta: f64, draws: u64) -> Vec<u64> {
        let zipf = Zipf::new(n, Theta::new(theta).unwrap());
        let bits = Draws::new(7, 1);
        let mut counts = vec![0; n as usize];
        for place in 0..draws {
            counts[zipf.at(&bits, place) as usize] += 1;
        }
        counts
    }

    /// χ² against the law itself, with rare ranks put together: mean + 6 σ.
    #[test]
    fn ranks_come_as_often_as_the_law_says() {
        let draws = 100_000;
        for theta in [0.0, 0.2, 0.5, 0.9, 0.99, 0.9999, 1.0, 1.0001, 1.2, 1.5, 2.0] {
            for n in [1, 2, 3, 10, 1000, 20_000] {
                let (mut chi, mut cells, mut expected, mut seen) = (0.0, 0u32, 0.0, 0.0);
                for (p, count) in probabilities(n, theta).into_iter().zip(counts(n, theta, draws)) {
                    expected += p * draws as f64;
                    seen += count as f64;
                    if expected >= 20.0 {
                        chi += (seen - expected).powi(2) / expected;
                        (cells, expected, seen) = (cells + 1, 0.0, 0.0);
                    }
                }
                let freedom = f64::from(cells.saturating_sub(1)).max(1.0);
                assert!(
                    chi < freedom + 6.0 * (2.0 * freedom).sqrt(),
                    "theta {theta}, n {n}: {chi} of {freedom}"
                );
            }
        }
    }

    /// Kolmogorov-Smirnov against the cumulated law, at a significance of one in a million (on a
    /// discrete law the test is stricter than that still).
    #[test]
    fn the_cumulated_law_is_followed() {
        let draws = 100_000u64;
        for theta in [0.0, 0.5, 0.99, 1.0, 1.3, 2.0] {
            let n = 100_000;
            let (mut d, mut law, mut seen) = (0f64, 0.0, 0);
            for (p, count) in probabilities(n, theta).into_iter().zip(counts(n, theta, draws)) {
                law += p;
                seen += count;
                d = d.max((law - seen as f64 / draws as f64).abs());
            }
            assert!(d * (draws as f64).sqrt() < 2.7, "theta {theta}: {d}");
        }
    }

    #[test]
    fn huge_spaces_are_drawn_from_at_once() {
        for theta in [0.0, 0.5, 1.0, 2.0] {
            let zipf = Zipf::new(u64::MAX, Theta::new(theta).unwrap());
            let draws = Draws::new(1, 1);
            let most = (0..10_000).map(|place| zipf.at(&draws, place)).max().unwrap();
            assert!(most > 100, "theta {theta}: {most}");
        }
    }
}
