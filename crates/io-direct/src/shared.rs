//! What a store, its batches and its opened objects have in common.

use crate::engine::Engine;
use crate::flight::{Landed, Request};
use crate::mounts::Mounts;
use crate::open_file::OpenFile;
use crate::options::DirectOptions;
use crate::ring::Seat;
use crate::rung::Rung;
use forebay_io::{Attempt, Error, Kind, Location, Operation, PageCacheMode, ReadOptions, Result, Through};
use forebay_io_fs::posix::{self, Descriptors, Stopped};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{OFlags, Stat};
use rustix::io::Errno;
use std::sync::Arc;

/// Bytes of a request where nothing is said. Larger ones cost less each and keep fewer in flight of one
/// file; see `docs/decisions/direct-io.md`.
pub(crate) const REQUEST: u64 = 1 << 20;

/// Files opened before the first of them is read.
const GROUP: usize = 128;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: DirectOptions,
    pub(crate) engine: Engine,
    pub(crate) descriptors: Arc<Descriptors>,
    mounts: Mounts,
}

impl Shared {
    pub(crate) fn start(options: DirectOptions) -> Result<Arc<Self>> {
        options.check()?;
        let engine = Engine::start(&options)?;
        let descriptors = Descriptors::new(engine.threads.threads(), GROUP);
        Ok(Arc::new(Shared { options, engine, descriptors, mounts: Mounts::default() }))
    }

    /// Opens a file as it will be read. `seat`: it will be read often.
    pub(crate) fn open(
        &self,
        operation: Operation,
        location: &Location,
        path: (BorrowedFd<'_>, &[u8]),
        seat: Option<Seat>,
    ) -> Result<(Arc<OpenFile>, Stat), Stopped> {
        check_scheme(operation, location)?;
        let mut direct = self.options.direct_io;
        let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
        let (fd, stat) = match posix::open_regular(operation, location, path, flags) {
            Err(Stopped::NotDirect) => {
                direct = false;
                posix::open_regular(operation, location, path, OFlags::empty())?
            }
            other => other?,
        };
        let rung = self.mounts.rung(operation, location, fd.as_fd(), &stat, direct, &self.options)?;
        let grain = match rung {
            Rung::Direct(alignment) => alignment.offset.max(self.options.min_io_size),
            Rung::DontCache | Rung::DropBehind => 1,
        };
        let file = Arc::new(OpenFile { seat, fd, rung, grain });
        self.engine.seated(&file);
        Ok((file, stat))
    }

    /// Tells of the requests that a read was made of.
    pub(crate) fn attempted(&self, operation: Operation, landed: &[(&Location, &[Request])]) {
        let Some(observer) = &self.options.observer else { return };
        let attempts: Vec<_> = landed
            .iter()
            .flat_map(|(location, requests)| {
                requests.iter().map(|request| Attempt {
                    operation,
                    location,
                    range: Some(request.range.clone()),
                    bytes: request.bytes,
                    elapsed: request.elapsed,
                    first_byte: None,
                    status: None,
                    failed: request.failed.map(|errno| failed(operation, errno, location).kind()),
                })
            })
            .collect();
        if !attempts.is_empty() {
            observer.attempted(&attempts);
        }
    }

    pub(crate) fn watched(&self) -> bool {
        self.options.observer.is_some()
    }
}

/// What went wrong in a read.
pub(crate) fn check_landed(
    operation: Operation,
    landed: &Landed,
    size: u64,
    location: &Location,
) -> Result<()> {
    match landed.filled {
        Ok(None) => Ok(()),
        Ok(Some(end)) => {
            let now = format_args!("{end} could be read");
            Err(posix::changed(operation, location, size, now))
        }
        Err(Errno::INVAL) if matches!(landed.file.rung, Rung::Direct(_)) => {
            let context = "the filesystem takes O_DIRECT and refuses to read this file with it; read it as \
                           file://, or with direct_io=false";
            Err(Error::new(Kind::Unsupported, operation, context).at(location))
        }
        Err(errno) => Err(failed(operation, errno, location)),
    }
}

pub(crate) fn failed(operation: Operation, errno: Errno, location: &Location) -> Error {
    posix::os(operation, errno, location)
}

/// Refuses what is not the name of a file.
fn check_scheme(operation: Operation, location: &Location) -> Result<()> {
    if matches!(location.scheme(), "direct" | "file") {
        return Ok(());
    }
    let context = format!("{}:// is not direct:// or file://, which this store is for", location.scheme());
    Err(Error::new(Kind::InvalidConfig, operation, context).at(location))
}

/// Refuses a policy that contradicts this store's own.
pub(crate) fn check_policy(
    operation: Operation,
    location: &Location,
    options: &ReadOptions,
    direct_io: bool,
) -> Result<()> {
    if options.through == Through::Mapping {
        let context = "reading through a mapping (reader_mode=mmap) is reading through the page cache, which direct:// \
                       goes past; use file:// for it";
        return Err(Error::new(Kind::Unsupported, operation, context).at(location));
    }
    let mode = options.page_cache;
    let why = match mode {
        PageCacheMode::Default => return Ok(()),
        PageCacheMode::DirectIO if direct_io => return Ok(()),
        PageCacheMode::DirectIO => "the store was opened with direct_io=false",
        PageCacheMode::FadviseSequential | PageCacheMode::FadviseRandom | PageCacheMode::DontNeed => {
            "direct:// goes past the page cache; use default or direct_io, or file:// for it"
        }
    };
    Err(Error::new(Kind::Unsupported, operation, format!("page_cache_mode={mode}: {why}")).at(location))
}

/// A kernel takes 2 GiB less a page at once, which is no whole number of larger blocks.
const LARGEST: u64 = 1 << 30;

/// How large requests are to be.
pub(crate) fn request_bytes(options: &ReadOptions) -> u64 {
    options.target_request_bytes.map_or(REQUEST, |target| target.get().min(LARGEST))
}
