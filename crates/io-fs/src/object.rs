//! One opened file that serves many ranges.

use crate::failure;
use crate::file::{self, Beyond, Filled};
use crate::parts::Parts;
use crate::pool::Pool;
use crate::read_batch::Files;
use crate::residency::Held;
use crate::split_read::{self, Region};
use forebay_io::{Buf, Error, Kind, Location, Meta, Object, Operation, ReadOptions, Result, Served};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// See the module's words. The descriptor is closed when the object and every read of it are gone.
pub(crate) struct FsObject {
    file: Arc<Opened>,
    files: Arc<Files>,
    pool: Arc<Pool>,
}

/// A file that was opened for reading, and advised as `options` say.
pub(crate) struct Opened {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) location: Location,
    pub(crate) meta: Meta,
    pub(crate) options: ReadOptions,
}

impl FsObject {
    /// The observer of `files` hears of each request to the kernel.
    pub(crate) fn new(file: Opened, files: Arc<Files>, pool: Arc<Pool>) -> Self {
        FsObject { file: Arc::new(file), files, pool }
    }

    async fn read_all(&self, ranges: Vec<(u64, Buf)>) -> Vec<(Buf, Result<Served>)> {
        let bytes: u64 = ranges.iter().map(|(_, buf)| buf.len() as u64).sum();
        let file = self.file.clone();
        let options = &file.options;
        let mappings = self.files.probe.mappings(Operation::Read, options, &file.location);
        let mappings = match mappings {
            Ok(mappings) => mappings,
            Err(error) => return ranges.into_iter().map(|(_, buf)| (buf, Err(error.duplicate()))).collect(),
        };
        let mut parts = Parts::new(options.target_request_bytes, mappings, self.files.observer.clone());
        let due = self.due(&ranges);
        let results = if bytes >= split_read::SPLIT_FROM && self.pool.threads() > 1 {
            if !due.is_empty() {
                let (file, files) = (file.clone(), self.files.clone());
                let looked = self.pool.run(move |_| file.look(&files, &due)).await;
                parts.looked(looked.unwrap_or_default());
            }
            file.split(&self.pool, ranges, parts).await
        } else {
            let files = self.files.clone();
            self.pool
                .run(move |gave_up| {
                    parts.looked(file.look(&files, &due));
                    file.each(ranges, parts, gave_up)
                })
                .await
        };
        // The jobs make system calls and nothing else that could panic; a buffer that a panic took
        // cannot be given back.
        results.expect("a thread that reads does not panic")
    }
}

impl FsObject {
    /// The ranges before which the page cache is looked into. Those that lie outside are not read.
    fn due(&self, ranges: &[(u64, Buf)]) -> Vec<Range<u64>> {
        let Some(lookout) = &self.files.lookout else { return Vec::new() };
        let (first, size) = (lookout.draw(ranges.len()), self.file.meta.size);
        let range = |(offset, buf): &(u64, Buf)| *offset..offset.saturating_add(buf.len() as u64);
        (first..)
            .zip(ranges)
            .filter(|(number, _)| lookout.is_due(*number))
            .map(|(_, range_of)| range(range_of))
            .filter(|range| range.end <= size)
            .collect()
    }
}

impl Opened {
    /// What of these ranges is in the page cache now.
    fn look(&self, files: &Files, ranges: &[Range<u64>]) -> Held {
        let mut held = Held::default();
        for range in ranges {
            if let Some(lookout) = &files.lookout {
                held += lookout.look(self.fd.as_fd(), range);
            }
        }
        held
    }

