//! Files past the page cache for Forebay: `O_DIRECT` on `io_uring`, or by threads that call `pread` where
//! the ring is refused.
//!
//! [`DirectStore`] is a [`Store`](forebay_io::Store) for `direct://` locations. One thread owns the ring;
//! reads are submitted to it together and answered together. What was decided on the way, and measured, is
//! in `docs/decisions/direct-io.md`.
//!
//! What it never does: return a byte that is not the file's (blocks are read whole, and what was not asked
//! for is cut off), or read through the page cache without saying so.
//!
//! ```
//! use forebay_io::{Budget, Location, Pool, PutOptions, ReadOptions, Store, read};
//! use forebay_io_direct::{DirectOptions, DirectStore};
//! # futures::executor::block_on(async {
//! # let dir = tempfile::tempdir().unwrap();
//! let store = DirectStore::new(DirectOptions::default())?;
//! let at: Location = format!("direct://{}/a", dir.path().display()).parse()?;
//! store.put(&at, b"hello".as_slice().into(), PutOptions::default()).await?;
//!
//! let pool = Pool::new(Budget::new(1 << 20)?);
//! let block = read(&store, &at, Some(1..4), ReadOptions::default(), &pool).await?;
//! assert_eq!(block.slot(0), Some(&b"ell"[..]));
//! # Ok::<_, forebay_io::Error>(()) }).unwrap();
//! ```
#![deny(unsafe_code)]

mod alignment;
mod batch;
mod bounce;
#[allow(unsafe_code)]
mod deck;
mod direct_store;
mod engine;
mod flight;
#[allow(unsafe_code)]
mod memory;
mod mounts;
mod object;
mod open_file;
mod options;
#[allow(unsafe_code)]
mod preads;
mod put;
mod registered;
#[allow(unsafe_code)]
mod ring;
mod room;
mod rung;
mod shared;

pub use direct_store::{DirectStore, RingMemory};
pub use options::{DirectOptions, Engine, KEYS};
