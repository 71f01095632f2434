//! A stretch of address space that commits memory as it is handed out.
//!
//! Growing a slab never moves it, because readers (a kernel, a socket) already write into its
//! beginning. So it reserves the addresses of the largest batch that could ever be (the cap) and
//! makes them accessible piece by piece. Reserved addresses cost nothing; committed ones cost
//! memory once they are touched, and stay resident until [`Slab::trim`].
//!
//! This module owns the mapping; nothing else in the crate calls `mmap`.

use crate::region::{Life, Region};
use crate::{Error, Kind, Operation, Result};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Memory is committed in steps of this many bytes, so that a slab that grows sample by sample does
/// not make a system call for each. A multiple of every page size in use.
const STEP: usize = 64 << 10;

/// Huge pages of the usual machines. A device that reads into memory past the page cache is told of each
/// page: of 512 times fewer, where they are huge (1 MiB a read: 20 us of processor time instead of 75). A
/// kernel only makes them where all of one is committed, so that no more memory is used than is counted.
const HUGE: usize = 2 << 20;

/// See the module's words.
pub(crate) struct Slab {
    /// What was mapped.
    map: NonNull<u8>,
    mapped: usize,
    base: NonNull<u8>,
    reserved: usize,
    committed: usize,
    /// Ends before committed memory goes. None: nobody asked since it last did.
    life: Option<Arc<Life>>,
}

// SAFETY: a slab is plain memory that it owns alone; access to it is governed by `Lease`.
unsafe impl Send for Slab {}
// SAFETY: as above; `&Slab` offers no access to the bytes.
unsafe impl Sync for Slab {}

impl Slab {
    /// Reserves addresses for `bytes`, rounded up to whole steps.
    pub(crate) fn reserve(bytes: u64) -> Result<Self> {
        let reserved = usize::try_from(bytes)
            .ok()
            .and_then(|b| b.checked_next_multiple_of(STEP))
            .ok_or_else(|| Error::invalid(format!("{bytes} bytes are more than an address space holds")))?;
        // Addresses are plenty: enough that the slab can begin where a huge page does.
        let spare = if reserved >= HUGE { HUGE } else { 0 };
        let mapped = reserved.saturating_add(spare);
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing of ours.
        let map = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                mapped,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(|errno| no_memory(format!("cannot reserve {reserved} bytes of address space"), errno))?;
        let map = NonNull::<u8>::new(map.cast()).expect("mmap never answers null");
        let skip = if spare > 0 { map.as_ptr().align_offset(HUGE) } else { 0 };
        // SAFETY: `skip` is less than `spare`, so that `reserved` bytes of the mapping are left.
        let base = unsafe { map.add(skip) };
        // SAFETY: the range is our own mapping, and the advice changes none of its bytes. Where the kernel
        // does not know it, pages are small.
        let _ = unsafe { madvise(base.as_ptr().cast(), reserved, Advice::LinuxHugepage) };
        Ok(Slab { map, mapped, base, reserved, committed: 0, life: None })
    }

    /// Makes the first `bytes` accessible. Answers by how many bytes `committed` grew.
    pub(crate) fn commit(&mut self, bytes: usize) -> Result<usize> {
        if bytes <= self.committed {
            return Ok(0);
        }
        let goal = bytes.next_multiple_of(STEP);
        if goal > self.reserved {
            return Err(Error::invalid(format!("a slab of {} bytes cannot hold {bytes}", self.reserved)));
        }
        let grown = goal - self.committed;
        // SAFETY: the range lies inside our own mapping, checked above.
        unsafe {
            let start = self.base.as_ptr().add(self.committed).cast();
            mprotect(start, grown, MprotectFlags::READ | MprotectFlags::WRITE)
        }
        .map_err(|errno| no_memory(format!("cannot commit {goal} bytes of memory"), errno))?;
        self.committed = goal;
        Ok(grown)
    }

