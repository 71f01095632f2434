//! Threads that read into a pool's memory, as whoever waits for their work sees them.

/// The threads of a store that reads with some.
///
/// A consumer's thread that waits for a batch is a core that could read. Were it to sleep, all cores would be
/// left to the readers, and each batch would cost a switch to the consumer and one back.
pub trait Crew: Send + Sync {
    /// The calling thread consumes what they read, and is here now: one reader fewer is needed beside it.
    /// That lapses soon: a thread that stays away with what it was given leaves its core to them.
    fn seen(&self);

    /// Does a piece of their work on the calling thread, if there is some that needs no device as far as
    /// anybody knows; whether it did.
    fn lend_a_hand(&self) -> bool;
}
