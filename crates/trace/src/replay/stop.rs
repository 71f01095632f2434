//! The end of a replay before its time, from outside.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

/// Ends a replay from outside. One is for one replay at a time.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    wish: AtomicU8,
    /// Who replays: woken, so that nothing waits for the next operation to be due.
    replaying: Mutex<Option<Thread>>,
}

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    GoOn,
    Stop,
    GiveUp,
}

impl Stop {
    /// Ends it: what is in flight is waited for, nothing more is submitted.
    pub fn stop(&self) {
        self.ask(Wish::Stop);
    }

    /// Ends it at once: what is in flight is given up, and counted as that.
    pub fn give_up(&self) {
        self.ask(Wish::GiveUp);
    }

    fn ask(&self, wish: Wish) {
        self.0.wish.fetch_max(wish as u8, Ordering::SeqCst);
        if let Some(thread) = &*self.0.replaying.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
    }

    /// From here on the calling thread is woken when somebody asks.
    pub(super) fn wakes_me(&self) {
        *self.0.replaying.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
    }

    pub(super) fn wish(&self) -> Wish {
        match self.0.wish.load(Ordering::SeqCst) {
            0 => Wish::GoOn,
            1 => Wish::Stop,
            _ => Wish::GiveUp,
        }
    }
}
