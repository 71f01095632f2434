//! A shuffle that carries no sample far: what is read together stays near each other, as a buffer of
//! `n` samples would leave it, but without the buffer.
//!
//! The order is cut into windows of `n` places, each of which is permuted; then once more with the cuts
//! moved by half a window, so that no cut stays one. Both passes are keyed permutations, so the sample
//! at any place is known at once and nothing is kept.
//!
//! **How far.** A sample of the first pass is anywhere in its window, and after the second anywhere in
//! the two moved windows that the first one meets. Away from both ends the sample at a place was
//! uniformly one of `2n`, of which the place is in the middle half, which gives a mean displacement of
//! `13n/24` and never `3n/2`. [`Window::displacement`] is exact at the ends, too.

use crate::Displacement;
use crate::permutation::{Domain, Keys, mix};
use std::ops::Range;

/// See the module's words.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    total: u64,
    /// The length of a whole window.
    length: u64,
    whole: Domain,
    first: Keys,
    second: Keys,
}

/// So many places are resolved side by side: enough to keep a core busy, on the stack.
const SOME: usize = 64;

/// Tells the keys of the second pass from those of the first.
const SECOND: u64 = 0x5851_f42d_4c95_7f2d;

impl Window {
    pub(crate) fn new(total: u64, length: u64, seed: u64, epoch: u64) -> Self {
        let length = length.clamp(1, total.max(1));
        let whole = Domain::new(length);
        Window {
            total,
            length,
            whole,
            first: Keys::new(seed, epoch),
            second: Keys::new(seed ^ SECOND, epoch),
        }
    }

    /// The sample at `place`, which must be below the total.
    #[inline]
    pub(crate) fn at(&self, place: u64) -> u64 {
        let (block, window) = self.moved(place);
        let between = self.permuted(&self.second, block, window, place);
        let (block, window) = self.unmoved(between);
        self.permuted(&self.first, block, window, between)
    }

    /// How many samples, from the first on, must be there for the one at `place` to be certain.
    pub(crate) fn reach(&self, place: u64) -> u64 {
        let (_, window) = self.moved(place);
        let (_, from) = self.unmoved(window.end - 1);
        from.end
    }

    #[inline]
    fn permuted(&self, keys: &Keys, block: u64, window: Range<u64>, place: u64) -> u64 {
        let length = window.end - window.start;
        if length <= 1 {
            return place;
        }
        let (tweak, within) = (mix(block + 1), place - window.start);
        let within = match length == self.whole.len() {
            true => keys.at(&self.whole, tweak, within),
            false => keys.at(&Domain::new(length), tweak, within),
        };
        window.start + within
    }

    /// Puts in place of each place, all of them below the total, the sample that is there.
    pub(crate) fn resolve(&self, places: &mut [u64]) {
        if self.length <= 1 {
            return;
        }
        for some in places.chunks_mut(SOME) {
            self.pass(&self.second, Self::moved, some);
            self.pass(&self.first, Self::unmoved, some);
        }
    }

    /// One pass over some places, at most [`SOME`]: their rounds run side by side.
    fn pass(&self, keys: &Keys, around: fn(&Self, u64) -> (u64, Range<u64>), places: &mut [u64]) {
        let mut windows = [(0, 0); SOME];
        let (mut block, mut window) = around(self, places[0]);
        let mut tweak = mix(block + 1);
        for (place, kept) in places.iter_mut().zip(&mut windows) {
            if !window.contains(place) {
                (block, window) = around(self, *place);
                tweak = mix(block + 1);
            }
            *kept = (window.start, tweak);
            *place = match window.end - window.start == self.length {
                true => keys.scramble(&self.whole, tweak, *place - window.start),
                // Once at each end of the dataset. What comes out is below a whole window's length.
                false => self.permuted(keys, block, window.clone(), *place) - window.start,
            };
        }
        for (place, (start, tweak)) in places.iter_mut().zip(windows) {
            while *place >= self.length {
                *place = keys.scramble(&self.whole, tweak, *place);
            }
            *place += start;
        }
    }

