//! Collects items into lists of a fixed length, inside the task of the stage before it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::Poll;

use crate::feed::{BoxFeed, Fed, Feed, Room, Turn};
use crate::stage_meter::StageMeter;
use crate::{OnError, PipelineError, Remainder};

/// A list is given its full length at once up to here; beyond, it grows as it fills, so that an
/// absurd length costs nothing until its items exist.
const PREALLOCATED: usize = 4096;

pub(crate) struct Aggregate<T, E> {
    meter: Arc<StageMeter>,
    input: BoxFeed<T, E>,
    length: usize,
    remainder: Remainder,
    filling: Vec<T>,
    /// An error that came while there was no room to hand it on.
    held: Option<PipelineError<E>>,
    ended: bool,
}

impl<T, E> Aggregate<T, E> {
    pub(crate) fn new(
        meter: Arc<StageMeter>,
        input: BoxFeed<T, E>,
        length: NonZeroUsize,
        remainder: Remainder,
    ) -> Self {
        Self { meter, input, length: length.get(), remainder, filling: Vec::new(), held: None, ended: false }
    }

    /// Items that can be taken in without completing a list there is no room for.
    fn space(&self, lists: usize) -> usize {
        lists.saturating_mul(self.length).saturating_add(self.length - 1 - self.filling.len())
    }

    fn complete(&mut self) -> Poll<Option<Fed<Vec<T>, E>>> {
        self.meter.counted();
        Poll::Ready(Some(Ok(std::mem::take(&mut self.filling))))
    }
}

impl<T: Send, E: Send> Feed<Vec<T>, E> for Aggregate<T, E> {
    fn poll_feed(&mut self, turn: &mut Turn<'_, '_>, room: &mut Room) -> Poll<Option<Fed<Vec<T>, E>>> {
        loop {
            let leftover = self.ended && self.remainder == Remainder::Keep && !self.filling.is_empty();
            if self.held.is_some() || leftover {
                if room.slots == 0 {
                    room.wanted = true;
                    room.held = true;
                    return Poll::Pending;
                }
                return match self.held.take() {
                    Some(error) => Poll::Ready(Some(Err(error))),
                    None => self.complete(),
                };
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let mut inner = Room::of(self.space(room.slots));
            match self.input.poll_feed(turn, &mut inner) {
                Poll::Ready(Some(Ok(item))) => {
                    if self.filling.capacity() == 0 {
                        self.filling.reserve_exact(self.length.min(PREALLOCATED));
                    }
                    self.filling.push(item);
                    if self.filling.len() == self.length {
                        return self.complete();
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    if turn.on_error == OnError::Stop {
                        self.filling.clear();
                    }
                    self.held = Some(error);
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => {
                    room.wanted |= inner.wanted;
                    room.held |= inner.held;
                    return Poll::Pending;
                }
            }
        }
    }
}
