//! What of a file is in the page cache just before it is read: the truth behind "cold" and "cached".
//!
//! `cachestat(2)` (Linux 6.5) answers for a range in one call and touches nothing. Where it is missing, or
//! where it cannot see (overlayfs keeps no pages of its own, those of the file beneath it are found through a
//! mapping), `mincore(2)` does. What neither tells is unknown, never a miss: filesystems with a cache of their
//! own or none at all, and files of which the kernel tells only their owner or who may write them.
//!
//! This module has unsafe code: two system calls that no crate wraps, and the mapping for one of them.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{Access, AtFlags, StatxAttributes, StatxFlags, accessat, fstat, fstatfs, statx};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::process::geteuid;
use std::num::NonZeroU32;
use std::ops::{AddAssign, Range};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes of reads that were looked at, by where they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) reads: u64,
    pub(crate) hit: u64,
    pub(crate) miss: u64,
    pub(crate) unknown: u64,
}

impl AddAssign for Held {
    fn add_assign(&mut self, other: Held) {
        self.reads += other.reads;
        self.hit += other.hit;
        self.miss += other.miss;
        self.unknown += other.unknown;
    }
}

/// Which reads are looked at, and how. All batches of a store share one.
#[derive(Debug)]
pub(crate) struct Lookout {
    every: NonZeroU32,
    drawn: AtomicU64,
    /// The kernel does not know `cachestat`.
    old_kernel: AtomicBool,
}

/// Filesystems whose reads need not go through the page cache, so that a file of which it holds nothing may
/// be cached elsewhere or nowhere: ZFS, FUSE and 9P, by `f_type` of `statfs(2)`.
const ELSEWHERE: [i64; 3] = [0x2fc1_2fc1, 0x6573_5546, 0x0102_1997];

/// overlayfs, by `f_type`.
const OVERLAY: i64 = 0x794c_7630;

/// What is mapped at once for `mincore`.
const WINDOW: u64 = 64 << 20;

impl Lookout {
    /// Looks at about one in `every` reads, the first among them.
    pub(crate) fn new(every: NonZeroU32) -> Self {
        Lookout { every, drawn: AtomicU64::new(0), old_kernel: AtomicBool::new(false) }
    }

    /// Numbers for so many reads, to ask [`Lookout::is_due`] about; the first of them.
    pub(crate) fn draw(&self, reads: usize) -> u64 {
        self.drawn.fetch_add(reads as u64, Ordering::Relaxed)
    }

    /// Whether the read of this number is looked at. Which are is spread as if by chance (the mixing function
    /// is splitmix64's): every n-th would always fall on the same place of batches whose size n divides.
    pub(crate) fn is_due(&self, number: u64) -> bool {
        let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number == 0 || (mixed ^ (mixed >> 31)).is_multiple_of(u64::from(self.every.get()))
    }

    /// What of `span` is in the page cache now.
    pub(crate) fn look(&self, fd: BorrowedFd<'_>, span: &Range<u64>) -> Held {
        let bytes = span.end.saturating_sub(span.start);
        if bytes == 0 {
            return Held { reads: 1, ..Held::default() };
        }
        let size = rustix::param::page_size() as u64;
        let pages = span.start / size..span.end.div_ceil(size);
        let Some(cached) = self.pages(fd, &pages, size) else {
            return Held { reads: 1, unknown: bytes, ..Held::default() };
        };
        // Which of the pages are there is not said, only how many.
        let share = u128::from(bytes) * u128::from(cached) / u128::from(pages.end - pages.start);
        let hit = u64::try_from(share).unwrap_or(bytes).min(bytes);
        Held { reads: 1, hit, miss: bytes - hit, unknown: 0 }
    }

    /// How many of these pages are there, if that can be told.
    fn pages(&self, fd: BorrowedFd<'_>, pages: &Range<u64>, size: u64) -> Option<u64> {
        let counted = match self.old_kernel.load(Ordering::Relaxed) {
            true => None,
            false => cachestat(fd, pages.start * size, (pages.end - pages.start) * size),
        };
        match counted {
            Some(Ok(cached)) if cached > 0 => Some(cached.min(pages.end - pages.start)),
            // Nothing is what those say, too, who have nothing to do with the page cache.
            Some(Ok(_)) => match kind(fd) {
                Kind::Ordinary => Some(0),
                Kind::Overlay => mincore(fd, pages, size),
                Kind::Elsewhere => None,
            },
            refused => {
                // Not refused for this file, but not known at all.
                if refused != Some(Err(libc::EPERM)) {
                    self.old_kernel.store(true, Ordering::Relaxed);
                }
                match kind(fd) {
                    Kind::Ordinary | Kind::Overlay => mincore(fd, pages, size),
                    Kind::Elsewhere => None,
                }
            }
        }
    }
}

enum Kind {
    Ordinary,
    Overlay,
    Elsewhere,
}

fn kind(fd: BorrowedFd<'_>) -> Kind {
    let Ok(of) = fstatfs(fd) else { return Kind::Elsewhere };
    // Some architectures have fewer bits for it, and a sign.
    #[allow(clippy::unnecessary_cast)]
    let magic = of.f_type as i64 & 0xffff_ffff;
    if magic == OVERLAY {
        return Kind::Overlay;
    }
    // Memory that is a file has no copy of it in memory.
    let direct = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::DAX));
    if direct || ELSEWHERE.contains(&magic) { Kind::Elsewhere } else { Kind::Ordinary }
}

