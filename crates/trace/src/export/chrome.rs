//! A recorded trace as a timeline, with how many operations were in flight when.

use super::Sink;
use crate::chrome::{Timeline, Track};
use crate::error::Result;
use crate::{Header, Record};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

/// Keeps the ends of what is in flight, and nothing else.
pub(super) struct Export {
    timeline: Timeline,
    ends: BinaryHeap<Reverse<u64>>,
    /// The last level that is not written yet, because the time has not moved on.
    level: Option<(u64, u64)>,
}

impl Export {
    pub(super) fn create(path: &Path, header: &Header) -> Result<Export> {
        Ok(Export { timeline: Timeline::create(path, header)?, ends: BinaryHeap::new(), level: None })
    }

    /// Everything that ended by then has.
    fn until(&mut self, now: u64) -> Result<()> {
        while let Some(&Reverse(end)) = self.ends.peek().filter(|end| end.0 <= now) {
            self.ends.pop();
            self.changed(end)?;
        }
        Ok(())
    }

    fn changed(&mut self, at: u64) -> Result<()> {
        let level = self.ends.len() as u64;
        match self.level.replace((at, level)) {
            Some((then, before)) if then < at => self.write(then, before),
            _ => Ok(()),
        }
    }

    fn write(&mut self, at: u64, level: u64) -> Result<()> {
        self.timeline.level(Track::Operations, "operations in flight", at, level)
    }
}

impl Sink for Export {
    fn put(&mut self, record: &Record) -> Result<bool> {
        if let Some(end) = record.t_done {
            self.until(record.t_submit)?;
            self.ends.push(Reverse(end.max(record.t_submit)));
            self.changed(record.t_submit)?;
        }
        self.timeline.operation(record)?;
        Ok(true)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.until(u64::MAX)?;
        if let Some((at, level)) = self.level.take() {
            self.write(at, level)?;
        }
        self.timeline.finish()
    }
}
