//! Writes an index in one pass, whatever its length, in the memory of one block a column.

use super::column::Writing;
use super::{About, Column, MAGIC, Row, TRAILER, VERSION};
use crate::checksum::crc32c;
use bytes::Bytes;
use forebay_io::{Error, Kind, Operation, Result};
use tokio::sync::mpsc;

/// Where the bytes go.
#[derive(Debug)]
pub(crate) enum Sink {
    Memory(Vec<u8>),
    /// Somebody who puts them into a store.
    Stream(mpsc::Sender<Result<Bytes>>),
}

/// See the module's words. Rows are added in order; [`IndexWriter::finish`] makes it whole.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    sink: Sink,
    position: u64,
    columns: [Writing; Column::ALL.len()],
}

impl IndexWriter {
    pub(crate) async fn new(sink: Sink) -> Result<Self> {
        let mut writer = IndexWriter { sink, position: 0, columns: Column::ALL.map(Writing::new) };
        writer.write(MAGIC.to_vec()).await?;
        Ok(writer)
    }

    /// Adds a row.
    pub(crate) async fn add(&mut self, column: Column, row: &[u8]) -> Result<()> {
        let full = self.columns[column as usize].add(row);
        if full.map_err(|why| Error::new(Kind::Unsupported, Operation::Put, why))? {
            self.flush(column).await?;
        }
        Ok(())
    }

    /// Adds a row to the samples.
    pub(crate) async fn sample(&mut self, row: Row) -> Result<()> {
        if row.offset >= Row::LIMIT || row.len.is_some_and(|len| len >= Row::LIMIT) {
            let context = format!(
                "a sample of {:?} bytes at offset {}; both must be below {}",
                row.len,
                row.offset,
                Row::LIMIT
            );
            return Err(Error::new(Kind::Unsupported, Operation::Put, context));
        }
        self.add(Column::Samples, &row.to_bytes()).await
    }

    /// Adds a row to the shards: what the shard is, and how many samples there are up to its end.
    pub(crate) async fn shard(&mut self, digest: [u8; 16], end: u64) -> Result<()> {
        let mut row = digest.to_vec();
        row.extend(end.to_le_bytes());
        self.add(Column::Shards, &row).await
    }

    /// Writes what is left, the directory and the trailer.
    pub(crate) async fn finish(mut self, about: &About) -> Result<Sink> {
        for column in Column::ALL {
            self.flush(column).await?;
        }
        let mut directory = Vec::new();
        for column in &self.columns {
            directory.extend(column.rows.to_le_bytes());
            directory.extend((column.blocks.len() as u64).to_le_bytes());
            directory.extend(column.blocks.iter().flat_map(|block| block.to_bytes()));
        }
        directory.extend_from_slice(&about.meta);
        let trailer = trailer(self.position, &directory, about);
        self.write(directory).await?;
        self.write(trailer).await?;
        Ok(self.sink)
    }

    async fn flush(&mut self, column: Column) -> Result<()> {
        match self.columns[column as usize].block(self.position) {
            Some(block) => self.write(block).await,
            None => Ok(()),
        }
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.position += bytes.len() as u64;
        match &mut self.sink {
            Sink::Memory(all) => all.extend_from_slice(&bytes),
            Sink::Stream(sender) => {
                // The one who puts has failed and will say why.
                let gone = || Error::new(Kind::Cancelled, Operation::Put, "the index is not taken any more");
                sender.send(Ok(bytes.into())).await.map_err(|_| gone())?;
            }
        }
        Ok(())
    }
}

/// The last bytes of an index.
pub(super) fn trailer(position: u64, directory: &[u8], about: &About) -> Vec<u8> {
    let mut trailer = Vec::with_capacity(TRAILER);
    trailer.extend(position.to_le_bytes());
    trailer.extend((directory.len() as u64).to_le_bytes());
    trailer.extend((about.meta.len() as u64).to_le_bytes());
    trailer.extend(about.source);
    trailer.extend(about.fingerprint);
    trailer.extend(crc32c(directory).to_le_bytes());
    trailer.resize(TRAILER - 16, 0);
    trailer.extend(crc32c(&trailer).to_le_bytes());
    trailer.extend(VERSION.to_le_bytes());
    trailer.extend(MAGIC);
    trailer
}
