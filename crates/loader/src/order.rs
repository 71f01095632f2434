//! The order of one epoch over the whole dataset: which sample stands at which place. A pure function
//! of options, seed and epoch, known at any place at once, in a few words of memory.

use crate::draws::Draws;
use crate::window::{Window, anywhere};
use crate::zipf::Zipf;
use crate::{IndexMode, LoaderOptions, Permutation};

/// How far an order carries samples from where they stand in the dataset, in places. What is carried
/// far is well mixed, and is read from all over the storage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Displacement {
    /// The expected mean over all places.
    pub mean: f64,
    /// The most that is possible.
    pub max: u64,
}

/// See the module's words.
#[derive(Debug, Clone)]
pub struct Order {
    total: u64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Listed,
    Shuffled(Permutation),
    Windowed(Window),
    Uniform(Draws),
    /// Ranks of popularity, and which sample has which.
    Zipfian(Zipf, Draws, Permutation),
}

/// In place of an epoch: which samples are popular is the same in all of them.
const POPULARITY: u64 = 0xa076_1d64_78bd_642f;

impl Order {
    /// The order of `total` samples that the options say for `epoch`: `shuffle`, `shuffle_window`,
    /// `random_index_mode` and `seed`.
    pub fn new(total: u64, epoch: u64, options: &LoaderOptions) -> Self {
        let seed = options.seed;
        let kind = match (options.random_index_mode, options.shuffle, options.shuffle_window) {
            (IndexMode::Uniform, ..) => Kind::Uniform(Draws::new(seed, epoch)),
            (IndexMode::Zipfian(theta), ..) => Kind::Zipfian(
                Zipf::new(total, theta),
                Draws::new(seed, epoch),
                Permutation::new(total, seed ^ POPULARITY, POPULARITY),
            ),
            (IndexMode::None, false, _) => Kind::Listed,
            (IndexMode::None, true, None) => Kind::Shuffled(Permutation::new(total, seed, epoch)),
            (IndexMode::None, true, Some(length)) => {
                Kind::Windowed(Window::new(total, length.get(), seed, epoch))
            }
        };
        Order { total, kind }
    }

    /// What makes this order this order, beside seed and epoch: equal for two that are the same.
    pub(crate) fn name(options: &LoaderOptions) -> String {
        match (options.random_index_mode, options.shuffle, options.shuffle_window) {
            (IndexMode::None, false, _) => "listed".to_owned(),
            (IndexMode::None, true, None) => "shuffled".to_owned(),
            (IndexMode::None, true, Some(length)) => format!("shuffled in windows of {length}"),
            (mode, ..) => mode.to_string(),
        }
    }

    /// Whether the seed makes a difference.
    pub(crate) fn is_random(options: &LoaderOptions) -> bool {
        options.shuffle || options.random_index_mode != IndexMode::None
    }

    /// How many places there are.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The id of the sample at `place`.
    ///
    /// # Panics
    /// If `place` is not below [`Order::len`].
    #[inline]
    pub fn at(&self, place: u64) -> u64 {
        assert!(place < self.total, "place {place} of {}", self.total);
        match &self.kind {
            Kind::Listed => place,
            Kind::Shuffled(permutation) => permutation.at(place),
            Kind::Windowed(window) => window.at(place),
            Kind::Uniform(draws) => draws.below(place, self.total),
            Kind::Zipfian(zipf, draws, popular) => popular.at(zipf.at(draws, place)),
        }
    }

    /// Puts in place of each place the id of the sample that is there: as [`Order::at`], in less time.
    ///
    /// # Panics
    /// If a place is not below [`Order::len`].
    pub fn resolve(&self, places: &mut [u64]) {
        if let Some(beyond) = places.iter().find(|place| **place >= self.total) {
            panic!("place {beyond} of {}", self.total);
        }
        match &self.kind {
            Kind::Listed => {}
            Kind::Shuffled(permutation) => permutation.resolve(places),
            Kind::Windowed(window) => window.resolve(places),
            Kind::Uniform(draws) => {
                for place in places {
                    *place = draws.below(*place, self.total);
                }
            }
            Kind::Zipfian(zipf, draws, popular) => {
                for place in places.iter_mut() {
                    *place = zipf.at(draws, *place);
                }
                popular.resolve(places);
            }
        }
    }

    /// How far it carries samples: 0 for none, `n/3` for a full shuffle of n, and for a window of n
    /// `13n/24` away from the ends of the dataset. None for draws with replacement, which have no place
    /// to be carried from.
    pub fn displacement(&self) -> Option<Displacement> {
        match &self.kind {
            Kind::Listed => Some(Displacement { mean: 0.0, max: 0 }),
            Kind::Shuffled(_) => Some(anywhere(self.total)),
            Kind::Windowed(window) => Some(window.displacement()),
            Kind::Uniform(_) | Kind::Zipfian(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::num::NonZeroU64;

    fn options(mode: &str, seed: u64) -> LoaderOptions {
        LoaderOptions { random_index_mode: mode.parse().unwrap(), seed, ..Default::default() }
    }

    fn popular(order: &Order, draws: u64) -> u64 {
        let mut counts = BTreeMap::<u64, u64>::new();
        for place in 0..draws {
            *counts.entry(order.at(place)).or_default() += 1;
        }
        *counts.iter().max_by_key(|(_, count)| **count).unwrap().0
    }

    #[test]
    fn the_popular_sample_is_that_of_the_seed_in_every_epoch() {
        let of = |seed, epoch| popular(&Order::new(100_000, epoch, &options("zipfian:1.2", seed)), 2000);
        assert_eq!(of(1, 0), of(1, 1));
        assert_ne!(of(1, 0), of(2, 0));
        let [first, second] = [0, 1].map(|epoch| {
            let order = Order::new(1000, epoch, &options("zipfian", 1));
            (0..100).map(|place| order.at(place)).collect::<Vec<_>>()
        });
        assert_ne!(first, second, "but it is drawn at other places");
    }

    #[test]
    fn a_full_shuffle_carries_a_sample_a_third_of_the_dataset() {
        let shuffled = LoaderOptions { shuffle: true, ..Default::default() };
        let order = Order::new(9999, 1, &shuffled);
        let expected = order.displacement().unwrap();
        assert_eq!(expected.max, 9998);
        let mean = (0..9999).map(|place| order.at(place).abs_diff(place)).sum::<u64>() as f64 / 9999.0;
        assert!((mean / expected.mean - 1.0).abs() < 0.02, "{mean} for {}", expected.mean);
        assert_eq!(Order::new(10, 0, &options("uniform", 0)).displacement(), None);
    }

    #[test]
    fn intensity_goes_from_none_to_full() {
        let mean = |window: Option<u64>, shuffle| {
            let shuffle_window = window.and_then(NonZeroU64::new);
            let options = LoaderOptions { shuffle, shuffle_window, ..Default::default() };
            Order::new(100_000, 0, &options).displacement().unwrap().mean
        };
        let means = [mean(None, false), mean(Some(10), true), mean(Some(1000), true), mean(None, true)];
        assert!(
            means.is_sorted() && means[0] == 0.0 && (means[3] - 100_000.0 / 3.0).abs() < 1.0,
            "{means:?}"
        );
    }

    #[test]
    fn no_order_needs_memory_that_grows() {
        assert!(std::mem::size_of::<Order>() < 512);
    }
}
