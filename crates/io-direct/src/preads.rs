//! Reads by threads that wait, where there is no ring: the parts of a flight are taken one after another
//! by as many threads as there are, and the last one answers.

use crate::alignment::{Next, Part};
use crate::bounce::Bounces;
use crate::flight::{Flight, Outcome, Read};
use forebay_io_fs::posix::Threads;
use rustix::io::Errno;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

struct Shared {
    flight: Flight,
    /// Of which read, and how it ended.
    parts: Vec<(usize, Part, OnceLock<Ended>)>,
    next: AtomicUsize,
    bounces: Arc<Bounces>,
}

struct Ended {
    outcome: Outcome,
    bytes: u64,
    time: Range<Instant>,
}

/// Has `threads` read it.
pub(crate) fn submit(threads: &Threads, bounces: &Arc<Bounces>, flight: Flight) {
    let mut parts = Vec::with_capacity(flight.reads.len());
    for (index, read) in flight.reads.iter().enumerate() {
        parts.extend((0..read.plan.count()).map(|i| (index, read.plan.part(i), OnceLock::new())));
    }
    let jobs = parts.len().clamp(1, threads.threads());
    let shared = Arc::new(Shared { flight, parts, next: AtomicUsize::new(0), bounces: bounces.clone() });
    for _ in 1..jobs {
        let shared = shared.clone();
        threads.submit(move || shared.work());
    }
    threads.submit(move || shared.work());
}

impl Shared {
    fn work(self: Arc<Self>) {
        while !self.flight.caller.gave_up()
            && let Some((read, part, ended)) = self.parts.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            let begun = Instant::now();
            let (outcome, bytes) = read_part(&self.flight.reads[*read], part, &self.bounces);
            let _ = ended.set(Ended { outcome, bytes, time: begun..Instant::now() });
        }
        // Exactly one thread gets it: the last. What the others wrote is visible to it.
        let Some(shared) = Arc::into_inner(self) else { return };
        let Flight { mut reads, caller, watched } = shared.flight;
        for (read, part, ended) in shared.parts {
            // Where the caller went away, nobody is answered.
            let Some(Ended { outcome, bytes, time }) = ended.into_inner() else { return };
            reads[read].settle(&part, bytes, outcome, time, watched);
        }
        caller.landed(reads.into_iter().map(Read::land).collect());
    }
}

/// Reads until what is needed is there.
fn read_part(read: &Read, part: &Part, bounces: &Bounces) -> (Outcome, u64) {
    let len = (part.ask.end - part.ask.start) as usize;
    let Some(at) = part.at else {
        let mut bounce = bounces.take(len, read.file.rung.alignment().memory as usize);
        let (outcome, bytes) = fill(read, part, bounce.as_mut_slice());
        if outcome == Outcome::Whole {
            let skip = (part.need.start - part.ask.start) as usize;
            let needed = (part.need.end - part.need.start) as usize;
            // SAFETY: what is needed of each part belongs to a place of its own, this thread alone drew
            // this part, and the room is not touched otherwise before all of them have ended.
            unsafe { read.target.place(part.home, &bounce.as_slice()[skip..skip + needed]) };
        }
        bounces.give_back(bounce);
        return (outcome, bytes);
    };
    // SAFETY: as above; a part that lands in place asks for grains that no other part asks for. (Grains
    // before and after what is needed lie in spare bytes, or are needed by nobody else.)
    fill(read, part, unsafe { read.target.stretch(at, len) })
}

fn fill(read: &Read, part: &Part, into: &mut [u8]) -> (Outcome, u64) {
    let mut done = 0;
    loop {
        match read.file.read_at(&mut into[done as usize..], part.ask.start + done) {
            Ok(n) => match part.after(done, n as u64, u64::from(read.file.grain)) {
                Next::Whole => return (Outcome::Whole, done + n as u64),
                Next::Ended(at) => return (Outcome::Ended(at), done + n as u64),
                Next::On(now) => done = now,
            },
            Err(Errno::AGAIN) => std::thread::yield_now(),
            Err(errno) => return (Outcome::Failed(errno), done),
        }
    }
}
