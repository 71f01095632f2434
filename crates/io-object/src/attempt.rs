//! One request, reported to the observer exactly once: also when it is dropped half way.

use crate::{Failure, backend::Shared};
use forebay_io::{Attempt, Kind, Location, Operation};
use std::ops::Range;
use std::time::{Duration, Instant};

/// A request that was made.
pub(crate) struct Try<'a> {
    shared: &'a Shared,
    operation: Operation,
    location: &'a Location,
    range: Option<Range<u64>>,
    begin: Instant,
    /// Bytes of the object that came or went.
    pub(crate) bytes: u64,
    first_byte: Option<Duration>,
    status: Option<u16>,
    /// `None` until it ended.
    end: Option<Option<Kind>>,
}

impl<'a> Try<'a> {
    /// It begins now.
    pub(crate) fn begin(
        shared: &'a Shared,
        operation: Operation,
        location: &'a Location,
        range: Option<Range<u64>>,
    ) -> Self {
        let begin = Instant::now();
        Try { shared, operation, location, range, begin, bytes: 0, first_byte: None, status: None, end: None }
    }

    /// When it began.
    pub(crate) fn begun(&self) -> Instant {
        self.begin
    }

    /// The header of an answer is here.
    pub(crate) fn answered(&mut self, status: u16) {
        self.first_byte = Some(self.begin.elapsed());
        self.status = Some(status);
    }

    /// From its begin to its first byte.
    pub(crate) fn first_byte(&self) -> Option<Duration> {
        self.first_byte
    }

    /// It is over.
    pub(crate) fn end<T>(mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        self.end = Some(match &result {
            Ok(_) => None,
            Err(failure) => {
                if failure.status.is_some() && self.status.is_none() {
                    self.first_byte = Some(self.begin.elapsed());
                    self.status = failure.status;
                }
                Some(failure.kind)
            }
        });
        result
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        self.shared.observer.attempted(&[Attempt {
            operation: self.operation,
            location: self.location,
            range: self.range.clone(),
            bytes: self.bytes,
            elapsed: self.begin.elapsed(),
            first_byte: self.first_byte,
            status: self.status,
            failed: self.end.unwrap_or(Some(Kind::Cancelled)),
        }]);
    }
}
