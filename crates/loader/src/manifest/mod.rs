//! Datasets from a list: a file that names objects, or parts of objects, one an entry, on any store.
//!
//! An entry is a sample. It has a location, and may have an offset, a length and a checksum. However many
//! there are, they are read in pieces and written into an index ([`crate::index`]), which stays in its file
//! if it is large. The order of the entries is the order of the samples.

mod build;
mod csv;
mod entry;
mod jsonl;
mod row_groups;

pub(crate) use build::{Listed, Roots, build, shards};
pub(crate) use entry::Entry;

use crate::format::shard_bytes::ShardBytes;
use forebay_io::{Error, Location, Result};
use std::fmt;
use std::str::FromStr;

/// How a manifest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    /// JSON lines.
    Jsonl,
    /// Comma-separated values under a line of names.
    Csv,
    /// Parquet.
    Parquet,
}

impl ManifestKind {
    /// Every spelling there is.
    pub const NAMES: [&str; 3] = ["jsonl", "csv", "parquet"];

    /// The spelling in options.
    pub fn name(self) -> &'static str {
        match self {
            ManifestKind::Jsonl => "jsonl",
            ManifestKind::Csv => "csv",
            ManifestKind::Parquet => "parquet",
        }
    }
}

impl FromStr for ManifestKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "jsonl" => Ok(ManifestKind::Jsonl),
            "csv" => Ok(ManifestKind::Csv),
            "parquet" => Ok(ManifestKind::Parquet),
            _ => Err(Error::invalid(format!(
                "manifest must be one of {}, is {text:?}",
                Self::NAMES.join(", ")
            ))),
        }
    }
}

impl fmt::Display for ManifestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The entries of a manifest, piece by piece.
pub(crate) struct Entries<'a> {
    reader: Reader,
    shard: ShardBytes<'a>,
}

enum Reader {
    Jsonl(jsonl::Reader),
    Csv(Box<csv::Reader>),
    Parquet(Box<row_groups::Reader>),
}

impl<'a> Entries<'a> {
    pub(crate) fn new(kind: ManifestKind, shard: ShardBytes<'a>) -> Self {
        let folder = folder_of(shard.location());
        let reader = match kind {
            ManifestKind::Jsonl => Reader::Jsonl(jsonl::Reader::new(folder)),
            ManifestKind::Csv => Reader::Csv(Box::new(csv::Reader::new(folder))),
            ManifestKind::Parquet => Reader::Parquet(Box::new(row_groups::Reader::new(folder))),
        };
        Entries { reader, shard }
    }

    /// Some more entries; none at the end.
    ///
    /// # Errors
    /// As [`forebay_io::Store::get`]; `Corrupt` naming the offset and what was expected there.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Entry>>> {
        match &mut self.reader {
            Reader::Jsonl(reader) => reader.next(&mut self.shard).await,
            Reader::Csv(reader) => reader.next(&mut self.shard).await,
            Reader::Parquet(reader) => reader.next(&mut self.shard).await,
        }
    }
}

/// The location that relative names in a manifest are beneath.
fn folder_of(manifest: &Location) -> Location {
    let name = manifest.name().len();
    let text = manifest.to_string();
    // A name is as long in text as in bytes, or its escapes make it longer: look for the slash instead.
    let end = text.rfind('/').filter(|_| name > 0).map_or(text.len(), |at| at + 1);
    text[..end].parse().unwrap_or_else(|_| manifest.clone())
}
