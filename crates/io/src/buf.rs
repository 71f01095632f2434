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
    /// Whose memory it is, where it was [joined](Buf::join) out of several; else none.
    parts: Vec<Part>,
}

/// One of the buffers that another was joined out of.
struct Part {
    /// Where in the joined one its bytes are read to.
    landing: usize,
    buf: Buf,
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
        Buf { start, len, before, after, slot, lease, parts: Vec::new() }
    }

    /// One buffer of `len` bytes over the memory of several that follow each other in it without a gap, which begins
    /// where the first one does. When it is dropped, the bytes of each are taken from where they landed in it to
    /// where they belong, and all of them are given back. None, and all given back, if they do not follow each other,
    /// or the last one has too few spare bytes behind it.
    ///
    /// `parts` are the offset in the joined buffer at which the bytes of each land, and the buffer: ascending, apart
    /// and inside.
    pub(crate) fn join(parts: Vec<(usize, Buf)>, len: usize) -> Option<Buf> {
        let begin = |buf: &Buf| buf.start.addr().get() - buf.before;
        let end = |buf: &Buf| buf.start.addr().get() + buf.len + buf.after;
        let ((_, first), (_, last)) = (parts.first()?, parts.last()?);
        let follow = parts.windows(2).all(|pair| {
            let ((landing, one), (next, other)) = (&pair[0], &pair[1]);
            Arc::ptr_eq(&one.lease, &other.lease) && end(one) == begin(other) && landing + one.len <= *next
        });
        let inside = parts.last().is_some_and(|(landing, buf)| landing + buf.len <= len);
        let after = end(last).checked_sub(first.start.addr().get() + len)?;
        if !(follow && inside) {
            return None;
        }
        let (start, before, slot, lease) = (first.start, first.before, first.slot, first.lease.clone());
        let parts = parts.into_iter().map(|(landing, buf)| Part { landing, buf }).collect();
        Some(Buf { start, len, before, after, slot, lease, parts })
    }

    /// Takes the bytes of each part to where they belong. They land and belong in the same order and apart, so what
    /// moves up does not meet what is still to move if the last goes first, and the other way round.
    fn spread(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        let (start, before) = (self.start.addr().get(), self.before);
        let room = self.room_mut();
        let mut take = |landing: usize, home: usize, len: usize| {
            room.copy_within(before + landing..before + landing + len, before + home);
        };
        let moves = parts.iter().map(|Part { landing, buf }| {
            let home = buf.start.addr().get() - start;
            (*landing, home, buf.len)
        });
        moves.clone().rev().filter(|(from, to, _)| to > from).for_each(|(from, to, len)| take(from, to, len));
        moves.filter(|(from, to, _)| to < from).for_each(|(from, to, len)| take(from, to, len));
    }

    /// Which slot of its place this is.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// A way back to this slot, for who gives the buffer away and may have to do without an answer. Not of one that
    /// was joined: those are lent by a place to a store, and not by a caller.
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
        // SAFETY: committed, initialised and exclusively ours, as `new` was promised; of a joined one that was promised
        // of each part, they follow each other, and all are inside it. `start` is into their slab.
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
        if !self.parts.is_empty() {
            return self.spread();
        }
        // Nobody reads there what belongs to another sample, or what a block held beside what was
        // asked for. Mostly there is nothing, and to fill that is a call all the same.
        let (before, own, after) = (self.before, self.len, self.after);
        if before + after > 0 {
            let room = self.room_mut();
            room[..before].fill(0);
            room[before + own..].fill(0);
        }
        self.lease.returned(self.slot);
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buf").field("slot", &self.slot).field("len", &self.len).finish()
    }
}
