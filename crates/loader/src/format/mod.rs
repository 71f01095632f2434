//! How samples lie in objects. Each format has a file here that finds them; none copies or decodes them.

pub(crate) mod records;

use forebay_io::{Error, Result};

/// How samples lie in objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
}

impl Format {
    /// The spelling in options.
    pub fn name(&self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Records { .. } => "records",
        }
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
            Format::Raw | Format::Records { .. } => Ok(()),
        }
    }
}
