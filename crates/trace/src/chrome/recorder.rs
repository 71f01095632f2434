//! A timeline of a job while it runs: what its stores are asked, and whatever else it tells.
//!
//! As with [`Recorder`](crate::Recorder), the path of a read pays for a push into a queue; a thread of the
//! recorder's writes, and what does not get through is counted.

use super::timeline::{Slice, Timeline, Track};
use crate::error::{Error, Result};
use crate::{Action, Header, Record, Status};
use crossbeam_queue::ArrayQueue;
use forebay_io::{Attempt, End, Event, Kind, Location, Observe, Op};
use serde_json::Map;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Events that may wait to be written: some hundredths of a second of a busy job, in 16 MiB.
const QUEUE: usize = 1 << 16;
/// The writer looks this often; a queue that fills up faster than that wakes it.
const PAUSE: Duration = Duration::from_millis(2);

/// What became of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineRecorded {
    /// Operations, tasks and levels in the file.
    pub events: u64,
    /// Those that are not.
    pub dropped: u64,
    /// The file.
    pub path: PathBuf,
    /// Why the file could not be written to its end, if so.
    pub failure: Option<String>,
}

/// Sees operations, and is told of tasks and levels, and writes them to a timeline. Dropped without
/// [`TimelineRecorder::finish`], it still writes what it was told, and the end of the file.
pub struct TimelineRecorder {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<TimelineRecorded>>>,
}

struct Shared {
    origin: Instant,
    queue: ArrayQueue<Seen>,
    dropped: AtomicU64,
    in_flight: AtomicU64,
    over: AtomicBool,
    writer: thread::Thread,
}

enum Seen {
    /// Its location is written by the thread that has time for it.
    Operation(Location, Box<Record>),
    Task {
        stage: Arc<str>,
        begin: u64,
        end: u64,
        failed: bool,
    },
    Depth {
        queue: Arc<str>,
        at: u64,
        items: u64,
    },
    InFlight {
        at: u64,
        level: u64,
    },
}

impl TimelineRecorder {
    /// Begins a timeline. `origin` is the instant that the header's clock speaks of.
    ///
    /// # Errors
    /// Those of creating the file.
    pub fn create(path: &Path, header: &Header, origin: Instant) -> Result<Arc<TimelineRecorder>> {
        let timeline = Timeline::create(path, header)?;
        let (send, receive) = std::sync::mpsc::channel::<Arc<Shared>>();
        let place = path.to_owned();
        let thread = thread::Builder::new()
            .name("forebay-timeline".into())
            .spawn(move || write(timeline, place, &receive.recv().expect("the recorder sends it at once")))
            .map_err(Error::file(path))?;
        let shared = Arc::new(Shared {
            origin,
            queue: ArrayQueue::new(QUEUE),
            dropped: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            over: AtomicBool::new(false),
            writer: thread.thread().clone(),
        });
        send.send(shared.clone()).expect("the thread waits for it");
        Ok(Arc::new(TimelineRecorder { shared, writer: Mutex::new(Some(thread)) }))
    }

    /// The instant from which times count.
    pub fn origin(&self) -> Instant {
        self.shared.origin
    }

    /// A task of a stage ended. Times count from the origin.
    pub fn task(&self, stage: &Arc<str>, began: Duration, ended: Duration, failed: bool) {
        let (begin, end) = (nanos(began), nanos(ended));
        self.shared.push(Seen::Task { stage: stage.clone(), begin, end, failed });
    }

    /// A queue between stages holds so many items from then on. The time counts from the origin.
    pub fn depth(&self, queue: &Arc<str>, at: Duration, items: u64) {
        self.shared.push(Seen::Depth { queue: queue.clone(), at: nanos(at), items });
    }

    /// Events that are missing so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes what is left and ends the file. End the work first. A second call returns none.
    pub fn finish(&self) -> Option<TimelineRecorded> {
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.shared.over.store(true, Ordering::Release);
        self.shared.writer.unpark();
        thread.join().ok()
    }
}

