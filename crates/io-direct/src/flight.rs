//! Reads that are submitted together and answered together: one submission, one answer.
//!
//! What a flight knows nothing of: by what it is read (see `ring` and `preads`), and for whom.

use crate::alignment::{Alignment, Part, Plan};
use crate::memory::Target;
use crate::open_file::OpenFile;
use forebay_io::Buf;
use rustix::io::Errno;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who waits for a flight. Dropped unanswered if the engine ends.
pub(crate) trait Caller: Send + Sync {
    /// Whether nobody waits any more.
    fn gave_up(&self) -> bool;

    /// All is read or has failed; in the order in which it was asked for. Must be quick.
    fn landed(self: Box<Self>, landed: Vec<Landed>);
}

pub(crate) struct Flight {
    pub(crate) reads: Vec<Read>,
    pub(crate) caller: Box<dyn Caller>,
    /// Whether each request is told of when all is over.
    pub(crate) watched: bool,
}

/// A read to be made.
pub(crate) struct Read {
    pub(crate) file: Arc<OpenFile>,
    pub(crate) target: Target,
    pub(crate) plan: Plan,
    failed: Option<Errno>,
    /// The least position at which the file was found to end.
    ended: Option<u64>,
    begun: Option<Instant>,
    over: Option<Instant>,
    requests: Vec<Request>,
}

/// One request that was made.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) range: Range<u64>,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) failed: Option<Errno>,
}

/// How a part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Whole,
    /// The file ends at this position.
    Ended(u64),
    Failed(Errno),
}

/// A read that is over.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) file: Arc<OpenFile>,
    pub(crate) buf: Buf,
    /// Whole; or the file ended at this position.
    pub(crate) filled: Result<Option<u64>, Errno>,
    pub(crate) elapsed: Duration,
    pub(crate) requests: Vec<Request>,
}

impl Read {
    /// To fill `buf` from `offset` on, in requests of about `request` bytes.
    pub(crate) fn new(file: Arc<OpenFile>, offset: u64, buf: Buf, request: u64) -> Self {
        let target = Target::new(buf);
        let alignment = Alignment { offset: file.grain, ..file.rung.alignment() };
        let span = offset..offset + target.len() as u64;
        let plan = Plan::new(span, alignment, target.ground(), request);
        Read { file, target, plan, failed: None, ended: None, begun: None, over: None, requests: Vec::new() }
    }

    /// A part has ended.
    pub(crate) fn settle(
        &mut self,
        part: &Part,
        bytes: u64,
        outcome: Outcome,
        time: Range<Instant>,
        watched: bool,
    ) {
        let mut failed = None;
        match outcome {
            Outcome::Whole => {}
            Outcome::Ended(at) => self.ended = Some(self.ended.map_or(at, |earlier| earlier.min(at))),
            Outcome::Failed(errno) => failed = Some(errno),
        }
        self.failed = self.failed.or(failed);
        self.begun = Some(self.begun.map_or(time.start, |begun| begun.min(time.start)));
        self.over = Some(self.over.map_or(time.end, |over| over.max(time.end)));
        if watched {
            let elapsed = time.end.saturating_duration_since(time.start);
            self.requests.push(Request { range: part.ask.clone(), bytes, elapsed, failed });
        }
    }

    /// Every part has ended.
    pub(crate) fn land(self) -> Landed {
        let elapsed = match (self.begun, self.over) {
            (Some(begun), Some(over)) => over.saturating_duration_since(begun),
            _ => Duration::ZERO,
        };
        let span = self.plan.span().clone();
        let filled = match self.failed {
            Some(errno) => Err(errno),
            None => self.file.after_read(&span).map(|()| self.ended),
        };
        let buf = self.target.into_buf(self.plan.shift());
        Landed { file: self.file, buf, filled, elapsed, requests: self.requests }
    }
}
