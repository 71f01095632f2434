//! Which samples of a listing this rank reads, while nobody knows yet how many there are.
//!
//! What comes out is what [`Sampler`](crate::Sampler) says for the same names in the same order: the entries
//! as they come, or shuffled in windows, of which two at most are kept. Of the places from `start` on rank r
//! of w has the r-th, the (r+w)-th, and so on. What a remainder of ranks needs is known when the listing
//! ends: `drop` holds each sample back until every rank has one beside it, and `pad` keeps the first places.

use super::found::Found;
use crate::window::Window;
use crate::{LoaderOptions, Remainder};
use std::collections::VecDeque;

/// See the module's words.
pub(crate) struct Places {
    shuffle: Option<Shuffle>,
    start: u64,
    rank: u64,
    world: u64,
    remainder: Remainder,
    /// Entries that came.
    entries: u64,
    /// Places whose sample is known.
    known: u64,
    /// Of `pad`: the samples of the first places, fewer than there are ranks.
    front: Vec<Sample>,
    /// Of `drop`: what comes once every rank has one.
    held: Option<Sample>,
    ready: VecDeque<Sample>,
}

/// A sample and its id, which is its place in the listing.
type Sample = (u64, Found);

/// A shuffle in windows over entries that are still coming.
struct Shuffle {
    length: u64,
    seed: u64,
    epoch: u64,
    /// That of a listing without end: right for places whose windows are whole.
    endless: Window,
    /// Entries whose place did not come yet, from `base` on; none where it did.
    kept: VecDeque<Option<Found>>,
    base: u64,
}

impl Places {
    pub(crate) fn new(epoch: u64, start: u64, options: &LoaderOptions) -> Self {
        let shuffle = options.shuffle_window.filter(|_| options.shuffle).map(|length| Shuffle {
            length: length.get(),
            seed: options.seed,
            epoch,
            endless: Window::new(u64::MAX, length.get(), options.seed, epoch),
            kept: VecDeque::new(),
            base: 0,
        });
        Places {
            shuffle,
            start,
            rank: options.shard_rank as u64,
            world: options.shard_world_size as u64,
            remainder: options.shard_remainder,
            entries: 0,
            known: 0,
            front: Vec::new(),
            held: None,
            ready: VecDeque::new(),
        }
    }

    /// The next entry of the listing. What it is is only asked for if this rank may need it.
    pub(crate) fn push(&mut self, found: impl FnOnce() -> Found) {
        let id = self.entries;
        self.entries += 1;
        match &mut self.shuffle {
            None => self.place(id, found),
            Some(shuffle) => {
                shuffle.kept.push_back(Some(found()));
                self.advance(None);
            }
        }
    }

    /// Says that there are no more entries.
    pub(crate) fn finish(&mut self) {
        self.advance(Some(self.entries));
        let left = self.known.saturating_sub(self.start);
        let rest = left % self.world;
        if self.remainder == Remainder::Pad && rest != 0 && self.rank >= rest {
            // Places beyond the end are those of the front.
            let place = self.start + left / self.world * self.world + self.rank;
            let again = self.front.get((place % self.known) as usize).cloned();
            self.ready.extend(again);
        }
        self.held = None;
    }

    /// The next sample of this rank that is certain by now.
    pub(crate) fn pop(&mut self) -> Option<Sample> {
        self.ready.pop_front()
    }

    /// Gives their samples to all places that are certain.
    fn advance(&mut self, total: Option<u64>) {
        let Some(mut shuffle) = self.shuffle.take() else { return };
        let ended = total.map(|total| Window::new(total, shuffle.length, shuffle.seed, shuffle.epoch));
        loop {
            let id = match &ended {
                Some(window) if self.known < self.entries => window.at(self.known),
                None if shuffle.endless.reach(self.known) <= self.entries => shuffle.endless.at(self.known),
                _ => break,
            };
            let found = shuffle.take(id).expect("a permutation has each entry once");
            self.place(id, || found);
        }
        self.shuffle = Some(shuffle);
    }

    /// The sample of the next place.
    fn place(&mut self, id: u64, found: impl FnOnce() -> Found) {
        let place = self.known;
        self.known += 1;
        let front = self.remainder == Remainder::Pad && place + 1 < self.world;
        let turn = place.checked_sub(self.start).map(|left| left % self.world);
        let mine = turn == Some(self.rank);
        if front || mine {
            let found = found();
            if front {
                self.front.push((id, found.clone()));
            }
            match self.remainder {
                Remainder::Drop if mine => self.held = Some((id, found)),
                _ if mine => self.ready.push_back((id, found)),
                _ => {}
            }
        }
        if self.remainder == Remainder::Drop && turn == Some(self.world - 1) {
            self.ready.extend(self.held.take());
        }
    }
}

impl Shuffle {
    fn take(&mut self, id: u64) -> Option<Found> {
        let found = self.kept.get_mut((id - self.base) as usize)?.take();
        while let Some(None) = self.kept.front() {
            self.kept.pop_front();
            self.base += 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sampler;
    use proptest::prelude::*;
    use std::num::NonZeroU64;

    fn found(id: u64) -> Found {
        let root: forebay_io::Location = "mem://h/s".parse().unwrap();
        Found::whole(root.join(id.to_string().as_bytes()), None)
    }

    fn ids(places: &mut Places) -> Vec<u64> {
        std::iter::from_fn(|| places.pop())
            .map(|(id, of)| {
                assert_eq!(of, found(id), "an id and its sample stay together");
                id
            })
            .collect()
    }

    proptest! {
        /// Without knowing the end, the samples are those that a sampler says who knows it.
        #[test]
        fn the_order_is_that_of_a_listed_dataset(
            total in 0u64..400, start in 0u64..450, world in 1usize..7, rank in 0usize..7, epoch in 0u64..3,
            window in prop::option::of(1u64..200), remainder in 0usize..3, seed: u64,
        ) {
            let options = LoaderOptions {
                shuffle: window.is_some(),
                shuffle_window: window.and_then(NonZeroU64::new),
                shard_rank: rank % world,
                shard_world_size: world,
                shard_remainder: [Remainder::Uneven, Remainder::Drop, Remainder::Pad][remainder],
                seed,
                ..LoaderOptions::default()
            };
            let mut places = Places::new(epoch, start, &options);
            let mut seen = Vec::new();
            for id in 0..total {
                places.push(|| found(id));
                seen.extend(ids(&mut places));
                if let Some(shuffle) = &places.shuffle {
                    let most = 2 * shuffle.length + shuffle.length / 2 + 1;
                    prop_assert!(shuffle.kept.len() as u64 <= most, "{} kept", shuffle.kept.len());
                }
            }
            places.finish();
            seen.extend(ids(&mut places));
            let sampler = Sampler::new(total, epoch, start, &options);
            prop_assert_eq!(seen, sampler.ids(0..sampler.len()).to_vec());
        }
    }

    #[test]
    fn nothing_is_made_of_what_others_read() {
        let options = LoaderOptions { shard_rank: 1, shard_world_size: 1000, ..Default::default() };
        let (mut places, mut made) = (Places::new(0, 0, &options), 0);
        for id in 0..10_000 {
            places.push(|| {
                made += 1;
                found(id)
            });
        }
        assert_eq!(made, 10);
    }
}