impl Drop for TimelineRecorder {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    fn push(&self, seen: Seen) {
        if self.queue.push(seen).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if self.queue.len() > QUEUE / 2 {
            self.writer.unpark();
        }
    }

    fn since(&self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.origin))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Observe for TimelineRecorder {
    fn started(&self, ops: &[Op<'_>]) {
        let Some(first) = ops.first() else { return };
        let n = ops.len() as u64;
        let level = self.shared.in_flight.fetch_add(n, Ordering::Relaxed) + n;
        self.shared.push(Seen::InFlight { at: self.shared.since(first.begun), level });
    }

    fn ended(&self, ops: &[Op<'_>], ends: &[End]) {
        let shared = &*self.shared;
        let done = shared.since(Instant::now());
        let n = ops.len() as u64;
        let level = shared.in_flight.fetch_sub(n, Ordering::Relaxed).saturating_sub(n);
        shared.push(Seen::InFlight { at: done, level });
        for (op, end) in ops.iter().zip(ends) {
            let Some(action) = Action::of(op.operation) else { continue };
            let begin = shared.since(op.begun);
            let mut record = Record::asked(action, String::new(), begin);
            record.offset = op.range.as_ref().map(|range| range.start);
            record.len = op.range.as_ref().map(|range| range.end.saturating_sub(range.start));
            record.t_done = Some(done);
            match end {
                End::Done(served) => {
                    record.bytes = Some(served.bytes);
                    record.t_first = served.first_byte.map(|first| begin.saturating_add(nanos(first)));
                }
                End::Failed(kind) => record.status = Status::Failed(*kind),
                End::Cancelled => record.status = Status::Failed(Kind::Cancelled),
            }
            record.attempt = op.attempt;
            record.stage = (!op.stage.is_empty()).then(|| op.stage.to_owned());
            record.stream = op.stream;
            record.epoch = op.epoch;
            record.sample_id = op.sample;
            shared.push(Seen::Operation(op.location.clone(), Box::new(record)));
        }
    }

    /// A timeline is of operations: their tries are in the metrics.
    fn attempted(&self, _: &[Attempt<'_>]) {}

    fn noted(&self, _: Option<&str>, _: Event) {}
}

impl fmt::Debug for TimelineRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimelineRecorder").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

/// The recorder's thread.
fn write(timeline: Timeline, path: PathBuf, shared: &Shared) -> TimelineRecorded {
    let mut recorded = TimelineRecorded { events: 0, dropped: 0, path, failure: None };
    let mut timeline = Some(timeline);
    loop {
        // Looked at before the queue: what was pushed before it was set is still found.
        let over = shared.over.load(Ordering::Acquire);
        while let Some(seen) = shared.queue.pop() {
            let Some(open) = &mut timeline else {
                shared.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            match put(open, seen) {
                Ok(()) => recorded.events += 1,
                Err(error) => {
                    // The job goes on without its timeline, and is told in the end.
                    recorded.failure = Some(error.to_string());
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                    timeline = None;
                }
            }
        }
        if over {
            break;
        }
        thread::park_timeout(PAUSE);
    }
    if let Some(Err(error)) = timeline.map(Timeline::finish) {
        recorded.failure = Some(error.to_string());
    }
    recorded.dropped = shared.dropped.load(Ordering::Relaxed);
    recorded
}

fn put(timeline: &mut Timeline, seen: Seen) -> Result<()> {
    match seen {
        Seen::Operation(location, mut record) => {
            record.uri = location.to_string();
            timeline.operation(&record)
        }
        Seen::Task { stage, begin, end, failed } => {
            let name = if failed { format!("{stage} (failed)") } else { stage.to_string() };
            let details = Map::new();
            timeline.slice(&Slice { track: Track::Stages, group: &stage, name: &name, begin, end, details })
        }
        Seen::Depth { queue, at, items } => {
            timeline.level(Track::Stages, &format!("items in {queue}"), at, items)
        }
        Seen::InFlight { at, level } => timeline.level(Track::Operations, "operations in flight", at, level),
    }
}
