//! Which way of reading whole files in batches is the fastest: system calls in a small pool of threads, in one
//! or two phases a batch, chains on `io_uring`, or a mix of the two; cached and cold, by file size.
//!
//! It is self-contained on purpose: it measures designs, not this crate, so none of the crate's own code runs.
//! Every design reads the same shuffled files into the same slabs, and the designs take turns within a round, so
//! that a ratio compares neighbours in time. What it found is in `docs/decisions/fs-reads.md`.
//!
//! ```text
//! cargo bench -p forebay-io-fs --bench designs -- cached 4k 64k 1m 64m
//! cargo bench -p forebay-io-fs --bench designs -- cold 64k 1m --fio        # needs root (drop_caches)
//! ```
#![allow(missing_docs)]

use std::cell::UnsafeCell;
use std::ffi::{CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use io_uring::{IoUring, opcode, squeue, types};

/// Files in a batch, as long as the batch stays within [`BATCH_BYTES`].
const BATCH: usize = 32;
/// A batch of files larger than 2 MiB has fewer than [`BATCH`] of them.
const BATCH_BYTES: usize = 64 << 20;
/// Batches in flight, so also slabs in rotation. More threads than this have a slab each.
const IN_FLIGHT: usize = 6;
const MAX_THREADS: usize = 16;

const USAGE: &str = "\
usage: designs cached|cold SIZE... [options]
  SIZE             4k, 64k, 1m, 64m
  --dir DIR        where the files are made and removed again (default bench-data in cargo's target/tmp)
  --repeats N      rounds (default 7)
  --only TEXT      only the designs whose name contains TEXT (may be repeated; the limit always runs)
  --keep           leave the files for the next call
  --pages-only     cold: drop the pages of the files, keep directory entries and inodes
  --bytes N        cold: read at most N MiB a run (default 1024)
  --fio            cold: let fio read the same files too";

/// A set of files of one size, in one flat directory.
struct Files {
    dir: PathBuf,
    dirfd: c_int,
    size: usize,
    batch: usize,
    full: Vec<CString>,
    names: Vec<CString>,
}

/// The counts of files by size, about 5.5 GiB altogether.
fn count_of(size: usize) -> usize {
    match size {
        0..=4096 => 50_000,
        4097..=65536 => 20_000,
        65537..=1_048_576 => 2_000,
        _ => 32,
    }
}

impl Files {
    fn make(root: &Path, label: &str, size: usize) -> Files {
        let dir = root.join(label);
        std::fs::create_dir_all(&dir).expect("create the data directory");
        let count = count_of(size);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut content = vec![0u8; size];
        let mut wrote = false;
        let (mut full, mut names) = (Vec::new(), Vec::new());
        for index in 0..count {
            let name = format!("sample-{index:07}.bin");
            let path = dir.join(&name);
            if std::fs::metadata(&path).map(|m| m.len()).unwrap_or(u64::MAX) != size as u64 {
                for word in content.chunks_exact_mut(8) {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    word.copy_from_slice(&state.to_le_bytes());
                }
                // The index at both ends lets a run be checked without a checksum.
                content[..8].copy_from_slice(&(index as u64).to_le_bytes());
                content[size - 8..].copy_from_slice(&(index as u64).to_le_bytes());
                std::fs::write(&path, &content).expect("write a sample");
                wrote = true;
            }
            full.push(CString::new(path.as_os_str().as_bytes()).expect("no NUL in the path"));
            names.push(CString::new(name).expect("no NUL in the name"));
        }
        if wrote {
            // SAFETY: sync takes no arguments and touches no memory of ours.
            unsafe { libc::sync() };
        }
        let c = CString::new(dir.as_os_str().as_bytes()).expect("no NUL in the path");
        // SAFETY: c is a NUL-terminated path that outlives the call.
        let dirfd = unsafe { libc::open(c.as_ptr(), libc::O_DIRECTORY | libc::O_RDONLY | libc::O_CLOEXEC) };
        assert!(dirfd >= 0, "open {}: {}", dir.display(), std::io::Error::last_os_error());
        let batch = BATCH.min((BATCH_BYTES / size).max(1));
        Files { dir, dirfd, size, batch, full, names }
    }
}

/// Anonymous memory that a batch is read into.
struct Slab {
    at: *mut u8,
    len: usize,
}

// SAFETY: a slab is a plain mapping; which thread may write to it is decided by the design (each slab belongs
// to one thread, or to one file at a time), and nothing here depends on the thread that mapped it.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Slab {
    fn map(len: usize, huge: bool, touch: bool) -> Slab {
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

#[derive(Clone, Copy, PartialEq)]
enum Stat {
    Fstat,
    Statx,
    /// No size is asked for: the read is given more room than the file needs.
    Skip,
}

#[derive(Clone, Copy, PartialEq)]
enum Tail {
    /// The size is believed: what was appended since is not seen.
    Trust,
    /// `preadv` with one more byte than the size: a full read tells that the file grew.
    OneMore,
    /// A second `fstat` after the read.
    Restat,
}

/// How one file is read with system calls.
#[derive(Clone, Copy)]
struct Calls {
    relative: bool,
    noatime: bool,
    stat: Stat,
    tail: Tail,
    clocks: bool,
    dontcache: bool,
}

const PLAIN: Calls = Calls {
    relative: false,
    noatime: false,
    stat: Stat::Fstat,
    tail: Tail::Trust,
    clocks: false,
    dontcache: false,
};

#[derive(Clone, Copy, PartialEq)]
enum Memory {
    Reused,
    ReusedHuge,
    Fresh,
    FreshHuge,
}

#[derive(Clone, Copy, PartialEq)]
enum Phases {
    One,
    Two,
    /// Two phases with `posix_fadvise(WILLNEED)` in the first.
    TwoWillNeed,
    /// Two phases; reads say `RWF_NOWAIT` until one finds its file not in the page cache. From there on to the end
    /// of the batch, every file is first advised `WILLNEED`, then read.
    TwoAdaptive,
}

#[derive(Clone, Copy, PartialEq)]
enum Chain {
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
enum Tweak {
    None,
    /// `IOSQE_ASYNC`: every operation goes to the kernel's workers at once.
    Async,
    /// The slabs are registered buffers.
    Registered,
    /// `openat` by the name in the directory instead of the whole path.
    Relative,
}

#[derive(Clone, Copy)]
enum Design {
    Limit { threads: usize, slabs: usize, calls: Calls },
    Pool { threads: usize, phases: Phases, calls: Calls, memory: Memory },
    Ring { rings: usize, ahead: usize, chain: Chain, tweak: Tweak },
    Chunks { threads: usize, chunk: usize },
}

/// One run: the files in order, and the slabs they go to.
struct Run<'a> {
    files: &'a Files,
    order: &'a [u32],
    small: &'a [Slab],
    huge: &'a [Slab],
    next: AtomicUsize,
    check: bool,
}

impl Run<'_> {
    /// The next batch in the order, as a range of positions in it.
    fn claim(&self) -> Option<std::ops::Range<usize>> {
        let first = self.next.fetch_add(self.files.batch, Relaxed);
        (first < self.order.len()).then(|| first..(first + self.files.batch).min(self.order.len()))
    }

    fn open(&self, file: u32, calls: &Calls) -> c_int {
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

    fn size(&self, fd: c_int, calls: &Calls) -> usize {
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
    unsafe fn read(&self, fd: c_int, to: *mut u8, len: usize, calls: &Calls) -> usize {
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
    unsafe fn check(&self, at: *const u8, file: u32) {
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

    fn clock(&self, calls: &Calls) {
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

fn close(fd: c_int) {
    // SAFETY: the descriptor was opened by this thread and is not used again.
    unsafe { libc::close(fd) };
}

/// What the hardware and the kernel allow: no batches, no slab, one file after the other.
fn limit(run: &Run, thread: usize, threads: usize, slabs: usize, calls: &Calls) {
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

/// A thread of a pool that takes whole batches.
fn pool(run: &Run, thread: usize, threads: usize, phases: Phases, calls: &Calls, memory: Memory) {
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

/// A batch on its way through a ring.
struct Lane {
    slab: usize,
    range: std::ops::Range<usize>,
    remaining: usize,
    reading: bool,
    fds: Vec<c_int>,
    stats: Vec<UnsafeCell<std::mem::MaybeUninit<libc::statx>>>,
}

/// A thread that owns a ring and keeps `ahead` batches in it.
fn ring(run: &Run, thread: usize, rings: usize, ahead: usize, chain: Chain, tweak: Tweak) {
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
        let read = |fd: either::Fd, slab: usize, i: usize| {
            // SAFETY: the slab has room for a batch of files with a cache line between them.
            let to = unsafe { mine[slab].at.add(i * (size + 64)) };
            match (fd, registered) {
                (either::Fd::Slot(s), false) => {
                    opcode::Read::new(types::Fixed(s), to, size as u32).offset(0).build()
                }
                (either::Fd::Slot(s), true) => {
                    opcode::ReadFixed::new(types::Fixed(s), to, size as u32, slab as u16).offset(0).build()
                }
                (either::Fd::Plain(f), false) => {
                    opcode::Read::new(types::Fd(f), to, size as u32).offset(0).build()
                }
                (either::Fd::Plain(f), true) => {
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
                    push(read(either::Fd::Slot(slot), lane.slab, i).user_data(data(i, 1)).flags(link));
                    push(done.flags(base));
                    lane.remaining += 2;
                }
                Chain::KnownReplace => {
                    push(open.user_data(data(i, 0)).flags(link | squeue::Flags::SKIP_SUCCESS));
                    push(read(either::Fd::Slot(slot), lane.slab, i).user_data(data(i, 1)).flags(base));
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
                    push(read(either::Fd::Slot(slot), lane.slab, i).user_data(data(i, 1)).flags(link));
                    push(done.flags(base));
                    lane.remaining += 2;
                }
                Chain::ReadsOnly => {
                    let fd = run.open(file, &PLAIN);
                    assert_eq!(run.size(fd, &PLAIN), size);
                    lane.fds.push(fd);
                    push(read(either::Fd::Plain(fd), lane.slab, i).user_data(data(i, 1)).flags(base));
                    lane.remaining += 1;
                }
            }
        }
    };
    let mut lanes = Vec::new();
    for l in 0..ahead {
        let Some(range) = run.claim() else { break };
        let stats = (0..batch).map(|_| UnsafeCell::new(std::mem::MaybeUninit::uninit())).collect();
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

/// The two kinds of descriptor a read may name.
mod either {
    #[derive(Clone, Copy)]
    pub(crate) enum Fd {
        Slot(u32),
        Plain(i32),
    }
}

/// A file that several threads read parts of.
struct Shared {
    fd: OnceLock<c_int>,
    /// Chunks not read yet, and one more until the file is closed: at zero its place in the slab is free.
    left: AtomicUsize,
}

/// A thread that takes chunks of files, in order.
fn chunks(run: &Run, shared: &[Shared], chunk: usize) {
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

/// Seconds of wall clock, and of processor time, user and system.
fn measure(design: Design, run: &Run) -> (f64, f64) {
    let cpu = cpu_seconds();
    let start = Instant::now();
    match design {
        Design::Limit { threads, slabs, calls } => spawn(threads, |t| limit(run, t, threads, slabs, &calls)),
        Design::Pool { threads, phases, calls, memory } => {
            spawn(threads, |t| pool(run, t, threads, phases, &calls, memory))
        }
        Design::Ring { rings, ahead, chain, tweak } => {
            spawn(rings, |t| ring(run, t, rings, ahead, chain, tweak))
        }
        Design::Chunks { threads, chunk } => {
            let parts = run.files.size / chunk;
            let shared: Vec<Shared> = run
                .order
                .iter()
                .map(|_| Shared { fd: OnceLock::new(), left: AtomicUsize::new(parts + 1) })
                .collect();
            spawn(threads, |_| chunks(run, &shared, chunk));
        }
    }
    let wall = start.elapsed().as_secs_f64();
    (wall, cpu_seconds() - cpu)
}

fn spawn(threads: usize, body: impl Fn(usize) + Sync) {
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for t in 0..threads {
            let (body, failed) = (&body, &failed);
            scope.spawn(move || {
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(t))).is_err() {
                    failed.store(true, Relaxed);
                }
            });
        }
    });
    assert!(!failed.load(Relaxed), "a thread failed");
}

fn cpu_seconds() -> f64 {
    let mut out = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: out is large enough, and getrusage(RUSAGE_SELF) cannot fail with it.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, out.as_mut_ptr());
        out.assume_init()
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The designs for a size of file, the limit first.
fn designs(size: usize, cold: bool) -> Vec<(String, Design)> {
    let mut all: Vec<(String, Design)> = Vec::new();
    let relative = Calls { relative: true, ..PLAIN };
    let mut add = |name: &str, design| all.push((name.to_owned(), design));
    add("limit, 2 threads", Design::Limit { threads: 2, slabs: IN_FLIGHT, calls: PLAIN });
    add("limit, 2 threads, openat", Design::Limit { threads: 2, slabs: IN_FLIGHT, calls: relative });
    if !cold {
        add("limit, 2 threads, 2 slabs", Design::Limit { threads: 2, slabs: 2, calls: PLAIN });
    }
    let pool = |threads, phases, calls, memory| Design::Pool { threads, phases, calls, memory };
    for n in [1, 2, 3, 4, 8, 16] {
        add(&format!("A pool, {n} threads"), pool(n, Phases::One, PLAIN, Memory::Reused));
    }
    for n in [1, 2, 4, 8, 16] {
        add(&format!("B two-phase, {n} threads"), pool(n, Phases::Two, PLAIN, Memory::Reused));
    }
    for n in [1, 2, 4, 8, 16] {
        if cold || n <= 2 {
            add(
                &format!("B two-phase WILLNEED, {n} threads"),
                pool(n, Phases::TwoWillNeed, PLAIN, Memory::Reused),
            );
        }
    }
    for n in [1, 2, 3, 4, 8] {
        if cold || n <= 4 {
            add(
                &format!("B two-phase adaptive, {n} threads"),
                pool(n, Phases::TwoAdaptive, PLAIN, Memory::Reused),
            );
            let name = format!("B two-phase adaptive, {n} threads, openat");
            add(&name, pool(n, Phases::TwoAdaptive, relative, Memory::Reused));
        }
    }
    if !cold {
        let variants: [(&str, Calls); 8] = [
            ("openat", relative),
            ("O_NOATIME", Calls { noatime: true, ..PLAIN }),
            ("statx", Calls { stat: Stat::Statx, ..PLAIN }),
            ("no stat", Calls { stat: Stat::Skip, ..PLAIN }),
            ("2 clocks", Calls { clocks: true, ..PLAIN }),
            ("preadv len+1", Calls { tail: Tail::OneMore, ..PLAIN }),
            ("second fstat", Calls { tail: Tail::Restat, ..PLAIN }),
            ("RWF_DONTCACHE", Calls { dontcache: true, ..PLAIN }),
        ];
        for (what, calls) in variants {
            add(&format!("A pool, 2 threads, {what}"), pool(2, Phases::One, calls, Memory::Reused));
        }
        for (what, calls) in [
            variants[0],
            variants[4],
            variants[5],
            ("openat, preadv len+1", Calls { tail: Tail::OneMore, ..relative }),
        ] {
            add(&format!("B two-phase, 2 threads, {what}"), pool(2, Phases::Two, calls, Memory::Reused));
        }
        for (what, memory) in [
            ("huge pages", Memory::ReusedHuge),
            ("fresh slab", Memory::Fresh),
            ("fresh huge", Memory::FreshHuge),
        ] {
            add(&format!("A pool, 2 threads, {what}"), pool(2, Phases::One, PLAIN, memory));
            add(&format!("B two-phase, 2 threads, {what}"), pool(2, Phases::Two, PLAIN, memory));
        }
    } else {
        let once = Calls { dontcache: true, ..PLAIN };
        add("A pool, 8 threads, RWF_DONTCACHE", pool(8, Phases::One, once, Memory::Reused));
    }
    let ring = |rings, ahead, chain, tweak| Design::Ring { rings, ahead, chain, tweak };
    for rings in [1, 2] {
        for (what, chain) in [
            ("known", Chain::Known),
            ("known, replace", Chain::KnownReplace),
            ("two rounds", Chain::TwoRounds),
            ("reads only", Chain::ReadsOnly),
        ] {
            for ahead in [1, 3] {
                add(
                    &format!("C ring, {rings} rings x {ahead}, {what}"),
                    ring(rings, ahead, chain, Tweak::None),
                );
                if cold && matches!(chain, Chain::Known | Chain::ReadsOnly) {
                    add(
                        &format!("C ring, {rings} rings x {ahead}, {what}, ASYNC"),
                        ring(rings, ahead, chain, Tweak::Async),
                    );
                }
            }
        }
        for (what, tweak) in [("registered", Tweak::Registered), ("openat", Tweak::Relative)] {
            add(&format!("C ring, {rings} rings x 1, known, {what}"), ring(rings, 1, Chain::Known, tweak));
            if !cold {
                let name = format!("C ring, {rings} rings x 1, known, replace, {what}");
                add(&name, ring(rings, 1, Chain::KnownReplace, tweak));
            }
        }
    }
    if size >= 1 << 20 {
        for chunk in [256 << 10, 1 << 20, 4 << 20, 16 << 20] {
            for threads in [2, 4, 8, 16] {
                if chunk <= size && (cold || threads == 2) {
                    let name = format!("D chunks of {} KiB, {threads} threads", chunk >> 10);
                    add(&name, Design::Chunks { threads, chunk });
                }
            }
        }
    }
    all
}

fn drop_caches(files: &Files, order: &[u32], pages_only: bool) {
    if !pages_only {
        // SAFETY: sync takes no arguments and touches no memory of ours.
        unsafe { libc::sync() };
        std::fs::write("/proc/sys/vm/drop_caches", "3")
            .expect("write to /proc/sys/vm/drop_caches (needs root)");
        return;
    }
    for &file in order {
        // SAFETY: the path is NUL-terminated, and the descriptor is closed at once.
        unsafe {
            let fd = libc::open(files.full[file as usize].as_ptr(), libc::O_RDONLY);
            libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED);
            libc::close(fd);
        }
    }
}

/// What fio reads from the files, in bytes a second. The files are linked under the names that fio can count.
fn fio(files: &Files, order: &[u32], jobs: usize, engine: &str, depth: usize) -> f64 {
    let each = order.len() / jobs;
    let dir = files.dir.with_extension(format!("fio{jobs}"));
    if !dir.exists() {
        std::fs::create_dir(&dir).expect("create the directory for fio");
        for (i, &file) in order.iter().take(each * jobs).enumerate() {
            let from = files.dir.join(files.names[file as usize].to_str().expect("ASCII"));
            std::fs::hard_link(from, dir.join(format!("{}.{}", i / each, i % each))).expect("link a sample");
        }
    }
    let block = files.size.min(1 << 20);
    let out = Command::new("fio")
        .args(["--name=files", "--rw=read", "--output-format=json", "--group_reporting", "--thread"])
        .arg(format!("--directory={}", dir.display()))
        .args(["--filename_format=$jobnum.$filenum", "--file_service_type=sequential"])
        .arg(format!("--numjobs={jobs}"))
        .arg(format!("--nrfiles={each}"))
        .arg(format!("--openfiles={}", depth.max(1)))
        .arg(format!("--filesize={}", files.size))
        .arg(format!("--bs={block}"))
        .arg(format!("--ioengine={engine}"))
        .arg(format!("--iodepth={depth}"))
        .output()
        .expect("run fio");
    let text = String::from_utf8_lossy(&out.stdout);
    let read =
        text.split_once("\"read\" :").map(|(_, rest)| rest).unwrap_or_else(|| panic!("fio said {text}"));
    let number = |key: &str| -> f64 {
        let rest = read.split_once(&format!("\"{key}\" :")).expect("a field of fio's JSON").1;
        rest.trim_start().split([',', '\n', '}']).next().expect("a value").trim().parse().expect("a number")
    };
    assert_eq!(number("io_bytes") as usize, each * jobs * files.size, "fio read something else");
    number("bw_bytes")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn shuffle(order: &mut [u32], state: &mut u64) {
    for i in (1..order.len()).rev() {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        order.swap(i, (*state >> 33) as usize % (i + 1));
    }
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    let (mut mode, mut sizes, mut only) = (None, Vec::new(), Vec::new());
    let mut root = PathBuf::from(option_env!("CARGO_TARGET_TMPDIR").unwrap_or("target")).join("bench-data");
    let (mut repeats, mut keep, mut pages_only, mut bytes, mut with_fio) =
        (7, false, false, 1024usize << 20, false);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "cached" => mode = Some(false),
            "cold" => mode = Some(true),
            "4k" => sizes.push(("4k", 4096)),
            "64k" => sizes.push(("64k", 64 << 10)),
            "1m" => sizes.push(("1m", 1 << 20)),
            "64m" => sizes.push(("64m", 64 << 20)),
            "--dir" => root = value().into(),
            "--repeats" => repeats = value().parse().expect("a number of rounds"),
            "--bytes" => bytes = value().parse::<usize>().expect("a number of MiB") << 20,
            "--only" => only.push(value()),
            "--keep" => keep = true,
            "--pages-only" => pages_only = true,
            "--fio" => with_fio = true,
            _ => panic!("unknown argument {arg}\n{USAGE}"),
        }
    }
    let Some(cold) = mode else {
        // Test runners start every target without arguments: that is no wish to measure.
        eprintln!("{USAGE}");
        return;
    };
    for (label, size) in sizes {
        one_size(&root, label, size, cold, repeats, &only, pages_only, bytes, with_fio);
        if !keep {
            std::fs::remove_dir_all(root.join(label)).expect("remove the samples");
        }
        for jobs in 1..=MAX_THREADS {
            let _ = std::fs::remove_dir_all(root.join(format!("{label}.fio{jobs}")));
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn one_size(
    root: &Path,
    label: &str,
    size: usize,
    cold: bool,
    repeats: usize,
    only: &[String],
    pages_only: bool,
    bytes: usize,
    with_fio: bool,
) {
    let files = Files::make(root, label, size);
    let list: Vec<(String, Design)> = designs(size, cold)
        .into_iter()
        .enumerate()
        .filter(|(i, (name, _))| *i == 0 || only.is_empty() || only.iter().any(|o| name.contains(o.as_str())))
        .map(|(_, d)| d)
        .collect();
    let map = |huge| -> Vec<Slab> {
        let count = if size > 1 << 20 { IN_FLIGHT.max(8) } else { MAX_THREADS };
        (0..count).map(|_| Slab::map(files.batch * (size + 64), huge, true)).collect()
    };
    let (small, huge) = (map(false), map(true));
    let count = if cold { (bytes / size).min(files.full.len()) } else { files.full.len() };
    let mut order: Vec<u32> = (0..files.full.len() as u32).collect();
    let mut state = 42;
    shuffle(&mut order, &mut state);
    order.truncate(count);
    let threads_of = |d: &Design| match *d {
        Design::Pool { threads, .. } => threads,
        _ => 0,
    };
    let list: Vec<_> = list.into_iter().filter(|(_, d)| threads_of(d) <= small.len()).collect();
    let one = |design: Design, order: &[u32], check: bool| {
        let run = Run { files: &files, order, small: &small, huge: &huge, next: AtomicUsize::new(0), check };
        measure(design, &run)
    };
    // Every design first shows that it reads the right bytes; cached, this is the warm-up as well.
    for (_, design) in &list {
        one(*design, &order, true);
    }
    let mut walls = vec![Vec::new(); list.len()];
    let mut cpus = vec![Vec::new(); list.len()];
    let fios: Vec<(usize, &str, usize)> = if with_fio {
        [1, 2, 4, 8, 16]
            .map(|n| (n, "psync", 1))
            .into_iter()
            .chain([(1, "io_uring", 32), (2, "io_uring", 32)])
            .collect()
    } else {
        Vec::new()
    };
    let fios: Vec<_> = fios.into_iter().filter(|f| f.0 <= order.len()).collect();
    let mut fio_rates = vec![Vec::new(); fios.len()];
    let mut turns: Vec<u32> = (0..(list.len() + fios.len()) as u32).collect();
    for _ in 0..repeats {
        shuffle(&mut turns, &mut state);
        shuffle(&mut order, &mut state);
        for &turn in &turns {
            let turn = turn as usize;
            if cold {
                drop_caches(&files, &order, pages_only);
            }
            if let Some((_, design)) = list.get(turn) {
                let (wall, cpu) = one(*design, &order, false);
                walls[turn].push(wall);
                cpus[turn].push(cpu);
            } else {
                let (jobs, engine, depth) = fios[turn - list.len()];
                fio_rates[turn - list.len()].push(fio(&files, &order, jobs, engine, depth));
            }
        }
    }
    let footprint = (IN_FLIGHT * files.batch * size) >> 10;
    let state = match (cold, pages_only) {
        (false, _) => "cached",
        (true, false) => "cold (drop_caches 3)",
        (true, true) => "cold pages, known inodes",
    };
    println!(
        "\n### {label}, {state}: {count} files, batches of {}, {footprint} KiB in flight\n",
        files.batch
    );
    println!("| design | files/s | GiB/s | of the limit | CPU us/file | of the limit's |");
    println!("|---|---:|---:|---:|---:|---:|");
    let limit_cpu = median(cpus[0].clone());
    for (i, (name, _)) in list.iter().enumerate() {
        let wall = median(walls[i].clone());
        let ratio = median(walls[0].iter().zip(&walls[i]).map(|(limit, this)| limit / this).collect());
        let cpu = median(cpus[i].clone());
        println!(
            "| {name} | {:.0} | {:.2} | {ratio:.2} | {:.2} | {:.2} |",
            count as f64 / wall,
            (count * size) as f64 / wall / (1u64 << 30) as f64,
            cpu / count as f64 * 1e6,
            cpu / limit_cpu,
        );
    }
    for ((jobs, engine, depth), rates) in fios.iter().zip(fio_rates) {
        let rate = median(rates);
        println!(
            "| fio {engine}, {jobs} jobs x {depth} | {:.0} | {:.2} | | | |",
            rate / size as f64,
            rate / (1u64 << 30) as f64
        );
    }
    // SAFETY: the descriptor was opened in `make` and is not used again.
    unsafe { libc::close(files.dirfd) };
}
