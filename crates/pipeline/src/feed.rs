//! What the stages of one task are to each other: a feed that is polled for its next item.
//!
//! A task of the pipeline is a chain of feeds, the last of which is drained into a queue. Feeds of
//! one chain hand items over by return value, without a queue, a lock or a wake-up between them.

use std::task::{Context, Poll};

use crate::{Clock, OnError, PipelineError};

pub(crate) type Fed<T, E> = Result<T, PipelineError<E>>;

pub(crate) type BoxFeed<T, E> = Box<dyn Feed<T, E>>;

/// A stage, seen from the one that takes its items.
pub(crate) trait Feed<T, E>: Send {
    /// Moves work forward and hands out the next item if there is room for it downstream.
    ///
    /// With no room it still moves its work forward. When it is pending, the task is woken by
    /// whatever the stage waits for, except for room: that is asked for through `room`.
    /// Not polled again once it has returned `None`.
    fn poll_feed(&mut self, turn: &mut Turn<'_, '_>, room: &mut Room) -> Poll<Option<Fed<T, E>>>;
}

/// One poll of a task: its waker, and the time as last read.
///
/// Reading the clock costs as much as a short lock, so the stages of a turn share a reading, and
/// read anew only after code that is not ours has run.
pub(crate) struct Turn<'a, 'w> {
    pub(crate) cx: &'a mut Context<'w>,
    pub(crate) on_error: OnError,
    /// Since when the item fed last was there to be taken. Set by whoever feeds one.
    pub(crate) available_since: u64,
    clock: &'a Clock,
    now: u64,
}

impl<'a, 'w> Turn<'a, 'w> {
    pub(crate) fn new(cx: &'a mut Context<'w>, clock: &'a Clock, on_error: OnError) -> Self {
        let now = clock.now();
        Self { cx, on_error, available_since: now, clock, now }
    }

    /// The clock itself, for code that needs a reading of its own.
    pub(crate) fn clock(&self) -> &'a Clock {
        self.clock
    }

    /// The time as last read, in nanoseconds.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// The time, read anew.
    pub(crate) fn read(&mut self) -> u64 {
        self.now = self.clock.now();
        self.now
    }
}

/// How much downstream would take, and what the feed makes of it.
#[derive(Debug)]
pub(crate) struct Room {
    /// Items that downstream has space for now.
    pub(crate) slots: usize,
    /// More room would have let the feed do more: poll it again when there is some.
    pub(crate) wanted: bool,
    /// An item is finished and waits for room.
    pub(crate) held: bool,
}

impl Room {
    pub(crate) fn of(slots: usize) -> Self {
        Self { slots, wanted: false, held: false }
    }
}
