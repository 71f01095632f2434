//! One copy of some tallies for each thread that writes, made when the thread first writes.
//!
//! A thread that ends leaves its shard behind, counts and all; a later thread that is given the same
//! slot goes on counting in it. Reading visits every shard and never waits for a writer.

use std::sync::OnceLock;

use crossbeam_utils::CachePadded;

use crate::tally::Writer;
use crate::thread_slot::{self, SLOTS};

type Lazy<T> = OnceLock<Box<CachePadded<T>>>;

/// A `T` for each thread that writes.
pub(crate) struct Sharded<T> {
    own: Box<[Lazy<T>]>,
    /// For threads without a slot of their own; see [`thread_slot::current`].
    shared: Lazy<T>,
}

impl<T> Sharded<T> {
    pub(crate) fn new() -> Sharded<T> {
        Sharded { own: (0..SLOTS).map(|_| OnceLock::new()).collect(), shared: OnceLock::new() }
    }

    /// The calling thread's shard, made by `make` at its first write.
    #[inline]
    pub(crate) fn mine(&self, make: impl FnOnce() -> T) -> (&T, Writer) {
        let (shard, writer) = match thread_slot::current() {
            Some(slot) => (&self.own[slot], Writer::Sole),
            None => (&self.shared, Writer::Shared),
        };
        (shard.get_or_init(|| Box::new(CachePadded::new(make()))), writer)
    }

    /// Every shard there is.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.own.iter().chain([&self.shared]).filter_map(|shard| shard.get().map(|shard| &***shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;

    #[test]
    fn a_dead_threads_counts_stay() {
        let sharded = Sharded::new();
        for _ in 0..50 {
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let (tally, writer) = sharded.mine(|| Tally::new(0));
                        tally.add(1, writer);
                    });
                }
            });
        }
        assert_eq!(sharded.all().map(Tally::get).sum::<u64>(), 150);
    }

    #[test]
    fn more_threads_than_slots_lose_nothing() {
        let threads = SLOTS + 40;
        let all_alive = std::sync::Barrier::new(threads);
        let sharded = Sharded::new();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    sharded.mine(|| Tally::new(0));
                    all_alive.wait();
                    for _ in 0..1_000 {
                        let (tally, writer) = sharded.mine(|| Tally::new(0));
                        tally.add(1, writer);
                    }
                });
            }
        });
        let total: u64 = sharded.all().map(Tally::get).sum();
        assert_eq!(total, threads as u64 * 1_000);
        assert!(sharded.shared.get().is_some(), "some thread had to share a shard");
    }
}
