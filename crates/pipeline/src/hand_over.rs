//! Two stages of one task: items pass from one to the other by return value.
//!
//! There is no queue between them, but it is measured like one of capacity 0, so that every stage
//! has an exit to look at. It is empty while the second stage waits for an item, and at no other
//! time; what the first stage waits for being asked is its put wait.

use std::sync::Arc;
use std::task::Poll;

use crate::lock::Mutex;
use forebay_metrics::{QueueRole, QueueStats};

use crate::distribution::Distribution;
use crate::exit::Exit;
use crate::feed::{BoxFeed, Fed, Feed, Room, Turn};
use crate::stage_meter::StageMeter;
use crate::watch::Watch;

pub(crate) struct HandOver<T, E> {
    input: BoxFeed<T, E>,
    meter: Arc<HandOverMeter>,
    /// Since when the second stage wants an item.
    asking_since: Option<u64>,
    /// Whether a reader of the meter knows that.
    published: bool,
}

impl<T, E> HandOver<T, E> {
    pub(crate) fn new(input: BoxFeed<T, E>, meter: Arc<HandOverMeter>) -> Self {
        Self { input, meter, asking_since: None, published: false }
    }

    fn answered(&mut self, now: u64, note: impl FnOnce(&mut Times)) -> u64 {
        let since = self.asking_since.take();
        let waited = since.map_or(0, |since| now.saturating_sub(since));
        self.published = false;
        let mut times = self.meter.times.lock();
        times.asking_since = None;
        times.empty_ns += waited;
        note(&mut times);
        waited
    }
}

impl<T, E> Feed<T, E> for HandOver<T, E> {
    fn poll_feed(&mut self, turn: &mut Turn<'_, '_>, room: &mut Room) -> Poll<Option<Fed<T, E>>> {
        if room.slots > 0 {
            self.asking_since.get_or_insert(turn.now());
        }
        let fed = self.input.poll_feed(turn, room);
        match &fed {
            Poll::Ready(Some(_)) => {
                let waited = self.answered(turn.now(), |times| times.items += 1);
                self.meter.get_wait.record(waited);
            }
            Poll::Ready(None) => {
                let now = turn.now();
                self.answered(now, |times| times.ended_at = Some(now));
            }
            Poll::Pending => {
                if self.asking_since.is_some() && !self.published {
                    self.published = true;
                    self.meter.times.lock().asking_since = self.asking_since;
                }
            }
        }
        fed
    }
}

#[derive(Debug)]
pub(crate) struct HandOverMeter {
    from: Arc<StageMeter>,
    get_wait: Distribution,
    times: Mutex<Times>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    items: u64,
    opened_at: u64,
    /// Sum of the waits that are over.
    empty_ns: u64,
    asking_since: Option<u64>,
    ended_at: Option<u64>,
}

impl HandOverMeter {
    pub(crate) fn new(from: Arc<StageMeter>) -> Self {
        Self { from, get_wait: Distribution::of_waits(), times: Mutex::default() }
    }
}

impl Exit for HandOverMeter {
    fn open(&self, now: u64) {
        self.times.lock().opened_at = now;
    }

    fn end(&self, now: u64) {
        self.times.lock().ended_at.get_or_insert(now);
    }

    fn watched(&self, _: &Arc<dyn Watch>) {
        // Nothing waits in it: it has no depth to see.
    }

    fn abandon(&self, now: u64) {
        self.end(now);
    }

    fn read(&self, now: u64) -> QueueStats {
        let times = *self.times.lock();
        let now = times.ended_at.unwrap_or(now);
        let asking = times.asking_since.map_or(0, |since| now.saturating_sub(since));
        QueueStats {
            name: self.from.name.to_string(),
            role: QueueRole::Inner,
            capacity: 0,
            items: times.items,
            measured_ns: now.saturating_sub(times.opened_at),
            empty_ns: times.empty_ns + asking,
            depth_ns: 0,
            max_depth: 0,
            get_wait_ns: self.get_wait.read(),
            put_wait_ns: self.from.blocked.read(),
        }
    }
}
