//! The bounded queue between two tasks, or between the last task and the training loop.
//!
//! One task puts; any number of tasks and plain threads get. Waiting tasks leave a waker, waiting
//! threads sleep on a condition variable; a put wakes them, so nobody polls. A lock is held for one
//! push or pop and its statistics, and user code (wakers, destructors of items) runs outside it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::lock::{Condvar, Mutex};
use forebay_metrics::{QueueRole, QueueStats};

use crate::Clock;
use crate::distribution::Distribution;
use crate::exit::Exit;
use crate::queue_meter::QueueMeter;
use crate::watch::{Watch, Watcher};

pub(crate) struct Queue<R> {
    name: Arc<str>,
    role: QueueRole,
    pub(crate) capacity: usize,
    get_wait: Distribution,
    put_wait: Distribution,
    watcher: Watcher,
    state: Mutex<State<R>>,
    arrived: Condvar,
}

struct State<R> {
    /// Items, and when each was put.
    items: VecDeque<(R, u64)>,
    /// Nothing more will be put.
    closed: bool,
    /// Waiting tasks, by ticket.
    waiting: Vec<(u64, Waker)>,
    tickets: u64,
    /// Threads asleep on `arrived`.
    sleeping: usize,
    /// The putting task, when it waits for room, and the room it waits for.
    putter: Option<(Waker, usize)>,
    /// Waits that were given up; the next item answers for them too.
    carried_ns: u64,
    meter: QueueMeter,
}

/// Whom a change of the queue concerns, to be told after the lock is released.
struct Wake {
    first: Option<Waker>,
    others: Vec<(u64, Waker)>,
    sleeper: bool,
}

impl Wake {
    fn send(self, arrived: &Condvar) {
        if self.sleeper {
            arrived.notify_one();
        }
        if let Some(first) = self.first {
            first.wake();
        }
        for (_, waker) in self.others {
            waker.wake();
        }
    }
}

impl<R> State<R> {
    /// Everyone who waits for an item is told of it: a task that has lost interest must not
    /// swallow the only call. There is rarely more than one.
    fn wake_getters(&mut self) -> Wake {
        let (first, others) = match self.waiting.len() {
            0 => (None, Vec::new()),
            // Keeps the list's memory for the next wait.
            1 => (self.waiting.pop().map(|(_, waker)| waker), Vec::new()),
            _ => (None, std::mem::take(&mut self.waiting)),
        };
        Wake { first, others, sleeper: self.sleeping > 0 }
    }

    fn free(&self, capacity: usize) -> usize {
        capacity.saturating_sub(self.items.len())
    }
}

/// One wait for an item, from the first look to the item or to giving up.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    ticket: Option<u64>,
    since: Option<u64>,
}

/// What a blocking get came back with.
pub(crate) enum Got<R> {
    Item(R),
    Ended,
    TimedOut,
}

impl<R> Queue<R> {
    pub(crate) fn new(name: Arc<str>, role: QueueRole, capacity: usize) -> Self {
        Self {
            name,
            role,
            capacity,
            get_wait: Distribution::of_waits(),
            put_wait: Distribution::of_waits(),
            watcher: Watcher::default(),
            state: Mutex::new(State {
                items: VecDeque::new(),
                closed: false,
                waiting: Vec::new(),
                tickets: 0,
                sleeping: 0,
                putter: None,
                carried_ns: 0,
                meter: QueueMeter::default(),
            }),
            arrived: Condvar::new(),
        }
    }