    /// Gives the memory behind the first `keep` bytes back to the system. Answers how much.
    pub(crate) fn trim(&mut self, keep: usize) -> usize {
        let keep = keep.next_multiple_of(STEP);
        let gone = self.committed.saturating_sub(keep);
        if gone > 0 {
            self.end_life();
            // SAFETY: the range lies inside our own mapping, and no slot beyond `keep` is lent: the
            // only caller trims slabs that are free or about to be leased.
            unsafe {
                let start = self.base.as_ptr().add(keep).cast();
                // Failure leaves the memory resident and committed: say so by not counting it.
                if madvise(start, gone, Advice::LinuxDontNeed).is_err()
                    || mprotect(start, gone, MprotectFlags::empty()).is_err()
                {
                    return 0;
                }
            }
            self.committed = keep;
        }
        gone
    }

    /// The first byte, aligned to a page (a huge one, where it could fill one).
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// What is committed now, for who wants to know when it goes.
    pub(crate) fn region(&mut self) -> Region {
        let life = self.life.get_or_insert_default().clone();
        Region::new(self.base.as_ptr().addr(), self.committed, life)
    }

    fn end_life(&mut self) {
        if let Some(life) = self.life.take() {
            life.end();
        }
    }

    /// How many bytes are accessible.
    pub(crate) fn committed(&self) -> usize {
        self.committed
    }
}

fn no_memory(context: String, errno: rustix::io::Errno) -> Error {
    Error::new(Kind::Unavailable, Operation::Configure, context)
        .with_retry(crate::Retry::Never)
        .with_source(std::io::Error::from(errno))
}

impl Drop for Slab {
    fn drop(&mut self) {
        self.end_life();
        // SAFETY: the mapping is ours, and whoever could reach into it held the lease that owns us.
        // An error here (which the kernel does not give for a whole mapping) would only leak.
        let _ = unsafe { munmap(self.map.as_ptr().cast(), self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_in_place_and_trims() {
        let mut slab = Slab::reserve(1 << 30).unwrap();
        assert_eq!(slab.commit(1).unwrap(), STEP);
        let base = slab.base();
        // SAFETY: the first step is committed.
        unsafe { base.write(7) };
        assert_eq!(slab.commit(STEP * 3).unwrap(), STEP * 2);
        assert_eq!(slab.trim(STEP + 1), STEP);
        assert_eq!((slab.base(), slab.committed()), (base, STEP * 2));
        // SAFETY: still committed.
        assert_eq!(unsafe { base.read() }, 7);
    }

    #[test]
    fn a_region_hears_before_its_memory_goes_and_only_then() {
        let mut slab = Slab::reserve(1 << 20).unwrap();
        slab.commit(STEP).unwrap();
        let small = slab.region();
        slab.commit(STEP * 3).unwrap();
        let large = slab.region();
        assert!(small.is_same(&large) && (small.len(), large.len()) == (STEP, STEP * 3));
        let heard = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = |region: &Region| {
            let heard = heard.clone();
            region.when_gone(move || {
                heard.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
        };
        let times = || heard.load(std::sync::atomic::Ordering::SeqCst);
        count(&small);
        assert_eq!(slab.trim(STEP * 3), 0);
        assert!(!small.is_gone() && times() == 0, "nothing went");
        slab.trim(STEP);
        assert!(small.is_gone() && large.is_gone() && times() == 1);
        count(&large);
        assert_eq!(times(), 2, "it is gone already");
        let next = slab.region();
        assert!(!next.is_gone() && !next.is_same(&large));
        count(&next);
        drop(slab);
        assert!(next.is_gone() && times() == 3);
    }

    #[test]
    fn more_than_was_reserved_is_refused() {
        let mut slab = Slab::reserve(STEP as u64).unwrap();
        assert!(slab.commit(STEP + 1).is_err());
        assert!(Slab::reserve(u64::MAX).is_err());
    }
}