    /// Number and places of the first pass's window around a place.
    #[inline]
    fn unmoved(&self, place: u64) -> (u64, Range<u64>) {
        let block = place / self.length;
        let start = block * self.length;
        (block, start..start.saturating_add(self.length).min(self.total))
    }

    /// Number and places of the second pass's window around a place.
    #[inline]
    fn moved(&self, place: u64) -> (u64, Range<u64>) {
        let half = self.length / 2;
        if place < half {
            return (0, 0..half);
        }
        let block = (place - half) / self.length;
        let start = half + block * self.length;
        (block + 1, start..start.saturating_add(self.length).min(self.total))
    }

    /// How far samples are from where they would be unshuffled.
    pub(crate) fn displacement(&self) -> Displacement {
        let mut sum = Displacement { mean: 0.0, max: 0 };
        if self.total == 0 {
            return sum;
        }
        // Of the moved windows all but the first and the last few are alike.
        let alike = (self.total / self.length).saturating_sub(1);
        let half = self.length / 2;
        let mut start = 0;
        while start < self.total {
            let (block, window) = self.moved(start);
            let times = if block == 1 && alike > 0 { alike } else { 1 };
            let (of_window, max) = self.of_moved(&window);
            sum.mean += of_window * times as f64;
            sum.max = sum.max.max(max);
            start = match block {
                1 if alike > 0 => {
                    (half as u128 + self.length as u128 * alike as u128).min(self.total as u128) as u64
                }
                _ => window.end,
            };
        }
        sum.mean /= self.total as f64;
        sum
    }

    /// The sum over the places of a moved window of their expected displacement, and the greatest.
    fn of_moved(&self, window: &Range<u64>) -> (f64, u64) {
        let (mut sum, mut max, mut place) = (0.0, 0, window.start);
        while place < window.end {
            let (_, from) = self.unmoved(place);
            let shared = from.end.min(window.end) - place;
            sum += shared as f64 * mean_distance(window, &from);
            max = max.max(from.end.abs_diff(window.start + 1)).max(window.end.abs_diff(from.start + 1));
            place = from.end;
        }
        (sum, max)
    }
}

/// The mean of |x - y| with x and y each uniform in a range. Neither is empty.
///
/// |z| is the second difference of (|z|³ - |z|)/6, so the double sum comes down to its four corners.
fn mean_distance(one: &Range<u64>, other: &Range<u64>) -> f64 {
    let corner = |z: i128| {
        let z = z.unsigned_abs() as f64;
        (z * z * z - z) / 6.0
    };
    let apart = one.start as i128 - other.start as i128;
    let (l, m) = (i128::from(one.end - one.start), i128::from(other.end - other.start));
    let sum = corner(apart + l) + corner(apart - m) - corner(apart) - corner(apart + l - m);
    sum / (l as f64 * m as f64)
}

