//! A destination that hands out space when sizes become known.

use crate::{Buf, Error, Pool, Result};
use futures::future::BoxFuture;

/// Slots begin at multiples of this many bytes: enough for SIMD loads, for JAX's zero-copy
/// import and for a cache line of every machine this runs on.
pub const SLOT_ALIGN: usize = 64;

/// A request for space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Which slot.
    pub slot: u32,
    /// How many bytes, exactly. May be 0.
    pub len: u64,
    /// What else must be there around them.
    pub room: Room,
}

impl Want {
    /// Space for `len` bytes and nothing else.
    pub fn new(slot: u32, len: u64) -> Self {
        Want { slot, len, room: Room::default() }
    }
}

/// Spare bytes around a slot's own, for a store that can only read whole blocks: what it reads beyond
/// what was asked for lands there. Their content is lost: they are zero once the [`Buf`] is dropped.
/// They count as taken like the slot's own bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// The first spare byte (the slot's own first byte, where none is before it) lies at a multiple of
    /// this: 0 for [`SLOT_ALIGN`], or a power of two of at most [`Room::MAX_ALIGN`].
    pub align: u32,
    /// Spare bytes before the slot's own: a multiple of [`SLOT_ALIGN`], where the slot begins.
    pub before: u32,
    /// Spare bytes after the slot's own, at least.
    pub after: u32,
}

impl Room {
    /// The largest alignment: slabs begin at a page.
    pub const MAX_ALIGN: u32 = 4096;

    /// Whether nothing is asked for but the slot itself.
    pub fn is_none(&self) -> bool {
        *self == Room::default()
    }
}

/// The answer to [`Place::try_reserve`].
#[derive(Debug)]
pub enum Reservation {
    /// Space for every want, in the order of the wants.
    Granted(Vec<Buf>),
    /// Not now: call [`Place::reserve`] and wait. Nothing was taken.
    Wait,
    /// Never, because `wants[index]` alone is larger than the place can ever hold. The others may
    /// be asked for without it.
    TooLarge {
        /// Which of the wants.
        index: usize,
        /// Says how large it is and what would be valid.
        error: Error,
    },
    /// Never, for all of them together.
    Refused(Error),
}

/// Where bytes go. A store learns the size of an object (fstat, Content-Length), asks the place
/// for that much, and reads straight into what it gets.
///
/// Wants are granted all or none. A slot that was reserved before (by an attempt that failed) may
/// be reserved again once its earlier [`Buf`] is gone.
pub trait Place: Send + Sync {
    /// Space at once or not at all, from any thread, without waiting.
    fn try_reserve(&self, wants: &[Want]) -> Reservation;

    /// Space when there is some. Cancel-safe: dropping the future takes nothing. Only for wants for
    /// which [`Place::try_reserve`] answered [`Reservation::Wait`].
    fn reserve<'a>(&'a self, wants: &'a [Want]) -> BoxFuture<'a, Result<Vec<Buf>>>;

    /// Where its memory is from: for memory beside its slots that is to count under the same cap.
    fn pool(&self) -> &Pool;
}
