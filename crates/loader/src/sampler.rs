//! Which samples this rank reads, in which order, from where the epoch was left.
//!
//! The samples of an epoch stand in one global [`Order`]: places `0..n`. Of the places that are [left](Left),
//! rank r of w takes the r-th, the (r+w)-th, and so on. So shards are disjoint and complete, their
//! lengths differ by at most one, and when every rank has taken k samples exactly the first `k·w` of them
//! are gone, which is why one number resumes an epoch at any world size.
//!
//! What does not divide evenly among the ranks is theirs by [`Remainder`]: some get one more; or the
//! last places, fewer than there are ranks, are left out; or places from the front come once more.

use crate::left::Left;
use crate::{LoaderOptions, Order, Remainder};
use std::ops::Range;

/// The order of one epoch on one rank. Needs no memory that grows with the dataset.
#[derive(Debug, Clone)]
pub struct Sampler {
    order: Order,
    left: Left,
    /// How many of the places that are left some rank takes; more than there are where the order is padded.
    end: u64,
    rank: u64,
    world: u64,
}

impl Sampler {
    /// The sampler of rank `shard_rank` of `shard_world_size` for an epoch over `total` samples, of
    /// whose order the first `start` places are done.
    ///
    /// # Panics
    /// If the rank is not below the world size; see [`LoaderOptions::validate`].
    pub fn new(total: u64, epoch: u64, start: u64, options: &LoaderOptions) -> Self {
        Self::of(total, epoch, Left::from(start.min(total)), options)
    }

    /// The sampler of a rank's part of what is left, which all ranks share out among them.
    pub(crate) fn of(total: u64, epoch: u64, left: Left, options: &LoaderOptions) -> Self {
        let (rank, world) = (options.shard_rank as u64, options.shard_world_size as u64);
        assert!(rank < world, "rank {rank} of {world}");
        let all = left.len(total);
        let end = match options.shard_remainder {
            Remainder::Uneven => all,
            Remainder::Drop => all / world * world,
            Remainder::Pad => all.div_ceil(world).saturating_mul(world),
        };
        Sampler { order: Order::new(total, epoch, options), left, end, rank, world }
    }

    /// The sampler of all that is left before the place `end`: of what was one rank's part before.
    pub(crate) fn of_own(total: u64, epoch: u64, left: Left, end: u64, options: &LoaderOptions) -> Self {
        let end = left.len(end);
        Sampler { order: Order::new(total, epoch, options), left, end, rank: 0, world: 1 }
    }

