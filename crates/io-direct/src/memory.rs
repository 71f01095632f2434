//! The memory that a kernel writes to while nobody holds a reference into it.
//!
//! A [`Buf`]'s bytes are only touched through pointers from here as long as requests for them are under
//! way: several may be, each to a stretch of its own.

use crate::alignment::Ground;
use forebay_io::{Buf, Region};
use std::ops::Range;

/// A buffer that is being filled.
#[derive(Debug)]
pub(crate) struct Target {
    buf: Buf,
    /// The first byte of its room.
    base: *mut u8,
    ground: Ground,
}

// SAFETY: the pointer is into memory that `buf` owns, which may itself be sent.
unsafe impl Send for Target {}
// SAFETY: what `&Target` offers to write with is unsafe to call.
unsafe impl Sync for Target {}

impl Target {
    pub(crate) fn new(mut buf: Buf) -> Self {
        let before = buf.before();
        let room = buf.room_mut();
        let (base, len) = (room.as_mut_ptr(), room.len());
        Target { buf, base, ground: Ground { address: base.addr(), before, len } }
    }

    pub(crate) fn ground(&self) -> Ground {
        self.ground
    }

    /// What of the pool's it is a part of.
    pub(crate) fn region(&self) -> Option<Region> {
        self.buf.region()
    }

    /// How many bytes its own are.
    pub(crate) fn len(&self) -> usize {
        self.buf.len()
    }

    /// Where byte `at` of the room is.
    pub(crate) fn pointer(&self, at: usize) -> *mut u8 {
        debug_assert!(at <= self.ground.len, "{at} of {}", self.ground.len);
        self.base.wrapping_add(at)
    }

    /// Copies `bytes` to `at` in the room.
    ///
    /// # Safety
    /// Nobody else reads or writes `at..at + bytes.len()` meanwhile.
    pub(crate) unsafe fn place(&self, at: usize, bytes: &[u8]) {
        assert!(at.checked_add(bytes.len()).is_some_and(|end| end <= self.ground.len), "inside the room");
        // SAFETY: inside the room, which `buf` owns, and ours alone as the caller promises.
        unsafe { self.pointer(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// The stretch of `len` bytes from `at` in the room on.
    ///
    /// # Safety
    /// Nobody else reads or writes it as long as the slice lives, and `self` outlives it.
    pub(crate) unsafe fn stretch<'a>(&self, at: usize, len: usize) -> &'a mut [u8] {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.ground.len), "inside the room");
        // SAFETY: inside the room, which is initialised; exclusive as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(at), len) }
    }

    /// Gives the buffer back, its own bytes moved to where they belong. Every request for it is over.
    pub(crate) fn into_buf(mut self, shift: Option<(Range<usize>, usize)>) -> Buf {
        if let Some((from, to)) = shift {
            self.buf.room_mut().copy_within(from, to);
        }
        self.buf
    }
}