/// The displacement of a shuffle without windows: every sample may be anywhere.
pub(crate) fn anywhere(total: u64) -> Displacement {
    let all = 0..total;
    Displacement {
        mean: if total == 0 { 0.0 } else { mean_distance(&all, &all) },
        max: total.saturating_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_sample_comes_once_and_none_goes_far(total in 1u64..2000, length in 1u64..2500, seed: u64, epoch: u64) {
            let window = Window::new(total, length, seed, epoch);
            let far = window.displacement().max;
            prop_assert!(far < length.min(total) * 3 / 2 + 1);
            let mut seen = vec![false; total as usize];
            for place in 0..total {
                let id = window.at(place);
                prop_assert!(!std::mem::replace(&mut seen[id as usize], true));
                prop_assert!(id.abs_diff(place) <= far, "{id} at {place}, bound {far}");
            }
            let mut all: Vec<_> = (0..total).collect();
            window.resolve(&mut all);
            prop_assert!((0..total).map(|place| window.at(place)).eq(all), "all together as one by one");
        }

        #[test]
        fn the_mean_distance_is_that_of_all_pairs(a in 0u64..30, l in 1u64..20, b in 0u64..30, m in 1u64..20) {
            let all: u64 = (a..a + l).flat_map(|x| (b..b + m).map(move |y| x.abs_diff(y))).sum();
            let mean = mean_distance(&(a..a + l), &(b..b + m));
            prop_assert!((mean - all as f64 / (l * m) as f64).abs() < 1e-9);
        }

        #[test]
        fn the_largest_totals_work(total in u64::MAX / 2..=u64::MAX, length in 1u64..=u64::MAX, at: u64) {
            let window = Window::new(total, length, 1, 1);
            prop_assert!(window.at(at % total) < total);
            prop_assert!(window.displacement().mean.is_finite());
        }
    }

    /// What is promised is what is seen: over many seeds the mean displacement is the expected one,
    /// within four standard errors.
    #[test]
    fn the_expected_displacement_is_that_of_the_order() {
        for (total, length) in
            [(1000, 10), (1000, 100), (1000, 333), (1007, 64), (50, 400), (10, 1), (999, 999)]
        {
            let means: Vec<f64> = (0..200)
                .map(|seed| {
                    let window = Window::new(total, length, seed, 3);
                    (0..total).map(|place| window.at(place).abs_diff(place)).sum::<u64>() as f64
                        / total as f64
                })
                .collect();
            let mean = means.iter().sum::<f64>() / means.len() as f64;
            let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (means.len() - 1) as f64;
            let error = (variance / means.len() as f64).sqrt();
            let expected = Window::new(total, length, 0, 0).displacement().mean;
            assert!((mean - expected).abs() <= 4.0 * error + 1e-9, "{total} {length}: {mean} for {expected}");
        }
    }

    #[test]
    fn a_window_carries_a_sample_about_half_of_it() {
        let mean = Window::new(100_000_000, 10_000, 0, 0).displacement().mean;
        assert!((mean / (10_000.0 * 13.0 / 24.0) - 1.0).abs() < 1e-3, "{mean}");
        assert_eq!(Window::new(100, 1, 0, 0).displacement(), Displacement { mean: 0.0, max: 0 });
        let all = Window::new(1000, 5000, 0, 0).displacement();
        assert!((all.mean - anywhere(1000).mean).abs() < 1e-9, "a window over everything is no window");
    }

    /// Where the sample of a place comes from, over many seeds: uniform over its two windows (χ², mean + 6 σ).
    #[test]
    fn every_sample_within_reach_is_as_likely() {
        let (total, length, place) = (64, 16, 29);
        let draws = 40_000;
        let mut cells = vec![0u32; total as usize];
        for seed in 0..draws {
            cells[Window::new(total, length, seed, 0).at(place) as usize] += 1;
        }
        // Place 29 is in the moved window 24..40, which meets the windows 16..32 and 32..48.
        let (inside, outside) = (&cells[16..48], cells[..16].iter().chain(&cells[48..]));
        assert_eq!(outside.sum::<u32>(), 0);
        let expected = draws as f64 / 32.0;
        let chi: f64 = inside.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum();
        assert!(chi < 31.0 + 6.0 * 62f64.sqrt(), "{chi}");
    }

    /// The permutations of neighbouring windows have nothing to do with each other.
    #[test]
    fn no_two_windows_are_shuffled_alike() {
        let window = Window::new(10_000, 100, 5, 0);
        let of = |block: u64| {
            (0..100)
                .map(|i| {
                    window.permuted(&window.first, block, block * 100..block * 100 + 100, block * 100 + i)
                        % 100
                })
                .collect::<Vec<_>>()
        };
        let alike: usize =
            (0..99).map(|block| of(block).iter().zip(of(block + 1)).filter(|(a, b)| **a == *b).count()).sum();
        // One in each pair on average; the sum is Poisson with mean 99.
        assert!((40..160).contains(&alike), "{alike}");
    }
}