    /// Puts an item, which waited `waited` ns for room; the space that is left, or `None` when the
    /// queue was closed by its consumer. Having looked for room is the caller's business: an item
    /// is never refused for lack of it.
    pub(crate) fn put(&self, item: R, now: u64, waited: u64) -> Option<usize> {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return None;
        }
        state.items.push_back((item, now));
        state.meter.put(now);
        self.watcher.depth(&self.name, now, state.items.len());
        let free = state.free(self.capacity);
        let wake = state.wake_getters();
        drop(state);
        self.put_wait.record(waited);
        wake.send(&self.arrived);
        Some(free)
    }

    /// The space there is now, if it is more than `known`; else the task is woken when there is
    /// more, and half the queue is free.
    ///
    /// Half, because a putter that is woken for each item taken goes to sleep again after each: a
    /// wake-up costs more than all else that is done for an item. The consumer finds the other half
    /// while the putter wakes up.
    pub(crate) fn poll_room(&self, cx: &Context<'_>, known: usize) -> Poll<usize> {
        let mut state = self.state.lock();
        let free = state.free(self.capacity);
        // A closed queue has no use for its putter, whose task is being ended.
        if free > known && !state.closed {
            return Poll::Ready(free);
        }
        let needed = (known + 1).max(self.capacity / 2);
        match &mut state.putter {
            Some((waker, room)) => {
                waker.clone_from(cx.waker());
                *room = needed;
            }
            none => *none = Some((cx.waker().clone(), needed)),
        }
        Poll::Pending
    }

    /// The next item and when it was put, `None` at the end. When pending, the task is woken for another look; a wait
    /// that is given up is to be handed to [`Queue::give_up`].
    pub(crate) fn poll_get(
        &self,
        clock: &Clock,
        cx: &Context<'_>,
        wait: &mut Wait,
    ) -> Poll<Option<(R, u64)>> {
        let mut state = self.state.lock();
        let now = clock.now();
        if let Some(item) = state.items.pop_front() {
            self.taken(state, now, wait);
            return Poll::Ready(Some(item));
        }
        if state.closed {
            *wait = Wait::default();
            return Poll::Ready(None);
        }
        wait.since.get_or_insert(now);
        let ticket = *wait.ticket.get_or_insert_with(|| {
            state.tickets += 1;
            state.tickets
        });
        match state.waiting.iter_mut().find(|(other, _)| *other == ticket) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => state.waiting.push((ticket, cx.waker().clone())),
        }
        Poll::Pending
    }

    /// Waits on the calling thread until there is an item, the end, or `deadline`.
    pub(crate) fn get_blocking(&self, clock: &Clock, deadline: Option<Instant>) -> Got<R> {
        let mut state = self.state.lock();
        let mut wait = Wait::default();
        loop {
            let now = clock.now();
            if let Some((item, _)) = state.items.pop_front() {
                self.taken(state, now, &mut wait);
                return Got::Item(item);
            }
            if state.closed {
                return Got::Ended;
            }
            let since = *wait.since.get_or_insert(now);
            state.sleeping += 1;
            let late;
            (state, late) = self.arrived.wait(state, deadline);
            state.sleeping -= 1;
            if late && state.items.is_empty() && !state.closed {
                state.carried_ns += clock.now().saturating_sub(since);
                return Got::TimedOut;
            }
        }
    }

    /// The next item if there is one now, `None` at the end.
    pub(crate) fn try_get(&self, clock: &Clock) -> Poll<Option<R>> {
        let mut state = self.state.lock();
        let now = clock.now();
        match state.items.pop_front() {
            Some((item, _)) => {
                self.taken(state, now, &mut Wait::default());
                Poll::Ready(Some(item))
            }
            None if state.closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Ends a wait that got nothing.
    pub(crate) fn give_up(&self, clock: &Clock, wait: &mut Wait) {
        let Wait { ticket, since } = std::mem::take(wait);
        let Some(since) = since else { return };
        let mut state = self.state.lock();
        state.carried_ns += clock.now().saturating_sub(since);
        let place = state.waiting.iter().position(|(other, _)| Some(*other) == ticket);
        let waker = place.map(|place| state.waiting.swap_remove(place));
        drop(state);
        drop(waker);
    }

    /// Nothing more will be put; what is in the queue can still be got.
    pub(crate) fn close(&self, now: u64) {
        let mut state = self.state.lock();
        state.closed = true;
        if state.items.is_empty() {
            state.meter.end(now);
        }
        let wake = state.wake_getters();
        drop(state);
        wake.send(&self.arrived);
        // The end is for every sleeper, unlike an item.
        self.arrived.notify_all();
    }

    /// Closes the queue and drops what is in it.
    pub(crate) fn discard(&self, now: u64) {
        let mut state = self.state.lock();
        state.closed = true;
        state.meter.end(now);
        let dropped = std::mem::take(&mut state.items);
        let wake = state.wake_getters();
        let putter = state.putter.take();
        drop(state);
        wake.send(&self.arrived);
        self.arrived.notify_all();
        drop((dropped, putter));
    }

    /// After an item was popped: statistics, and room for the putter.
    fn taken(&self, mut state: crate::lock::MutexGuard<'_, State<R>>, now: u64, wait: &mut Wait) {
        let Wait { ticket, since } = std::mem::take(wait);
        state.meter.got(now);
        self.watcher.depth(&self.name, now, state.items.len());
        if state.closed && state.items.is_empty() {
            state.meter.end(now);
        }
        let own = since.map_or(0, |since| now.saturating_sub(since));
        let waited = own + std::mem::take(&mut state.carried_ns);
        let stale = ticket
            .and_then(|ticket| state.waiting.iter().position(|(other, _)| *other == ticket))
            .map(|place| state.waiting.swap_remove(place));
        let free = state.free(self.capacity);
        let putter = state.putter.take_if(|(_, needed)| free >= *needed);
        drop(state);
        self.get_wait.record(waited);
        if let Some((waker, _)) = putter {
            waker.wake();
        }
        drop(stale);
    }
}

impl<R: Send> Exit for Queue<R> {
    fn open(&self, now: u64) {
        self.state.lock().meter.open(now);
    }

    fn end(&self, now: u64) {
        self.close(now);
    }

    fn watched(&self, watch: &Arc<dyn Watch>) {
        self.watcher.set(watch);
    }

    fn abandon(&self, now: u64) {
        self.discard(now);
    }

    fn read(&self, now: u64) -> QueueStats {
        let meter = self.state.lock().meter.clone();
        let times = meter.times(now);
        QueueStats {
            name: self.name.to_string(),
            role: self.role,
            capacity: self.capacity as u64,
            items: meter.got,
            measured_ns: times.measured_ns,
            empty_ns: times.empty_ns,
            depth_ns: u64::try_from(times.depth_ns).unwrap_or(u64::MAX),
            max_depth: meter.depth_max,
            get_wait_ns: self.get_wait.read(),
            put_wait_ns: self.put_wait.read(),
        }
    }
}
