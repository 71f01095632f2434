//! Anonymous memory to read into, and how much of it a run has. Not a pool: a design decides what goes where.

/// Batches in flight, so also slabs in rotation. More threads than this have a slab each.
pub(crate) const IN_FLIGHT: usize = 6;
pub(crate) const MAX_THREADS: usize = 16;

/// Anonymous memory that a batch is read into.
pub(crate) struct Slab {
    pub(crate) at: *mut u8,
    pub(crate) len: usize,
}

// SAFETY: a slab is a plain mapping; which thread may write to it is decided by the design (each slab belongs
// to one thread, or to one file at a time), and nothing here depends on the thread that mapped it.
unsafe impl Send for Slab {}

// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Slab {
    pub(crate) fn map(len: usize, huge: bool, touch: bool) -> Slab {
        let len = len.next_multiple_of(2 << 20);
        // SAFETY: an anonymous private mapping at an address the kernel chooses replaces nothing.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert!(at != libc::MAP_FAILED, "mmap {len}: {}", std::io::Error::last_os_error());
        let advice = if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
        // SAFETY: the range was mapped above.
        unsafe { libc::madvise(at, len, advice) };
        if touch {
            // SAFETY: the range was mapped above, writable.
            unsafe { std::ptr::write_bytes(at.cast::<u8>(), 1, len) };
        }
        Slab { at: at.cast(), len }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: the range was mapped in `map`, and no pointer into it outlives the slab.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}
