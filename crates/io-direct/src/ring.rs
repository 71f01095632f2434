//! The ring: one thread that owns an `io_uring`, takes flights, submits their parts together, and answers
//! what came back together.
//!
//! A submitter puts a flight in line and rings the bell only if the thread sleeps: while it works, it
//! looks at the line by itself. Files that are read again and again get a seat in the ring's table, which
//! saves the kernel two atomic counts a request.

use crate::bounce::Bounces;
use crate::deck::{Deck, Submission};
use crate::flight::Flight;
use crate::open_file::{DONT_CACHE, OpenFile};
use crate::options::DirectOptions;
use crate::registered::{Counts, Naming, REGIONS, Registered};
use crate::rung::Rung;
use forebay_io::{Error, Kind, Operation, Result};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, memfd_create};
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Instant;

/// Files that may have a seat at once; others are named by their descriptors.
const SEATS: u32 = 1024;

/// Requests submitted at once, at first and at most; twice as many each time. A device that has nothing to do begins
/// with the first few while the next are prepared. Each submission rings a doorbell, which costs as much as a request
/// or two. (What other numbers came to on a virtual disk: docs/benchmarks.md, "Direct".)
const FIRST: usize = 4;
const MOST: usize = 8;

/// A full ring is waited for until one in so many of its requests is complete, not for a single one, which would go
/// out again alone; but no longer than this many nanoseconds, because others may be slow and somebody waits for what
/// is there. (The same disk answers 16 requests of 1 MiB together after 8 ms; with a patience of 1 ms a read of those
/// cost 60% more.)
const TOGETHER: usize = 16;
const PATIENCE: u32 = 20_000_000;

/// The bell's request; those of parts have their place on the deck.
const BELL: u64 = u64::MAX;

/// Handle to the ring's thread, which ends when it has read what was submitted after this is dropped.
#[derive(Debug)]
pub(crate) struct Ring {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    line: Mutex<Line>,
    /// The thread waits, or is about to, and must be woken.
    asleep: AtomicBool,
    bell: OwnedFd,
    counts: Counts,
}

#[derive(Default)]
struct Line {
    flights: Vec<Flight>,
    orders: Vec<Order>,
    /// Seats that nobody has.
    free: Vec<u32>,
    closed: bool,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("flights", &self.flights.len()).field("closed", &self.closed).finish()
    }
}

enum Order {
    Seat(Arc<OpenFile>),
    Leave(u32),
    /// Memory that was registered there is going.
    Forget(u16),
}

/// A file's place in the ring's table. Given up when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    index: u32,
    /// Set by the ring's thread once the file is there.
    taken: OnceLock<()>,
    shared: Arc<Shared>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.line().orders.push(Order::Leave(self.index));
        self.shared.wake();
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After something was put in line.
    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It can only fail by being full, and then it rings already.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }
}

impl Ring {
    /// A ring with at most as many requests in it as the options say, through which a file was read.
    ///
    /// # Errors
    /// `Unsupported` where the kernel or the container has no ring for us.
    pub(crate) fn start(options: &DirectOptions, bounces: Arc<Bounces>) -> Result<Self> {
        let (depth, register) = (options.depth, options.register_buffers);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| refused("eventfd", errno.into()))?;
        let shared = Arc::new(Shared {
            line: Mutex::default(),
            asleep: AtomicBool::new(false),
            bell,
            counts: Counts::told_to(options.observer.clone()),
        });
        let (tell, told) = mpsc::sync_channel(1);
        let mine = shared.clone();
        // The thread that submits must be the one that set the ring up.
        let work = move || match begin(depth) {
            Ok((ring, seats)) => {
                let room = match register {
                    true => ring.submitter().register_buffers_sparse(REGIONS),
                    false => Ok(()),
                };
                if let Err(error) = &room {
                    tracing::info!("no memory is registered with the ring: {error}");
                    mine.counts.refuse(0);
                }
                let regions = if register && room.is_ok() { REGIONS } else { 0 };
                let registered = Registered::new(regions);
                mine.line().free = (0..seats).collect();
                let _ = tell.send(Ok(()));
                let (depth, deck) = (depth as usize, Deck::new(depth as usize, bounces));
                Worker { ring, shared: mine, deck, depth, registered }.run();
            }
            Err(error) => drop(tell.send(Err(error))),
        };
        std::thread::Builder::new()
            .name("forebay-ring".into())
            .spawn(work)
            .map_err(|error| refused("a thread", error))?;
        told.recv().unwrap_or_else(|_| Err(refused("io_uring", io::ErrorKind::Other.into())))?;
        Ok(Ring { shared })
    }

    pub(crate) fn submit(&self, flight: Flight) {
        {
            let mut line = self.shared.line();
            if line.closed {
                return;
            }
            line.flights.push(flight);
        }
        self.shared.wake();
    }

    /// Of the pools' memory, what the kernel knows.
    pub(crate) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// A seat for a file that will be read often, if one is free; [`Ring::seated`] takes it.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let index = self.shared.line().free.pop()?;
        Some(Seat { index, taken: OnceLock::new(), shared: self.shared.clone() })
    }

    /// Has the file take its seat.
    pub(crate) fn seated(&self, file: &Arc<OpenFile>) {
        if file.seat.is_some() {
            let mut line = self.shared.line();
            if !line.closed {
                line.orders.push(Order::Seat(file.clone()));
            }
            drop(line);
            self.shared.wake();
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.shared.line().closed = true;
        self.shared.wake();
    }
}

