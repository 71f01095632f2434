//! A batch of whole files or ranges, read by one thread in two phases.
//!
//! First a group of files is opened, which tells their sizes; then the place is asked for all their
//! bytes at once; then each is read to where it belongs, and closed. If the place has no room now,
//! the batch goes back to its caller to wait for it without a thread, and comes again with the room.
//!
//! A batch knows nothing of threads or futures: [`ReadBatch::run`] works until it is done or cannot go
//! on, and says which.

mod opening;

use crate::announce::announce;
use crate::descriptors::{Descriptors, Held};
use crate::failure;
use crate::file::{self, Beyond, Filled, Tried};
use crate::kept_files::{KeptFiles, Moment};
use crate::mapping::{Mappings, Probe};
use crate::open_file::{Descriptor, OpenFile};
use crate::parts::Parts;
use crate::pool::Turn;
use crate::residency::Lookout;
use crate::split_read::Region;
use crate::trust::Trust;
use forebay_io::{
    Buf, CacheUse, Error, GetRequest, Observe, Operation, PageCacheMode, Place, Reservation, Result, Served,
    Want,
};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, fstat};
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Files opened before the first of them is read. Sizes are asked for in one go per group, so larger
/// ones save locks of the place (about 2 ns a file are left of it at 64); smaller ones save descriptors
/// (a process may have 1024 by default, and each thread of the pool holds one group).
pub(crate) const GROUP: usize = 64;

/// See the module's words.
pub(crate) struct ReadBatch {
    requests: Arc<[GetRequest]>,
    /// The requests that are this batch's; `results[i]` is that of `requests[begin + i]`.
    part: Range<usize>,
    terms: Terms,
    place: Arc<dyn Place>,
    files: Arc<Files>,
    /// When it was asked for.
    asked: Moment,
    parts: Parts,
    /// Counts the open files while no thread works on the batch.
    held: Option<Held>,
    /// The number of request 0 to the lookout.
    number: u64,
    next: usize,
    /// Opened, without room yet; in the order of the requests.
    opened: Vec<OpenFile>,
    wants: Vec<Want>,
    one_by_one: bool,
    results: Vec<Option<Result<Served>>>,
}

/// How a batch is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) mode: PageCacheMode,
    /// How large a request to the kernel is, if that was asked for.
    pub(crate) target: Option<NonZeroU64>,
    /// From how many bytes in a group its reads are given to several threads.
    pub(crate) split_from: u64,
}

/// What all batches of a store share.
pub(crate) struct Files {
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) kept: KeptFiles,
    /// Hears of each request to the kernel.
    pub(crate) observer: Option<Arc<dyn Observe>>,
    /// Looks into the page cache before some reads; only with an observer.
    pub(crate) lookout: Option<Lookout>,
    /// Whether files can be read through mappings.
    pub(crate) probe: Probe,
}

/// Why a batch stopped.
pub(crate) enum Stop {
    /// All is done, or nobody waits for it any more. The place is no longer held.
    Done(Vec<Result<Served>>),
    /// [`ReadBatch::wants`] must be reserved first.
    Wait(Box<ReadBatch>),
    /// Another thread is to go on with it, with this room for the first of its open files.
    Back(Box<ReadBatch>, Option<Vec<Buf>>),
    /// These reads are large enough for several threads; [`ReadBatch::settle`] takes the results.
    Split(Box<ReadBatch>, Vec<(OpenFile, Region)>),
}

impl ReadBatch {
    pub(crate) fn new(
        requests: Arc<[GetRequest]>,
        part: Range<usize>,
        terms: Terms,
        place: Arc<dyn Place>,
        files: Arc<Files>,
        mappings: Option<Arc<Mappings>>,
    ) -> Box<Self> {
        let count = part.len();
        let parts = Parts::new(terms.target, mappings, files.observer.clone());
        let drawn = files.lookout.as_ref().map_or(0, |lookout| lookout.draw(count));
        Box::new(ReadBatch {
            number: drawn.wrapping_sub(part.start as u64),
            requests,
            next: part.start,
            part,
            terms,
            place,
            asked: files.kept.ask(),
            files,
            parts,
            held: None,
            opened: Vec::with_capacity(count.min(GROUP)),
            wants: Vec::with_capacity(count.min(GROUP)),
            one_by_one: false,
            results: (0..count).map(|_| None).collect(),
        })
    }

