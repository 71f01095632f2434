//! A destination that hands out space when sizes become known.

use crate::{Buf, Error, Result};
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
}
