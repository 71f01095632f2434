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
    /// A ring with at most `depth` requests in it, through which a file was read.
    ///
    /// # Errors
    /// `Unsupported` where the kernel or the container has no ring for us.
    pub(crate) fn start(depth: u32, bounces: Arc<Bounces>) -> Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| refused("eventfd", errno.into()))?;
        let shared = Arc::new(Shared { line: Mutex::default(), asleep: AtomicBool::new(false), bell });
        let (tell, told) = mpsc::sync_channel(1);
        let mine = shared.clone();
        // The thread that submits must be the one that set the ring up.
        let work = move || match begin(depth) {
            Ok((ring, seats)) => {
                mine.line().free = (0..seats).collect();
                let _ = tell.send(Ok(()));
                Worker { ring, shared: mine, deck: Deck::new(depth as usize, bounces) }.run();
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
            let closed = self.take();
            self.send()?;
            if closed && self.deck.is_empty() {
                return Ok(());
            }
            self.shared.asleep.store(true, Ordering::SeqCst);
            let wait = {
                let line = self.shared.line();
                line.flights.is_empty() && line.orders.is_empty() && line.closed == closed
            };
            let entered = if wait { self.ring.submit_and_wait(1) } else { self.ring.submit() };
            self.shared.asleep.store(false, Ordering::SeqCst);
            match entered {
                Ok(_) => {}
                // Interrupted, or too much at once: what is there is taken first.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
                Err(error) => return Err(error),
            }
            self.reap();
        }
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
                Order::Leave(index) => {
                    self.put_in_table(index, -1);
                    self.shared.line().free.push(index);
                }
            }
        }
        flights.into_iter().for_each(|flight| self.deck.board(flight));
        closed
    }

    fn put_in_table(&mut self, index: u32, fd: i32) -> bool {
        self.ring.submitter().register_files_update(index, &[fd]).is_ok()
    }

    /// Fills the ring with what is to be read.
    fn send(&mut self) -> io::Result<()> {
        let now = Instant::now();
        while let Some(submission) = self.deck.next(now) {
            let entry = entry_of(&submission);
            self.push(&entry);
        }
        Ok(())
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what the entry points to (the bell, or a part's file and memory) is kept by `self`, and
        // dropped only when its completion was seen; see `Deck` for the case that it never comes.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            // The queue is as long as the deck is deep, so this is for the bell alone.
            let _ = self.ring.submit();
        }
    }

    /// Takes all that is complete, and answers together who waits for it.
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
        self.deck.answer();
    }
}

fn entry_of(submission: &Submission<'_>) -> squeue::Entry {
    let Submission { op, file, into, len, offset } = *submission;
    let flags = if file.rung == Rung::DontCache { DONT_CACHE as i32 } else { 0 };
    let entry = match file.seat.as_ref().filter(|seat| seat.taken.get().is_some()) {
        Some(seat) => {
            opcode::Read::new(types::Fixed(seat.index), into, len).offset(offset).rw_flags(flags).build()
        }
        None => {
            let fd = types::Fd(file.fd.as_raw_fd());
            opcode::Read::new(fd, into, len).offset(offset).rw_flags(flags).build()
        }
    };
    entry.user_data(op as u64)
}
