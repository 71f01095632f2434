//! The columns of s3dlio's operation log.

use super::Sink;
use crate::error::Result;
use crate::output::Output;
use crate::{Action, Header, Record};
use jiff::Timestamp;
use std::path::Path;

const TITLE: &str = "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns\n";

pub(super) struct Log {
    out: Output,
    realtime_ns: u64,
    index: u64,
}

impl Log {
    pub(super) fn create(path: &Path, header: &Header) -> Result<Log> {
        let mut out = Output::create(path)?;
        out.write(TITLE.as_bytes())?;
        Ok(Log { out, realtime_ns: header.clock.realtime_ns, index: 0 })
    }

    /// Nine digits, always: a reader that compares times as text is right.
    fn time(&self, since: u64) -> String {
        let ns = i128::from(self.realtime_ns) + i128::from(since);
        match Timestamp::from_nanosecond(ns) {
            Ok(time) => format!("{time:.9}"),
            Err(_) => String::new(),
        }
    }
}

impl Sink for Log {
    fn put(&mut self, record: &Record) -> Result<bool> {
        let op = match record.op {
            Action::Get | Action::Read => "GET",
            Action::Put => "PUT",
            Action::Stat => "HEAD",
            Action::List => "LIST",
            Action::Delete => "DELETE",
            Action::Open => return Ok(false),
        };
        let Some(done) = record.t_done else { return Ok(false) };
        let (scheme, file) = record.uri.split_once("://").unwrap_or(("file", &record.uri));
        // Tabs and ends of line do not occur in URIs of files; in keys they could.
        if file.contains(['\t', '\n', '\r']) {
            return Ok(false);
        }
        let row = format!(
            "{}\t{}\t{op}\t\t1\t{}\t{scheme}://\t{file}\t{}\t{}\t{}\t{}\t{}\n",
            self.index,
            record.stream.unwrap_or(0),
            record.bytes.unwrap_or(0),
            if record.status.is_ok() { "" } else { record.status.name() },
            self.time(record.t_submit),
            record.t_first.map(|first| self.time(first)).unwrap_or_default(),
            self.time(done),
            done.saturating_sub(record.t_submit),
        );
        self.index += 1;
        self.out.write(row.as_bytes())?;
        Ok(true)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.out.finish()
    }
}
