//! Flights that are under way on a ring, and their requests: what is to be sent next, what came back, and
//! who can be answered. It makes no system call.

use crate::alignment::{Next, Part};
use crate::bounce::{Bounce, Bounces};
use crate::flight::{Flight, Outcome, Read};
use crate::memory::Target;
use crate::open_file::OpenFile;
use rustix::io::Errno;
use slab::Slab;
use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Bytes in buffers of ours at once. More requests that need one wait, so that memory stays bounded.
const BOUNCING: usize = 16 << 20;

pub(crate) struct Deck {
    flights: Slab<Boarded>,
    /// Flights of which not all has been sent, the first first.
    waiting: VecDeque<usize>,
    ops: Slab<Op>,
    /// Those to be sent again, from where they came to.
    again: Vec<usize>,
    /// Flights that are over.
    over: Vec<Flight>,
    depth: usize,
    bouncing: usize,
    bounces: Arc<Bounces>,
}

struct Boarded {
    flight: Flight,
    /// The next part to be sent.
    read: usize,
    part: usize,
    /// Requests that are in the ring.
    out: usize,
}

struct Op {
    flight: usize,
    read: usize,
    part: Part,
    bounce: Option<Bounce>,
    /// Bytes of it that are there.
    done: u64,
    begun: Instant,
}

/// A request for the ring.
pub(crate) struct Submission<'a> {
    pub(crate) op: usize,
    pub(crate) file: &'a OpenFile,
    /// Whose memory it is; none if it is a buffer of ours.
    pub(crate) target: Option<&'a Target>,
    pub(crate) into: *mut u8,
    pub(crate) len: u32,
    pub(crate) offset: u64,
}

impl Deck {
    pub(crate) fn new(depth: usize, bounces: Arc<Bounces>) -> Self {
        Deck {
            flights: Slab::new(),
            waiting: VecDeque::new(),
            ops: Slab::with_capacity(depth),
            again: Vec::new(),
            over: Vec::new(),
            depth,
            bouncing: 0,
            bounces,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Whether more are to be sent and there is no room for them.
    pub(crate) fn is_full(&self) -> bool {
        !self.waiting.is_empty() && self.ops.len() >= self.depth
    }

    pub(crate) fn board(&mut self, flight: Flight) {
        if flight.reads.iter().all(|read| read.plan.count() == 0) {
            self.over.push(flight);
            self.answer();
            return;
        }
        let key = self.flights.insert(Boarded { flight, read: 0, part: 0, out: 0 });
        self.waiting.push_back(key);
    }

    /// The next request, which must be sent.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Submission<'_>> {
        if let Some(op) = self.again.pop() {
            return Some(self.submission(op));
        }
        loop {
            if self.ops.len() >= self.depth {
                return None;
            }
            let key = *self.waiting.front()?;
            let boarded = &mut self.flights[key];
            // Parts that were sent must come back all the same: the kernel writes to their memory.
            let unwanted = boarded.flight.caller.gave_up();
            if let (false, Some(part)) = (unwanted, boarded.peek()) {
                let read = &boarded.flight.reads[boarded.read];
                let bounce = match part.at {
                    Some(_) => None,
                    None => {
                        let len = (part.ask.end - part.ask.start) as usize;
                        if self.bouncing > 0 && self.bouncing + len > BOUNCING {
                            return None;
                        }
                        self.bouncing += len;
                        Some(self.bounces.take(len, read.file.rung.alignment().memory as usize))
                    }
                };
                let read = boarded.read;
                boarded.part += 1;
                boarded.out += 1;
                let op = self.ops.insert(Op { flight: key, read, part, bounce, done: 0, begun: now });
                return Some(self.submission(op));
            }
            self.waiting.pop_front();
            if boarded.out == 0 {
                // Nobody waits for it: its memory goes back.
                drop(self.flights.remove(key));
            }
        }
    }

    fn submission(&mut self, index: usize) -> Submission<'_> {
        let op = &mut self.ops[index];
        let read = &self.flights[op.flight].flight.reads[op.read];
        let done = op.done as usize;
        let (into, target) = match (&mut op.bounce, op.part.at) {
            (Some(bounce), _) => (bounce.as_mut_slice()[done..].as_mut_ptr(), None),
            (None, at) => (read.target.pointer(at.unwrap_or(op.part.home) + done), Some(&read.target)),
        };
        let len = (op.part.ask.end - op.part.ask.start - op.done) as u32;
        Submission { op: index, file: &read.file, target, into, len, offset: op.part.ask.start + op.done }
    }

