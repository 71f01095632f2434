//! One operation as the hot path leaves it: of fixed size, nothing formatted. A thread of the recorder's
//! turns it into text.

use crate::{Action, Status};
use forebay_io::{End, Kind, Location, Op};
use std::io::Write;
use std::time::Instant;

/// See the module's words. The location is a few reference counts, not a copy of its text.
pub(crate) struct Entry {
    location: Location,
    action: Action,
    /// Offset and length, where not all was asked for.
    range: Option<(u64, u64)>,
    sample: Option<u64>,
    stage: &'static str,
    stream: Option<u64>,
    attempt: u32,
    epoch: u64,
    begun: Instant,
    done: Instant,
    /// Nanoseconds from the beginning to the first byte.
    first: Option<u64>,
    bytes: u64,
    status: Status,
}

impl Entry {
    /// What happened, if it is something that a trace keeps.
    pub(crate) fn of(op: &Op<'_>, end: &End, done: Instant, epoch: u64) -> Option<Entry> {
        let (bytes, first, status) = match end {
            End::Done(served) => (served.bytes, served.first_byte, Status::Ok),
            End::Failed(kind) => (0, None, Status::Failed(*kind)),
            End::Cancelled => (0, None, Status::Failed(Kind::Cancelled)),
        };
        Some(Entry {
            location: op.location.clone(),
            action: Action::of(op.operation)?,
            range: op.range.as_ref().map(|range| (range.start, range.end.saturating_sub(range.start))),
            sample: op.sample,
            stage: op.stage,
            stream: op.stream,
            attempt: op.attempt,
            epoch,
            begun: op.begun,
            done,
            first: first.map(|first| u64::try_from(first.as_nanos()).unwrap_or(u64::MAX)),
            bytes,
            status,
        })
    }

    /// Appends the record's JSON, times counted from `origin`. Its fields and their order are those of
    /// [`Record`](crate::Record); a test holds the two together.
    pub(crate) fn write(&self, origin: Instant, uri: &mut String, out: &mut Vec<u8>) {
        use std::fmt::Write as _;
        let since = |instant: Instant| {
            u64::try_from(instant.saturating_duration_since(origin).as_nanos()).unwrap_or(u64::MAX)
        };
        uri.clear();
        write!(uri, "{}", self.location).expect("a String takes all");
        out.extend_from_slice(b"{\"op\":\"");
        out.extend_from_slice(self.action.name().as_bytes());
        out.extend_from_slice(b"\",\"uri\":");
        serde_json::to_writer(&mut *out, uri.as_str()).expect("text is JSON");
        let mut digits = itoa::Buffer::new();
        let mut number = |out: &mut Vec<u8>, name: &[u8], value: u64| {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name);
            out.extend_from_slice(b"\":");
            out.extend_from_slice(digits.format(value).as_bytes());
        };
        if let Some((offset, len)) = self.range {
            number(out, b"offset", offset);
            number(out, b"len", len);
        }
        let submit = since(self.begun);
        number(out, b"t_submit", submit);
        if let Some(first) = self.first {
            number(out, b"t_first", submit.saturating_add(first));
        }
        number(out, b"t_done", since(self.done));
        if self.status.is_ok() && matches!(self.action, Action::Get | Action::Read | Action::Put) {
            number(out, b"bytes", self.bytes);
        }
        if !self.status.is_ok() {
            write!(out, ",\"status\":\"{}\"", self.status.name()).expect("a Vec takes all");
        }
        if self.attempt > 0 {
            number(out, b"attempt", self.attempt.into());
        }
        if !self.stage.is_empty() {
            out.extend_from_slice(b",\"stage\":");
            serde_json::to_writer(&mut *out, self.stage).expect("text is JSON");
        }
        if let Some(stream) = self.stream {
            number(out, b"stream", stream);
        }
        if self.epoch > 0 {
            number(out, b"epoch", self.epoch - 1);
        }
        if let Some(sample) = self.sample {
            number(out, b"sample_id", sample);
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;
    use forebay_io::{Operation, Served};
    use std::time::Duration;

    #[test]
    fn what_is_written_is_the_record() {
        let location: Location = "/data/a \"b\"\u{e4}".parse().unwrap();
        let origin = Instant::now();
        let op = Op {
            operation: Operation::Get,
            location: &location,
            range: Some(10..30),
            sample: Some(7),
            stage: "read",
            stream: Some(9),
            attempt: 2,
            begun: origin + Duration::from_nanos(1000),
        };
        let served = Served { bytes: 20, first_byte: Some(Duration::from_nanos(5)), ..Default::default() };
        for (end, status, bytes) in [
            (End::Done(served), Status::Ok, Some(20)),
            (End::Failed(Kind::Throttled), Status::Failed(Kind::Throttled), None),
            (End::Cancelled, Status::Failed(Kind::Cancelled), None),
        ] {
            let entry = Entry::of(&op, &end, origin + Duration::from_nanos(3000), 4).unwrap();
            let mut out = Vec::new();
            entry.write(origin, &mut String::new(), &mut out);
            let expected = Record {
                offset: Some(10),
                len: Some(20),
                t_first: bytes.map(|_| 1005),
                t_done: Some(3000),
                bytes,
                status,
                attempt: 2,
                stage: Some("read".into()),
                stream: Some(9),
                epoch: Some(3),
                sample_id: Some(7),
                ..Record::asked(Action::Get, location.to_string(), 1000)
            };
            assert_eq!(serde_json::from_slice::<Record>(&out).unwrap(), expected);
            assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&expected).unwrap());
        }
    }
}
