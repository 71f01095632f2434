//! The floor of Forebay: what a storage backend promises, and the memory it reads into.
//!
//! * [`Location`] names an object; [`Store`] lists, stats, opens, gets, puts and deletes; an
//!   [`Object`] is one opened version that serves many ranges.
//! * There are three ways to read, because there are three costs: [`Store::get`] (one round trip,
//!   size unknown before), [`Store::open`] then [`Object::read_into`] (ranges into an owned buffer)
//!   and [`Store::get_many`] / [`Object::read_many`] (one submission and one wake-up a batch).
//! * Data lands in a [`Place`]. The place that matters is a [`Lease`]: one slab out of a [`Pool`]
//!   that hands out slots as sizes become known, charged to a [`Budget`] before a byte moves.
//! * [`Observe`] sees every operation begin and end. The wrappers in [`layer`] add observation,
//!   limits and retries to any store.
//!
//! What this crate never does: spawn a task or a thread, read the environment, print, or know what
//! a batch, a sample order or an epoch is.
//!
//! ```
//! use forebay_io::{Budget, Location, MemoryStore, Pool, PutOptions, ReadOptions, Store, read};
//! # futures::executor::block_on(async {
//! let store = MemoryStore::new();
//! let place: Location = "mem://set/a b.bin".parse()?;
//! store.put(&place, b"hello".as_slice().into(), PutOptions::default()).await?;
//!
//! let pool = Pool::new(Budget::new(1 << 20)?);
//! let block = read(&store, &place, None, ReadOptions::default(), &pool).await?;
//! assert_eq!(block.slot(0), Some(&b"hello"[..]));
//! # Ok::<_, forebay_io::Error>(()) }).unwrap();
//! ```

mod access;
mod budget;
mod buf;
mod capability;
mod claim;
mod crew;
mod error;
pub mod layer;
mod lease;
mod list;
mod location;
mod lock;
mod memory;
mod memory_cap;
mod meta;
mod neighbours;
mod observe;
mod options;
mod place;
mod pool;
mod read;
mod region;
mod size;
mod slab;
mod store;

pub use access::{Access, CacheUse, PageCacheMode, Through};
pub use budget::{Budget, Taken, Ticket};
pub use buf::Buf;
pub use capability::Capability;
pub use crew::Crew;
pub use error::{Error, Kind, Operation, Result, Retry};
pub use lease::{Block, Lease};
pub use list::{Entry, Glob, ListOptions, Page, PageBuilder};
pub use location::Location;
pub use memory::MemoryStore;
pub use memory_cap::{CapReading, MemoryCap};
pub use meta::{EntryKind, Meta, Version};
pub use neighbours::neighbours;
pub use observe::{Attempt, End, Event, Observe, OfScheme, Op, Unobserved};
pub use options::{Body, GetRequest, PutMode, PutOptions, ReadOptions, Served};
pub use place::{Place, Reservation, Room, SLOT_ALIGN, Want};
pub use pool::Pool;
pub use read::read;
pub use region::Region;
pub use size::parse_size;
pub use store::{Object, Store, delete_each};
