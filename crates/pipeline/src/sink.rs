//! The consumer's end of a pipeline, for tasks and for plain threads.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::feed::Fed;
use crate::queue::{Got, Queue, Wait};
use crate::shift::Shift;
use crate::{Assist, Clock, Control, PipelineError, PipelineStats};

/// What a pipeline yields: an item, or why there is none in its place.
pub type Item<T, E> = Result<T, PipelineError<E>>;

/// The last queue of a running pipeline. Dropping it ends the pipeline, as [`Sink::cancel`] does.
///
/// Several tasks or threads may take from one sink; each item goes to one of them.
pub struct Sink<T, E> {
    queue: Arc<Queue<Fed<T, E>>>,
    shift: Arc<Shift<T, E>>,
    clock: Clock,
    control: Control,
    assist: Option<Arc<dyn Assist>>,
}

/// What a wait with a limit came to.
#[derive(Debug)]
pub enum Waited<T, E> {
    /// An item.
    Ready(Item<T, E>),
    /// There will be none: all were taken, or the pipeline was cancelled.
    Ended,
    /// None came in time. Another call goes on waiting; nothing is lost in between.
    TimedOut,
}

impl<T, E> Sink<T, E> {
    pub(crate) fn new(
        queue: Arc<Queue<Fed<T, E>>>,
        shift: Arc<Shift<T, E>>,
        clock: Clock,
        control: Control,
    ) -> Self {
        Self { queue, shift, clock, control, assist: None }
    }

    /// Has threads that attend take a part in `assist` before they sleep, in place of others who would do it. A wait
    /// with a limit may then last for as long as one piece of it.
    #[must_use]
    pub fn assisting(mut self, assist: Arc<dyn Assist>) -> Self {
        self.assist = Some(assist);
        self
    }

    /// The next item, `None` at the end. The future can be dropped at any time without losing one.
    pub fn next(&self) -> Next<'_, T, E> {
        Next { sink: self, wait: Wait::default() }
    }

    /// The next item if there is one now; `Ready(None)` at the end. Does not count as a wait.
    pub fn try_next(&self) -> Poll<Option<Item<T, E>>> {
        self.queue.try_get(&self.clock)
    }

    /// Waits for the next item on the calling thread; `None` at the end. See [`Sink::attend`].
    ///
    /// Not for a thread that runs tasks: it would keep them, maybe this pipeline's, from running.
    pub fn next_blocking(&self) -> Option<Item<T, E>> {
        self.attend().next_blocking()
    }

    /// Like [`Sink::next_blocking`], for at most `limit` of real time (and what is worked on just then):
    /// for a caller that must look at something else now and then, such as a signal. In the statistics,
    /// waits that timed out count with the item that comes after them.
    pub fn next_timeout(&self, limit: Duration) -> Waited<T, E> {
        self.attend().next_timeout(limit)
    }

    /// Puts the calling thread at the pipeline's service: until the answer is dropped, it is this thread
    /// that is woken when the last task has something to do, and does it, while it waits for an item and
    /// when it leaves. So whoever frees something that the pipeline waits for because of an item taken
    /// does so before the answer is dropped, and no other thread need be woken.
    ///
    /// One thread at a time can be; another one only waits.
    pub fn attend(&self) -> Attending<'_, T, E> {
        let works = self.shift.attend();
        if works && let Some(assist) = &self.assist {
            assist.attends();
        }
        Attending { sink: self, works }
    }

    /// A handle to watch or end the pipeline from elsewhere.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Ends the pipeline; see [`Control::cancel`].
    pub fn cancel(&self) {
        self.control.cancel();
    }

    /// Waits until every task of the pipeline is gone; see [`Control::closed`].
    pub async fn closed(&self) {
        self.control.closed().await;
    }

    /// Statistics since the pipeline was spawned.
    pub fn stats(&self) -> PipelineStats {
        self.control.stats()
    }
}

impl<T, E> Drop for Sink<T, E> {
    fn drop(&mut self) {
        self.control.cancel();
    }
}

impl<T, E> fmt::Debug for Sink<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("capacity", &self.queue.capacity)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

/// A thread that takes items and works on the pipeline meanwhile; see [`Sink::attend`].
#[must_use = "it serves until it is dropped"]
pub struct Attending<'a, T, E> {
    sink: &'a Sink<T, E>,
    /// Whether it works, or another thread does.
    works: bool,
}

impl<T, E> Attending<'_, T, E> {
    /// As [`Sink::next_blocking`].
    pub fn next_blocking(&self) -> Option<Item<T, E>> {
        match self.get(None) {
            Got::Item(item) => Some(item),
            Got::Ended | Got::TimedOut => None,
        }
    }

    /// As [`Sink::next_timeout`].
    pub fn next_timeout(&self, limit: Duration) -> Waited<T, E> {
        // No deadline when it is too far away for the clock.
        match self.get(Instant::now().checked_add(limit)) {
            Got::Item(item) => Waited::Ready(item),
            Got::Ended => Waited::Ended,
            Got::TimedOut => Waited::TimedOut,
        }
    }

    fn get(&self, deadline: Option<Instant>) -> Got<Fed<T, E>> {
        let Sink { queue, shift, clock, assist, .. } = self.sink;
        if !self.works {
            return queue.get_blocking(clock, deadline);
        }
        let cx = Context::from_waker(shift.attendant());
        let mut wait = Wait::default();
        loop {
            match queue.poll_get(clock, &cx, &mut wait) {
                Poll::Ready(Some((item, _))) => return Got::Item(item),
                Poll::Ready(None) => return Got::Ended,
                Poll::Pending => {}
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                queue.give_up(clock, &mut wait);
                return Got::TimedOut;
            }
            if shift.is_rung() {
                shift.work();
            } else if !assist.as_ref().is_some_and(|assist| assist.assist()) {
                shift.sleep(deadline);
            }
        }
    }
}

impl<T, E> Drop for Attending<'_, T, E> {
    fn drop(&mut self) {
        if self.works {
            self.sink.shift.leave();
            if let Some(assist) = &self.sink.assist {
                assist.attends();
            }
        }
    }
}

impl<T, E> fmt::Debug for Attending<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attending").field("works", &self.works).finish_non_exhaustive()
    }
}

/// Future of [`Sink::next`].
#[must_use = "futures do nothing unless polled"]
pub struct Next<'a, T, E> {
    sink: &'a Sink<T, E>,
    wait: Wait,
}

impl<T, E> Future for Next<'_, T, E> {
    type Output = Option<Item<T, E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A task that finds items ready for ever must let others have the worker thread too.
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        let Next { sink, wait } = &mut *self;
        let got = ready!(sink.queue.poll_get(&sink.clock, cx, wait));
        budget.made_progress();
        Poll::Ready(got.map(|(item, _)| item))
    }
}

impl<T, E> Drop for Next<'_, T, E> {
    fn drop(&mut self) {
        self.sink.queue.give_up(&self.sink.clock, &mut self.wait);
    }
}
