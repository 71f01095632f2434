//! A file of a batch that is open, and whose descriptor that is.

use crate::kept_files::KeptFile;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A file between the two phases.
pub(crate) struct OpenFile {
    pub(crate) index: usize,
    /// None while the batch waits for room and descriptors are scarce.
    pub(crate) fd: Option<Descriptor>,
    pub(crate) span: Range<u64>,
    /// Asked for as a whole, and not for a range of it. Said here, because the request is not looked at between reads.
    pub(crate) whole: bool,
    /// Time spent on it so far.
    pub(crate) spent: Duration,
}

/// A file's descriptor: this batch's own, or one that is kept for others too.
pub(crate) enum Descriptor {
    Own(OwnedFd),
    Kept(Arc<KeptFile>),
}

impl Descriptor {
    pub(crate) fn shared(self) -> Arc<OwnedFd> {
        match self {
            Descriptor::Own(fd) => Arc::new(fd),
            Descriptor::Kept(file) => file.fd.clone(),
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Descriptor::Own(fd) => fd.as_fd(),
            Descriptor::Kept(file) => file.fd.as_fd(),
        }
    }
}
