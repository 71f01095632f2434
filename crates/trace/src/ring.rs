//! A queue of fixed size from one thread to one other, by which what is recorded leaves the path of a read. Both ends
//! are wait-free: no loop, no lock, no allocation. What does not fit is given back.
//!
//! The producer writes slots and then publishes them all at once, which costs one store a batch. Each end keeps its own
//! count and looks at the other's only when it seems to be full or empty (P. P. C. Lee and others, *A Lock-Free,
//! Cache-Efficient Multi-Core Synchronization Mechanism for Line-Rate Network Traffic Monitoring*).
//! `tests/ring.rs` compiles this file a second time and runs it through every order of events that the memory model
//! allows.

use super::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell};
use std::mem::MaybeUninit;

/// A count that has a line of the cache to itself: the two ends would otherwise slow each other down.
#[repr(align(128))]
struct Count(AtomicUsize);

struct Ring<T> {
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Slots that were published, and slots that were taken, since the beginning.
    published: Count,
    taken: Count,
    /// Set when either end is gone.
    closed: AtomicBool,
}

// SAFETY: a slot is used by one end at a time. The producer owns those from `published` up to `taken` plus the capacity,
// the consumer those from `taken` to `published`; each hands slots over by a release store that the other end
// acquires before it touches them.
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: as above; the shared part is touched through the counts alone.
unsafe impl<T: Send> Sync for Ring<T> {}

/// The end that puts in. Not shared: what changes the ring wants it for itself.
pub(crate) struct Producer<T> {
    ring: Arc<Ring<T>>,
    /// Slots that were written, published or not.
    written: usize,
    /// `taken` as it was last seen.
    taken: usize,
}

/// The end that takes out.
pub(crate) struct Consumer<T> {
    ring: Arc<Ring<T>>,
    taken: usize,
    /// `published` as it was last seen.
    published: usize,
}

/// A ring of `capacity` slots, rounded up to a power of two.
pub(crate) fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let capacity = capacity.max(1).next_power_of_two();
    let ring = Arc::new(Ring {
        slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        published: Count(AtomicUsize::new(0)),
        taken: Count(AtomicUsize::new(0)),
        closed: AtomicBool::new(false),
    });
    (Producer { ring: ring.clone(), written: 0, taken: 0 }, Consumer { ring, taken: 0, published: 0 })
}

impl<T> Ring<T> {
    fn slot(&self, count: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[count & (self.slots.len() - 1)]
    }
}

impl<T> Producer<T> {
    /// Writes `value` into the next slot, or gives it back if there is none. The consumer sees it after the next
    /// [`publish`](Producer::publish).
    pub(crate) fn push(&mut self, value: T) -> Result<(), T> {
        let capacity = self.ring.slots.len();
        if self.written.wrapping_sub(self.taken) == capacity {
            self.taken = self.ring.taken.0.load(Ordering::Acquire);
            if self.written.wrapping_sub(self.taken) == capacity {
                return Err(value);
            }
        }
        self.ring.slot(self.written).with_mut(|slot| {
            // SAFETY: the slot is ours: it was taken (acquired above or before) or never used, and is not published.
            unsafe { (*slot).write(value) };
        });
        self.written = self.written.wrapping_add(1);
        Ok(())
    }

    /// Shows the consumer all that was written. Returns how many slots are in use, as far as this end knows.
    pub(crate) fn publish(&mut self) -> usize {
        self.ring.published.0.store(self.written, Ordering::Release);
        self.written.wrapping_sub(self.taken)
    }

    /// Whether the consumer is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.ring.closed.load(Ordering::Acquire)
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.publish();
        self.ring.closed.store(true, Ordering::Release);
    }
}

impl<T> Consumer<T> {
    /// The oldest value that was published and not taken.
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.taken == self.published {
            self.published = self.ring.published.0.load(Ordering::Acquire);
            if self.taken == self.published {
                return None;
            }
        }
        let value = self.ring.slot(self.taken).with_mut(|slot| {
            // SAFETY: the slot was published (acquired above or before), so it holds a value, and it is not taken.
            unsafe { (*slot).assume_init_read() }
        });
        self.taken = self.taken.wrapping_add(1);
        self.ring.taken.0.store(self.taken, Ordering::Release);
        Some(value)
    }

    /// Whether the producer is gone. Asked *before* the last [`pop`](Consumer::pop), it says that nothing comes after.
    pub(crate) fn is_closed(&self) -> bool {
        self.ring.closed.load(Ordering::Acquire)
    }
}

impl<T> Drop for Consumer<T> {
    /// What is published from here on is freed with the ring.
    fn drop(&mut self) {
        self.ring.closed.store(true, Ordering::Release);
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // Both ends are gone, and the producer published all that it wrote.
        let published = self.published.0.load(Ordering::Acquire);
        let mut taken = self.taken.0.load(Ordering::Acquire);
        while taken != published {
            self.slot(taken).with_mut(|slot| {
                // SAFETY: published and not taken: it holds a value that nobody else will drop.
                unsafe { (*slot).assume_init_drop() };
            });
            taken = taken.wrapping_add(1);
        }
    }
}
