//! Apache Parquet: the columns of the CSV, times and sizes as unsigned 64-bit integers, text dictionary-coded.

use super::Sink;
use super::csv::COLUMNS;
use crate::Record;
use crate::error::{Error, Result};
use parquet::basic::{Compression, ConvertedType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Records of a row group: some tens of MiB in memory.
const GROUP: usize = 200_000;

/// Which columns are text; the others are numbers.
const TEXT: [&str; 4] = ["op", "uri", "status", "stage"];

pub(super) struct Table {
    path: PathBuf,
    file: SerializedFileWriter<File>,
    rows: Vec<Record>,
}

impl Table {
    pub(super) fn create(path: &Path) -> Result<Table> {
        let fields = COLUMNS
            .iter()
            .map(|name| {
                let (physical, converted) = match TEXT.contains(name) {
                    true => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
                    false => (Physical::INT64, ConvertedType::UINT_64),
                };
                Type::primitive_type_builder(name, physical)
                    .with_converted_type(converted)
                    .with_repetition(Repetition::OPTIONAL)
                    .build()
                    .map(Arc::new)
            })
            .collect::<Result<Vec<_>, ParquetError>>();
        let schema = fields
            .and_then(|fields| Type::group_type_builder("trace").with_fields(fields).build())
            .map_err(|e| broken(path, &e))?;
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let file = File::create(path).map_err(Error::file(path))?;
        let file = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))
            .map_err(|e| broken(path, &e))?;
        Ok(Table { path: path.to_owned(), file, rows: Vec::new() })
    }

    fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        self.group(&rows).map_err(|e| broken(&self.path, &e))
    }

    fn group(&mut self, rows: &[Record]) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for name in COLUMNS {
            let Some(mut column) = group.next_column()? else { break };
            if TEXT.contains(&name) {
                let cells: Vec<_> = rows.iter().map(|record| text(record, name)).collect();
                let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
                let values: Vec<_> = cells.into_iter().flatten().map(ByteArray::from).collect();
                column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
            } else {
                let cells: Vec<_> = rows.iter().map(|record| number(record, name)).collect();
                let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
                // UINT_64 is stored as the INT64 of the same bits.
                let values: Vec<_> = cells.into_iter().flatten().map(u64::cast_signed).collect();
                column.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
            }
            column.close()?;
        }
        group.close()?;
        Ok(())
    }
}

fn text<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    match name {
        "op" => Some(record.op.name()),
        "uri" => Some(&record.uri),
        "status" => Some(record.status.name()),
        "stage" => record.stage.as_deref(),
        other => unreachable!("{other} is not a column of text"),
    }
}

fn number(record: &Record, name: &str) -> Option<u64> {
    match name {
        "offset" => record.offset,
        "len" => record.len,
        "t_submit" => Some(record.t_submit),
        "t_first" => record.t_first,
        "t_done" => record.t_done,
        "bytes" => record.bytes,
        "attempt" => Some(record.attempt.into()),
        "stream" => record.stream,
        "epoch" => record.epoch,
        "sample_id" => record.sample_id,
        "t_intended" => record.t_intended,
        other => unreachable!("{other} is not a column of numbers"),
    }
}

fn broken(path: &Path, error: &ParquetError) -> Error {
    Error::file(path)(std::io::Error::other(error.to_string()))
}

impl Sink for Table {
    fn put(&mut self, record: &Record) -> Result<bool> {
        self.rows.push(record.clone());
        if self.rows.len() >= GROUP {
            self.flush()?;
        }
        Ok(true)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.flush()?;
        let path = self.path;
        self.file.close().map(|_| ()).map_err(|e| broken(&path, &e))
    }
}
