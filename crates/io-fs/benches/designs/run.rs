//! One run over the files, and the system calls that read one of them: what the designs are put together from.

use std::ffi::c_int;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::samples::Files;
use crate::slab::Slab;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Stat {
    Fstat,
    Statx,
    /// No size is asked for: the read is given more room than the file needs.
    Skip,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Tail {
    /// The size is believed: what was appended since is not seen.
    Trust,
    /// `preadv` with one more byte than the size: a full read tells that the file grew.
    OneMore,
    /// A second `fstat` after the read.
    Restat,
}

/// How one file is read with system calls.
#[derive(Clone, Copy)]
pub(crate) struct Calls {
    pub(crate) relative: bool,
    pub(crate) noatime: bool,
    pub(crate) stat: Stat,
    pub(crate) tail: Tail,
    pub(crate) clocks: bool,
    pub(crate) dontcache: bool,
}

pub(crate) const PLAIN: Calls = Calls {
    relative: false,
    noatime: false,
    stat: Stat::Fstat,
    tail: Tail::Trust,
    clocks: false,
    dontcache: false,
};

/// One run: the files in order, and the slabs they go to.
pub(crate) struct Run<'a> {
    pub(crate) files: &'a Files,
    pub(crate) order: &'a [u32],
    pub(crate) small: &'a [Slab],
    pub(crate) huge: &'a [Slab],
    pub(crate) next: AtomicUsize,
    pub(crate) check: bool,
}

impl Run<'_> {
    /// The next batch in the order, as a range of positions in it.
    pub(crate) fn claim(&self) -> Option<Range<usize>> {
        let first = self.next.fetch_add(self.files.batch, Relaxed);
        (first < self.order.len()).then(|| first..(first + self.files.batch).min(self.order.len()))
    }

    pub(crate) fn open(&self, file: u32, calls: &Calls) -> c_int {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | if calls.noatime { libc::O_NOATIME } else { 0 };
        let fd = if calls.relative {
            // SAFETY: the name is NUL-terminated and lives as long as the run.
            unsafe { libc::openat(self.files.dirfd, self.files.names[file as usize].as_ptr(), flags) }
        } else {
            // SAFETY: as above.
            unsafe { libc::open(self.files.full[file as usize].as_ptr(), flags) }
        };
        assert!(fd >= 0, "open file {file}: {}", std::io::Error::last_os_error());
        fd
    }

    pub(crate) fn size(&self, fd: c_int, calls: &Calls) -> usize {
        match calls.stat {
            Stat::Fstat => fstat_size(fd),
            Stat::Statx => {
                let mut out = std::mem::MaybeUninit::<libc::statx>::uninit();
                // SAFETY: out is large enough, and read only when the call succeeded.
                let rc = unsafe {
                    libc::statx(fd, c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_SIZE, out.as_mut_ptr())
                };
                assert_eq!(rc, 0, "statx: {}", std::io::Error::last_os_error());
                // SAFETY: the kernel filled it in.
                unsafe { out.assume_init() }.stx_size as usize
            }
            Stat::Skip => self.files.size,
        }
    }

    /// Reads the whole file and returns its length.
    ///
    /// # Safety
    /// `to` must be valid for writes of `len + 1` bytes.
    pub(crate) unsafe fn read(&self, fd: c_int, to: *mut u8, len: usize, calls: &Calls) -> usize {
        let mut done = 0;
        let mut spare = 0u8;
        loop {
            let want = if calls.stat == Stat::Skip { len + 1 } else { len };
            let n = if calls.tail == Tail::OneMore || calls.dontcache {
                let parts = [
                    // SAFETY: done <= len, and the caller gave len + 1 bytes.
                    libc::iovec { iov_base: unsafe { to.add(done) }.cast(), iov_len: want - done },
                    libc::iovec { iov_base: (&raw mut spare).cast(), iov_len: 1 },
                ];
                let count = if calls.tail == Tail::OneMore { 2 } else { 1 };
                // RWF_DONTCACHE, Linux 6.14 and later.
                let flags = if calls.dontcache { 0x80 } else { 0 };
                // SAFETY: both parts are valid for writes.
                unsafe { libc::preadv2(fd, parts.as_ptr(), count, done as i64, flags) }
            } else {
                // SAFETY: the caller gave len + 1 bytes.
                unsafe { libc::pread(fd, to.add(done).cast(), want - done, done as i64) }
            };
            assert!(n >= 0, "read: {}", std::io::Error::last_os_error());
            done += n as usize;
            assert!(done <= len, "a file grew");
            if done == len || n == 0 {
                break;
            }
        }
        if calls.tail == Tail::Restat {
            assert_eq!(fstat_size(fd), len, "a file changed its size");
        }
        done
    }

    /// # Safety
    /// `at` must be valid for reads of a whole file.
    pub(crate) unsafe fn check(&self, at: *const u8, file: u32) {
        if self.check {
            // SAFETY: the caller read a whole file there; every file has at least 8 bytes.
            let (head, tail) = unsafe {
                (
                    at.cast::<u64>().read_unaligned(),
                    at.add(self.files.size - 8).cast::<u64>().read_unaligned(),
                )
            };
            assert_eq!((head, tail), (file as u64, file as u64), "wrong content");
        }
    }

    pub(crate) fn clock(&self, calls: &Calls) {
        if calls.clocks {
            std::hint::black_box(Instant::now());
        }
    }
}

fn fstat_size(fd: c_int) -> usize {
    let mut out = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: out is large enough, and read only when the call succeeded.
    let rc = unsafe { libc::fstat(fd, out.as_mut_ptr()) };
    assert_eq!(rc, 0, "fstat: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel filled it in.
    unsafe { out.assume_init() }.st_size as usize
}

pub(crate) fn close(fd: c_int) {
    // SAFETY: the descriptor was opened by this thread and is not used again.
    unsafe { libc::close(fd) };
}
