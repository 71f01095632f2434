//! The first phase of a batch: its files are opened by their names, or found open and unchanged.

use super::ReadBatch;
use crate::file::{self, Stopped};
use crate::folder::Folder;
use crate::kept_files::{Found, KeptFile, is_pinned};
use crate::open_file::{Descriptor, OpenFile};
use crate::pool::Turn;
use crate::residency::Lookout;
use crate::version::Stamp;
use forebay_io::{Location, Operation, Result};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::fstat;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Opening a file whose inode is in memory takes 2 to 5 us; one that has to be fetched takes a device's
/// latency, 50 us and more. Files that took longer than this on average met the device.
const OPENED_FROM_CACHE: Duration = Duration::from_micros(30);

impl ReadBatch {
    /// Opens the next files. False if there are none left.
    pub(super) fn open_group(&mut self, turn: Turn<'_>) -> bool {
        if self.next == self.part.end {
            return false;
        }
        self.one_by_one = false;
        let (requests, files) = (self.requests.clone(), self.files.clone());
        let mut folder = Folder::default();
        let (first, start) = (self.next, Instant::now());
        let room = self.files.descriptors.group() - self.opened.len();
        let group = &requests[first..self.part.end.min(first + room)];
        let moment = files.kept.moment();
        let mut kept: Vec<Option<Arc<KeptFile>>> = Vec::with_capacity(group.len());
        // Files that were only looked at have no reading of the clock each.
        let (mut begin, mut unclocked) = (start, 0);
        for found in files.kept.find(self.terms.mode, group) {
            let index = self.next;
            kept.push(match found {
                Found::No => None,
                Found::First(file) if files.kept.is_fresh(&file, self.asked, start) => Some(file),
                Found::First(file) => {
                    let file = self.unchanged(file, &requests[index].location);
                    file.inspect(|file| files.kept.looked(file, moment, start))
                }
                Found::Same(earlier) => kept[earlier].clone(),
            });
            let by_name = kept.last().is_none_or(Option::is_none);
            if by_name && unclocked > 0 {
                begin = self.share(&mut unclocked, begin);
            }
            let opened = match kept.last().and_then(Option::as_ref) {
                Some(file) => self.span_of(file, index).map_err(Stopped::from),
                None => self.open_one(index, || folder.locate(&requests[index].location)),
            };
            // Read and close what is open first; then there are descriptors for this one.
            if let Err(Stopped::OutOfFiles(_)) = &opened
                && !self.opened.is_empty()
            {
                break;
            }
            self.next += 1;
            match opened {
                Ok((fd, span)) => {
                    let whole = requests[index].range.is_none();
                    self.opened.push(OpenFile { index, fd: Some(fd), span, whole, spent: Duration::ZERO });
                    unclocked += 1;
                }
                Err(stopped) => self.settle_one(index, Err(stopped.into())),
            }
            let due = |lookout: &&Lookout| lookout.is_due(self.number.wrapping_add(index as u64));
            let due = files.lookout.as_ref().filter(due);
            if by_name || due.is_some() {
                begin = self.share(&mut unclocked, begin);
            }
            // Before any of the group is read, or announced.
            if let Some(lookout) = due
                && let Some(OpenFile { index: last, fd: Some(fd), span, .. }) = self.opened.last()
                && *last == index
            {
                self.parts.looked(lookout.look(fd.as_fd(), span));
                begin = Instant::now();
            }
        }
        if unclocked > 0 {
            begin = self.share(&mut unclocked, begin);
        }
        if begin - start > OPENED_FROM_CACHE * (self.next - first) as u32 {
            turn.meets_device();
        }
        true
    }

    /// Shares the time since `begin` among the files that were opened last and have no time yet. Answers until
    /// when that is told.
    fn share(&mut self, unclocked: &mut usize, begin: Instant) -> Instant {
        let (last, now) = (std::mem::take(unclocked), Instant::now());
        let each = (now - begin) / last.max(1) as u32;
        self.opened.iter_mut().rev().take(last).for_each(|file| file.spent = each);
        now
    }

    /// Opens a file by its name.
    pub(super) fn open_one<'p>(
        &self,
        index: usize,
        path: impl FnOnce() -> (BorrowedFd<'p>, &'p [u8]),
    ) -> Result<(Descriptor, Range<u64>), Stopped> {
        let request = &self.requests[index];
        let (fd, stat) = file::open_file(Operation::Get, &request.location, path())?;
        file::check_version(request.if_version.as_ref(), &stat, &request.location)?;
        let span = file::span(request.range.as_ref(), stat.st_size as u64, &request.location)?;
        file::advise_before(self.terms.mode, fd.as_fd(), Operation::Get, &request.location)?;
        match request.if_version.clone().filter(|_| is_pinned(request)) {
            None => Ok((Descriptor::Own(fd), span)),
            Some(version) => {
                let file = Arc::new(KeptFile::new(fd, version, Stamp::of(&stat)));
                self.files.kept.keep(self.terms.mode, &request.location, &file);
                Ok((Descriptor::Kept(file), span))
            }
        }
    }

    /// A file that was kept open, if it still is what it was. If it is not, or cannot say, its name may lead to
    /// the right one.
    fn unchanged(&self, file: Arc<KeptFile>, location: &Location) -> Option<Arc<KeptFile>> {
        match fstat(&file.fd) {
            Ok(stat) if stat.st_nlink > 0 && Stamp::of(&stat) == file.stamp => Some(file),
            _ => {
                self.files.kept.forget(self.terms.mode, location);
                None
            }
        }
    }

    /// The pinned range of a file that is open and unchanged.
    fn span_of(&self, file: &Arc<KeptFile>, index: usize) -> Result<(Descriptor, Range<u64>)> {
        let request = &self.requests[index];
        let span = file::span(request.range.as_ref(), file.stamp.size(), &request.location)?;
        Ok((Descriptor::Kept(file.clone()), span))
    }
}
