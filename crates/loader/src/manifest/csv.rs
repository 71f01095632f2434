//! Manifests in CSV: a line of names, then a line an entry. Values may be quoted as RFC 4180 has it.

use super::entry::{Entry, Field, Fields, Names};
use crate::format::shard_bytes::ShardBytes;
use csv_core::ReadRecordResult as Came;
use forebay_io::{Location, Result};

/// How much is parsed at a time.
const PIECE: u64 = 256 << 10;

/// A record may be this long, and have so many values.
const LONGEST_RECORD: usize = 64 << 10;
const MOST_VALUES: usize = 1024;

pub(super) struct Reader {
    folder: Location,
    parser: csv_core::Reader,
    /// What each column is, once the names were read.
    columns: Option<Vec<Option<Field>>>,
    at: u64,
    /// Where the record under way began.
    begin: u64,
    record: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    values: usize,
    over: bool,
}

impl Reader {
    pub(super) fn new(folder: Location) -> Self {
        Reader {
            folder,
            parser: csv_core::Reader::new(),
            columns: None,
            at: 0,
            begin: 0,
            record: vec![0; LONGEST_RECORD],
            filled: 0,
            ends: vec![0; MOST_VALUES],
            values: 0,
            over: false,
        }
    }

    pub(super) async fn next(&mut self, shard: &mut ShardBytes<'_>) -> Result<Option<Vec<Entry>>> {
        let mut piece = Vec::new();
        while piece.is_empty() && !self.over {
            let len = PIECE.min(shard.size() - self.at);
            let input = shard.bytes(self.at, len, "a record").await?;
            let mut used = 0;
            let end = loop {
                let (came, read, wrote, ended) = self.parser.read_record(
                    &input[used..],
                    &mut self.record[self.filled..],
                    &mut self.ends[self.values..],
                );
                used += read;
                self.filled += wrote;
                self.values += ended;
                match came {
                    Came::InputEmpty => break Ok(false),
                    Came::End => break Ok(true),
                    Came::OutputFull => break Err(format!("a record of more than {LONGEST_RECORD} bytes")),
                    Came::OutputEndsFull => break Err(format!("a record of more than {MOST_VALUES} values")),
                    Came::Record => {
                        match self.take_record() {
                            Ok(entry) => piece.extend(entry),
                            Err(why) => break Err(why),
                        }
                        (self.filled, self.values) = (0, 0);
                        self.begin = self.at + used as u64;
                        // To the parser, no input means the end of the file.
                        if used == input.len() && used > 0 {
                            break Ok(false);
                        }
                    }
                }
            };
            self.at += used as u64;
            match end {
                Ok(over) => self.over = over,
                Err(why) => return Err(shard.corrupt(self.begin, why)),
            }
        }
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn take_record(&mut self) -> Result<Option<Entry>, String> {
        let mut values = Vec::with_capacity(self.values);
        let mut start = 0;
        for &end in &self.ends[..self.values] {
            let value = std::str::from_utf8(&self.record[start..end]).map_err(|_| "expected UTF-8")?;
            values.push(value);
            start = end;
        }
        let Some(columns) = &self.columns else {
            let mut names = Names::default();
            let columns =
                values.iter().map(|name| names.field(name.trim())).collect::<Result<Vec<_>, _>>()?;
            if !columns.contains(&Some(Field::Uri)) {
                return Err(format!("expected a first line of names with uri among them, found {values:?}"));
            }
            self.columns = Some(columns);
            return Ok(None);
        };
        if values.len() != columns.len() {
            return Err(format!("expected {} values, found {}", columns.len(), values.len()));
        }
        let mut fields = Fields::default();
        for (value, field) in values.iter().zip(columns) {
            if let Some(field) = field {
                fields.set_text(*field, value)?;
            }
        }
        fields.entry(&self.folder).map(Some)
    }
}
