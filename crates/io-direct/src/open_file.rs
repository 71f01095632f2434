//! A file that is open, and how it is read.

use crate::ring::Seat;
use crate::rung::Rung;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::ops::Range;

/// `RWF_DONTCACHE` (Linux 6.14).
pub(crate) const DONT_CACHE: u32 = 0x80;

#[derive(Debug)]
pub(crate) struct OpenFile {
    /// Its place in the ring's table, where it has one. Before the descriptor, to be given up first.
    pub(crate) seat: Option<Seat>,
    pub(crate) fd: OwnedFd,
    pub(crate) rung: Rung,
    /// No request for it is for less than this, and each for a multiple.
    pub(crate) grain: u32,
}

impl OpenFile {
    /// One call of the kernel.
    pub(crate) fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize, Errno> {
        read_at(self.fd.as_fd(), self.rung, into, offset)
    }

    /// What is to be done when bytes were read.
    pub(crate) fn after_read(&self, read: &Range<u64>) -> Result<(), Errno> {
        // An empty range would mean "to the end".
        match NonZeroU64::new(read.end - read.start) {
            Some(len) if self.rung == Rung::DropBehind => {
                fadvise(&self.fd, read.start, Some(len), Advice::DontNeed)
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn read_at(fd: BorrowedFd<'_>, rung: Rung, into: &mut [u8], offset: u64) -> Result<usize, Errno> {
    loop {
        let read = match rung {
            Rung::DontCache => {
                let flags = ReadWriteFlags::from_bits_retain(DONT_CACHE);
                preadv2(fd, &mut [IoSliceMut::new(into)], offset, flags)
            }
            Rung::Direct(_) | Rung::DropBehind => pread(fd, &mut *into, offset),
        };
        match read {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
