//! Comma-separated values; an empty field is one that is not known.

use super::Sink;
use crate::Record;
use crate::error::{Error, Result};
use crate::output::Output;
use std::path::Path;

/// The columns, of the Parquet file as well.
pub(super) const COLUMNS: [&str; 15] = [
    "op",
    "uri",
    "offset",
    "len",
    "t_submit",
    "t_first",
    "t_done",
    "bytes",
    "status",
    "attempt",
    "stage",
    "stream",
    "epoch",
    "sample_id",
    "t_intended",
];

pub(super) struct Table {
    out: Output,
}

impl Table {
    pub(super) fn create(path: &Path) -> Result<Table> {
        let mut table = Table { out: Output::create(path)? };
        table.row(&COLUMNS)?;
        Ok(table)
    }

    fn row<S: AsRef<[u8]>>(&mut self, fields: &[S]) -> Result<()> {
        let mut row = csv::Writer::from_writer(Vec::with_capacity(256));
        let broken = |e: String| Error::Invalid(format!("a record cannot be written as CSV: {e}"));
        row.write_record(fields).map_err(|e| broken(e.to_string()))?;
        let bytes = row.into_inner().map_err(|e| broken(e.to_string()))?;
        self.out.write(&bytes)
    }
}

impl Sink for Table {
    fn put(&mut self, record: &Record) -> Result<bool> {
        let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
        let fields: [String; COLUMNS.len()] = [
            record.op.name().into(),
            record.uri.clone(),
            number(record.offset),
            number(record.len),
            record.t_submit.to_string(),
            number(record.t_first),
            number(record.t_done),
            number(record.bytes),
            record.status.name().into(),
            record.attempt.to_string(),
            record.stage.clone().unwrap_or_default(),
            number(record.stream),
            number(record.epoch),
            number(record.sample_id),
            number(record.t_intended),
        ];
        self.row(&fields)?;
        Ok(true)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.out.finish()
    }
}
