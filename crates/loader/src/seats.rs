//! Numbers for batches that are read side by side: whoever begins takes the lowest that is free and gives it back in the
//! end. A seat stands for a worker, of which there are none: batches are futures. In a trace it says what waited for
//! what, because the next batch of a seat begins after the one before has ended.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Seats that loaders of one process have apart: more than any reads side by side.
const APART: u64 = 1 << 20;

/// The seats of one loader.
#[derive(Debug)]
pub(crate) struct Seats {
    first: u64,
    taken: Mutex<BTreeSet<u64>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

impl Seats {
    /// Seats with numbers that no other loader of this process gives.
    pub(crate) fn new() -> Arc<Seats> {
        static LOADERS: AtomicU64 = AtomicU64::new(0);
        let first = LOADERS.fetch_add(1, Ordering::Relaxed).wrapping_mul(APART);
        Arc::new(Seats { first, taken: Mutex::default() })
    }

    /// The lowest seat that is free.
    pub(crate) fn take(self: &Arc<Self>) -> Seat {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (0..).zip(taken.iter()).find(|(seat, taken)| seat != *taken).map(|(seat, _)| seat);
        let number = free.unwrap_or(taken.len() as u64);
        taken.insert(number);
        Seat { seats: self.clone(), number }
    }
}

impl Seat {
    /// Its number among those of all loaders of this process.
    pub(crate) fn number(&self) -> u64 {
        self.seats.first.wrapping_add(self.number)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_seat_is_given_and_other_loaders_have_others() {
        let (seats, others) = (Seats::new(), Seats::new());
        let [a, b, c] = [(); 3].map(|()| seats.take());
        assert_eq!([&a, &b, &c].map(|seat| seat.number), [0, 1, 2]);
        drop(b);
        let again = seats.take();
        assert_eq!((again.number, seats.take().number), (1, 3));
        drop(a);
        assert_eq!(seats.take().number, 0);
        assert_eq!(others.take().number() % APART, 0);
        assert_ne!(others.take().number(), c.number() - 2);
    }
}
