//! Runs a user's function over items, several at once, and hands results on in the chosen order.
//!
//! All futures of a stage are polled by its one task: a stage overlaps waiting, it does not
//! spread computation over cores. Work that computes belongs on a pool that its future awaits.
//!
//! Look-ahead: at most `concurrency` items are in work, and finished ones that wait for their
//! turn share the free slots of the queue behind the stage. An item that is late therefore does
//! not idle the stage until the whole look-ahead (`concurrency` + queue capacity) is used up.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use crate::feed::{BoxFeed, Fed, Feed, Room, Turn};
use crate::in_work::InWork;
use crate::spans::{Spanned, spanned};
use crate::stage_meter::StageMeter;
use crate::{Concurrency, OnError, Order, PipelineError};

pub(crate) struct Map<T, U, E, F, Fut> {
    meter: Arc<StageMeter>,
    input: BoxFeed<T, E>,
    input_ended: bool,
    /// An error was seen and the policy is to stop: nothing new is begun.
    stopping: bool,
    function: F,
    concurrency: usize,
    order: Order,
    work: InWork<Spanned<Fut>>,
    /// What is to be handed on, first at the front. In delivery order `None` holds the place of
    /// an item that is still in work.
    line: VecDeque<Option<Fed<U, E>>>,
    /// Position, counted over the whole run, of the front of `line`.
    front: u64,
    /// Items that were begun, or passed by.
    begun: u64,
    /// Items of `line` that are finished.
    finished: usize,
    /// Since when all slots are busy, if they are.
    full_since: Option<u64>,
    /// How long they were since the last item was taken up.
    full_ns: u64,
    /// Since when the front of `line` is finished and has no room.
    blocked_since: Option<u64>,
}

impl<T, U, E, F, Fut> Map<T, U, E, F, Fut>
where
    F: FnMut(T) -> Fut,
    Fut: Future<Output = Result<U, E>>,
{
    pub(crate) fn new(
        meter: Arc<StageMeter>,
        input: BoxFeed<T, E>,
        concurrency: Concurrency,
        order: Order,
        function: F,
    ) -> Self {
        Self {
            meter,
            input,
            input_ended: false,
            stopping: false,
            function,
            concurrency: concurrency.get(),
            order,
            work: InWork::new(),
            line: VecDeque::new(),
            front: 0,
            begun: 0,
            finished: 0,
            full_since: None,
            full_ns: 0,
            blocked_since: None,
        }
    }

    /// Takes a place in line for an item that begins now; none for one that lines up when it is finished.
    fn place(&mut self) -> Option<u64> {
        let place = self.begun;
        self.begun += 1;
        let ordered = match self.order {
            Order::Completion => false,
            Order::Delivery => true,
            // Behind the last of these stand only such as lined up themselves.
            Order::CompletionAfter(first) => place < first,
        };
        if !ordered {
            return None;
        }
        self.line.push_back(None);
        Some(place)
    }

    fn finish(&mut self, place: Option<u64>, fed: Fed<U, E>, on_error: OnError) {
        self.stopping |= fed.is_err() && on_error == OnError::Stop;
        self.finished += 1;
        match place {
            None => self.line.push_back(Some(fed)),
            Some(place) => self.line[(place - self.front) as usize] = Some(fed),
        }
    }

    fn begin(&mut self, item: T, turn: &mut Turn<'_, '_>) {
        let place = self.place();
        let began = turn.now();
        match catch_unwind(AssertUnwindSafe(|| (self.function)(item))) {
            Ok(future) => self.work.push(place, began, spanned(&self.meter.name, future)),
            Err(payload) => {
                let now = turn.read();
                self.meter.completed(began, now, true);
                let error = PipelineError::panicked(&self.meter.name, payload);
                self.finish(place, Err(error), turn.on_error);
            }
        }
    }

    /// Polls what is in work and lines up what finished.
    fn advance(&mut self, turn: &mut Turn<'_, '_>) {
        while let Poll::Ready(done) = self.work.poll_done(turn.cx) {
            let now = turn.read();
            if let Some(since) = self.full_since.take() {
                self.full_ns += now.saturating_sub(since);
            }
            let fed = match done.outcome {
                Ok(Ok(output)) => Ok(output),
                Ok(Err(source)) => Err(PipelineError::Failed { stage: self.meter.name.clone(), source }),
                Err(payload) => Err(PipelineError::panicked(&self.meter.name, payload)),
            };
            self.meter.completed(done.began, now, fed.is_err());
            self.finish(done.place, fed, turn.on_error);
        }
    }

    /// Takes an item from the input if a slot is free for it; whether it did.
    fn admit(&mut self, turn: &mut Turn<'_, '_>, room: &mut Room) -> bool {
        if self.input_ended || self.stopping || self.work.len() >= self.concurrency {
            return false;
        }
        if self.work.len() + self.finished >= self.concurrency.saturating_add(room.slots) {
            room.wanted = true;
            return false;
        }
        match self.input.poll_feed(turn, &mut Room::of(1)) {
            Poll::Pending => false,
            Poll::Ready(None) => {
                self.input_ended = true;
                false
            }
            Poll::Ready(Some(fed)) => {
                let now = turn.now();
                let there = now.saturating_sub(turn.available_since);
                let full = std::mem::take(&mut self.full_ns);
                match fed {
                    Ok(item) => {
                        self.meter.pool_wait.record(full.min(there));
                        self.begin(item, turn);
                        if self.work.len() >= self.concurrency {
                            self.full_since = Some(now);
                        }
                    }
                    // Not this stage's failure: it only passes by, in its place.
                    Err(error) => {
                        let place = self.place();
                        self.finish(place, Err(error), turn.on_error);
                    }
                }
                true
            }
        }
    }

    /// The next result in order, if it is finished and there is room for it.
    fn emit(&mut self, turn: &Turn<'_, '_>, room: &mut Room) -> Option<Fed<U, E>> {
        if !matches!(self.line.front(), Some(Some(_))) {
            return None;
        }
        if room.slots == 0 {
            room.wanted = true;
            room.held = true;
            self.blocked_since.get_or_insert(turn.now());
            return None;
        }
        let blocked = self.blocked_since.take().unwrap_or(turn.now());
        self.meter.blocked.record(turn.now().saturating_sub(blocked));
        self.finished -= 1;
        self.front += 1;
        self.line.pop_front().flatten()
    }
}

impl<T, U, E, F, Fut> Feed<U, E> for Map<T, U, E, F, Fut>
where
    T: Send,
    U: Send,
    E: Send,
    F: FnMut(T) -> Fut + Send,
    Fut: Future<Output = Result<U, E>> + Send,
{
    fn poll_feed(&mut self, turn: &mut Turn<'_, '_>, room: &mut Room) -> Poll<Option<Fed<U, E>>> {
        loop {
            self.advance(turn);
            // One item is begun before one is handed on: the device is kept busy, and work that is
            // done at once does not fill the whole look-ahead before the consumer sees any of it.
            let admitted = self.admit(turn, room);
            if let Some(fed) = self.emit(turn, room) {
                return Poll::Ready(Some(fed));
            }
            if !admitted {
                break;
            }
        }
        let done = self.line.is_empty() && self.work.len() == 0;
        if done && (self.input_ended || self.stopping) { Poll::Ready(None) } else { Poll::Pending }
    }
}
