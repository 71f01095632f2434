//! Manifests in Parquet: columns `uri`, `offset`, `length`, `checksum`. One row group is in memory at a time.

use super::entry::{Entry, Fields, Names};
use crate::format::row_groups::{file, footer, metadata, span};
use crate::format::shard_bytes::ShardBytes;
use bytes::Bytes;
use forebay_io::{Location, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field as Value;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use std::ops::Range;
use std::sync::Arc;

/// Entries of a piece.
const PIECE: usize = 4096;

pub(super) struct Reader {
    folder: Location,
    names: Names,
    footer: Option<(ParquetMetaData, Range<u64>)>,
    /// The next row group.
    next: usize,
    /// The rows of the one before, and where that begins.
    rows: Option<(RowIter<'static>, u64)>,
    /// Which row of it is next, for errors.
    row: u64,
}

impl Reader {
    pub(super) fn new(folder: Location) -> Self {
        Reader { folder, names: Names::default(), footer: None, next: 0, rows: None, row: 0 }
    }

    pub(super) async fn next(&mut self, shard: &mut ShardBytes<'_>) -> Result<Option<Vec<Entry>>> {
        loop {
            if let Some((rows, begin)) = &mut self.rows {
                let mut piece = Vec::new();
                for row in rows.take(PIECE) {
                    let row = row.map_err(|error| error.to_string());
                    let entry = row.and_then(|row| {
                        let mut fields = Fields::default();
                        for (name, value) in row.get_column_iter() {
                            if let Some(field) = self.names.field(name)? {
                                match number(value) {
                                    Some(number) => fields.set_number(field, number?)?,
                                    None => fields.set_text(field, text(value)?)?,
                                }
                            }
                        }
                        fields.entry(&self.folder)
                    });
                    let wrong =
                        |why| shard.corrupt(*begin, format!("row {} of the row group: {why}", self.row));
                    piece.push(entry.map_err(wrong)?);
                    self.row += 1;
                }
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
                self.rows = None;
            }
            if self.footer.is_none() {
                self.footer = Some(metadata(shard).await?);
            }
            let Some((metadata, body)) = &self.footer else { return Ok(None) };
            let Some(group) = metadata.row_groups().get(self.next) else { return Ok(None) };
            if group.num_rows() == 0 {
                self.next += 1;
                continue;
            }
            let span = span(group, body).map_err(|why| shard.corrupt(body.end, why))?;
            let own = footer(metadata, group, span.start);
            let bytes = shard.bytes(span.start, span.end - span.start, "a row group").await?.to_vec();
            let rows = own
                .map_err(|error| error.to_string())
                .and_then(|own| rows(file(&bytes, &own).into(), &mut self.names));
            self.rows = Some((rows.map_err(|why| shard.corrupt(span.start, why))?, span.start));
            (self.next, self.row) = (self.next + 1, 0);
        }
    }
}

/// The rows of a file, of the columns that are ours.
fn rows(file: Bytes, names: &mut Names) -> Result<RowIter<'static>, String> {
    let reader = SerializedFileReader::new(file).map_err(|error| error.to_string())?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let mut ours: Vec<Arc<Type>> = Vec::new();
    for column in schema.get_fields() {
        if names.field(column.name())?.is_some() {
            ours.push(column.clone());
        }
    }
    let projection = Type::group_type_builder(schema.name()).with_fields(ours).build();
    let projection = projection.map_err(|error| error.to_string())?;
    RowIter::from_file_into(Box::new(reader)).project(Some(projection)).map_err(|error| error.to_string())
}

/// A number, if it is one that is not missing.
fn number(value: &Value) -> Option<Result<u64, String>> {
    let signed = match *value {
        Value::Byte(n) => i64::from(n),
        Value::Short(n) => i64::from(n),
        Value::Int(n) => i64::from(n),
        Value::Long(n) => n,
        Value::UByte(n) => i64::from(n),
        Value::UShort(n) => i64::from(n),
        Value::UInt(n) => i64::from(n),
        Value::ULong(n) => return Some(Ok(n)),
        _ => return None,
    };
    Some(u64::try_from(signed).map_err(|_| format!("expected a number of bytes, found {signed}")))
}

fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Null => Ok(""),
        Value::Str(text) => Ok(text),
        Value::Bytes(bytes) => std::str::from_utf8(bytes.data()).map_err(|_| "expected UTF-8".to_owned()),
        other => Err(format!("expected a text or a number, found {other}")),
    }
}
