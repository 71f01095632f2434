//! One file: opened without surprises, advised, and read to the last byte that was promised.

use crate::{failure, version};
use forebay_io::{CacheUse, EntryKind, Error, Kind, Location, Operation, PageCacheMode, Result, Version};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Advice, Mode, OFlags, Stat, fadvise, fstat, openat};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv, preadv2};
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::ops::Range;

/// `NONBLOCK`: opening a pipe must not wait for a writer; regular files do not care.
/// `NOCTTY`: opening a terminal must not make it ours.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

/// Opens a regular file for reading and says what it is now. `path` leads to `location` from the
/// directory `from`.
pub(crate) fn open_file(
    operation: Operation,
    location: &Location,
    path: (BorrowedFd<'_>, &[u8]),
) -> Result<(OwnedFd, Stat), Stopped> {
    check_scheme(operation, location)?;
    open_regular(operation, location, path, OFlags::empty())
}

/// As every store of files opens one: `open_file` for any scheme, with `more` flags.
pub fn open_regular(
    operation: Operation,
    location: &Location,
    (from, path): (BorrowedFd<'_>, &[u8]),
    more: OFlags,
) -> Result<(OwnedFd, Stat), Stopped> {
    let mut flags = FLAGS | more;
    let fd = loop {
        match openat(from, path, flags, Mode::empty()) {
            Ok(fd) => break fd,
            Err(Errno::INTR) => {}
            // Another process holds a lease on it (a file server does), and gives it up when it sees
            // somebody wait. A pipe never answers this.
            Err(Errno::AGAIN) if flags.contains(OFlags::NONBLOCK) => flags.remove(OFlags::NONBLOCK),
            Err(Errno::INVAL) if more.contains(OFlags::DIRECT) => return Err(Stopped::NotDirect),
            Err(errno @ (Errno::MFILE | Errno::NFILE)) => {
                return Err(Stopped::OutOfFiles(failure::os(operation, errno, location)));
            }
            Err(errno) => return Err(failure::os(operation, errno, location).into()),
        }
    };
    let stat = fstat(&fd).map_err(|errno| failure::os(operation, errno, location))?;
    match version::kind_of(&stat) {
        Some(EntryKind::Object) => Ok((fd, stat)),
        Some(EntryKind::Directory) => Err(failure::is_a_directory(operation, location).into()),
        None => Err(failure::not_a_file(operation, location).into()),
    }
}

/// Why a file was not opened.
#[derive(Debug)]
pub enum Stopped {
    /// It cannot be.
    Failed(Error),
    /// It cannot be with `O_DIRECT`. Only where that was asked for.
    NotDirect,
    /// It might be once others are closed, which whoever asks may be able to do.
    OutOfFiles(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::Failed(error)
    }
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Failed(error) | Stopped::OutOfFiles(error) => error,
            Stopped::NotDirect => Error::new(Kind::Unsupported, Operation::Open, "O_DIRECT is refused"),
        }
    }
}

/// The answer to a policy that buffered files cannot obey.
pub(crate) fn no_direct_io(operation: Operation, location: &Location) -> Error {
    let context = format!(
        "page_cache_mode={} goes past the page cache, which file:// cannot; use direct:// for it",
        PageCacheMode::DirectIO,
    );
    Error::new(Kind::Unsupported, operation, context).at(location)
}

/// Refuses what is not the name of a file. `direct` names the same files, but must not be *read*
/// through the page cache.
pub(crate) fn check_scheme(operation: Operation, location: &Location) -> Result<()> {
    let known: &[&str] = match operation {
        Operation::Get | Operation::Open => &["file"],
        _ => &["file", "direct"],
    };
    if known.contains(&location.scheme()) {
        return Ok(());
    }
    let context =
        format!("{}:// is not {}://, which this store is for", location.scheme(), known.join(":// or "));
    Err(Error::new(Kind::InvalidConfig, operation, context).at(location))
}

/// The bytes to read: `range` if it lies inside the file, or all of it.
pub fn span(range: Option<&Range<u64>>, size: u64, location: &Location) -> Result<Range<u64>> {
    match range {
        None => Ok(0..size),
        Some(range) if range.start <= range.end && range.end <= size => Ok(range.clone()),
        Some(range) => {
            let context =
                format!("range {}..{} is not inside the {size} bytes there are", range.start, range.end);
            Err(Error::new(Kind::InvalidRange, Operation::Get, context).at(location))
        }
    }
}

