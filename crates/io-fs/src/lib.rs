//! Buffered POSIX files for Forebay, with page-cache policy and batched reads.
//!
//! [`FsStore`] is a [`Store`](forebay_io::Store) for `file://` locations. Its work is done by a small
//! pool of threads that make plain system calls; a batch of reads is one job for one of them, and one
//! wake-up of whoever waits for it. Why this and not a ring or a thread a file was measured: see
//! `docs/decisions/fs-reads.md`.
//!
//! What it never does: sort a listing, keep a file open that nobody reads, or use the page cache in
//! another way than it was told (`O_DIRECT` is another store's, under `direct://`).
#![deny(unsafe_code)]

mod announce;
mod descriptors;
mod failure;
mod file;
mod folder;
mod fs_store;
mod kept_files;
mod list;
#[allow(unsafe_code)]
mod mapping;
mod object;
mod open_file;
mod options;
mod parts;
mod pool;
pub mod posix;
mod prune;
mod put;
mod read_batch;
#[allow(unsafe_code)]
mod residency;
#[allow(unsafe_code)]
mod split_read;
mod trust;
mod version;
mod waiting;
mod walk;

pub use fs_store::FsStore;
pub use options::FsOptions;