    /// Where its bytes go.
    pub(crate) fn place(&self) -> &dyn Place {
        &*self.place
    }

    /// How large a request to the kernel is, if that was asked for.
    pub(crate) fn target(&self) -> Option<NonZeroU64> {
        self.terms.target
    }

    /// What it is read through, if not by calls.
    pub(crate) fn mappings(&self) -> Option<Arc<Mappings>> {
        self.parts.mappings()
    }

    /// What the place is asked for next: as many files, from the first, as have no room yet.
    pub(crate) fn wants(&self) -> &[Want] {
        &self.wants
    }

    /// Works until it cannot go on. `room` is the answer of the place to [`ReadBatch::wants`], where it
    /// was waited for.
    pub(crate) fn run(mut self: Box<Self>, mut room: Option<Result<Vec<Buf>>>, turn: Turn<'_>) -> Stop {
        self.held = None;
        loop {
            match room.take() {
                Some(Ok(bufs)) => {
                    if self.bytes_wanted() >= self.terms.split_from && self.hold(bufs.len()) {
                        let regions = self.regions(bufs);
                        return Stop::Split(self, regions);
                    }
                    let left = self.read(bufs, turn);
                    if turn.goes_back() {
                        return Stop::Back(self, (!left.is_empty()).then_some(left));
                    }
                }
                Some(Err(error)) => self.refused(error),
                None => {}
            }
            if turn.gave_up() {
                return Stop::Done(Vec::new());
            }
            if self.opened.is_empty() && !self.open_group(turn) {
                return Stop::Done(self.finish());
            }
            room = match self.ask() {
                Some(Reservation::Granted(bufs)) => Some(Ok(bufs)),
                Some(Reservation::Wait) => {
                    if !self.hold(self.opened.len()) {
                        // They are opened again when there is room for them.
                        self.opened.iter_mut().for_each(|file| file.fd = None);
                    }
                    return Stop::Wait(self);
                }
                Some(Reservation::TooLarge { index, error }) => {
                    let file = self.opened.remove(index);
                    self.fail(file.index, error);
                    None
                }
                Some(Reservation::Refused(error)) => Some(Err(error)),
                None => None,
            };
        }
    }

    fn ask(&mut self) -> Option<Reservation> {
        let asked = if self.one_by_one { 1 } else { self.opened.len() };
        self.wants.clear();
        self.wants.extend(
            self.opened
                .iter()
                .take(asked)
                .map(|file| Want::new(self.requests[file.index].slot, file.span.end - file.span.start)),
        );
        if self.wants.is_empty() { None } else { Some(self.place.try_reserve(&self.wants)) }
    }

    /// The place will not take what was asked for: if that was several files, each is asked for alone,
    /// because the reason may lie in one of them.
    fn refused(&mut self, error: Error) {
        if self.wants.len() > 1 {
            self.one_by_one = true;
        } else {
            let file = self.opened.remove(0);
            self.fail(file.index, error);
        }
    }