    fn each(
        &self,
        ranges: Vec<(u64, Buf)>,
        mut parts: Parts,
        gave_up: &dyn Fn() -> bool,
    ) -> Vec<(Buf, Result<Served>)> {
        let mappings = parts.mappings();
        let mut results = Vec::with_capacity(ranges.len());
        let mut begin = Instant::now();
        for (offset, mut buf) in ranges {
            if gave_up() {
                break;
            }
            parts.begin(begin);
            let fd = self.fd.as_fd();
            let read = |buf: &mut [u8], offset, beyond| match &mappings {
                Some(mappings) => (mappings.fill(fd, buf, offset, beyond), None),
                None => (file::fill(fd, buf, offset, 0, beyond), None),
            };
            let result = self
                .check(offset, &buf)
                .map(|()| parts.fill(0, &mut buf, offset, Beyond::Ignored, read))
                .and_then(|filled| self.settle(offset, &buf, filled));
            let end = Instant::now();
            results.push((buf, result.map(|served| Served { elapsed: end - begin, ..served })));
            begin = end;
        }
        parts.tell(Operation::Read, |_| &self.location);
        results
    }

    /// Reads on several threads at once. Ranges that lie outside the object are answered without.
    async fn split(
        self: Arc<Self>,
        pool: &Pool,
        ranges: Vec<(u64, Buf)>,
        mut parts: Parts,
    ) -> Option<Vec<(Buf, Result<Served>)>> {
        let (mut refused, mut offsets, mut regions) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (offset, buf)) in ranges.into_iter().enumerate() {
            match self.check(offset, &buf) {
                Ok(()) => {
                    offsets.push(offset);
                    regions.push(Region::new(self.fd.clone(), offset, buf, false));
                }
                Err(error) => refused.push((index, buf, error)),
            }
        }
        let (target, mappings) = (self.options.target_request_bytes, parts.mappings());
        let (answer, receive) = oneshot::channel();
        split_read::read_split(pool, regions, target, mappings, answer, move |regions, answer| {
            let settled = regions.into_iter().zip(offsets).map(|(mut region, offset)| {
                parts.add(region.parts(0));
                let (filled, elapsed) = (region.filled(), region.elapsed());
                let buf = region.into_buf();
                let result = self.settle(offset, &buf, filled);
                (buf, result.map(|served| Served { elapsed, ..served }))
            });
            let settled = settled.collect::<Vec<_>>();
            parts.tell(Operation::Read, |_| &self.location);
            // Whoever has the answer may rely on it that nobody but the object keeps the file open.
            drop(self);
            // Where the caller went away meanwhile, they are dropped here.
            drop(answer.send(settled));
        });
        let mut results = receive.await.ok()?;
        for (index, buf, error) in refused {
            results.insert(index, (buf, Err(error)));
        }
        Some(results)
    }

    fn check(&self, offset: u64, buf: &Buf) -> Result<()> {
        let size = self.meta.size;
        match offset.checked_add(buf.len() as u64) {
            Some(end) if end <= size => Ok(()),
            _ => {
                let context =
                    format!("{} bytes from {offset} on are not inside the {size} bytes there are", buf.len());
                Err(Error::new(Kind::InvalidRange, Operation::Read, context).at(&self.location))
            }
        }
    }

    fn settle(&self, offset: u64, buf: &Buf, filled: Result<Filled, Errno>) -> Result<Served> {
        match filled.map_err(|errno| failure::os(Operation::Read, errno, &self.location))? {
            Filled::Short(read) => {
                let now = format_args!("{} could be read", offset + read as u64);
                Err(failure::changed(Operation::Read, &self.location, self.meta.size, now))
            }
            Filled::Whole | Filled::Beyond => {
                let bytes = buf.len() as u64;
                let read = offset..offset + bytes;
                let fd = self.fd.as_fd();
                let cache =
                    file::advise_after(self.options.page_cache, fd, read, Operation::Read, &self.location)?;
                Ok(Served { bytes, elapsed: Duration::ZERO, first_byte: None, cache })
            }
        }
    }
}

impl Object for FsObject {
    fn meta(&self) -> &Meta {
        &self.file.meta
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move { self.read_all(vec![(offset, buf)]).await.remove(0) }.boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        self.read_all(ranges).boxed()
    }
}

impl fmt::Debug for FsObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsObject")
            .field("location", &self.file.location)
            .field("meta", &self.file.meta)
            .finish_non_exhaustive()
    }
}
