//! Buffers at any alignment, for grains that do not fit where they are wanted. Reused, so that a page of
//! them is faulted in once.

use std::sync::{Mutex, PoisonError};

/// A buffer; its bytes are what an earlier user left there.
#[derive(Debug)]
pub(crate) struct Bounce {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Bounce {
    /// `len` bytes whose address is a multiple of `align`, which is a power of two.
    pub(crate) fn new(len: usize, align: usize) -> Self {
        Self::within(vec![0; len + align], len, align)
    }

    fn within(bytes: Vec<u8>, len: usize, align: usize) -> Self {
        let start = bytes.as_ptr().addr().next_multiple_of(align) - bytes.as_ptr().addr();
        Bounce { bytes, start, len }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..][..self.len]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }
}

/// Those that nobody uses now.
#[derive(Debug, Default)]
pub(crate) struct Bounces {
    free: Mutex<Vec<Vec<u8>>>,
}

/// How many are kept, at most.
const KEPT: usize = 16;

impl Bounces {
    /// As [`Bounce::new`], out of those that there are where one is large enough.
    pub(crate) fn take(&self, len: usize, align: usize) -> Bounce {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        match free.iter().position(|bytes| bytes.len() >= len + align) {
            Some(index) => Bounce::within(free.swap_remove(index), len, align),
            None => {
                drop(free);
                Bounce::new(len, align)
            }
        }
    }

    pub(crate) fn give_back(&self, bounce: Bounce) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(bounce.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_used_again() {
        let all = Bounces::default();
        let mut first = all.take(1000, 4096);
        assert_eq!((first.as_slice().as_ptr().align_offset(4096), first.as_slice().len()), (0, 1000));
        first.as_mut_slice().fill(7);
        let address = first.bytes.as_ptr();
        all.give_back(first);
        assert_eq!(all.take(500, 512).bytes.as_ptr(), address);
    }
}
