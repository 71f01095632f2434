//! Designs A and B: threads that each take whole batches and read them with system calls, in one phase (A) or
//! in two (B).

use std::ffi::c_int;

use crate::run::{Calls, Run, close};
use crate::slab::{IN_FLIGHT, Slab};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Memory {
    Reused,
    ReusedHuge,
    Fresh,
    FreshHuge,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Phases {
    One,
    Two,
    /// Two phases with `posix_fadvise(WILLNEED)` in the first.
    TwoWillNeed,
    /// Two phases; reads say `RWF_NOWAIT` until one finds its file not in the page cache. From there on to the end
    /// of the batch, every file is first advised `WILLNEED`, then read.
    TwoAdaptive,
}

/// A thread of a pool that takes whole batches.
pub(crate) fn pool(run: &Run, thread: usize, threads: usize, phases: Phases, calls: &Calls, memory: Memory) {
    let all = if memory == Memory::ReusedHuge { run.huge } else { run.small };
    let mine: Vec<&Slab> = all[..IN_FLIGHT.max(threads)].iter().skip(thread).step_by(threads).collect();
    let mut turn = 0;
    let mut opened: Vec<(c_int, usize, usize)> = Vec::with_capacity(run.files.batch);
    while let Some(range) = run.claim() {
        let order = &run.order[range];
        let fresh;
        let slab = match memory {
            Memory::Reused | Memory::ReusedHuge => {
                turn += 1;
                mine[turn % mine.len()].at
            }
            Memory::Fresh | Memory::FreshHuge => {
                fresh =
                    Slab::map(run.files.batch * (run.files.size + 64), memory == Memory::FreshHuge, false);
                fresh.at
            }
        };
        let mut end = 0usize;
        if phases == Phases::One {
            for &file in order {
                run.clock(calls);
                let fd = run.open(file, calls);
                let len = run.size(fd, calls);
                // SAFETY: the slab has room for a batch of files with a cache line between them.
                unsafe {
                    let to = slab.add(end);
                    let len = run.read(fd, to, len, calls);
                    run.check(to, file);
                    end = (end + len).next_multiple_of(64);
                }
                close(fd);
                run.clock(calls);
            }
            continue;
        }
        opened.clear();
        for &file in order {
            run.clock(calls);
            let fd = run.open(file, calls);
            let len = run.size(fd, calls);
            if phases == Phases::TwoWillNeed {
                // SAFETY: an advice about an open descriptor touches no memory.
                unsafe { libc::posix_fadvise(fd, 0, len as i64, libc::POSIX_FADV_WILLNEED) };
            }
            opened.push((fd, end, len));
            end = (end + len).next_multiple_of(64);
        }
        let mut cached = phases == Phases::TwoAdaptive;
        for (i, (&file, &(fd, at, len))) in order.iter().zip(&opened).enumerate() {
            // SAFETY: as above.
            unsafe {
                let to = slab.add(at);
                if cached {
                    let part = libc::iovec { iov_base: to.cast(), iov_len: len };
                    cached = libc::preadv2(fd, &raw const part, 1, 0, libc::RWF_NOWAIT) == len as isize;
                    if !cached {
                        for &(fd, _, len) in &opened[i..] {
                            libc::posix_fadvise(fd, 0, len as i64, libc::POSIX_FADV_WILLNEED);
                        }
                    }
                }
                if !cached {
                    run.read(fd, to, len, calls);
                }
                run.check(to, file);
            }
            close(fd);
            run.clock(calls);
        }
    }
}
