//! An owned, exclusive stretch of leased memory: what a read is given and gives back.

use crate::claim::Claim;
use crate::{Lease, Place, Pool, Region};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// Exclusive bytes of a [`Lease`]. They stay valid, and stay charged to the budget, until the `Buf`
/// is dropped, whatever happens to the future that asked for them: a kernel that still writes into
/// them keeps the `Buf`.
///
/// The bytes are initialised, to what an earlier reader left there.
pub struct Buf {
    start: NonNull<u8>,
    len: usize,
    /// Spare bytes around them.
    before: usize,
    after: usize,
    slot: u32,
    lease: Arc<Lease>,
}

// SAFETY: a `Buf` is the only access to its bytes (`Lease` lends each slot at most once at a time).
unsafe impl Send for Buf {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buf {}

impl Buf {
    /// # Safety
    /// `start - before..start + len + after` is committed memory of `lease` that no other `Buf`
    /// overlaps, and the lease has marked `slot` as lent.
    pub(crate) unsafe fn new(
        start: NonNull<u8>,
        len: usize,
        (before, after): (usize, usize),
        slot: u32,
        lease: Arc<Lease>,
    ) -> Self {
        Buf { start, len, before, after, slot, lease }
    }

    /// Which slot of its place this is.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// A way back to this slot, for who gives the buffer away and may have to do without an answer.
    pub(crate) fn claim(&self) -> Claim {
        Claim::new(self, self.lease.clone())
    }

    /// Where its memory is from.
    pub(crate) fn pool(&self) -> &Pool {
        self.lease.pool()
    }

    /// How many spare bytes there are before its own.
    pub fn before(&self) -> usize {
        self.before
    }

    /// How many spare bytes there are after its own: those that its [`Room`](crate::Room) asked for, and
    /// what padding follows.
    pub fn after(&self) -> usize {
        self.after
    }

    /// The memory that it is a part of: what its lease has committed now, which is nothing where all its slots
    /// are empty. Not for each read: it takes a lock.
    pub fn region(&self) -> Option<Region> {
        self.lease.region()
    }

    /// All of its memory: spare bytes, its own (from [`Buf::before`] on), spare bytes. What is left in
    /// the spare ones is lost.
    pub fn room_mut(&mut self) -> &mut [u8] {
        // SAFETY: committed, initialised and exclusively ours, as `new` was promised.
        unsafe {
            let first = self.start.sub(self.before);
            std::slice::from_raw_parts_mut(first.as_ptr(), self.before + self.len + self.after)
        }
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: committed, initialised (fresh pages are zero) and exclusively ours.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes it unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        // Nobody reads there what belongs to another sample, or what a block held beside what was
        // asked for.
        let (before, own) = (self.before, self.len);
        let room = self.room_mut();
        room[..before].fill(0);
        room[before + own..].fill(0);
        self.lease.returned(self.slot);
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buf").field("slot", &self.slot).field("len", &self.len).finish()
    }
}
