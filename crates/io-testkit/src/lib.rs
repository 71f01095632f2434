//! What a store is tested with. A dev-dependency only: nothing that ships depends on it.
//!
//! * [`conformance_suite!`] makes one named test of each promise in [`conformance`], and one that
//!   compares random sequences of operations with the reference [`model`].
//! * [`FaultStore`] fails, shortens, delays, corrupts and hangs, repeatably.
//! * [`MemoryReads`] is a store in memory whose reads go as a test says.
//! * [`RecordingObserver`] sees all operations and checks that each began and ended once.
//! * With the feature `servers`: real servers and a fault proxy in front of them, in `servers`, and what stores of
//!   object services promise that takes such servers to tell, in `services`.
//! * [`data`] makes objects whose bytes can be told from their key and a seed.
//!
//! ```
//! use forebay_io::MemoryStore;
//! use forebay_io_testkit::Fixture;
//! use std::sync::Arc;
//!
//! async fn memory() -> Fixture {
//!     Fixture::new(Arc::new(MemoryStore::new()), "mem://test/root".parse().unwrap())
//! }
//! mod conformance {
//!     forebay_io_testkit::conformance_suite!(super::memory);
//! }
//! # fn main() {}
//! ```
#![forbid(unsafe_code)]

pub mod conformance;
pub mod data;
mod fault_counts;
mod fault_rates;
mod fault_store;
mod fixture;
mod memory_reads;
pub mod model;
mod recording_observer;
#[cfg(feature = "servers")]
pub mod servers;
#[cfg(feature = "servers")]
pub mod services;

pub use fault_counts::FaultCounts;
pub use fault_rates::{Fault, FaultRates};
pub use fault_store::FaultStore;
pub use fixture::Fixture;
pub use memory_reads::{MemoryReads, Reads};
pub use recording_observer::{Record, RecordingObserver, Request};