/// Pages of a range that are in the page cache, or why the kernel does not say. None where this machine's
/// number of the call is not known here.
fn cachestat(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Option<Result<u64, i32>> {
    /// The same on every architecture that came after system calls were numbered alike.
    const CACHESTAT: libc::c_long = 451;
    if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")) {
        return None;
    }
    #[repr(C)]
    struct Asked {
        offset: u64,
        len: u64,
    }
    #[repr(C)]
    #[derive(Default)]
    struct Told {
        cached: u64,
        dirty: u64,
        written_back: u64,
        evicted: u64,
        recently_evicted: u64,
    }
    let (asked, mut told) = (Asked { offset, len }, Told::default());
    // SAFETY: the descriptor is open; the kernel reads `asked` and writes `told`, which have the layout of
    // `struct cachestat_range` and `struct cachestat` and live until the call returns.
    let answer = unsafe { libc::syscall(CACHESTAT, fd.as_raw_fd(), &raw const asked, &raw mut told, 0u32) };
    Some(match answer {
        0 => Ok(told.cached),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::ENOSYS)),
    })
}

/// The same by way of a mapping.
fn mincore(fd: BorrowedFd<'_>, pages: &Range<u64>, size: u64) -> Option<u64> {
    if !may_ask(fd) {
        return None;
    }
    let (mut at, end) = (pages.start * size, pages.end * size);
    let mut cached = 0;
    let mut told = Vec::new();
    while at < end {
        let len = usize::try_from(WINDOW.min(end - at)).ok()?;
        told.clear();
        told.resize(len.div_ceil(size as usize), 0u8);
        // SAFETY: a new mapping, of which no byte is ever touched.
        let map = unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, fd, at) }.ok()?;
        // SAFETY: `map` is a mapping of `len` bytes, and `told` has a byte for each of its pages.
        let answer = unsafe { libc::mincore(map, len, told.as_mut_ptr()) };
        // SAFETY: it was mapped above with this length, and nothing refers to it.
        let unmapped = unsafe { munmap(map, len) };
        if answer != 0 || unmapped.is_err() {
            return None;
        }
        cached += told.iter().filter(|page| **page & 1 == 1).count() as u64;
        at += len as u64;
    }
    Some(cached)
}

/// Whether `mincore` tells this user the truth of this file: since Linux 5.2 it says of others' files that
/// all is there, to give nothing away.
fn may_ask(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|stat| stat.st_uid == geteuid().as_raw())
        || accessat(fd, c"", Access::WRITE_OK, AtFlags::EACCESS | AtFlags::EMPTY_PATH).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fd::AsFd;
    use rustix::fs::{Advice, fadvise, fsync};
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    const BYTES: u64 = 64 << 10;

    /// A file on the filesystem of the sources, which is not in memory.
    fn file() -> std::fs::File {
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(&[7; BYTES as usize]).unwrap();
        fsync(&file).unwrap();
        file
    }

    fn every(n: u32) -> Lookout {
        Lookout::new(NonZeroU32::new(n).unwrap())
    }

    fn held(hit: u64, miss: u64) -> Held {
        Held { reads: 1, hit, miss, unknown: 0 }
    }

    #[test]
    fn dropped_pages_are_misses_and_read_ones_hits_by_either_call() {
        let file = file();
        let (new, old) = (every(1), every(1));
        old.old_kernel.store(true, Ordering::Relaxed);
        let looks = [("cachestat", new), ("mincore", old)];
        for (name, look) in &looks {
            assert_eq!(look.look(file.as_fd(), &(0..BYTES)), held(BYTES, 0), "{name}");
        }
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        // Else the read below would bring the rest in, too.
        fadvise(&file, 0, None, Advice::Random).unwrap();
        for (name, look) in &looks {
            assert_eq!(look.look(file.as_fd(), &(0..BYTES)), held(0, BYTES), "{name}");
        }
        file.read_exact_at(&mut [0; 16 << 10], 0).unwrap();
        for (name, look) in &looks {
            assert_eq!(look.look(file.as_fd(), &(0..BYTES)), held(16 << 10, 48 << 10), "{name}");
            assert_eq!(look.look(file.as_fd(), &(100..200)), held(100, 0), "{name}");
            assert_eq!(look.look(file.as_fd(), &(BYTES - 100..BYTES)), held(0, 100), "{name}");
            assert_eq!(look.look(file.as_fd(), &(5..5)), held(0, 0), "{name}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_unknown() {
        // A directory of processes has pages nowhere; mapping it is refused.
        let odd = std::fs::File::open("/proc/self/status").unwrap();
        let unknown = Held { reads: 1, unknown: 10, ..Held::default() };
        let look = every(1);
        look.old_kernel.store(true, Ordering::Relaxed);
        assert_eq!(look.look(odd.as_fd(), &(0..10)), unknown);
    }

    proptest! {
        #[test]
        fn about_one_in_so_many_reads_is_looked_at_and_the_first_always(n in 1u32..200, batch in 1u64..100) {
            let look = every(n);
            prop_assert!(look.is_due(0));
            let reads = 200 * u64::from(n);
            let due = (0..reads).filter(|&read| look.is_due(read)).count() as f64;
            prop_assert!(n == 1 && due == reads as f64 || (due - 200.0).abs() < 80.0, "{due}");
            // Also of the first reads of batches.
            let firsts = (0..200 * u64::from(n)).filter(|first| look.is_due(first * batch)).count() as f64;
            prop_assert!(n == 1 || (firsts - 200.0).abs() < 90.0, "{firsts}");
        }
    }
}
