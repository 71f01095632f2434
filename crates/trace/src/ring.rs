//! A queue of words from one thread to one other, by which what is recorded leaves the path of a read. Both ends are
//! wait-free: no loop that depends on the other end, no lock, no allocation by the producer. What does not fit is refused.
//!
//! The producer writes words and then publishes them all at once, which costs one store a batch. Each end keeps its own
//! count and looks at the other's only when it seems to be full or empty (P. P. C. Lee and others, *A Lock-Free,
//! Cache-Efficient Multi-Core Synchronization Mechanism for Line-Rate Network Traffic Monitoring*). Words are atomic so
//! that no `unsafe` is needed; stored and loaded in no particular order, they cost what others cost.
//! `tests/ring.rs` compiles this file a second time and runs it through every order of events that the memory model
//! allows.

use super::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// A count that has a line of the cache to itself: the two ends would otherwise slow each other down.
#[repr(align(128))]
struct Count(AtomicUsize);

struct Ring {
    words: Box<[AtomicU64]>,
    /// Words that were published, and words that were taken, since the beginning. A word is used by one end at a time:
    /// the producer has those from `published` up to `taken` plus the capacity, the consumer those from `taken` to
    /// `published`; each hands words over by a release store that the other end acquires before it touches them.
    published: Count,
    taken: Count,
    /// Set when either end is gone.
    closed: AtomicBool,
}

/// The end that puts in. Not shared: what changes the ring wants it for itself.
pub(crate) struct Producer {
    ring: Arc<Ring>,
    /// Words that were written, published or not.
    written: usize,
    /// `taken` as it was last seen.
    taken: usize,
    /// Whether the ring was more than half full when it was last published.
    filled: bool,
}

/// The end that takes out.
pub(crate) struct Consumer {
    ring: Arc<Ring>,
    taken: usize,
}

/// A ring of `capacity` words, rounded up to a power of two. All of it is written to here: a fault of a page costs more
/// than an operation may.
pub(crate) fn ring(capacity: usize) -> (Producer, Consumer) {
    let capacity = capacity.max(1).next_power_of_two();
    let ring = Arc::new(Ring {
        words: (0..capacity).map(|_| AtomicU64::new(0)).collect(),
        published: Count(AtomicUsize::new(0)),
        taken: Count(AtomicUsize::new(0)),
        closed: AtomicBool::new(false),
    });
    (Producer { ring: ring.clone(), written: 0, taken: 0, filled: false }, Consumer { ring, taken: 0 })
}

impl Ring {
    fn word(&self, count: usize) -> &AtomicU64 {
        &self.words[count & (self.words.len() - 1)]
    }
}

impl Producer {
    /// Writes all of `words`, or nothing if there is no room for them. The consumer sees them after the next
    /// [`publish`](Producer::publish).
    pub(crate) fn write(&mut self, words: &[u64]) -> bool {
        if words.len() > self.room() {
            self.taken = self.ring.taken.0.load(Ordering::Acquire);
            if words.len() > self.room() {
                return false;
            }
        }
        for &word in words {
            self.ring.word(self.written).store(word, Ordering::Relaxed);
            self.written = self.written.wrapping_add(1);
        }
        true
    }

    fn used(&self) -> usize {
        self.written.wrapping_sub(self.taken)
    }

    fn room(&self) -> usize {
        self.ring.words.len() - self.used()
    }

    /// Shows the consumer all that was written. True if the ring is more than half full since now: time to wake whoever
    /// empties it.
    pub(crate) fn publish(&mut self) -> bool {
        self.ring.published.0.store(self.written, Ordering::Release);
        let half = self.ring.words.len() / 2;
        if self.used() > half {
            self.taken = self.ring.taken.0.load(Ordering::Acquire);
        }
        let filled = self.used() > half;
        let was = std::mem::replace(&mut self.filled, filled);
        filled && !was
    }

    /// Whether the consumer is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.ring.closed.load(Ordering::Acquire)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.publish();
        self.ring.closed.store(true, Ordering::Release);
    }
}

impl Consumer {
    /// Appends all words that were published and not taken to `out`. False if there are none.
    pub(crate) fn take(&mut self, out: &mut Vec<u64>) -> bool {
        let published = self.ring.published.0.load(Ordering::Acquire);
        let waiting = published.wrapping_sub(self.taken);
        out.extend((0..waiting).map(|i| self.ring.word(self.taken.wrapping_add(i)).load(Ordering::Relaxed)));
        self.taken = published;
        self.ring.taken.0.store(published, Ordering::Release);
        waiting > 0
    }

    /// Whether the producer is gone. Asked *before* the last [`take`](Consumer::take), it says that nothing comes after.
    pub(crate) fn is_closed(&self) -> bool {
        self.ring.closed.load(Ordering::Acquire)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.ring.closed.store(true, Ordering::Release);
    }
}
