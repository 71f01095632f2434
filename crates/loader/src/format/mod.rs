//! How samples lie in objects. Each format has a file here that finds them; none copies or decodes them.
//!
//! A scanner goes through one shard ([`shard_bytes::ShardBytes`]) and hands on where each sample is
//! ([`found::Finds`]). Formats whose samples have equal sizes say so with a [`crate::strides::Stride`] a shard.

pub(crate) mod build;
pub(crate) mod found;
pub(crate) mod jsonl;
pub(crate) mod npy;
pub(crate) mod npz;
pub(crate) mod records;
pub(crate) mod row_groups;
pub(crate) mod shard_bytes;
mod sparse;
mod tar_walk;
pub(crate) mod tfrecord;
pub(crate) mod webdataset;

use forebay_io::{Error, Result};
use serde::Serialize;

/// How samples lie in objects.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(tag = "format", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// Each object is a sample.
    #[default]
    Raw,
    /// Samples of equal size, one after another behind a header.
    Records {
        /// Bytes of each sample; 1 or more.
        record_bytes: u64,
        /// Bytes at the beginning of each object that are no sample.
        header_bytes: u64,
    },
    /// Tar archives in which neighbouring files with the same key are a sample.
    WebDataset {
        /// The extension of the one file of each sample that is read; none for all of them.
        member: Option<String>,
    },
    /// Records of TensorFlow, each behind its length and checksums.
    TfRecord,
    /// Arrays of NumPy, whose rows are the samples.
    Npy,
    /// Archives of arrays (`np.savez`), of one of which the rows are the samples.
    Npz {
        /// The name of the array; none for the only one there is.
        member: Option<String>,
    },
    /// Parquet files, whose row groups are the samples.
    Parquet,
    /// Lines of JSON.
    Jsonl,
}

impl Format {
    /// Every spelling there is.
    pub const NAMES: [&str; 8] =
        ["raw", "records", "webdataset", "tfrecord", "npy", "npz", "parquet", "jsonl"];

    /// The spelling in options.
    pub fn name(&self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Records { .. } => "records",
            Format::WebDataset { .. } => "webdataset",
            Format::TfRecord => "tfrecord",
            Format::Npy => "npy",
            Format::Npz { .. } => "npz",
            Format::Parquet => "parquet",
            Format::Jsonl => "jsonl",
        }
    }

    /// Whether damage can make samples impossible to find. An object is there or not, and any bytes have lines.
    pub fn may_be_damaged(&self) -> bool {
        !matches!(self, Format::Raw | Format::Jsonl)
    }

    /// Checks what the type does not.
    ///
    /// # Errors
    /// `InvalidConfig` naming the value and what would be valid.
    pub fn validate(&self) -> Result<()> {
        match self {
            Format::Records { record_bytes: 0, .. } => {
                Err(Error::invalid("record_bytes must be 1 or more, is 0"))
            }
            Format::WebDataset { member: Some(name) } if *name != name.to_lowercase() => {
                let context = format!("member must be an extension in lower case, is {name:?}");
                Err(Error::invalid(context))
            }
            _ => Ok(()),
        }
    }

    /// The format and its options as one text: another text means another index.
    pub(crate) fn spec(&self) -> String {
        serde_json::to_string(self).expect("names and numbers have a JSON form")
    }
}
