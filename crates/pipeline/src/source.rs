//! The first stage: an iterator or a stream, pulled by the stage behind it when it wants an item.
//!
//! A source has no task of its own and no look-ahead: nothing is taken from it before a slot is
//! free to work on it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures::Stream;

use crate::PipelineError;
use crate::feed::{Fed, Feed, Room, Turn};
use crate::stage_meter::StageMeter;

type Items<T, E> = Pin<Box<dyn Stream<Item = Result<T, E>> + Send>>;

enum Supply<I, T, E> {
    Iterator(I),
    Stream(Items<T, E>),
    /// Ended, or panicked: what is left of it cannot be trusted.
    Spent,
}

pub(crate) struct Source<I, T, E> {
    meter: Arc<StageMeter>,
    supply: Supply<I, T, E>,
    /// When the current item was first asked for.
    asked: Option<u64>,
    /// When the last item was handed out.
    handed: Option<u64>,
    /// Since when the next item may be said to be there: an iterator has it for the asking.
    available_since: Option<u64>,
}

impl<I: Iterator<Item = T>, T, E> Source<I, T, E> {
    pub(crate) fn from_iterator(meter: Arc<StageMeter>, items: I) -> Self {
        Self::new(meter, Supply::Iterator(items))
    }

    fn new(meter: Arc<StageMeter>, supply: Supply<I, T, E>) -> Self {
        Self { meter, supply, asked: None, handed: None, available_since: None }
    }
}

impl<T, E> Source<std::iter::Empty<T>, T, E> {
    pub(crate) fn from_stream(meter: Arc<StageMeter>, items: Items<T, E>) -> Self {
        Self::new(meter, Supply::Stream(items))
    }
}

impl<I, T, E> Feed<T, E> for Source<I, T, E>
where
    I: Iterator<Item = T> + Send,
    T: Send,
    E: Send,
{
    fn poll_feed(&mut self, turn: &mut Turn<'_, '_>, room: &mut Room) -> Poll<Option<Fed<T, E>>> {
        if room.slots == 0 {
            room.wanted = true;
            room.held = true;
            return Poll::Pending;
        }
        if let Some(handed) = self.handed.take() {
            self.meter.blocked.record(turn.now().saturating_sub(handed));
        }
        let asked = *self.asked.get_or_insert(turn.now());
        let supplied = catch_unwind(AssertUnwindSafe(|| match &mut self.supply {
            Supply::Iterator(items) => Poll::Ready(items.next().map(Ok)),
            Supply::Stream(items) => items.as_mut().poll_next(turn.cx),
            Supply::Spent => Poll::Ready(None),
        }));
        let now = turn.read();
        let fed = match supplied {
            Ok(Poll::Pending) => {
                self.available_since = None;
                return Poll::Pending;
            }
            Ok(Poll::Ready(None)) => {
                self.supply = Supply::Spent;
                return Poll::Ready(None);
            }
            Ok(Poll::Ready(Some(Ok(item)))) => Ok(item),
            Ok(Poll::Ready(Some(Err(source)))) => {
                Err(PipelineError::Failed { stage: self.meter.name.clone(), source })
            }
            Err(payload) => {
                self.supply = Supply::Spent;
                Err(PipelineError::panicked(&self.meter.name, payload))
            }
        };
        turn.available_since = self.available_since.unwrap_or(now);
        self.asked = None;
        self.handed = Some(now);
        self.available_since = Some(now);
        self.meter.completed(asked, now, fed.is_err());
        Poll::Ready(Some(fed))
    }
}
