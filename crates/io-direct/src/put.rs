//! Writing past the page cache: whole blocks out of an aligned buffer; the last one is filled up, and the
//! file cut to its length before anybody can see it.

use crate::alignment::Alignment;
use crate::bounce::Bounce;
use crate::mounts::{Said, ask_for_writes, buffered};
use crate::options::DirectOptions;
use bytes::Bytes;
use forebay_io::{
    CacheUse, Error, Event, Kind, Location, Meta, Operation, PageCacheMode, PutOptions, Result,
};
use forebay_io_fs::posix::{self, Draft};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, ftruncate};
use rustix::io::{Errno, pwrite};

/// Bytes gathered before they are written: large enough that a device is kept busy by one writer.
const GATHERED: usize = 4 << 20;

/// A file that is being written.
pub(crate) struct DirectDraft {
    draft: Draft,
    target: Location,
    options: DirectOptions,
    /// None where writes go through the page cache.
    blocks: Option<Blocks>,
}

/// Bytes on their way to the file.
struct Blocks {
    buffer: Bounce,
    filled: usize,
    block: usize,
    /// Bytes that are in the file.
    written: u64,
}

impl DirectDraft {
    pub(crate) fn begin(target: &Location, mut put: PutOptions, options: &DirectOptions) -> Result<Self> {
        put.durable |= options.sync_writes;
        let draft = Draft::begin(target, put)?;
        let mut this = DirectDraft { draft, target: target.clone(), options: options.clone(), blocks: None };
        if options.direct_io {
            match this.alignment() {
                Some(alignment) => {
                    let block = alignment.offset.max(options.min_io_size) as usize;
                    let buffer = Bounce::new(GATHERED.next_multiple_of(block), alignment.memory as usize);
                    this.blocks = Some(Blocks { buffer, filled: 0, block, written: 0 });
                }
                None => this.step_down()?,
            }
        }
        Ok(this)
    }

    /// How writes must be aligned, with `O_DIRECT` set; none if that cannot be.
    fn alignment(&self) -> Option<Alignment> {
        let fd = self.draft.fd();
        let alignment = match (ask_for_writes(fd), self.options.alignment) {
            (Said::No, _) => return None,
            (_, Some(fixed)) => Alignment { memory: fixed.get(), offset: fixed.get() },
            (Said::Aligned(alignment), None) => alignment,
            (Said::Nothing, None) => Alignment::SAFE,
        };
        let flags = fcntl_getfl(fd).ok()?;
        fcntl_setfl(fd, flags | OFlags::DIRECT).ok()?;
        Some(alignment)
    }

    fn step_down(&self) -> Result<()> {
        let from = CacheUse::Applied(PageCacheMode::DirectIO);
        if self.options.strict {
            let context = "the filesystem refuses O_DIRECT for it, and strict allows nothing less; leave \
                           strict out, or write it as file://";
            return Err(Error::new(Kind::Unsupported, Operation::Put, context).at(&self.target));
        }
        if let Some(observer) = &self.options.observer {
            observer.noted(
                Some("direct"),
                Event::Downgraded { from, to: CacheUse::Applied(PageCacheMode::Default) },
            );
        }
        Ok(())
    }

    /// Appends.
    pub(crate) fn write(&mut self, chunks: &[Bytes]) -> Result<()> {
        for chunk in chunks {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let Some(blocks) = &mut self.blocks else {
                    self.draft.write(&[chunk.slice_ref(rest)])?;
                    break;
                };
                let room = &mut blocks.buffer.as_mut_slice()[blocks.filled..];
                let taken = room.len().min(rest.len());
                room[..taken].copy_from_slice(&rest[..taken]);
                blocks.filled += taken;
                rest = &rest[taken..];
                if blocks.filled == blocks.buffer.as_slice().len() {
                    self.flush()?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is gathered, in whole blocks.
    fn flush(&mut self) -> Result<()> {
        let Some(blocks) = &mut self.blocks else { return Ok(()) };
        let filled = blocks.filled;
        let whole = filled.next_multiple_of(blocks.block);
        blocks.buffer.as_mut_slice()[filled..whole].fill(0);
        let mut done = 0;
        while done < whole {
            let at = blocks.written + done as u64;
            match pwrite(self.draft.fd(), &blocks.buffer.as_slice()[done..whole], at) {
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                // Told by nobody, and refused nevertheless.
                Err(Errno::INVAL) if at == 0 => {
                    buffered(self.draft.fd())
                        .map_err(|errno| posix::os(Operation::Put, errno, &self.target))?;
                    let head = Bytes::copy_from_slice(&blocks.buffer.as_slice()[..filled]);
                    self.blocks = None;
                    self.step_down()?;
                    return self.draft.write(&[head]);
                }
                Err(errno) => return Err(self.failed(errno)),
            }
        }
        blocks.written += filled as u64;
        blocks.filled = 0;
        self.draft.set_written(blocks.written);
        Ok(())
    }

    fn failed(&self, errno: Errno) -> Error {
        posix::os(Operation::Put, errno, &self.target)
    }

    /// Writes the rest and puts the name in place.
    pub(crate) fn commit(mut self, promised: Option<u64>) -> Result<Meta> {
        self.flush()?;
        if let Some(blocks) = &self.blocks
            && !blocks.written.is_multiple_of(blocks.block as u64)
        {
            ftruncate(self.draft.fd(), blocks.written).map_err(|errno| self.failed(errno))?;
        }
        self.draft.commit(promised)
    }
}