    /// Reads what got room and closes it.
    ///
    /// As long as all of it is in the page cache, no more is done than to read it. At the first file of
    /// which something is missing, the rest is announced to the kernel, so that the device works on all
    /// of it at once while this thread waits for one after the other. Where the device was met just before,
    /// all is announced at once. Answers the buffers that are left for another thread.
    fn read(&mut self, bufs: Vec<Buf>, turn: Turn<'_>) -> Vec<Buf> {
        let mut opened = std::mem::take(&mut self.opened);
        let mut parts = std::mem::replace(&mut self.parts, Parts::new(None, None, None));
        let mut files = opened.drain(..bufs.len());
        let mapped = parts.mappings();
        // Who touches a mapping cannot tell the page cache from the device.
        let mut cached = self.terms.mode != PageCacheMode::FadviseRandom && mapped.is_none();
        if !cached {
            turn.meets_device();
        }
        let mut announced = cached && turn.met_device();
        if announced {
            self.announce(files.as_slice());
        }
        let mut trust = Trust::new(turn.met_device());
        parts.expect(bufs.len());
        let mut begin = Instant::now();
        let mut bufs = bufs.into_iter();
        while !turn.goes_back()
            && let Some(mut buf) = bufs.next()
        {
            let Some(mut file) = files.next() else { break };
            if turn.gave_up() {
                break;
            }
            parts.begin(begin);
            let bytes = buf.len() as u64;
            let result = self.descriptor(&mut file).and_then(|fd| {
                let fd = fd.as_fd();
                let rest = files.as_slice();
                let read = |buf: &mut [u8], offset, beyond| {
                    if let Some(mappings) = &mapped {
                        return (mappings.fill(fd, buf, offset, beyond), None);
                    }
                    // Where bytes beyond are watched for, the slower call is needed anyway.
                    if !cached || (beyond == Beyond::Ignored && trust.covers(bytes)) {
                        return (file::fill(fd, buf, offset, 0, beyond), None);
                    }
                    match file::fill_cached(fd, buf, offset, beyond) {
                        Tried::Filled(filled) => (Ok(filled), None),
                        Tried::Missed(done) => {
                            cached = false;
                            turn.meets_device();
                            if !std::mem::replace(&mut announced, true) {
                                self.announce(rest);
                            }
                            // That was for the others.
                            begin = Instant::now();
                            (file::fill(fd, buf, offset, done, beyond), Some(begin))
                        }
                    }
                };
                let filled = parts.fill(file.index, &mut buf, file.span.start, beyond(&file), read);
                let os = |errno| failure::os(Operation::Get, errno, &self.requests[file.index].location);
                self.check_read(&file, fd, filled.map_err(os)?)
            });
            // The room is given up before anybody hears of the result.
            drop(buf);
            let end = parts.ended();
            let took = end.saturating_duration_since(begin);
            if cached {
                trust.read(bytes, took);
            }
            let elapsed = file.spent + took;
            let index = file.index;
            self.results[index - self.part.start] =
                Some(result.map(|cache| Served { bytes, elapsed, first_byte: None, cache }));
            begin = end;
        }
        if turn.goes_back() {
            let mut left: Vec<_> = files.collect();
            left.append(&mut opened);
            opened = left;
        } else {
            drop(files);
        }
        self.opened = opened;
        self.parts = parts;
        self.tell_parts();
        if turn.goes_back() { bufs.collect() } else { Vec::new() }
    }

    /// Has the kernel begin to fetch what is read next.
    fn announce(&self, files: &[OpenFile]) {
        for file in files {
            file.fd.iter().for_each(|fd| announce(fd.as_fd(), &file.span, file.whole));
        }
    }

    fn tell_parts(&mut self) {
        let requests = &self.requests;
        self.parts.tell(Operation::Get, |index| &requests[index].location);
    }

    fn check_read(&self, file: &OpenFile, fd: BorrowedFd<'_>, filled: Filled) -> Result<CacheUse> {
        let request = &self.requests[file.index];
        let location = &request.location;
        let Range { start, end } = file.span;
        match filled {
            Filled::Whole => {}
            Filled::Short(read) => {
                let now = format_args!("{} could be read", start + read as u64);
                return Err(failure::changed(Operation::Get, location, end, now));
            }
            Filled::Beyond => {
                return Err(failure::changed(Operation::Get, location, end, "there are more now"));
            }
        }
        if file.whole && request.if_version.is_some() {
            let stat = fstat(fd).map_err(|e| failure::os(Operation::Get, e, location))?;
            file::check_version(request.if_version.as_ref(), &stat, location)?;
        }
        file::advise_after(self.terms.mode, fd, start..end, Operation::Get, location)
    }

