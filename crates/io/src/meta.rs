//! What a store knows about an object without reading it.

use std::sync::Arc;
use std::time::SystemTime;

/// An opaque version of an object: two equal versions mean the same bytes.
///
/// An ETag for an object store; device, inode, size and change time for a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

impl Version {
    /// Wraps a backend's own version text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Version(text.into())
    }

    /// The backend's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a listing entry or a stat names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKind {
    /// Bytes that can be read.
    Object,
    /// A directory, or a common prefix of a store without directories.
    Directory,
}

/// Size, time and version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Object or directory.
    pub kind: EntryKind,
    /// Bytes; 0 for a directory.
    pub size: u64,
    /// Last change, where the store keeps it.
    pub modified: Option<SystemTime>,
    /// The version, where the store has versions.
    pub version: Option<Version>,
}
