//! Reads through a mapping of the file, as a framework's mmap reader makes them: the pages are faulted in, as
//! `madvise(2)` says, and nothing is asked of `read(2)`.
//!
//! A file that shrinks under a mapping makes who touches it die of SIGBUS. Nobody touches it here: the kernel is
//! asked to copy out of the mapping, by `process_vm_readv(2)` on this very process, and where a page is not there
//! any more that is a short count and no signal. A sandbox may forbid the call, which is tried once and then
//! refused with the reason.
//!
//! This module has unsafe code: the mapping, and a call that no crate wraps.

use crate::file::{Beyond, Filled};
use forebay_io::{Error, Kind, Location, Operation, PageCacheMode, ReadOptions, Result, Through};
use rustix::fd::BorrowedFd;
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::param::page_size;
use rustix::process::getpid;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Whether the kernel copies out of a mapping for this process: tried once.
#[derive(Debug, Default)]
pub(crate) struct Probe(OnceLock<Option<Errno>>);

impl Probe {
    /// The reads of one batch or object, through mappings if `options` say so.
    ///
    /// # Errors
    /// `InvalidConfig` beside a size of requests, `Unsupported` with what the kernel said where it does not do what
    /// is needed.
    pub(crate) fn mappings(
        &self,
        operation: Operation,
        options: &ReadOptions,
        location: &Location,
    ) -> Result<Option<Arc<Mappings>>> {
        if options.through == Through::Calls {
            return Ok(None);
        }
        if let Some(target) = options.target_request_bytes {
            let context = format!(
                "target_request_bytes={target} is for requests, and a mapping (reader_mode=mmap) has page faults; \
                 leave it out, or use reader_mode=range"
            );
            return Err(Error::new(Kind::InvalidConfig, operation, context).at(location));
        }
        let probe = || {
            let (from, mut to) = ([7u8; 8], [0u8; 8]);
            copy(from.as_ptr().cast(), &mut to).err()
        };
        match self.0.get_or_init(probe) {
            None => Ok(Some(Arc::new(Mappings::new(options.page_cache)))),
            Some(errno) => Err(refused(operation, *errno).at(location)),
        }
    }
}

fn refused(operation: Operation, errno: Errno) -> Error {
    let context = format!(
        "reading through a mapping (reader_mode=mmap) needs process_vm_readv on this process itself, so that a file \
         that shrinks is an error and not a signal; here the kernel refuses it ({errno}). Use sequential or range"
    );
    Error::new(Kind::Unsupported, operation, context)
}

/// The mappings that one batch, or one object's reads, are made through, one a stretch that is read.
#[derive(Debug)]
pub(crate) struct Mappings {
    mode: PageCacheMode,
    made: AtomicU64,
    advised: AtomicU64,
}

impl Mappings {
    fn new(mode: PageCacheMode) -> Self {
        Mappings { mode, made: AtomicU64::new(0), advised: AtomicU64::new(0) }
    }

    /// Those made since this was asked last, and those of them that the kernel was advised about.
    pub(crate) fn take_counts(&self) -> (u64, u64) {
        (self.made.swap(0, Ordering::Relaxed), self.advised.swap(0, Ordering::Relaxed))
    }

    /// Fills `buf` from `offset`: as [`fill`](crate::file::fill), through a mapping.
    pub(crate) fn fill(
        &self,
        fd: BorrowedFd<'_>,
        buf: &mut [u8],
        offset: u64,
        beyond: Beyond,
    ) -> Result<Filled, Errno> {
        let mut done = 0;
        if !buf.is_empty() {
            let lead = offset % page_size() as u64;
            let mapping = Mapping::new(fd, offset - lead, lead as usize + buf.len())?;
            self.made.fetch_add(1, Ordering::Relaxed);
            if mapping.advise(self.mode)? {
                self.advised.fetch_add(1, Ordering::Relaxed);
            }
            while done < buf.len() {
                match copy(mapping.at(lead as usize + done), &mut buf[done..]) {
                    Ok(0) | Err(Errno::FAULT) => break,
                    Ok(copied) => done += copied,
                    Err(errno) => return Err(errno),
                }
            }
        }
        // The last page of a mapping has zeros behind the end of the file: only the size tells.
        let size = fstat(fd)?.st_size as u64;
        let end = offset + buf.len() as u64;
        if size < end {
            return Ok(Filled::Short((size.saturating_sub(offset) as usize).min(done)));
        }
        match done < buf.len() {
            // The file has the bytes and its device did not give them.
            true => Err(Errno::IO),
            false if beyond == Beyond::Watched && size > end => Ok(Filled::Beyond),
            false => Ok(Filled::Whole),
        }
    }
}

/// A stretch of a file in the address space, read-only, gone when dropped.
struct Mapping {
    base: NonNull<c_void>,
    len: usize,
}

