//! What can go wrong with a trace, said with the place in it.

use std::path::{Path, PathBuf};

/// A failure of reading, writing, converting or replaying a trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not what the format says.
    #[error("{}, line {line}, column {column}: {what}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// From 1; 1 where the whole line is meant.
        column: usize,
        /// What is wrong and what would be right.
        what: String,
    },
    /// An option or a combination of options that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A store refused or failed.
    #[error(transparent)]
    Store(#[from] forebay_io::Error),
}

/// The result of working with a trace.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of the operating system at `path`.
    pub fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::File { path: path.to_owned(), source }
    }

    /// Text that is not what the format says.
    pub fn parse(path: &Path, line: u64, column: usize, what: impl Into<String>) -> Error {
        Error::Parse { path: path.to_owned(), line, column, what: what.into() }
    }
}