    fn bytes_wanted(&self) -> u64 {
        self.wants.iter().map(|want| want.len).sum()
    }

    /// The reads that got room, for [`Stop::Split`].
    fn regions(&mut self, bufs: Vec<Buf>) -> Vec<(OpenFile, Region)> {
        // Who touches a mapping or reads at random wants nothing fetched ahead.
        let ahead = self.terms.mode != PageCacheMode::FadviseRandom && self.parts.mappings().is_none();
        let opened: Vec<_> = self.opened.drain(..bufs.len()).collect();
        let mut regions = Vec::with_capacity(bufs.len());
        for (mut file, buf) in opened.into_iter().zip(bufs) {
            match self.descriptor(&mut file) {
                Ok(fd) => {
                    let offset = file.span.start;
                    let ahead = ahead && file.whole;
                    regions.push((file, Region::new(fd.shared(), offset, buf, ahead)));
                }
                Err(error) => self.settle_one(file.index, Err(error)),
            }
        }
        regions
    }

    /// Takes the results of the reads that several threads made.
    pub(crate) fn settle(&mut self, files: Vec<OpenFile>, regions: Vec<Region>) {
        let mapped = self.parts.mappings();
        for (file, mut region) in files.into_iter().zip(regions) {
            self.parts.add(region.parts(file.index));
            let location = &self.requests[file.index].location;
            let (fd, bytes) = (region.fd(), region.len());
            let result = region
                .filled()
                .and_then(|filled| match filled {
                    // Nothing is wanted beyond the end but to hear that there is nothing.
                    Filled::Whole => match &mapped {
                        Some(mappings) => mappings.fill(fd.as_fd(), &mut [], file.span.end, beyond(&file)),
                        None => file::fill(fd.as_fd(), &mut [], file.span.end, 0, beyond(&file)),
                    },
                    other => Ok(other),
                })
                .map_err(|errno| failure::os(Operation::Get, errno, location))
                .and_then(|filled| self.check_read(&file, fd.as_fd(), filled))
                .map(|cache| Served {
                    bytes,
                    elapsed: file.spent + region.elapsed(),
                    first_byte: None,
                    cache,
                });
            drop(region);
            self.settle_one(file.index, result);
        }
        self.tell_parts();
    }

    /// Counts files as open while no thread works on the batch; false if they are too many.
    fn hold(&mut self, files: usize) -> bool {
        self.held = self.files.descriptors.hold(files);
        self.held.is_some()
    }

    /// The file's descriptor, opened again if it was closed.
    fn descriptor(&self, file: &mut OpenFile) -> Result<Descriptor> {
        if let Some(fd) = file.fd.take() {
            return Ok(fd);
        }
        let path = self.requests[file.index].location.path_bytes();
        let (fd, span) = self.open_one(file.index, || (CWD, path))?;
        if span != file.span {
            let now = format_args!("{} are there now", span.end);
            return Err(failure::changed(
                Operation::Get,
                &self.requests[file.index].location,
                file.span.end,
                now,
            ));
        }
        Ok(fd)
    }

    fn settle_one(&mut self, index: usize, result: Result<Served>) {
        self.results[index - self.part.start] = Some(result);
    }

    fn fail(&mut self, index: usize, error: Error) {
        let error = error.at(&self.requests[index].location);
        self.settle_one(index, Err(error));
    }

    fn finish(self) -> Vec<Result<Served>> {
        self.results.into_iter().map(|result| result.expect("every file was read or failed")).collect()
    }
}

/// Whole files must not have grown; a range is the same whatever follows it. Watching costs 1 to 2%
/// of a file of 4 KiB, and nothing of larger ones.
fn beyond(file: &OpenFile) -> Beyond {
    if file.whole { Beyond::Watched } else { Beyond::Ignored }
}

#[cfg(test)]
mod tests;
