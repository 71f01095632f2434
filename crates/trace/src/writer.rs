//! Writes a trace: a header, a line a record, an end. Compressed where the name ends in `.zst`.
//!
//! Lines are gathered, and whole ones written at once; compressed, each such piece is a frame of its own. So what a file
//! has got before the disk is full can be read: a piece that did not fit is taken back, and the end of the trace, which
//! says what is missing, is written in its place if there is room for that.

use crate::error::{Error, Result};
use crate::header::EndLine;
use crate::reader::LONGEST_LINE;
use crate::{End, Header, Record};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Zstandard's level: the quickest, and no larger than 3 or 5 (`docs/decisions/trace-recorder.md`).
const LEVEL: i32 = 1;

/// Bytes of lines that are written at once. More would be lost with a process that is killed, and fewer compress worse.
const PIECE: usize = 1 << 20;

/// One file of a trace that is being written.
pub struct Writer {
    path: PathBuf,
    file: File,
    /// Whole lines that are not written yet, and at their end perhaps one that is not whole.
    text: Vec<u8>,
    /// Where the line that is being written begins.
    line: usize,
    piece: usize,
    compressor: Option<zstd::bulk::Compressor<'static>>,
    compressed: Vec<u8>,
    /// Bytes in the file, all of them of whole pieces.
    bytes: u64,
    /// Records in the file, and those that wait.
    written: u64,
    waiting: u64,
}

impl Writer {
    /// Begins a file. One that is there already is replaced.
    ///
    /// # Errors
    /// Those of the file system, with the path.
    pub fn create(path: &Path, header: &Header) -> Result<Writer> {
        let file = File::create(path).map_err(Error::file(path))?;
        let compressor = match is_compressed(path) {
            true => Some(zstd::bulk::Compressor::new(LEVEL).map_err(Error::file(path))?),
            false => None,
        };
        let mut writer = Writer {
            path: path.to_owned(),
            file,
            text: Vec::with_capacity(PIECE + PIECE / 8),
            line: 0,
            piece: PIECE,
            compressor,
            compressed: Vec::new(),
            bytes: 0,
            written: 0,
            waiting: 0,
        };
        serde_json::to_writer(&mut writer.text, header).expect("a header has no value that JSON lacks");
        writer.end_line();
        Ok(writer)
    }

    /// Writes pieces of no more than about this many bytes of lines: whoever looks at [`bytes`](Writer::bytes) sees the file
    /// grow by no more.
    #[must_use]
    pub(crate) fn in_pieces_of(mut self, bytes: u64) -> Writer {
        self.piece = usize::try_from(bytes).unwrap_or(PIECE).clamp(1, PIECE);
        self
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Those of the file system, and [`Error::Invalid`] for a record that makes a line longer than a trace may have.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        serde_json::to_writer(&mut self.text, record).expect("a record has no value that JSON lacks");
        match self.end_record()? {
            true => Ok(()),
            false => Err(Error::Invalid(format!(
                "a record of {} makes a line longer than {LONGEST_LINE} bytes",
                record.uri.chars().take(100).collect::<String>()
            ))),
        }
    }

    /// Where the text of a record can be appended, before [`end_record`](Writer::end_record).
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Ends a record whose text was appended. False if it is too long for a line, and not in the trace.
    ///
    /// # Errors
    /// Those of the file system. What is in the file then are whole pieces, and [`records`](Writer::records) those of them.
    pub(crate) fn end_record(&mut self) -> Result<bool> {
        if self.text.len() - self.line > LONGEST_LINE {
            self.text.truncate(self.line);
            return Ok(false);
        }
        self.end_line();
        self.waiting += 1;
        if self.text.len() >= self.piece {
            self.put_piece()?;
        }
        Ok(true)
    }

    fn end_line(&mut self) {
        self.text.push(b'\n');
        self.line = self.text.len();
    }

    /// Writes the lines that wait, or none of them.
    fn put_piece(&mut self) -> Result<()> {
        let piece = match &mut self.compressor {
            None => &self.text,
            Some(compressor) => {
                self.compressed.clear();
                self.compressed.reserve(zstd::zstd_safe::compress_bound(self.text.len()));
                compressor
                    .compress_to_buffer(&self.text, &mut self.compressed)
                    .map_err(Error::file(&self.path))?;
                &self.compressed
            }
        };
        let result = self.file.write_all(piece);
        let (bytes, records) = (piece.len() as u64, std::mem::take(&mut self.waiting));
        self.text.clear();
        self.line = 0;
        if let Err(error) = result {
            // Of a piece that is not whole, nothing. A device or a pipe keeps what it got.
            let _ = self.file.set_len(self.bytes).and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)));
            return Err(Error::file(&self.path)(error));
        }
        self.bytes += bytes;
        self.written += records;
        Ok(())
    }

    /// Records so far. After a failure, those that are in the file.
    pub fn records(&self) -> u64 {
        self.written + self.waiting
    }

    /// Bytes that have reached the file so far; some are still being gathered.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes the last line, saying how many operations are missing and which file goes on. Returns the file's bytes.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(mut self, dropped: u64, next: Option<String>) -> Result<u64> {
        self.end(dropped, next)?;
        Ok(self.bytes)
    }

    /// The same, without giving up the file: where the end did not fit together with the records that waited, it may without.
    pub(crate) fn end(&mut self, dropped: u64, next: Option<String>) -> Result<()> {
        let end = EndLine { end: End { records: self.records(), dropped, next } };
        serde_json::to_writer(&mut self.text, &end).expect("an end has no value that JSON lacks");
        self.end_line();
        self.put_piece()
    }
}

/// Whether a trace of this name is compressed.
pub(crate) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "zst")
}
