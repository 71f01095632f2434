//! Which samples this rank reads, in which order, from where the epoch was left.
//!
//! The samples of an epoch stand in one global order: places `0..n`. Of the places that are left,
//! rank r of w takes the r-th, the (r+w)-th, and so on. So shards are disjoint and complete, their
//! lengths differ by at most one, and when every rank has taken k samples exactly the places before
//! `start + k·w` are gone, which is why one number resumes an epoch at any world size.

use crate::Permutation;

/// The order of one epoch on one rank. Needs no memory that grows with the dataset.
#[derive(Debug, Clone)]
pub struct Sampler {
    shuffled: Option<Permutation>,
    total: u64,
    start: u64,
    rank: u64,
    world: u64,
}

impl Sampler {
    /// The sampler of `rank` (below `world`) for `total` samples of which the first `start` places
    /// are done. With `shuffle`, a seed and an epoch give the order; without, it is that of the
    /// dataset.
    pub fn new(total: u64, start: u64, rank: u64, world: u64, shuffle: Option<(u64, u64)>) -> Self {
        assert!(rank < world, "rank {rank} of {world}");
        let shuffled = shuffle.map(|(seed, epoch)| Permutation::new(total, seed, epoch));
        Sampler { shuffled, total, start: start.min(total), rank, world }
    }

    /// How many samples are left for this rank.
    pub fn len(&self) -> u64 {
        (self.total - self.start).saturating_sub(self.rank).div_ceil(self.world)
    }

    /// Whether none is left for this rank.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of the `k`-th sample that is left for this rank.
    ///
    /// # Panics
    /// If `k` is not below [`Sampler::len`].
    pub fn id(&self, k: u64) -> u64 {
        let place = self.start + k * self.world + self.rank;
        match &self.shuffled {
            Some(permutation) => permutation.at(place),
            None => {
                assert!(place < self.total, "place {place} of {}", self.total);
                place
            }
        }
    }

    /// How many places are done once every rank has taken `k` more.
    pub fn place_after(&self, k: u64) -> u64 {
        (self.start + k * self.world).min(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(total: u64, start: u64, world: u64, shuffle: Option<(u64, u64)>) -> Vec<Vec<u64>> {
        (0..world)
            .map(|rank| {
                let sampler = Sampler::new(total, start, rank, world, shuffle);
                (0..sampler.len()).map(|k| sampler.id(k)).collect()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn shards_are_disjoint_complete_and_even(total in 0u64..500, world in 1u64..9, seed: u64, shuffle: bool) {
            let shards = ids(total, 0, world, shuffle.then_some((seed, 1)));
            let lengths: Vec<_> = shards.iter().map(Vec::len).collect();
            prop_assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1);
            let mut all = shards.concat();
            all.sort();
            prop_assert_eq!(all, (0..total).collect::<Vec<_>>());
        }

        /// Every rank of `world` takes k samples; then `other` ranks go on: together they read
        /// everything once.
        #[test]
        fn resume_reads_what_was_left(total in 1u64..500, world in 1u64..9, other in 1u64..9, k in 0u64..80, seed: u64) {
            let shuffle = Some((seed, 0));
            let before = ids(total, 0, world, shuffle);
            let place = Sampler::new(total, 0, 0, world, shuffle).place_after(k);
            let mut all: Vec<u64> = before.iter().flat_map(|s| s.iter().take(k as usize)).copied().collect();
            all.extend(ids(total, place, other, shuffle).concat());
            all.sort();
            prop_assert_eq!(all, (0..total).collect::<Vec<_>>());
        }
    }
}
