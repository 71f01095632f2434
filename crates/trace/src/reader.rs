//! Reads a trace record by record, in bounded memory, over all its parts. What is wrong is said with file,
//! line and column; what is missing is said too.

use crate::error::{Error, Result};
use crate::header::{EndLine, VERSION};
use crate::writer::is_compressed;
use crate::{Header, Record};
use forebay_io::Location;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A longer line is not a record of anything: names are at most some KiB.
pub const LONGEST_LINE: usize = 1 << 20;

/// A file of lines, decompressed if its name ends in `.zst`, each of bounded length.
pub(crate) struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Lines> {
        let file = File::open(path).map_err(Error::file(path))?;
        let input: Box<dyn BufRead + Send> = if is_compressed(path) {
            let decoder = zstd::Decoder::new(file).map_err(Error::file(path))?;
            Box::new(BufReader::with_capacity(1 << 16, decoder))
        } else {
            Box::new(BufReader::with_capacity(1 << 16, file))
        };
        Ok(Lines { path: path.to_owned(), input, line: Vec::new(), number: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the line that was read last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line without its end; none at the end of the file.
    pub(crate) fn next_line(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        let limit = LONGEST_LINE as u64 + 1;
        let read = (&mut self.input).take(limit).read_until(b'\n', &mut self.line);
        // Damage to a compressed file shows as an error of reading; it has a place all the same.
        let read = read.map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::Other => Error::parse(
                &self.path,
                self.number + 1,
                1,
                format!("the compressed data is damaged or cut: {e}"),
            ),
            _ => Error::file(&self.path)(e),
        })?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
        } else if self.line.len() > LONGEST_LINE {
            return Err(self.wrong(1, format!("the line is longer than {LONGEST_LINE} bytes")));
        }
        Ok(Some(&self.line))
    }

    /// An error at the line that was read last.
    pub(crate) fn wrong(&self, column: usize, what: impl Into<String>) -> Error {
        Error::parse(&self.path, self.number, column, what)
    }

    /// The line that was read last, as UTF-8.
    pub(crate) fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.line).map_err(|e| self.wrong(e.valid_up_to() + 1, "the line is not UTF-8"))
    }
}

/// A trace that is being read.
pub struct Reader {
    lines: Lines,
    header: Header,
    /// Records of the part that is being read.
    in_part: u64,
    dropped: u64,
    /// Set once the last line of the last part was seen.
    ended: bool,
    failed: bool,
}

impl Reader {
    /// Opens a trace and reads its header.
    ///
    /// # Errors
    /// The file's, and [`Error::Parse`] for what is not the header of a trace of this version.
    pub fn open(path: &Path) -> Result<Reader> {
        let (lines, header) = begin(path)?;
        Ok(Reader { lines, header, in_part: 0, dropped: 0, ended: false, failed: false })
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Operations that happened and are not in the trace, as far as it was read.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether the trace was read to an end that says nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.ended && self.dropped == 0
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if self.lines.next_line()?.is_none() {
                let what = "the file ends here without the line that ends a trace: it was cut";
                return Err(Error::parse(self.lines.path(), self.lines.number() + 1, 1, what));
            }
            if self.lines.line.is_empty() {
                return Err(self.lines.wrong(1, "the line is empty"));
            }
            if !self.lines.line.starts_with(b"{\"end\"") {
                let record = parse::<Record>(&self.lines, "a record")?;
                self.check(&record)?;
                self.in_part += 1;
                return Ok(Some(record));
            }
            self.end_part()?;
        }
    }

    /// What the shape of a record does not say.
    fn check(&self, record: &Record) -> Result<()> {
        let at = |field: &[u8]| {
            let at = self.lines.line.windows(field.len()).position(|window| window == field);
            at.map_or(1, |at| at + 1)
        };
        match (record.offset, record.len) {
            (Some(_), None) => {
                let what = "an offset needs a len beside it; the whole object is asked for without both";
                return Err(self.lines.wrong(at(b"\"offset\""), what));
            }
            (None, Some(_)) => {
                let what = "a len needs an offset beside it; the whole object is asked for without both";
                return Err(self.lines.wrong(at(b"\"len\""), what));
            }
            _ => {}
        }
        let named = record.uri.parse::<Location>();
        named.map(drop).map_err(|error| self.lines.wrong(at(b"\"uri\""), format!("uri: {error}")))
    }

    fn end_part(&mut self) -> Result<()> {
        let end = parse::<EndLine>(&self.lines, "an end")?.end;
        if end.records != self.in_part {
            let what = format!("the end speaks of {} records, there are {}", end.records, self.in_part);
            return Err(self.lines.wrong(1, what));
        }
        if self.lines.next_line()?.is_some() {
            return Err(self.lines.wrong(1, "there is more after the line that ends the file"));
        }
        self.dropped = end.dropped;
        self.in_part = 0;
        match end.next {
            None => self.ended = true,
            Some(name) => {
                if name.contains('/') || name == ".." {
                    let what = format!("the next part {name:?} is not the name of a file beside this one");
                    return Err(self.lines.wrong(1, what));
                }
                let path = self.lines.path().with_file_name(name);
                let (lines, header) = begin(&path)?;
                let follows = header.part == self.header.part + 1 && header.clock == self.header.clock;
                if !follows {
                    let what = format!("this is not part {} of the same trace", self.header.part + 1);
                    return Err(Error::parse(&path, 1, 1, what));
                }
                (self.lines, self.header) = (lines, header);
            }
        }
        Ok(())
    }
}

fn begin(path: &Path) -> Result<(Lines, Header)> {
    let mut lines = Lines::open(path)?;
    if lines.next_line()?.is_none() {
        return Err(Error::parse(path, 1, 1, "the file is empty; a trace begins with its header"));
    }
    // The version first: a later one may have fields that are unknown here.
    #[derive(serde::Deserialize)]
    struct Version {
        forebay_trace: u64,
    }
    let version = serde_json::from_slice::<Version>(&lines.line)
        .map_err(|e| lines.wrong(e.column().max(1), format!("this is not the header of a trace: {e}")))?
        .forebay_trace;
    if version != u64::from(VERSION) {
        let what = format!("the trace is of version {version}; this program reads version {VERSION}");
        return Err(lines.wrong(1, what));
    }
    let header = parse(&lines, "a header")?;
    Ok((lines, header))
}

fn parse<T: serde::de::DeserializeOwned>(lines: &Lines, what: &str) -> Result<T> {
    serde_json::from_slice(&lines.line).map_err(|e| {
        let text = e.to_string();
        // The line and column that serde_json adds are of this line alone.
        let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
        lines.wrong(e.column().max(1), format!("this is not {what} of a trace: {text}"))
    })
}

impl Iterator for Reader {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_record().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}
