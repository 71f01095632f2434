//! An observer that keeps everything it hears and knows whether the contract was kept: each operation
//! begun once and ended once.

use forebay_io::{Attempt, End, Event, Kind, Location, Observe, Op, Operation};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::Range;

/// One operation as it was announced, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What was done.
    pub operation: Operation,
    /// On which object.
    pub location: Location,
    /// Which bytes, if not all.
    pub range: Option<Range<u64>>,
    /// The caller's number for it.
    pub sample: Option<u64>,
    /// Who asked.
    pub stage: &'static str,
    /// Which try; 0 is the first.
    pub attempt: u32,
    /// How it ended; none while it is in flight.
    pub end: Option<End>,
}

impl Record {
    fn of(op: &Op<'_>) -> Self {
        Record {
            operation: op.operation,
            location: op.location.clone(),
            range: op.range.clone(),
            sample: op.sample,
            stage: op.stage,
            attempt: op.attempt,
            end: None,
        }
    }

    fn is_of(&self, op: &Op<'_>) -> bool {
        *self == Record { end: self.end, ..Record::of(op) }
    }
}

/// One request that a backend made, as it told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The operation it belongs to.
    pub operation: Operation,
    /// On which object.
    pub location: Location,
    /// Which bytes it asked for, if not all.
    pub range: Option<Range<u64>>,
    /// Bytes that it moved.
    pub bytes: u64,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Why it failed, if it did.
    pub failed: Option<Kind>,
}

impl Request {
    fn of(attempt: &Attempt<'_>) -> Self {
        Request {
            operation: attempt.operation,
            location: attempt.location.clone(),
            range: attempt.range.clone(),
            bytes: attempt.bytes,
            status: attempt.status,
            failed: attempt.failed,
        }
    }
}

/// See the module's words. It never panics while it observes: [`RecordingObserver::assert_settled`]
/// does, in the test.
#[derive(Debug, Default)]
pub struct RecordingObserver {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<Record>,
    events: Vec<Event>,
    requests: Vec<Request>,
    broken: Vec<String>,
    in_flight: HashMap<Operation, usize>,
    peaks: HashMap<Operation, usize>,
    peak: usize,
}

impl RecordingObserver {
    /// One that has heard nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every operation so far, in the order in which they began.
    pub fn records(&self) -> Vec<Record> {
        self.state.lock().records.clone()
    }

    /// The operations of one kind, in the order in which they began.
    pub fn of(&self, operation: Operation) -> Vec<Record> {
        self.records().into_iter().filter(|r| r.operation == operation).collect()
    }

    /// Every event so far.
    pub fn events(&self) -> Vec<Event> {
        self.state.lock().events.clone()
    }

    /// Every request so far that a backend told of.
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().requests.clone()
    }

    /// The most operations, listings aside, that were in flight at once. (A listing is in flight as
    /// long as somebody holds its stream, also between two pages.)
    pub fn peak_in_flight(&self) -> usize {
        self.state.lock().peak
    }

    /// The most operations of one kind that were in flight at once.
    pub fn peak_of(&self, operation: Operation) -> usize {
        self.state.lock().peaks.get(&operation).copied().unwrap_or(0)
    }

    /// Checks that every operation that began has ended, and that none ended that had not begun.
    ///
    /// # Panics
    /// Otherwise, naming them.
    pub fn assert_settled(&self) {
        let state = self.state.lock();
        let open: Vec<_> = state.records.iter().filter(|r| r.end.is_none()).collect();
        assert!(open.is_empty(), "begun and never ended: {open:#?}");
        assert!(state.broken.is_empty(), "the contract was broken: {:#?}", state.broken);
    }
}

impl Observe for RecordingObserver {
    fn started(&self, ops: &[Op<'_>]) {
        let mut state = self.state.lock();
        for op in ops {
            state.records.push(Record::of(op));
            let now = state.in_flight.entry(op.operation).or_default();
            *now += 1;
            let now = *now;
            let peak = state.peaks.entry(op.operation).or_default();
            *peak = now.max(*peak);
        }
        let total: usize = state
            .in_flight
            .iter()
            .filter(|(operation, _)| **operation != Operation::List)
            .map(|(_, n)| n)
            .sum();
        state.peak = state.peak.max(total);
    }

    fn ended(&self, ops: &[Op<'_>], ends: &[End]) {
        let mut state = self.state.lock();
        if ops.len() != ends.len() {
            let text = format!("{} operations ended with {} ends", ops.len(), ends.len());
            state.broken.push(text);
        }
        for (op, end) in ops.iter().zip(ends) {
            // Equal operations in flight at once cannot be told apart, and need not be.
            let open = state.records.iter().position(|r| r.end.is_none() && r.is_of(op));
            match open {
                Some(index) => {
                    state.records[index].end = Some(*end);
                    if let Some(now) = state.in_flight.get_mut(&op.operation) {
                        *now -= 1;
                    }
                }
                None => state.broken.push(format!("{op:?} ended ({end:?}) but is not in flight")),
            }
        }
    }

    fn attempted(&self, attempts: &[Attempt<'_>]) {
        self.state.lock().requests.extend(attempts.iter().map(Request::of));
    }

    fn noted(&self, _: Option<&str>, event: Event) {
        self.state.lock().events.push(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_op(test: impl FnOnce(&RecordingObserver, Op<'_>)) {
        let location: Location = "mem://t/a".parse().unwrap();
        let op = Op {
            operation: Operation::Get,
            location: &location,
            range: Some(1..2),
            sample: None,
            stage: "s",
            stream: None,
            epoch: None,
            attempt: 0,
            begun: std::time::Instant::now(),
        };
        test(&RecordingObserver::new(), op);
    }

    #[test]
    fn equal_operations_in_flight_are_counted() {
        with_op(|observer, op| {
            observer.started(&[op.clone(), op.clone()]);
            observer.ended(std::slice::from_ref(&op), &[End::Cancelled]);
            assert!(
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| observer.assert_settled())).is_err()
            );
            observer.ended(&[op], &[End::Failed(Kind::NotFound)]);
            observer.assert_settled();
            assert_eq!((observer.peak_in_flight(), observer.peak_of(Operation::Get)), (2, 2));
        });
    }

    #[test]
    #[should_panic(expected = "not in flight")]
    fn an_end_without_a_beginning_is_found() {
        with_op(|observer, op| {
            observer.started(std::slice::from_ref(&op));
            observer.ended(std::slice::from_ref(&op), &[End::Cancelled]);
            observer.ended(&[op], &[End::Cancelled]);
            observer.assert_settled();
        });
    }
}
