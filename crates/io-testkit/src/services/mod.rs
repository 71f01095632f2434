//! Promises of object services over HTTP that need a server to be counted or a network to fail, kept by S3 and Azure
//! Blob alike: plain async functions over a [`Service`], each a named test of both crates.
//!
//! What any store promises is in [`conformance`](crate::conformance); what only one service has is tested beside it.

pub mod identity;
pub mod memory_first;
pub mod under_faults;

use crate::servers::{FastServer, FaultProxy};
use forebay_io::layer::{RetryPolicy, Retrying};
use forebay_io::{Location, Store, Unobserved};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// A service of the server in memory, as one client of a crate reaches it.
pub trait Service {
    /// What a test that fails calls it.
    fn name(&self) -> &str;

    /// Where the server speaks it.
    fn address(&self, server: &FastServer) -> SocketAddr;

    /// An object of the bucket that is there from the beginning.
    fn at(&self, key: &str) -> Location;

    /// A store of that bucket.
    fn store(&self, server: &FastServer, way: Way<'_>) -> Arc<dyn Store>;
}

/// How a store is to reach its server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Way<'a> {
    /// Through this, if given.
    pub proxy: Option<&'a FaultProxy>,
    /// Into how many requests a read is split.
    pub split: Split,
    /// How long an answer, and each byte of it, is waited for, if not as long as ever.
    pub patience: Option<Duration>,
}

/// Into how many requests a read is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Split {
    /// As the crate does by itself.
    #[default]
    Own,
    /// Into one.
    Whole,
    /// Into parts of so many bytes.
    Parts(NonZeroU64),
}

impl Split {
    /// The option `request_bytes` that says it, where `own` is the crate's.
    pub fn request_bytes(self, own: Option<NonZeroU64>) -> Option<NonZeroU64> {
        match self {
            Split::Own => own,
            Split::Whole => None,
            Split::Parts(bytes) => Some(bytes),
        }
    }
}

/// The store with retries that follow at once.
pub fn retrying(store: Arc<dyn Store>) -> Retrying {
    let policy = RetryPolicy { base: Duration::from_millis(1), ..RetryPolicy::default() };
    Retrying::new(store, policy, Arc::new(Unobserved))
}