impl Mapping {
    /// `len` bytes, more than none, from `offset`, a multiple of the page size.
    fn new(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Self, Errno> {
        // SAFETY: a new mapping where the kernel finds room touches no memory of anybody's. It is read-only,
        // and no reference into it is ever made.
        let base = unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, fd, offset) };
        let base = base.map_err(|errno| match errno {
            // A filesystem that has no mappings.
            Errno::NODEV => Errno::OPNOTSUPP,
            errno => errno,
        })?;
        match NonNull::new(base) {
            Some(base) => Ok(Mapping { base, len }),
            None => Err(Errno::NOMEM),
        }
    }

    /// Says how the pages will be wanted; whether there was something to say.
    fn advise(&self, mode: PageCacheMode) -> Result<bool, Errno> {
        let advice = match mode {
            PageCacheMode::FadviseSequential => Advice::Sequential,
            PageCacheMode::FadviseRandom => Advice::Random,
            PageCacheMode::Default | PageCacheMode::DontNeed | PageCacheMode::DirectIO => return Ok(false),
        };
        // SAFETY: the range is this mapping, and the advice changes how it is read ahead, not what is in it.
        unsafe { madvise(self.base.as_ptr(), self.len, advice)? };
        Ok(true)
    }

    /// The address of a byte inside.
    fn at(&self, offset: usize) -> *const c_void {
        self.base.as_ptr().cast::<u8>().wrapping_add(offset).cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, is unmapped once, and nobody has a reference into it.
        let _ = unsafe { munmap(self.base.as_ptr(), self.len) };
    }
}

/// Has the kernel copy from an address of this process, which need not be one: then it is `EFAULT`.
fn copy(from: *const c_void, to: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    let remote = libc::iovec { iov_base: from.cast_mut(), iov_len: to.len() };
    let this = getpid().as_raw_nonzero().get();
    // SAFETY: the kernel writes to `to`, which is borrowed for that, at most its length. It only reads at
    // `from`, and checks every address as it does for a system call's arguments.
    let copied = unsafe { libc::process_vm_readv(this, &local, 1, &remote, 1, 0) };
    match usize::try_from(copied) {
        Ok(copied) => Ok(copied),
        Err(_) => Err(last_errno()),
    }
}

fn last_errno() -> Errno {
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fd::AsFd;
    use std::io::Write;

    fn file(bytes: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + i / 4096) as u8 | 1).collect()
    }

    proptest! {
        #[test]
        fn any_stretch_is_what_the_file_has(len in 0usize..20_000, from in 0usize..20_000, upto in 0usize..20_000) {
            let (bytes, mappings) = (content(len), Mappings::new(PageCacheMode::Default));
            let (from, upto) = (from.min(upto).min(len), from.max(upto).min(len));
            let file = file(&bytes);
            let mut buf = vec![0; upto - from];
            let filled = mappings.fill(file.as_fd(), &mut buf, from as u64, Beyond::Watched).unwrap();
            prop_assert_eq!(&buf, &bytes[from..upto]);
            prop_assert!(matches!((filled, upto < len), (Filled::Beyond, true) | (Filled::Whole, false)));
        }

        /// What is cut off is said, also inside the last page and where whole pages are gone.
        #[test]
        fn a_file_that_is_shorter_is_no_signal(len in 0usize..20_000, wanted in 1usize..40_000) {
            let mappings = Mappings::new(PageCacheMode::FadviseRandom);
            let file = file(&content(len));
            let mut buf = vec![0; wanted];
            match mappings.fill(file.as_fd(), &mut buf, 0, Beyond::Ignored).unwrap() {
                Filled::Short(read) => prop_assert!(len < wanted && read == len),
                _ => prop_assert!(wanted <= len),
            }
            prop_assert_eq!(mappings.take_counts(), (1, 1));
        }
    }

    #[test]
    fn what_was_mapped_before_it_shrank_is_no_signal() {
        let file = file(&content(5 * page_size()));
        let mapping = Mapping::new(file.as_fd(), 0, 5 * page_size()).unwrap();
        file.set_len(page_size() as u64 + 1).unwrap();
        let mut buf = vec![0; 5 * page_size()];
        assert_eq!(copy(mapping.at(0), &mut buf), Ok(2 * page_size()), "to the end of the last page");
        assert_eq!(copy(mapping.at(2 * page_size()), &mut buf), Err(Errno::FAULT));
    }

    #[test]
    fn advice_is_given_where_there_is_some() {
        let file = file(&content(100));
        for (mode, advised) in [
            (PageCacheMode::Default, 0),
            (PageCacheMode::FadviseSequential, 1),
            (PageCacheMode::FadviseRandom, 1),
            (PageCacheMode::DontNeed, 0),
        ] {
            let (mappings, mut buf) = (Mappings::new(mode), [0; 100]);
            mappings.fill(file.as_fd(), &mut buf, 0, Beyond::Ignored).unwrap();
            assert_eq!(mappings.take_counts(), (1, advised), "{mode}");
            assert_eq!(mappings.take_counts(), (0, 0));
        }
    }

    #[test]
    fn where_the_kernel_refuses_the_reason_is_said() {
        let location: Location = "file:///a".parse().unwrap();
        let options = ReadOptions { through: Through::Mapping, ..ReadOptions::default() };
        let error = Probe(OnceLock::from(Some(Errno::PERM))).mappings(Operation::Get, &options, &location);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains("process_vm_readv"), "{error}");
    }
}
