//! What every design is compared with: the same system calls with nothing around them.

use crate::run::{Calls, Run, close};

/// What the hardware and the kernel allow: no batches, no slab, one file after the other.
pub(crate) fn limit(run: &Run, thread: usize, threads: usize, slabs: usize, calls: &Calls) {
    let size = run.files.size;
    let mut slots = Vec::new();
    for slab in run.small[..slabs].iter().skip(thread).step_by(threads) {
        for i in 0..run.files.batch {
            // SAFETY: a slab has room for a batch of files with a cache line between them.
            slots.push(unsafe { slab.at.add(i * (size + 64)) });
        }
    }
    let mut turn = 0;
    while let Some(range) = run.claim() {
        for &file in &run.order[range] {
            let to = slots[turn % slots.len()];
            turn += 1;
            let fd = run.open(file, calls);
            let len = run.size(fd, calls);
            // SAFETY: the slot has room for a file and a cache line.
            unsafe {
                run.read(fd, to, len, calls);
                run.check(to, file);
            }
            close(fd);
        }
    }
}
