//! What a store knows about an object without reading it.

use std::sync::Arc;
use std::time::SystemTime;

/// An opaque version of an object: two equal versions mean the same bytes.
///
/// An ETag for an object store; device, inode, size and change time for a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    text: Arc<str>,
    of_a_copy: bool,
}

impl Version {
    /// Wraps a backend's own version text, which everybody is told who asks for the object.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Version { text: text.into(), of_a_copy: false }
    }

    /// Wraps the text of a version that a copy with the same bytes does not share: of a file, which has another
    /// inode and time on each machine.
    pub fn of_a_copy(text: impl Into<Arc<str>>) -> Self {
        Version { text: text.into(), of_a_copy: true }
    }

    /// The backend's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The backend's text, unless it is of one copy only: what may be compared between machines.
    pub fn shared(&self) -> Option<&str> {
        (!self.of_a_copy).then(|| self.as_str())
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