    /// The ring's answer to a request.
    pub(crate) fn completed(&mut self, index: usize, result: i32, now: Instant) {
        let op = &mut self.ops[index];
        let read = &self.flights[op.flight].flight.reads[op.read];
        let outcome = match u64::try_from(result) {
            Ok(n) => match op.part.after(op.done, n, u64::from(read.file.grain)) {
                Next::On(done) => {
                    op.done = done;
                    self.again.push(index);
                    return;
                }
                Next::Whole => {
                    op.done += n;
                    Outcome::Whole
                }
                Next::Ended(at) => {
                    op.done += n;
                    Outcome::Ended(at)
                }
            },
            Err(_) => match Errno::from_raw_os_error(-result) {
                Errno::INTR | Errno::AGAIN => {
                    self.again.push(index);
                    return;
                }
                errno => Outcome::Failed(errno),
            },
        };
        self.settle(index, outcome, now);
    }

    fn settle(&mut self, index: usize, outcome: Outcome, now: Instant) {
        let Op { flight: key, read, part, bounce, done, begun } = self.ops.remove(index);
        let boarded = &mut self.flights[key];
        let watched = boarded.flight.watched;
        let read = &mut boarded.flight.reads[read];
        if let Some(bounce) = bounce {
            if outcome == Outcome::Whole {
                let skip = (part.need.start - part.ask.start) as usize;
                let needed = (part.need.end - part.need.start) as usize;
                // SAFETY: what is needed of each part belongs to a place of its own, and requests that
                // land in place ask for other grains.
                unsafe { read.target.place(part.home, &bounce.as_slice()[skip..skip + needed]) };
            }
            self.bouncing -= bounce.as_slice().len();
            self.bounces.give_back(bounce);
        }
        read.settle(&part, done, outcome, begun..now, watched);
        boarded.out -= 1;
        if boarded.out == 0 && boarded.is_sent() {
            let boarded = self.flights.remove(key);
            self.waiting.retain(|&waiting| waiting != key);
            self.over.push(boarded.flight);
        } else if boarded.out == 0 && boarded.flight.caller.gave_up() && !self.waiting.contains(&key) {
            drop(self.flights.remove(key));
        }
    }

    /// Answers those whose flights are over, one after another.
    pub(crate) fn answer(&mut self) {
        for Flight { reads, caller, .. } in mem::take(&mut self.over) {
            // Whoever panics loses the answer, and nobody else.
            let _ =
                catch_unwind(AssertUnwindSafe(|| caller.landed(reads.into_iter().map(Read::land).collect())));
        }
    }
}

impl Boarded {
    /// The next part that is to be sent.
    fn peek(&mut self) -> Option<Part> {
        while let Some(read) = self.flight.reads.get(self.read) {
            if self.part < read.plan.count() {
                return Some(read.plan.part(self.part));
            }
            self.read += 1;
            self.part = 0;
        }
        None
    }

    fn is_sent(&mut self) -> bool {
        self.peek().is_none()
    }
}

impl Drop for Deck {
    /// Only if the ring failed is anything in it now, and then a kernel may still write to this memory:
    /// it is never used again.
    fn drop(&mut self) {
        if !self.ops.is_empty() {
            mem::forget(mem::take(&mut self.ops));
            mem::forget(mem::take(&mut self.flights));
        }
    }
}
