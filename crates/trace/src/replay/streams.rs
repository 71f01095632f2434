//! Operations by stream, each due when those that it waited for in the recording have ended here and its think time is
//! over.
//!
//! What an operation waited for is not recorded, and what ended before it was asked for, in its stream, is the most that
//! it can have waited for. So that is what it waits for here; its think time is the recorded time from the last of those
//! ends. Operations of a stream that overlapped in the recording (a batch) may overlap here.

use super::plan::{Step, Steps, scaled};
use crate::Record;
use crate::error::{Error, Result};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::iter::Peekable;
use std::time::{Duration, Instant};

/// See the module's words.
pub(super) struct Streams<'a> {
    steps: Peekable<Steps<'a>>,
    scale: f64,
    look_ahead: usize,
    streams: HashMap<u64, Stream>,
    /// Streams whose next operation has a time; equal times in the order in which they were found.
    due: BinaryHeap<Reverse<(Instant, u64, u64)>>,
    found: u64,
    waiting: usize,
}

#[derive(Default)]
struct Stream {
    steps: VecDeque<Step>,
    /// Whether its next operation is in the heap.
    timed: bool,
    /// When those in flight had ended in the recording.
    in_flight: Vec<Duration>,
    /// Those that have ended here, but in the recording later than anything that was asked for yet.
    ended: Vec<(Duration, Instant)>,
    /// The last end of those that operations from here on waited for: in the recording, and here.
    last: Option<(Duration, Instant)>,
}

/// When an operation had ended in the recording; when it was asked for, if that is all that is known.
pub(super) fn recorded_end(at: Duration, record: &Record) -> Duration {
    at.saturating_add(Duration::from_nanos(record.latency().unwrap_or(0)))
}

/// The error that stands next.
fn failure(steps: &mut Peekable<Steps<'_>>) -> Error {
    match steps.next() {
        Some(Err(error)) => error,
        _ => Error::Invalid("a trace that could not be read could be read after all".into()),
    }
}

impl<'a> Streams<'a> {
    pub(super) fn new(steps: Peekable<Steps<'a>>, scale: f64, look_ahead: usize) -> Self {
        let (streams, due) = (HashMap::new(), BinaryHeap::new());
        Streams { steps, scale, look_ahead, streams, due, found: 0, waiting: 0 }
    }

    /// Takes in as much of the trace as may wait.
    pub(super) fn read_ahead(&mut self, begin: Instant) -> Result<()> {
        while self.waiting < self.look_ahead {
            match self.steps.peek() {
                None => break,
                Some(Err(_)) => return Err(failure(&mut self.steps)),
                Some(Ok(_)) => {}
            }
            let Some(Ok(step)) = self.steps.next() else { break };
            let stream = step.record.stream.unwrap_or(0);
            self.streams.entry(stream).or_default().steps.push_back(step);
            self.waiting += 1;
            self.engage(stream, begin)?;
        }
        Ok(())
    }

    /// When the first operation is due that can be.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((due, ..))| *due)
    }

    /// That operation.
    pub(super) fn first(&self) -> Option<&Step> {
        let Reverse((_, _, stream)) = self.due.peek()?;
        self.streams.get(stream)?.steps.front()
    }

    /// Takes it.
    pub(super) fn pop(&mut self, begin: Instant) -> Result<Option<(Step, Instant)>> {
        let Some(Reverse((due, _, stream))) = self.due.pop() else { return Ok(None) };
        let state = self.streams.entry(stream).or_default();
        state.timed = false;
        let Some(step) = state.steps.pop_front() else { return Ok(None) };
        state.in_flight.push(recorded_end(step.at, &step.record));
        self.waiting -= 1;
        self.engage(stream, begin)?;
        Ok(Some((step, due)))
    }

    /// Whether there is nothing left to ask for.
    pub(super) fn is_over(&mut self) -> bool {
        self.waiting == 0 && self.steps.peek().is_none()
    }

    /// An operation has ended, `recorded` in the recording and `at` here. True if its stream has nothing to do because the
    /// trace was not read far enough.
    pub(super) fn ended(
        &mut self,
        stream: u64,
        recorded: Duration,
        at: Instant,
        begin: Instant,
    ) -> Result<bool> {
        let more = self.waiting >= self.look_ahead && self.steps.peek().is_some();
        let state = self.streams.entry(stream).or_default();
        if let Some(index) = state.in_flight.iter().position(|end| *end == recorded) {
            state.in_flight.swap_remove(index);
        }
        state.ended.push((recorded, at));
        let starved = more && state.steps.is_empty() && state.in_flight.is_empty();
        self.engage(stream, begin)?;
        Ok(starved)
    }

    /// Gives the stream's next operation its time, if what it waits for has ended.
    fn engage(&mut self, stream: u64, begin: Instant) -> Result<()> {
        let state = self.streams.entry(stream).or_default();
        let Some(at) = state.steps.front().map(|step| step.at).filter(|_| !state.timed) else {
            return Ok(());
        };
        if state.in_flight.iter().any(|end| *end <= at) {
            return Ok(());
        }
        state.ended.retain(|&(recorded, here)| {
            let before = recorded <= at;
            if before {
                let last = state.last.get_or_insert((recorded, here));
                *last = (last.0.max(recorded), last.1.max(here));
            }
            !before
        });
        let due = match state.last {
            Some((recorded, here)) => here + scaled(at.saturating_sub(recorded), self.scale)?,
            None => begin + scaled(at, self.scale)?,
        };
        state.timed = true;
        self.found += 1;
        self.due.push(Reverse((due, self.found, stream)));
        Ok(())
    }
}
