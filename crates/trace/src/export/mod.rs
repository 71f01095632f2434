//! Traces for other tools. Each exporter says what its format cannot hold.

mod chrome;
mod csv;
mod fio;
mod op_log;
mod parquet;

use crate::error::{Error, Result};
use crate::{Header, Record};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// This crate's own.
    Forebay,
    /// `fio`'s I/O log, version 3, which `fio --read_iolog` replays.
    Fio,
    /// The columns of s3dlio's operation log, which warp has as well; compressed if the name ends in `.zst`.
    OpLog,
    /// Comma-separated values with a line of names.
    Csv,
    /// Apache Parquet with the columns of the CSV, compressed.
    Parquet,
    /// A timeline in Chrome's Trace Event Format, which Perfetto opens.
    Chrome,
}

impl Target {
    /// Every format.
    pub const ALL: [Target; 6] =
        [Target::Forebay, Target::Fio, Target::OpLog, Target::Csv, Target::Parquet, Target::Chrome];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Target::Forebay => "forebay",
            Target::Fio => "fio",
            Target::OpLog => "op-log",
            Target::Csv => "csv",
            Target::Parquet => "parquet",
            Target::Chrome => "chrome",
        }
    }

    /// What is lost on the way there, a sentence each.
    pub fn loses(self) -> &'static [&'static str] {
        match self {
            Target::Forebay => &[],
            Target::Fio => &[
                "everything but reads and writes of file:// and direct:// locations with a known size",
                "when operations ended and how",
                "times below a microsecond",
                "streams, stages, epochs, samples and attempts",
            ],
            Target::OpLog => &[
                "offsets of range reads",
                "how an operation failed, beyond that it did",
                "stages, epochs, samples and attempts",
                "opens: the format has no such operation",
                "operations without an end",
            ],
            Target::Csv | Target::Parquet => &["the header and what it says about missing operations"],
            Target::Chrome => &["how many operations the trace says are missing"],
        }
    }

    /// Guesses from a file's name.
    pub fn of(path: &Path) -> Option<Target> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_suffix(".zst").unwrap_or(name);
        match name.rsplit_once('.')?.1 {
            "jsonl" => Some(Target::Forebay),
            "tsv" => Some(Target::OpLog),
            "csv" => Some(Target::Csv),
            "parquet" => Some(Target::Parquet),
            "json" => Some(Target::Chrome),
            "iolog" | "fio" | "log" => Some(Target::Fio),
            _ => None,
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        Target::ALL.into_iter().find(|target| target.name() == word).ok_or_else(|| {
            let names: Vec<_> = Target::ALL.iter().map(|target| target.name()).collect();
            Error::Invalid(format!("{word:?} is not a format that can be written: {}", names.join(", ")))
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What became of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Records that are in the file.
    pub written: u64,
    /// Records that the format cannot hold.
    pub left_out: u64,
}

/// A file in the format of one of the targets.
trait Sink {
    /// Writes one record; false if the format cannot hold it.
    fn put(&mut self, record: &Record) -> Result<bool>;

    /// Writes what comes last.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Writes all of `records`, which should come in the order in which they were asked for. `dropped` says how many the
/// trace lacks.
///
/// # Errors
/// The first error of `records`, and those of the file.
pub fn write(
    path: &Path,
    target: Target,
    header: &Header,
    records: impl Iterator<Item = Result<Record>>,
    dropped: u64,
) -> Result<Exported> {
    let mut sink: Box<dyn Sink> = match target {
        Target::Forebay => Box::new(Own { writer: crate::Writer::create(path, header)?, dropped }),
        Target::Fio => Box::new(fio::Log::create(path)?),
        Target::OpLog => Box::new(op_log::Log::create(path, header)?),
        Target::Csv => Box::new(csv::Table::create(path)?),
        Target::Parquet => Box::new(parquet::Table::create(path)?),
        Target::Chrome => Box::new(chrome::Export::create(path, header)?),
    };
    let mut exported = Exported::default();
    for record in records {
        match sink.put(&record?)? {
            true => exported.written += 1,
            false => exported.left_out += 1,
        }
    }
    sink.finish()?;
    Ok(exported)
}

struct Own {
    writer: crate::Writer,
    dropped: u64,
}

impl Sink for Own {
    fn put(&mut self, record: &Record) -> Result<bool> {
        self.writer.write(record)?;
        Ok(true)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.writer.finish(self.dropped, None).map(|_| ())
    }
}
