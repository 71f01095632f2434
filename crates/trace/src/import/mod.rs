//! Traces of other tools, as records. Each importer says what its source does not know.

mod darshan;
mod fio;
mod input;
mod op_log;
mod strace;
mod strace_call;

pub use input::{Converted, Info, Input, Ordered};

use crate::error::{Error, Result};
use crate::reader::Lines;
use crate::{Clock, Header, Record};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This crate's own.
    Forebay,
    /// The operation log of s3dlio (`.tsv`, `.tsv.zst`) and of MinIO warp (`.csv.zst`): tab-separated columns
    /// under a line of names.
    OpLog,
    /// `fio`'s I/O log, versions 2 and 3.
    Fio,
    /// The text of `darshan-dxt-parser`.
    Darshan,
    /// What `strace -f -ttt` prints, with or without `-T` and `-y`.
    Strace,
}

impl Source {
    /// Every format.
    pub const ALL: [Source; 5] =
        [Source::Forebay, Source::OpLog, Source::Fio, Source::Darshan, Source::Strace];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Source::Forebay => "forebay",
            Source::OpLog => "op-log",
            Source::Fio => "fio",
            Source::Darshan => "darshan",
            Source::Strace => "strace",
        }
    }

    /// What a trace from there does not have, a sentence each.
    pub fn lacks(self) -> &'static [&'static str] {
        match self {
            Source::Forebay => &[],
            Source::OpLog => &[
                "offsets: a range read counts as one of the whole object, with the bytes it moved",
                "stage, epoch, sample and attempt",
            ],
            Source::Fio => &[
                "when operations ended, and whether they did",
                "version 2: when they were asked for, beyond its wait lines",
            ],
            Source::Darshan => &[
                "opens, stats and closes",
                "MPI-IO segments are left out: their POSIX segments are in the trace as well",
            ],
            Source::Strace => &[
                "reads through mmap, io_uring and splice",
                "what copy_file_range writes, and where appended bytes land",
                "without -T: when operations ended",
                "names relative to a directory other than the working directory, without -y",
                "files that were open before it looked, without -y: calls on them are left out and counted",
            ],
        }
    }

    /// Guesses from the first line of a file.
    ///
    /// # Errors
    /// The file's, and [`Error::Parse`] naming the formats if it is none of them.
    pub fn detect(path: &Path) -> Result<Source> {
        let mut lines = Lines::open(path)?;
        for _ in 0..64 {
            let Some(line) = lines.next_line()? else { break };
            let line = String::from_utf8_lossy(line);
            let text = line.trim_start();
            if text.starts_with("{\"forebay_trace\"") {
                return Ok(Source::Forebay);
            }
            if text.starts_with("fio version") {
                return Ok(Source::Fio);
            }
            if text.starts_with("# DXT") || text.starts_with("# darshan") {
                return Ok(Source::Darshan);
            }
            if op_log::is_title(text) {
                return Ok(Source::OpLog);
            }
            if strace_call::Call::parse(text).is_some() {
                return Ok(Source::Strace);
            }
        }
        let names: Vec<_> = Source::ALL.iter().map(|source| source.name()).collect();
        let what =
            format!("this looks like none of the formats {}; name the format if it is one", names.join(", "));
        Err(Error::parse(path, 1, 1, what))
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        Source::ALL.into_iter().find(|source| source.name() == word).ok_or_else(|| {
            let names: Vec<_> = Source::ALL.iter().map(|source| source.name()).collect();
            Error::Invalid(format!("{word:?} is not a format that can be read: {}", names.join(", ")))
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an importer needs to be told, because its source does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportOptions {
    /// The bucket of an operation log that names only keys and an HTTP endpoint, as warp's does.
    pub bucket: Option<String>,
    /// The directory from which relative file names are taken, absolute.
    pub base: Option<std::path::PathBuf>,
}

/// A trace of another tool that is being read, record by record.
pub struct Import {
    header: Header,
    records: Records,
    /// See [`Import::left_out`].
    left_out: Arc<AtomicU64>,
}

enum Records {
    /// Of a trace of this crate's own, which says what is missing.
    Own(Box<crate::Reader>),
    Other(Box<dyn Iterator<Item = Result<Record>> + Send>),
}

impl Import {
    /// Opens a trace of this format. Where its times are times of day, the first one becomes the header's clock.
    ///
    /// # Errors
    /// The file's, and [`Error::Parse`] with line and column.
    pub fn open(path: &Path, source: Source, options: &ImportOptions) -> Result<Import> {
        let clock = Clock { realtime_ns: 0, monotonic_ns: None };
        let header = Header::new(format!("imported from {source}"), "", clock);
        let lines = || Lines::open(path);
        Ok(match source {
            Source::Forebay => {
                let reader = crate::Reader::open(path)?;
                let (header, records) = (reader.header().clone(), Records::Own(Box::new(reader)));
                Import { header, records, left_out: Arc::default() }
            }
            Source::OpLog => op_log::open(lines()?, options, header)?,
            Source::Fio => Import::other(header, fio::open(lines()?, options)?),
            Source::Darshan => Import::other(header, darshan::open(lines()?)),
            Source::Strace => strace::open(lines()?, options, header)?,
        })
    }

    fn other(header: Header, records: impl Iterator<Item = Result<Record>> + Send + 'static) -> Import {
        Import { header, records: Records::Other(Box::new(records)), left_out: Arc::default() }
    }

    /// Operations that were read so far and left out, because what they were on is not known: of strace, calls on
    /// descriptors without a name.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// What is known about the trace as a whole.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Operations that happened and are not in the trace, as far as it was read; none where its format does not say.
    pub fn dropped(&self) -> Option<u64> {
        match &self.records {
            Records::Own(reader) => Some(reader.dropped()),
            Records::Other(_) => None,
        }
    }
}

impl Iterator for Import {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.records {
            Records::Own(reader) => reader.next(),
            Records::Other(records) => records.next(),
        }
    }
}

/// Records out of lines: `read` makes none, one or an error of each line. Ends after the first error.
fn records(
    mut lines: Lines,
    mut read: impl FnMut(&str) -> Result<Option<Record>, Wrong> + Send + 'static,
) -> impl Iterator<Item = Result<Record>> + Send {
    let mut failed = false;
    std::iter::from_fn(move || {
        while !failed {
            let result = match lines.next_line() {
                Ok(None) => return None,
                Ok(Some(_)) => lines
                    .text()
                    .and_then(|text| read(text).map_err(|wrong| lines.wrong(wrong.column, wrong.what))),
                Err(error) => Err(error),
            };
            failed = result.is_err();
            if let Some(item) = result.transpose() {
                return Some(item);
            }
        }
        None
    })
}

/// What is wrong with a line, and where in it.
#[derive(Debug)]
struct Wrong {
    column: usize,
    what: String,
}

fn wrong(column: usize, what: impl Into<String>) -> Wrong {
    Wrong { column, what: what.into() }
}

/// The number that a word of a line should be.
fn number<T: FromStr>(line: &str, word: &str, what: &str) -> Result<T, Wrong> {
    word.parse()
        .map_err(|_| wrong(column_of(line, word), format!("{what} is {word:?}, not a number that fits")))
}

/// Where in `line` the slice `word` of it begins, from 1.
fn column_of(line: &str, word: &str) -> usize {
    (word.as_ptr() as usize)
        .checked_sub(line.as_ptr() as usize)
        .filter(|at| *at <= line.len())
        .map_or(1, |at| at + 1)
}

/// A number of seconds with a fraction, as nanoseconds.
fn seconds(line: &str, word: &str, what: &str) -> Result<u64, Wrong> {
    let bad =
        || wrong(column_of(line, word), format!("{what} is {word:?}, not a number of seconds that fits"));
    let (whole, fraction) = word.split_once('.').unwrap_or((word, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let nine = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let fraction = nine.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    whole.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(fraction)).ok_or_else(bad)
}

/// The URI of a file by its name, taken from `base` if it is relative.
fn file_uri(name: &str, base: Option<&Path>) -> Result<String, Wrong> {
    let path = match base {
        Some(base) => base.join(name),
        None => Path::new(name).to_owned(),
    };
    forebay_io::Location::from_path(&path)
        .map(|location| location.to_string())
        .map_err(|e| wrong(1, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_exactly() {
        for (text, ns) in
            [("0.000001", 1000), ("1700000000.123456", 1_700_000_000_123_456_000), ("3", 3_000_000_000)]
        {
            assert_eq!(seconds(text, text, "t").unwrap(), ns);
        }
        for text in ["", ".", "1.", "-1.0", "1e3", "99999999999999999999.0", "1.x"] {
            assert!(seconds(text, text, "t").is_err(), "{text}");
        }
    }
}
