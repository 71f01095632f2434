//! Design C: threads that each own an `io_uring` and keep a few batches in it.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ops::Range;

use io_uring::{IoUring, opcode, squeue, types};

use crate::run::{PLAIN, Run, close};
use crate::slab::{IN_FLIGHT, Slab};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Chain {
    /// Size known: open, read, close in one chain.
    Known,
    /// Size known: open and read; the next open into the slot closes the file.
    KnownReplace,
    /// Open and statx in one submission, read and close in the next.
    TwoRounds,
    /// open and fstat as system calls, the reads of a batch in one submission, close as system calls.
    ReadsOnly,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Tweak {
    None,
    /// `IOSQE_ASYNC`: every operation goes to the kernel's workers at once.
    Async,
    /// The slabs are registered buffers.
    Registered,
    /// `openat` by the name in the directory instead of the whole path.
    Relative,
}

/// A batch on its way through a ring.
struct Lane {
    slab: usize,
    range: Range<usize>,
    remaining: usize,
    reading: bool,
    fds: Vec<c_int>,
    stats: Vec<UnsafeCell<MaybeUninit<libc::statx>>>,
}

/// The two kinds of descriptor a read may name.
#[derive(Clone, Copy)]
enum Fd {
    Slot(u32),
    Plain(c_int),
}

/// A thread that owns a ring and keeps `ahead` batches in it.
pub(crate) fn ring(run: &Run, thread: usize, rings: usize, ahead: usize, chain: Chain, tweak: Tweak) {
    let registered = tweak == Tweak::Registered;
    let batch = run.files.batch;
    let size = run.files.size;
    let mut ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(((batch * 3 * ahead) as u32).next_power_of_two())
        .expect("io_uring");
    ring.submitter().register_files_sparse((batch * ahead) as u32).expect("sparse file table");
    let mine: Vec<&Slab> = run.small[..IN_FLIGHT].iter().skip(thread).step_by(rings).collect();
    assert!(ahead <= mine.len());
    if registered {
        let parts: Vec<libc::iovec> =
            mine.iter().map(|s| libc::iovec { iov_base: s.at.cast(), iov_len: s.len }).collect();
        // SAFETY: the slabs outlive the ring.
        unsafe { ring.submitter().register_buffers(&parts) }.expect("register the slabs");
    }
    let base = if tweak == Tweak::Async { squeue::Flags::ASYNC } else { squeue::Flags::empty() };
    let link = base | squeue::Flags::IO_LINK;
    let flags = libc::O_RDONLY;
    // Fills the submission queue for the lane's next step; false when there is none.
    let step = |ring: &mut IoUring, lane: &mut Lane, l: usize| {
        let mut sq = ring.submission();
        let data = |i: usize, op: u64| ((l as u64) << 32) | ((i as u64) << 4) | op;
        let read = |fd: Fd, slab: usize, i: usize| {
            // SAFETY: the slab has room for a batch of files with a cache line between them.
            let to = unsafe { mine[slab].at.add(i * (size + 64)) };
            match (fd, registered) {
                (Fd::Slot(s), false) => opcode::Read::new(types::Fixed(s), to, size as u32).offset(0).build(),
                (Fd::Slot(s), true) => {
                    opcode::ReadFixed::new(types::Fixed(s), to, size as u32, slab as u16).offset(0).build()
                }
                (Fd::Plain(f), false) => opcode::Read::new(types::Fd(f), to, size as u32).offset(0).build(),
                (Fd::Plain(f), true) => {
                    opcode::ReadFixed::new(types::Fd(f), to, size as u32, slab as u16).offset(0).build()
                }
            }
        };
        let mut push = |entry: squeue::Entry| {
            // SAFETY: paths, slabs and statx buffers live until the ring has been drained at the end of the run.
            unsafe { sq.push(&entry) }.expect("the queue is sized for every lane");
        };
        for (i, &file) in run.order[lane.range.clone()].iter().enumerate() {
            let slot = (l * batch + i) as u32;
            let dest = types::DestinationSlot::try_from_slot_target(slot).expect("a slot of the table");
            let (at, path) = if tweak == Tweak::Relative {
                (types::Fd(run.files.dirfd), run.files.names[file as usize].as_ptr())
            } else {
                (types::Fd(libc::AT_FDCWD), run.files.full[file as usize].as_ptr())
            };
            let open = opcode::OpenAt::new(at, path).flags(flags).file_index(Some(dest)).build();
            let done = opcode::Close::new(types::Fixed(slot)).build().user_data(data(i, 3));
            match chain {
                Chain::Known => {
                    push(open.user_data(data(i, 0)).flags(link | squeue::Flags::SKIP_SUCCESS));
                    push(read(Fd::Slot(slot), lane.slab, i).user_data(data(i, 1)).flags(link));
                    push(done.flags(base));
                    lane.remaining += 2;
                }
                Chain::KnownReplace => {
                    push(open.user_data(data(i, 0)).flags(link | squeue::Flags::SKIP_SUCCESS));
                    push(read(Fd::Slot(slot), lane.slab, i).user_data(data(i, 1)).flags(base));
                    lane.remaining += 1;
                }
                Chain::TwoRounds if !lane.reading => {
                    push(open.user_data(data(i, 0)).flags(base));
                    let out = lane.stats[i].get().cast::<types::statx>();
                    push(
                        opcode::Statx::new(at, path, out)
                            .mask(libc::STATX_SIZE)
                            .build()
                            .user_data(data(i, 2))
                            .flags(base),
                    );
                    lane.remaining += 2;
                }
                Chain::TwoRounds => {
                    push(read(Fd::Slot(slot), lane.slab, i).user_data(data(i, 1)).flags(link));
                    push(done.flags(base));
                    lane.remaining += 2;
                }
                Chain::ReadsOnly => {
                    let fd = run.open(file, &PLAIN);
                    assert_eq!(run.size(fd, &PLAIN), size);
                    lane.fds.push(fd);
                    push(read(Fd::Plain(fd), lane.slab, i).user_data(data(i, 1)).flags(base));
                    lane.remaining += 1;
                }
            }
        }
    };
    let mut lanes = Vec::new();
    for l in 0..ahead {
        let Some(range) = run.claim() else { break };
        let stats = (0..batch).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
        let mut lane = Lane { slab: l, range, remaining: 0, reading: false, fds: Vec::new(), stats };
        step(&mut ring, &mut lane, l);
        lanes.push(lane);
    }
    let mut active = lanes.len();
    while active > 0 {
        let want = lanes.iter().filter(|l| l.remaining > 0).map(|l| l.remaining).min().unwrap_or(1);
        ring.submit_and_wait(want).expect("io_uring_enter");
        loop {
            let Some(entry) = ring.completion().next() else { break };
            let l = (entry.user_data() >> 32) as usize;
            let i = (entry.user_data() as u32 >> 4) as usize;
            let op = entry.user_data() & 15;
            assert!(
                entry.result() >= 0,
                "operation {op}: {}",
                std::io::Error::from_raw_os_error(-entry.result())
            );
            let lane = &mut lanes[l];
            let file = run.order[lane.range.start + i];
            if op == 1 {
                assert_eq!(entry.result() as usize, size, "short read");
                // SAFETY: the file was read there a moment ago.
                unsafe { run.check(mine[lane.slab].at.add(i * (size + 64)), file) };
            }
            lane.remaining -= 1;
            if lane.remaining > 0 {
                continue;
            }
            if chain == Chain::TwoRounds && !lane.reading {
                lane.reading = true;
                step(&mut ring, lane, l);
                continue;
            }
            lane.fds.drain(..).for_each(close);
            if let Some(range) = run.claim() {
                lane.range = range;
                lane.slab = (lane.slab + ahead) % (mine.len() / ahead * ahead);
                lane.reading = false;
                step(&mut ring, lane, l);
            } else {
                active -= 1;
            }
        }
    }
}
