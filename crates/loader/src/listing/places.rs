//! Which samples of a listing this rank reads, while nobody knows yet how many there are.
//!
//! What comes out is what [`Sampler`](crate::Sampler) says for the same names in the same order: the entries
//! as they come, or shuffled in windows, of which two at most are kept. Of the places from `start` on rank r
//! of w has the r-th, the (r+w)-th, and so on. What a remainder of ranks needs is known when the listing
//! ends: `drop` holds each sample back until every rank has one beside it, and `pad` keeps the first places.
//!
//! Where ranks may see the names in different orders, places tell them nothing in common. There a name itself says
//! whose it is ([`Names`]), and a rank has all places of its own names.

use super::found::Found;
use crate::window::Window;
use crate::{LoaderOptions, Remainder};
use std::collections::VecDeque;

/// Whose a name is: a digest of it says, which is the same wherever it is seen.
struct Names {
    rank: u64,
    world: u64,
}

impl Names {
    fn has(&self, key: &[u8]) -> bool {
        let digest = blake3::hash(key);
        let (first, _) = digest.as_bytes().split_first_chunk().expect("32 bytes");
        u64::from_le_bytes(*first) % self.world == self.rank
    }
}

/// See the module's words.
pub(crate) struct Places {
    names: Option<Names>,
    /// Names that came, those of other ranks included.
    listed: u64,
    shuffle: Option<Shuffle>,
    start: u64,
    rank: u64,
    world: u64,
    remainder: Remainder,
    /// Entries that came, and may be this rank's.
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
    kept: VecDeque<Option<Sample>>,
    base: u64,
}

impl Places {
    /// Ranks share places; with `by_name`, names.
    pub(crate) fn new(epoch: u64, start: u64, options: &LoaderOptions, by_name: bool) -> Self {
        let (rank, world) = (options.shard_rank as u64, options.shard_world_size as u64);
        let names = by_name.then_some(Names { rank, world });
        let (rank, world) = if by_name { (0, 1) } else { (rank, world) };
        let shuffle = options.shuffle_window.filter(|_| options.shuffle).map(|length| Shuffle {
            length: length.get(),
            seed: options.seed,
            epoch,
            endless: Window::new(u64::MAX, length.get(), options.seed, epoch),
            kept: VecDeque::new(),
            base: 0,
        });
        Places {
            names,
            listed: 0,
            shuffle,
            start,
            rank,
            world,
            remainder: options.shard_remainder,
            entries: 0,
            known: 0,
            front: Vec::new(),
            held: None,
            ready: VecDeque::new(),
        }
    }

    /// The next entry of the listing. What it is is only asked for if this rank may need it.
    pub(crate) fn push(&mut self, key: &[u8], found: impl FnOnce() -> Found) {
        let id = self.listed;
        self.listed += 1;
        if self.names.as_ref().is_some_and(|names| !names.has(key)) {
            return;
        }
        self.entries += 1;
        match &mut self.shuffle {
            None => self.place(id, found),
            Some(shuffle) => {
                shuffle.kept.push_back(Some((id, found())));
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
            let entry = match &ended {
                Some(window) if self.known < self.entries => window.at(self.known),
                None if shuffle.endless.reach(self.known) <= self.entries => shuffle.endless.at(self.known),
                _ => break,
            };
            let (id, found) = shuffle.take(entry).expect("a permutation has each entry once");
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
    fn take(&mut self, entry: u64) -> Option<Sample> {
        let found = self.kept.get_mut((entry - self.base) as usize)?.take();
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
            let mut places = Places::new(epoch, start, &options, false);
            let mut seen = Vec::new();
            for id in 0..total {
                places.push(b"", || found(id));
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

    proptest! {
        /// In whatever order each rank sees the names: together they have each once, in windows too.
        #[test]
        fn by_name_ranks_have_each_name_once_whatever_the_order(
            total in 0usize..300, world in 1usize..6, window in prop::option::of(1u64..50), seed: u64,
        ) {
            let mut all = Vec::new();
            for rank in 0..world {
                let options = LoaderOptions {
                    shuffle: window.is_some(),
                    shuffle_window: window.and_then(NonZeroU64::new),
                    shard_rank: rank,
                    shard_world_size: world,
                    seed,
                    ..LoaderOptions::default()
                };
                let mut places = Places::new(0, 0, &options, true);
                // Every rank's own order.
                let mut order: Vec<u64> = (0..total as u64).collect();
                order.rotate_left((rank * 7).min(total));
                if rank % 2 == 1 {
                    order.reverse();
                }
                for &name in &order {
                    places.push(&name.to_le_bytes(), || found(name));
                }
                places.finish();
                let has = std::iter::from_fn(|| places.pop()).map(|(id, of)| {
                    let name = order[id as usize];
                    assert_eq!(of, found(name), "the id is its place in the listing");
                    name
                });
                all.extend(has);
            }
            all.sort_unstable();
            prop_assert_eq!(all, (0..total as u64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_is_made_of_what_others_read() {
        let options = LoaderOptions { shard_rank: 1, shard_world_size: 1000, ..Default::default() };
        let (mut places, mut made) = (Places::new(0, 0, &options, false), 0);
        for id in 0..10_000 {
            places.push(b"", || {
                made += 1;
                found(id)
            });
        }
        assert_eq!(made, 10);
    }
}