    /// The order that it is a part of.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// How many samples are left for this rank.
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.rank).div_ceil(self.world)
    }

    /// How many samples are left for the rank that has most of them: the first.
    pub(crate) fn longest(&self) -> u64 {
        self.end.div_ceil(self.world)
    }

    /// Whether none is left for this rank.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of the `k`-th sample that is left for this rank.
    ///
    /// # Panics
    /// If `k` is not below [`Sampler::len`].
    #[inline]
    pub fn id(&self, k: u64) -> u64 {
        self.order.at(self.place(k))
    }

    /// The ids of the `k`-th samples that are left for this rank, for each k of a range: those of a batch.
    ///
    /// # Panics
    /// If the range goes beyond [`Sampler::len`].
    pub fn ids(&self, range: Range<u64>) -> Box<[u64]> {
        let mut ids: Box<[u64]> = range.map(|k| self.place(k)).collect();
        self.order.resolve(&mut ids);
        ids
    }

    #[inline]
    fn place(&self, k: u64) -> u64 {
        let v = self.nth(k);
        assert!(v < self.end, "place {v} of the {} that are left", self.end);
        let place = self.left.place(v);
        // Only what pads is beyond the order's end.
        if place < self.order.len() { place } else { place % self.order.len() }
    }

    /// Which of the places that are left this rank's `k`-th one is.
    #[inline]
    fn nth(&self, k: u64) -> u64 {
        k * self.world + self.rank
    }

    /// How many samples of this rank come before all overtaken ones of an earlier run are done.
    pub(crate) fn in_pieces(&self) -> u64 {
        self.left.in_pieces().saturating_sub(self.rank).div_ceil(self.world).min(self.len())
    }

    /// What all ranks have left once each has taken `k` more.
    pub(crate) fn left_after(&self, k: u64) -> Left {
        let all = self.left.len(self.order.len());
        self.left.after(k.saturating_mul(self.world).min(all), all, 1, Vec::new())
    }

    /// What this rank has left once it has taken its first `k` but for some ranges of them.
    pub(crate) fn own_after(&self, k: u64, but_for: impl Iterator<Item = Range<u64>>) -> Left {
        let mut gaps = Vec::new();
        for range in but_for {
            self.left.cut(self.nth(range.start), self.nth(range.end).min(self.end), self.world, &mut gaps);
        }
        self.left.after(self.nth(k), self.end, self.world, gaps)
    }

    /// The place before which its samples end, but for those in pieces.
    pub(crate) fn own_end(&self) -> u64 {
        self.left.place(self.end.max(self.left.in_pieces()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IndexMode;
    use proptest::prelude::*;
    use std::num::NonZeroU64;

    /// The samples of each rank of `world`, from `start` on.
    fn ids(total: u64, start: u64, world: u64, options: &LoaderOptions) -> Vec<Vec<u64>> {
        (0..world as usize)
            .map(|shard_rank| {
                let options =
                    LoaderOptions { shard_rank, shard_world_size: world as usize, ..options.clone() };
                let sampler = Sampler::new(total, 1, start, &options);
                let ids: Vec<_> = (0..sampler.len()).map(|k| sampler.id(k)).collect();
                assert_eq!(*ids, *sampler.ids(0..sampler.len()), "one by one and all together");
                ids
            })
            .collect()
    }

    fn place_after(total: u64, world: u64, k: u64, options: &LoaderOptions) -> u64 {
        let options = LoaderOptions { shard_world_size: world as usize, ..options.clone() };
        Sampler::new(total, 1, 0, &options).left_after(k).tail
    }

    fn sorted(mut ids: Vec<u64>) -> Vec<u64> {
        ids.sort();
        ids
    }

    /// Orders that visit each sample once.
    fn orders() -> impl Strategy<Value = LoaderOptions> {
        (any::<u64>(), any::<bool>(), prop::option::of(1u64..600)).prop_map(|(seed, shuffle, window)| {
            let shuffle_window = window.and_then(NonZeroU64::new).filter(|_| shuffle);
            LoaderOptions { seed, shuffle, shuffle_window, ..Default::default() }
        })
    }

    proptest! {
        #[test]
        fn shards_are_disjoint_complete_and_even(total in 0u64..500, world in 1u64..9, options in orders()) {
            let shards = ids(total, 0, world, &options);
            let lengths: Vec<_> = shards.iter().map(Vec::len).collect();
            prop_assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1);
            prop_assert_eq!(sorted(shards.concat()), (0..total).collect::<Vec<_>>());
        }

        /// Every rank of `world` takes k samples; then `other` ranks go on: together they read
        /// everything once.
        #[test]
        fn resume_reads_what_was_left(
            total in 1u64..500, world in 1u64..9, other in 1u64..9, k in 0u64..80, options in orders(),
        ) {
            let place = place_after(total, world, k, &options);
            let taken = ids(total, 0, world, &options).into_iter().flat_map(|ids| ids.into_iter().take(k as usize));
            let mut all: Vec<u64> = taken.collect();
            all.extend(ids(total, place, other, &options).concat());
            prop_assert_eq!(sorted(all), (0..total).collect::<Vec<_>>());
        }

        /// Draws too: whoever goes on draws what would have been drawn.
        #[test]
        fn resume_draws_what_was_left(
            total in 1u64..500, world in 1u64..9, other in 1u64..9, k in 0u64..80, seed: u64, skewed: bool,
        ) {
            let mode = if skewed { "zipfian:1.1" } else { "uniform" };
            let random_index_mode: IndexMode = mode.parse().unwrap();
            let options = LoaderOptions { random_index_mode, seed, ..Default::default() };
            let place = place_after(total, world, k, &options);
            let taken = ids(total, 0, world, &options).into_iter().flat_map(|ids| ids.into_iter().take(k as usize));
            let mut all: Vec<u64> = taken.collect();
            all.extend(ids(total, place, other, &options).concat());
            prop_assert_eq!(sorted(all), sorted(ids(total, 0, 1, &options).concat()));
        }

        /// `drop` leaves out the last places of the order and `pad` repeats the first ones: fewer than
        /// there are ranks, also after a resume; and every rank gets as many.
        #[test]
        fn remainders_are_dropped_or_padded(
            total in 0u64..500, start in 0u64..500, world in 1u64..9, options in orders(),
        ) {
            let start = start.min(total);
            let uneven = ids(total, start, 1, &options).concat();
            let of = |shard_remainder| ids(total, start, world, &LoaderOptions { shard_remainder, ..options.clone() });
            let (dropped, padded) = (of(Remainder::Drop), of(Remainder::Pad));
            for shards in [&dropped, &padded] {
                prop_assert!(shards.iter().all(|shard| shard.len() == shards[0].len()));
            }
            let kept = uneven.len() - uneven.len() % world as usize;
            prop_assert_eq!(sorted(dropped.concat()), sorted(uneven[..kept].to_vec()));
            let again = padded.concat().len() - uneven.len();
            prop_assert!(again < world as usize);
            let front = ids(total, 0, 1, &options).concat();
            let all = uneven.into_iter().chain(front.into_iter().cycle().take(again)).collect();
            prop_assert_eq!(sorted(padded.concat()), sorted(all));
        }
    }

    #[test]
    fn more_ranks_than_samples_is_no_trouble() {
        for (remainder, lengths) in
            [(Remainder::Uneven, [1, 1, 0, 0, 0]), (Remainder::Drop, [0; 5]), (Remainder::Pad, [1; 5])]
        {
            let options = LoaderOptions { shard_remainder: remainder, ..Default::default() };
            assert_eq!(ids(2, 0, 5, &options).iter().map(Vec::len).collect::<Vec<_>>(), lengths);
        }
    }
}
