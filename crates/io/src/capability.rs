//! What a store can do, as data: callers and the conformance suite choose by it.

use crate::PageCacheMode;

/// A fact sheet of a store. A wrapper passes on its inner store's, changed where it changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// Directories exist by themselves: a missing one is `NotFound`, an empty one lists as empty.
    /// Where false, a prefix under which nothing is stored lists as empty.
    pub real_directories: bool,
    /// Listings carry size, time and version at no extra cost.
    pub listing_has_details: bool,
    /// Details of a listing come in the answers that its names come in, if they are asked for. Where false, each
    /// entry's cost a call.
    pub details_with_names: bool,
    /// `put` with [`PutMode::Create`](crate::PutMode) refuses to replace, atomically.
    pub conditional_put: bool,
    /// Deleting what is not there is `NotFound` (where false, it succeeds).
    pub delete_reports_missing: bool,
    /// [`Meta::version`](crate::Meta) changes with each put, and reads can be pinned to it.
    pub versions: bool,
    /// `get_many` is one submission, not a loop over `get`.
    pub native_batch: bool,
    /// Members of a batch that lie close together in one object are read as one request where
    /// [`target_request_bytes`](crate::ReadOptions::target_request_bytes) is said; else they are asked for one by one. See
    /// [`Coalesced`](crate::layer::Coalesced).
    pub coalesces: bool,
    /// The most objects that one request of `delete_many` removes; 1 where each takes a request (or a system
    /// call) of its own.
    pub delete_batch: u32,
    /// Listings come in the bytewise order of keys, and so in the same one for everybody. Where false, the order is
    /// the storage's own (that of directories), which two machines may see differently.
    pub ordered_listing: bool,
    /// Reads through a mapping ([`Through::Mapping`](crate::Through)) are made; where false they are refused. True of a
    /// store over many, each of which answers for itself.
    pub mappings: bool,
    /// What may be asked of the page cache; all else is refused. All of a store over many, each of which answers for
    /// itself.
    pub page_cache: &'static [PageCacheMode],
    /// Keys are any bytes without NUL; where false they must be UTF-8.
    pub byte_keys: bool,
}