fn refused(what: &str, error: io::Error) -> Error {
    Error::new(Kind::Unsupported, Operation::Configure, format!("{what} is refused here")).with_source(error)
}

/// A ring that reads, and how many seats it has.
fn begin(depth: u32) -> Result<(IoUring, u32)> {
    let entries = (depth + 1).next_power_of_two();
    // Of the kernels since 6.1: completions are worked on when we ask, not whenever they come.
    let quiet = IoUring::builder()
        .setup_clamp()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(entries);
    let mut ring = quiet
        .or_else(|_| IoUring::builder().setup_clamp().build(entries))
        .map_err(|error| refused("io_uring", error))?;
    prove(&mut ring).map_err(|error| refused("a read through io_uring", error))?;
    let seats = if ring.submitter().register_files_sparse(SEATS).is_ok() { SEATS } else { 0 };
    Ok((ring, seats))
}

/// Reads a file in memory: some containers set a ring up and refuse what it is for.
fn prove(ring: &mut IoUring) -> io::Result<()> {
    let file = memfd_create("forebay-ring", MemfdFlags::CLOEXEC)?;
    let wrote = [0x5a; 512];
    rustix::io::pwrite(&file, &wrote, 0)?;
    let mut read = [0; 512];
    let entry = opcode::Read::new(types::Fd(file.as_raw_fd()), read.as_mut_ptr(), 512).build();
    // SAFETY: file and array live until the completion is here, which is waited for.
    unsafe { ring.submission().push(&entry) }.map_err(|_| io::ErrorKind::QuotaExceeded)?;
    while let Err(error) = ring.submit_and_wait(1) {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let done = ring.completion().next().ok_or(io::ErrorKind::WouldBlock)?.result();
    if done < 0 {
        return Err(io::Error::from_raw_os_error(-done));
    }
    if done != 512 || read != wrote {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it reads other bytes than are there"));
    }
    Ok(())
}

struct Worker {
    ring: IoUring,
    shared: Arc<Shared>,
    deck: Deck,
    depth: usize,
    registered: Registered,
}

impl Worker {
    fn run(mut self) {
        if let Err(error) = self.work() {
            tracing::error!("the ring failed, and with it what was being read: {error}");
        }
        // Those who still submit are told so.
        let mut line = self.shared.line();
        line.closed = true;
        let left = (mem::take(&mut line.flights), mem::take(&mut line.orders));
        drop(line);
        drop(left);
    }

    fn work(&mut self) -> io::Result<()> {
        self.hang_bell();
        loop {
            let refilled = self.refill()?;
            // Only now: who is woken may take this processor, and the device has work meanwhile.
            self.deck.answer();
            let Some(closed) = refilled else { continue };
            if closed && self.deck.is_empty() {
                return Ok(());
            }
            if self.deck.is_full() {
                // What comes in line meanwhile could not be sent, so nobody rings.
                self.wait_for_several()?;
                continue;
            }
            self.shared.asleep.store(true, Ordering::SeqCst);
            let wait = {
                let line = self.shared.line();
                line.flights.is_empty() && line.orders.is_empty() && line.closed == closed
            };
            if wait {
                let entered = self.ring.submit_and_wait(1);
                self.shared.asleep.store(false, Ordering::SeqCst);
                entered_or_busy(entered)?;
                self.reap();
            } else {
                self.shared.asleep.store(false, Ordering::SeqCst);
            }
        }
    }

    fn wait_for_several(&mut self) -> io::Result<()> {
        let several = self.depth / TOGETHER;
        let entered = if several > 1 && self.ring.params().is_feature_ext_arg() {
            let patience = types::Timespec::new().nsec(PATIENCE);
            let args = types::SubmitArgs::new().timespec(&patience);
            self.ring.submitter().submit_with_args(several, &args)
        } else {
            self.ring.submit_and_wait(1)
        };
        entered_or_busy(entered)?;
        self.reap();
        Ok(())
    }

    /// Fills the ring with what is to be read, and takes what becomes complete meanwhile, which makes room for
    /// more. Answers whether nothing more will come in line; none if there may be more to send.
    fn refill(&mut self) -> io::Result<Option<bool>> {
        let mut most = FIRST;
        // No more often than it takes to fill the ring: else who is to be answered could wait for ever.
        for _ in 0..=self.depth / FIRST {
            let closed = self.take();
            if self.push_parts(most) == 0 {
                return Ok(Some(closed));
            }
            entered_or_busy(self.ring.submit())?;
            self.reap();
            most = (2 * most).min(MOST);
        }
        Ok(None)
    }

    fn hang_bell(&mut self) {
        let entry = opcode::PollAdd::new(types::Fd(self.shared.bell.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(BELL);
        self.push(&entry);
    }

    /// Takes what is in line. Answers whether nothing more will come.
    fn take(&mut self) -> bool {
        let (flights, orders, closed) = {
            let mut line = self.shared.line();
            (mem::take(&mut line.flights), mem::take(&mut line.orders), line.closed)
        };
        for order in orders {
            match order {
                Order::Seat(file) => {
                    let Some(seat) = &file.seat else { continue };
                    if self.put_in_table(seat.index, file.fd.as_raw_fd()) {
                        let _ = seat.taken.set(());
                    }
                }
                Order::Forget(index) => self.forget(index),
                Order::Leave(index) => {
                    self.put_in_table(index, -1);
                    self.shared.line().free.push(index);
                }
            }
        }
        flights.into_iter().for_each(|flight| self.deck.board(flight));
        closed
    }

    fn forget(&mut self, index: u16) {
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: it names no memory. What is being read there holds on to it in the kernel.
        let emptied =
            unsafe { self.ring.submitter().register_buffers_update(index.into(), &[nothing], None) };
        match emptied {
            Ok(()) => self.registered.forget(index, &self.shared.counts),
            // Its place stays taken, and nothing is read there any more.
            Err(error) => tracing::warn!("memory stays registered with the ring: {error}"),
        }
    }

    fn put_in_table(&mut self, index: u32, fd: i32) -> bool {
        self.ring.submitter().register_files_update(index, &[fd]).is_ok()
    }

    /// Puts at most so many requests into the queue. Answers how many.
    fn push_parts(&mut self, most: usize) -> usize {
        let now = Instant::now();
        let mut pushed = 0;
        while pushed < most
            && let Some(submission) = self.deck.next(now)
        {
            let known = known(&mut self.registered, &self.ring, &self.shared, &submission);
            let entry = entry_of(&submission, known);
            self.push(&entry);
            pushed += 1;
        }
        pushed
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what the entry points to (the bell, or a part's file and memory) is kept by `self`, and
        // dropped only when its completion was seen; see `Deck` for the case that it never comes.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            // The queue is as long as the deck is deep, so this is for the bell alone.
            let _ = self.ring.submit();
        }
    }

    /// Takes all that is complete. Who waits for it is answered when the ring is full again.
    fn reap(&mut self) {
        let now = Instant::now();
        let mut hang_again = false;
        for done in self.ring.completion() {
            match done.user_data() {
                BELL => hang_again |= !cqueue::more(done.flags()),
                op => self.deck.completed(op as usize, done.result(), now),
            }
        }
        if hang_again {
            self.hang_bell();
        }
    }
}

/// Interrupted, too much at once, or out of patience: what is there is taken first, and then it goes on.
fn entered_or_busy(entered: io::Result<usize>) -> io::Result<()> {
    match entered {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ETIME)
            ) =>
        {
            Ok(())
        }
        other => other.map(drop),
    }
}

/// Where what a request reads into is registered, if it is; it may be now.
fn known(
    registered: &mut Registered,
    ring: &IoUring,
    shared: &Arc<Shared>,
    submission: &Submission<'_>,
) -> Option<u16> {
    let Submission { target, into, len, .. } = *submission;
    match registered.naming(target?, (into.addr(), len as usize), &shared.counts) {
        Naming::Plain => None,
        Naming::Known(index) => Some(index),
        Naming::Register(index, region) => {
            let memory = libc::iovec {
                iov_base: std::ptr::with_exposed_provenance_mut(region.address()),
                iov_len: region.len(),
            };
            // SAFETY: this is committed memory of a pool, of which the submission has a part; the kernel only
            // pins its pages. It writes there when a request says so, which then holds a buffer in them, and
            // none does once the region is gone.
            let done = unsafe { ring.submitter().register_buffers_update(index.into(), &[memory], None) };
            if let Err(error) = done {
                tracing::info!("{} bytes of memory are not registered with the ring: {error}", region.len());
                registered.refused(region, &shared.counts);
                return None;
            }
            if registered.registered(index, region.clone(), &shared.counts) {
                let shared = Arc::downgrade(shared);
                region.when_gone(move || {
                    if let Some(shared) = shared.upgrade() {
                        shared.line().orders.push(Order::Forget(index));
                        shared.wake();
                    }
                });
            }
            Some(index)
        }
    }
}

fn entry_of(submission: &Submission<'_>, known: Option<u16>) -> squeue::Entry {
    let Submission { op, file, into, len, offset, .. } = *submission;
    let flags = if file.rung == Rung::DontCache { DONT_CACHE as i32 } else { 0 };
    let seat = file.seat.as_ref().filter(|seat| seat.taken.get().is_some());
    macro_rules! read {
        ($fd:expr) => {
            match known {
                Some(index) => {
                    opcode::ReadFixed::new($fd, into, len, index).offset(offset).rw_flags(flags).build()
                }
                None => opcode::Read::new($fd, into, len).offset(offset).rw_flags(flags).build(),
            }
        };
    }
    let entry = match seat {
        Some(seat) => read!(types::Fixed(seat.index)),
        None => read!(types::Fd(file.fd.as_raw_fd())),
    };
    entry.user_data(op as u64)
}
