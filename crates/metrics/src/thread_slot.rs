//! A small number for each living thread, given back when the thread ends.
//!
//! Shards are picked by it. It is a name for the thread and nothing else: no data hangs off it and
//! nothing is registered, so any number of collectors can use it and come and go as they like.
//!
//! At any moment a number below [`SLOTS`] belongs to one thread only. That thread may therefore
//! update its shard with a plain load and store, at a fraction of the cost of a locked addition.
//! Taking and giving back are an acquire and a release of the same word, so the next owner sees all
//! that the last one wrote. There is no lock, hence nothing that a `fork` in another thread could
//! leave locked in the child.

use std::sync::atomic::{AtomicU64, Ordering};

/// Threads that get a number of their own. More than the threads of a loader on any one machine
/// (runtime workers, ring threads, pool threads, the caller); those past it share one shard.
pub(crate) const SLOTS: usize = 128;

const WORDS: usize = SLOTS / 64;

/// One bit a slot: set while a living thread owns it.
static TAKEN: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

struct Slot(Option<usize>);

impl Slot {
    fn take() -> Slot {
        for (number, word) in TAKEN.iter().enumerate() {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != u64::MAX {
                let bit = bits.trailing_ones();
                match word.compare_exchange_weak(bits, bits | 1 << bit, Ordering::Acquire, Ordering::Relaxed)
                {
                    Ok(_) => return Slot(Some(number * 64 + bit as usize)),
                    Err(now) => bits = now,
                }
            }
        }
        Slot(None)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            TAKEN[slot / 64].fetch_and(!(1 << (slot % 64)), Ordering::Release);
        }
    }
}

thread_local! {
    static SLOT: Slot = Slot::take();
}

/// The calling thread's own slot, below [`SLOTS`]. `None` where all are taken, and in a thread that
/// is ending and has already given its slot back.
#[inline]
pub(crate) fn current() -> Option<usize> {
    SLOT.try_with(|slot| slot.0).unwrap_or(None)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn living_threads_have_different_slots_and_keep_them() {
        let threads = 16;
        let all_alive = Barrier::new(threads);
        let slots: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let first = current();
                        all_alive.wait();
                        assert_eq!(current(), first);
                        first
                    })
                })
                .collect();
            running.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let own: Vec<_> = slots.iter().flatten().collect();
        let different: HashSet<_> = own.iter().collect();
        assert_eq!(own.len(), different.len());
    }

    #[test]
    fn slots_come_back_when_threads_end() {
        for _ in 0..4 * SLOTS {
            let slot = std::thread::spawn(current).join().unwrap();
            assert!(slot.is_some());
        }
    }
}
