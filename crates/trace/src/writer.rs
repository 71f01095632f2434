//! Writes a trace: a header, a line a record, an end. Compressed where the name ends in `.zst`.
//!
//! Lines are gathered, and whole ones written at once; compressed, each such piece is some frames of its own. So what a
//! file has got before the disk is full can be read: a piece that did not fit is taken back, and the end of the trace,
//! which says what is missing, is written in its place if there is room for that.

use crate::error::{Error, Result};
use crate::frame::{Compressor, Frame};
use crate::header::EndLine;
use crate::reader::LONGEST_LINE;
use crate::{End, Header, Record};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes of lines that are written at once. More would be lost with a process that is killed, and fewer compress worse.
const PIECE: usize = 1 << 20;

/// Bytes of lines that are compressed at once: so few that they stay in a near cache, and that with the line that makes them
/// more they are seldom longer than what can be coded without a search. More do not compress better.
const FRAME: usize = 120 << 10;

/// One file of a trace that is being written.
pub struct Writer {
    path: PathBuf,
    file: File,
    /// Whole lines that are not compressed yet, and at their end perhaps one that is not whole.
    frame: Frame,
    /// Where the line that is being written begins.
    line: usize,
    /// Bytes of lines that are written at once.
    piece: usize,
    compressor: Option<Compressor>,
    /// What is to be written: frames, or lines as they are.
    gathered: Vec<u8>,
    /// Bytes of lines that were gathered.
    lines: usize,
    /// Bytes in the file, all of them of whole pieces.
    bytes: u64,
    /// Records in the file, and those that wait.
    written: u64,
    waiting: u64,
    /// The first line, which goes out with the first piece that fits.
    header: Vec<u8>,
}

impl Writer {
    /// Begins a file. One that is there already is replaced.
    ///
    /// # Errors
    /// Those of the file system, with the path.
    pub fn create(path: &Path, header: &Header) -> Result<Writer> {
        let file = File::create(path).map_err(Error::file(path))?;
        let compressor = match is_compressed(path) {
            true => Some(Compressor::new().map_err(Error::file(path))?),
            false => None,
        };
        let mut writer = Writer {
            path: path.to_owned(),
            file,
            frame: Frame::new(compressor.is_some()),
            line: 0,
            piece: PIECE,
            compressor,
            gathered: Vec::new(),
            lines: 0,
            bytes: 0,
            written: 0,
            waiting: 0,
            header: serde_json::to_vec(header).expect("a header has no value that JSON lacks"),
        };
        writer.begin();
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
        serde_json::to_writer(self.frame.untold(), record).expect("a record has no value that JSON lacks");
        self.frame.push(b"\n");
        match self.end_record()? {
            true => Ok(()),
            false => Err(Error::Invalid(format!(
                "a record of {} makes a line longer than {LONGEST_LINE} bytes",
                record.uri.chars().take(100).collect::<String>()
            ))),
        }
    }

    /// Where the text of a record can be appended, with the end of its line, before [`end_record`](Writer::end_record).
    pub(crate) fn frame(&mut self) -> &mut Frame {
        &mut self.frame
    }

    /// Ends a record whose text was appended. False if it is too long for a line, and not in the trace.
    ///
    /// # Errors
    /// Those of the file system. What is in the file then are whole pieces, and [`records`](Writer::records) those of them.
    pub(crate) fn end_record(&mut self) -> Result<bool> {
        let end = self.frame.text().len();
        if end - self.line > LONGEST_LINE + 1 {
            self.frame.truncate(self.line);
            return Ok(false);
        }
        self.line = end;
        self.waiting += 1;
        if end >= FRAME.min(self.piece) {
            self.end_frame()?;
        }
        if self.lines >= self.piece {
            self.put_piece()?;
        }
        Ok(true)
    }

    fn begin(&mut self) {
        self.frame.push(&self.header);
        self.end_line();
    }

    fn end_line(&mut self) {
        self.frame.push(b"\n");
        self.line = self.frame.text().len();
    }

    /// Gathers the lines of a frame.
    fn end_frame(&mut self) -> Result<()> {
        self.lines += self.frame.text().len();
        self.line = 0;
        match &mut self.compressor {
            None => {
                self.gathered.extend_from_slice(self.frame.text());
                self.frame.clear();
                Ok(())
            }
            Some(by) => self.frame.compress(by, &mut self.gathered).map_err(Error::file(&self.path)),
        }
    }

    /// Writes what was gathered, or none of it.
    fn put_piece(&mut self) -> Result<()> {
        let result = self.file.write_all(&self.gathered);
        let (bytes, records) = (self.gathered.len() as u64, std::mem::take(&mut self.waiting));
        self.gathered.clear();
        self.lines = 0;
        if let Err(error) = result {
            // Of a piece that is not whole, nothing. A device or a pipe keeps what it got.
            let _ = self.file.set_len(self.bytes).and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)));
            if self.bytes == 0 {
                // It was in that piece, and the end alone would be no trace.
                self.begin();
            }
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
        let end = serde_json::to_vec(&end).expect("an end has no value that JSON lacks");
        self.frame.push(&end);
        self.end_line();
        self.end_frame()?;
        self.put_piece()
    }
}

/// Whether a trace of this name is compressed.
pub(crate) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "zst")
}
