//! What the ring is made of. Its test puts a checker's versions of the same things in this place.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A cell that is reached through a closure, as the checker wants it.
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    pub(crate) fn with_mut<R>(&self, reach: impl FnOnce(*mut T) -> R) -> R {
        reach(self.0.get())
    }
}
