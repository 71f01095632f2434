//! What every store of files has to do alike, for [`FsStore`](crate::FsStore) here and for the one that
//! reads past the page cache: what a file's version is, what an error of the system means, how a file is
//! opened, written and named, and the threads that make the system calls.
//!
//! Not for readers of files: they have a [`Store`](forebay_io::Store).

pub use crate::descriptors::{Descriptors, Held};
pub use crate::failure::{changed, is_a_directory, lost, not_a_file, os};
pub use crate::file::{Stopped, check_version, open_regular, span};
pub use crate::folder::Folder;
pub use crate::pool::Pool as Threads;
pub use crate::put::{Draft, Gathered};
pub use crate::version::{kind_of, meta_of, version_of};