/// Refuses a file that is not the version that was asked for.
pub fn check_version(wanted: Option<&Version>, stat: &Stat, location: &Location) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    if version::is_version(stat, wanted) {
        return Ok(());
    }
    let found = version::version_of(stat);
    let context = format!("version is {}, not {}", found.as_str(), wanted.as_str());
    Err(Error::new(Kind::Precondition, Operation::Get, context).at(location))
}

/// Says how the file will be read. Before the first read.
pub(crate) fn advise_before(
    mode: PageCacheMode,
    fd: BorrowedFd<'_>,
    operation: Operation,
    location: &Location,
) -> Result<()> {
    let advice = match mode {
        PageCacheMode::FadviseSequential => Advice::Sequential,
        PageCacheMode::FadviseRandom => Advice::Random,
        PageCacheMode::Default | PageCacheMode::DontNeed | PageCacheMode::DirectIO => return Ok(()),
    };
    fadvise(fd, 0, None, advice).map_err(|errno| refused(mode, errno, operation, location))
}

/// Says that the bytes are not needed again, and what was done to the page cache altogether. After
/// the last read.
pub(crate) fn advise_after(
    mode: PageCacheMode,
    fd: BorrowedFd<'_>,
    read: Range<u64>,
    operation: Operation,
    location: &Location,
) -> Result<CacheUse> {
    // An empty range would mean "to the end" to the kernel; there is nothing in it to drop.
    if mode == PageCacheMode::DontNeed
        && let Some(len) = NonZeroU64::new(read.end - read.start)
    {
        fadvise(fd, read.start, Some(len), Advice::DontNeed)
            .map_err(|errno| refused(mode, errno, operation, location))?;
    }
    Ok(CacheUse::Applied(mode))
}

fn refused(mode: PageCacheMode, errno: Errno, operation: Operation, location: &Location) -> Error {
    failure::os(operation, errno, location)
        .context(format_args!("page_cache_mode={mode} is refused by the kernel for this file"))
}

/// How a read of an exact number of bytes can end.
pub(crate) enum Filled {
    Whole,
    /// End of file after this many bytes.
    Short(usize),
    /// There are bytes beyond those that were wanted.
    Beyond,
}

/// Whether a read also looks for bytes beyond those that are wanted: the kernel is offered one byte
/// more than there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    Watched,
    Ignored,
}

/// How a read of what is in the page cache can end.
pub(crate) enum Tried {
    Filled(Filled),
    /// Not all of it is there, or the filesystem cannot tell: this many bytes were read.
    Missed(usize),
}

/// Fills `buf` from `offset` with what is in the page cache, without waiting for the device.
pub(crate) fn fill_cached(fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64, beyond: Beyond) -> Tried {
    let len = buf.len();
    let mut extra = [0u8];
    let mut parts = [IoSliceMut::new(buf), IoSliceMut::new(&mut extra)];
    let parts = if beyond == Beyond::Watched { &mut parts[..] } else { &mut parts[..1] };
    match preadv2(fd, parts, offset, ReadWriteFlags::NOWAIT) {
        Ok(read) if read > len => Tried::Filled(Filled::Beyond),
        Ok(read) if read == len => Tried::Filled(Filled::Whole),
        Ok(read) => Tried::Missed(read),
        // If it is more than "not there", a read that may wait says so too.
        Err(_) => Tried::Missed(0),
    }
}

/// Fills `buf` from `offset`, the first `done` bytes of which are there already.
pub(crate) fn fill(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    offset: u64,
    mut done: usize,
    beyond: Beyond,
) -> Result<Filled, Errno> {
    let mut extra = [0u8];
    loop {
        let rest = buf.len() - done;
        let at = offset + done as u64;
        let read = match beyond {
            Beyond::Ignored if rest == 0 => return Ok(Filled::Whole),
            Beyond::Ignored => pread(fd, &mut buf[done..], at),
            Beyond::Watched => {
                let mut parts = [IoSliceMut::new(&mut buf[done..]), IoSliceMut::new(&mut extra)];
                preadv(fd, &mut parts, at)
            }
        };
        match read {
            Ok(n) if n > rest => return Ok(Filled::Beyond),
            Ok(n) if n == rest => return Ok(Filled::Whole),
            Ok(0) => return Ok(Filled::Short(done)),
            // The end is near, or the kernel had enough for now: asking again tells.
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
