//! One task of a pipeline: it drains a chain of stages into the queue behind them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::task::AbortHandle;

use crate::exit::Exit;
use crate::feed::{BoxFeed, Fed, Feed, Room, Turn};
use crate::queue::{Queue, Wait};
use crate::{Clock, OnError, PipelineError};

/// Known once the task runs, so that the task behind it can end it.
pub(crate) type Upstream = Arc<OnceLock<AbortHandle>>;

/// What all tasks of a pipeline go by.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) clock: Clock,
    pub(crate) on_error: OnError,
}

pub(crate) struct StageTask<T, E> {
    feed: BoxFeed<T, E>,
    queue: Arc<Queue<Fed<T, E>>>,
    /// Hand-overs inside the task, which end with it.
    inside: Vec<Arc<dyn Exit>>,
    /// Name of the last stage in the chain.
    stage: Arc<str>,
    rules: Rules,
    /// Space in the queue as last seen. There may be more, never less: nobody else puts.
    slots: usize,
    /// Since when a finished item waits for room.
    held_since: Option<u64>,
    done: bool,
}

impl<T, E> StageTask<T, E> {
    pub(crate) fn new(
        feed: BoxFeed<T, E>,
        queue: Arc<Queue<Fed<T, E>>>,
        inside: Vec<Arc<dyn Exit>>,
        stage: Arc<str>,
        rules: Rules,
    ) -> Self {
        Self { slots: queue.capacity, feed, queue, inside, stage, rules, held_since: None, done: false }
    }

    fn finish(&mut self, now: u64) -> Poll<()> {
        self.done = true;
        self.queue.close(now);
        Poll::Ready(())
    }
}

impl<T, E> Future for StageTask<T, E> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        let rules = task.rules.clone();
        let mut turn = Turn::new(cx, &rules.clock, rules.on_error);
        loop {
            // A consumer that keeps up with ready items must not make this task hold on to the
            // worker thread for ever.
            let budget = ready!(tokio::task::coop::poll_proceed(turn.cx));
            let mut room = Room::of(task.slots);
            match task.feed.poll_feed(&mut turn, &mut room) {
                Poll::Ready(Some(fed)) => {
                    budget.made_progress();
                    let now = turn.now();
                    let last = fed.is_err() && rules.on_error == OnError::Stop;
                    let held = task.held_since.take();
                    let waited = held.map_or(0, |since| now.saturating_sub(since));
                    match task.queue.put(fed, now, waited) {
                        Some(slots) if !last => task.slots = slots,
                        _ => return task.finish(now),
                    }
                }
                Poll::Ready(None) => return task.finish(turn.now()),
                Poll::Pending if !room.wanted => return Poll::Pending,
                Poll::Pending => match task.queue.poll_room(turn.cx, task.slots) {
                    Poll::Ready(slots) => {
                        task.slots = slots;
                        turn.read();
                    }
                    Poll::Pending => {
                        if room.held {
                            task.held_since.get_or_insert(turn.now());
                        }
                        return Poll::Pending;
                    }
                },
            }
        }
    }
}

impl<T, E> Drop for StageTask<T, E> {
    fn drop(&mut self) {
        let now = self.rules.clock.now();
        if !self.done {
            // Without a word the consumer would take this for the end of the data. Where the
            // consumer itself ended the task, the queue is closed and lets this fall.
            let stage = self.stage.clone();
            let interrupted = PipelineError::Interrupted { stage };
            self.queue.put(Err(interrupted), now, 0);
            self.queue.close(now);
        }
        for exit in &self.inside {
            exit.end(now);
        }
    }
}

/// The first feed of a task that has another before it: takes from the queue between them.
pub(crate) struct Queued<T, E> {
    queue: Arc<Queue<Fed<T, E>>>,
    upstream: Upstream,
    wait: Wait,
    /// The time of the last poll, which is what a drop goes by.
    seen_at: u64,
}

impl<T, E> Queued<T, E> {
    pub(crate) fn new(queue: Arc<Queue<Fed<T, E>>>, upstream: Upstream) -> Self {
        Self { queue, upstream, wait: Wait::default(), seen_at: 0 }
    }
}

impl<T: Send, E: Send> Feed<T, E> for Queued<T, E> {
    fn poll_feed(&mut self, turn: &mut Turn<'_, '_>, room: &mut Room) -> Poll<Option<Fed<T, E>>> {
        if room.slots == 0 {
            room.wanted = true;
            return Poll::Pending;
        }
        self.seen_at = turn.now();
        let got = ready!(self.queue.poll_get(turn.clock(), turn.cx, &mut self.wait));
        self.seen_at = turn.read();
        Poll::Ready(got.map(|(fed, put_at)| {
            turn.available_since = put_at;
            fed
        }))
    }
}

impl<T, E> Drop for Queued<T, E> {
    fn drop(&mut self) {
        self.queue.discard(self.seen_at);
        if let Some(upstream) = self.upstream.get() {
            upstream.abort();
        }
    }
}
