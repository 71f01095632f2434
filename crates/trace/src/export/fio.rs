//! `fio`'s I/O log, version 3: microseconds, file, action, offset, length.

use super::Sink;
use crate::error::Result;
use crate::output::Output;
use crate::{Action, Record};
use forebay_io::Location;
use std::collections::HashSet;
use std::path::Path;

pub(super) struct Log {
    out: Output,
    /// Files that were announced. Their names are all that grows with the trace.
    known: HashSet<String>,
    /// When the last line was: fio wants times that do not go back.
    last: u64,
}

impl Log {
    pub(super) fn create(path: &Path) -> Result<Log> {
        let mut out = Output::create(path)?;
        out.write(b"fio version 3 iolog\n")?;
        Ok(Log { out, known: HashSet::new(), last: 0 })
    }
}

impl Sink for Log {
    fn put(&mut self, record: &Record) -> Result<bool> {
        let action = match record.op {
            Action::Get | Action::Read => "read",
            Action::Put => "write",
            _ => return Ok(false),
        };
        let Some(len) = record.size().filter(|len| *len > 0) else { return Ok(false) };
        let Ok(location) = record.uri.parse::<Location>() else { return Ok(false) };
        // fio splits lines at blanks and has no way to write one.
        let name = match std::str::from_utf8(location.path_bytes()) {
            Ok(name) if location.host().is_none() && !name.contains(char::is_whitespace) => name,
            _ => return Ok(false),
        };
        let micros = (record.t_submit / 1000).max(self.last);
        self.last = micros;
        if self.known.insert(name.to_owned()) {
            self.out.write(format!("{micros} {name} add\n{micros} {name} open\n").as_bytes())?;
        }
        let offset = record.offset.unwrap_or(0);
        self.out.write(format!("{micros} {name} {action} {offset} {len}\n").as_bytes())?;
        Ok(true)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let mut names: Vec<_> = self.known.drain().collect();
        names.sort_unstable();
        for name in names {
            self.out.write(format!("{} {name} close\n", self.last).as_bytes())?;
        }
        self.out.finish()
    }
}
