//! Writes a trace: a header, a line a record, an end. Compressed where the name ends in `.zst`.

use crate::error::{Error, Result};
use crate::header::EndLine;
use crate::{End, Header, Record};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Zstandard's default. Not compared with other levels.
const LEVEL: i32 = 3;

/// One file of a trace that is being written.
pub struct Writer {
    path: PathBuf,
    out: Output,
    line: Vec<u8>,
    records: u64,
}

enum Output {
    Plain(BufWriter<Counted>),
    Zstd(Box<zstd::Encoder<'static, BufWriter<Counted>>>),
}

/// A file that knows how much was written to it.
struct Counted {
    file: File,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Writer {
    /// Begins a file. One that is there already is replaced.
    ///
    /// # Errors
    /// Those of the file system, with the path.
    pub fn create(path: &Path, header: &Header) -> Result<Writer> {
        let file = File::create(path).map_err(Error::file(path))?;
        let out = BufWriter::with_capacity(1 << 16, Counted { file, bytes: 0 });
        let out = if is_compressed(path) {
            Output::Zstd(Box::new(zstd::Encoder::new(out, LEVEL).map_err(Error::file(path))?))
        } else {
            Output::Plain(out)
        };
        let mut writer = Writer { path: path.to_owned(), out, line: Vec::with_capacity(512), records: 0 };
        serde_json::to_writer(&mut writer.line, header).expect("a header has no value that JSON lacks");
        writer.put_line()?;
        Ok(writer)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record).expect("a record has no value that JSON lacks");
        self.records += 1;
        self.put_line()
    }

    /// Adds a record that somebody else wrote as text, without the end of its line.
    pub(crate) fn write_text(&mut self, record: &[u8]) -> Result<()> {
        self.line.clear();
        self.line.extend_from_slice(record);
        self.records += 1;
        self.put_line()
    }

    fn put_line(&mut self) -> Result<()> {
        self.line.push(b'\n');
        let result = match &mut self.out {
            Output::Plain(out) => out.write_all(&self.line),
            Output::Zstd(out) => out.write_all(&self.line),
        };
        result.map_err(Error::file(&self.path))
    }

    /// Records so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes that have reached the file so far; some are still being compressed or gathered.
    pub fn bytes(&self) -> u64 {
        match &self.out {
            Output::Plain(out) => out.get_ref().bytes + out.buffer().len() as u64,
            Output::Zstd(out) => out.get_ref().get_ref().bytes + out.get_ref().buffer().len() as u64,
        }
    }

    /// Writes the last line, saying how many operations are missing and which file goes on.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(mut self, dropped: u64, next: Option<String>) -> Result<u64> {
        self.line.clear();
        let end = EndLine { end: End { records: self.records, dropped, next } };
        serde_json::to_writer(&mut self.line, &end).expect("an end has no value that JSON lacks");
        self.put_line()?;
        let path = self.path;
        let out = match self.out {
            Output::Plain(out) => out,
            Output::Zstd(out) => out.finish().map_err(Error::file(&path))?,
        };
        let counted = out.into_inner().map_err(|e| Error::file(&path)(e.into_error()))?;
        Ok(counted.bytes)
    }
}

/// Whether a trace of this name is compressed.
pub(crate) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "zst")
}
