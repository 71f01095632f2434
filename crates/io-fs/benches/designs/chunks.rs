//! Design D: threads that take chunks of files rather than batches, so that several read one large file.

use std::ffi::c_int;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::run::{PLAIN, Run, close};
use crate::slab::IN_FLIGHT;

/// A file that several threads read parts of.
pub(crate) struct Shared {
    pub(crate) fd: OnceLock<c_int>,
    /// Chunks not read yet, and one more until the file is closed: at zero its place in the slab is free.
    pub(crate) left: AtomicUsize,
}

/// A thread that takes chunks of files, in order.
pub(crate) fn chunks(run: &Run, shared: &[Shared], chunk: usize) {
    let size = run.files.size;
    let parts = size / chunk;
    let per_slab = run.files.batch;
    loop {
        let unit = run.next.fetch_add(1, Relaxed);
        let position = unit / parts;
        let Some(&file) = run.order.get(position) else { break };
        let fd = *shared[position].fd.get_or_init(|| {
            let fd = run.open(file, &PLAIN);
            assert_eq!(run.size(fd, &PLAIN), size);
            fd
        });
        let offset = unit % parts * chunk;
        let slab = &run.small[position / per_slab % IN_FLIGHT];
        if let Some(before) = position.checked_sub(IN_FLIGHT * per_slab) {
            // Hardly ever: the file that had this place is six batches back.
            while shared[before].left.load(Acquire) > 0 {
                std::thread::yield_now();
            }
        }
        // SAFETY: the slab has room for a batch of files, the chunks of a file do not overlap, and the file that
        // had the place before is done with.
        unsafe {
            let whole = slab.at.add(position % per_slab * (size + 64));
            let n = libc::pread(fd, whole.add(offset).cast(), chunk, offset as i64);
            assert_eq!(n as usize, chunk, "short read");
            if shared[position].left.fetch_sub(1, AcqRel) == 2 {
                run.check(whole, file);
                close(fd);
                shared[position].left.store(0, Release);
            }
        }
    }
}
