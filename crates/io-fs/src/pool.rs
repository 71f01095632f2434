//! The threads that make blocking system calls, so that no thread of an async runtime does.
//!
//! A job is one batch, page of a listing, or step of a put: never one file of many. It ends by waking
//! its caller once. Jobs do not wait for each other or for a consumer, so one thread is enough to make
//! progress, and a full one delays but never deadlocks.
//!
//! Reads out of the page cache keep a core busy, so no more of them run at once than there are cores:
//! more threads would only take the cores from each other and from whoever feeds them (measured on two
//! cores: a tenth of the speed). A read that meets the device says so ([`Turn::meets_device`]), and from
//! then on every thread may read, until a read finds all it wants in the page cache again. A read that was
//! given to several threads counts until they have begun all of it ([`Pool::occupy`]): were the next ones let in before,
//! each would take memory that it fills much later, and memory touched for the first time is slow.
//!
//! A consumer's thread that waits for a batch lends a hand ([`Crew`]): it reads out of the page cache itself, and
//! one thread of the pool fewer does, so that readers and consumer together are as many as there are cores, and
//! none of them is switched off a core to let another on. It never waits for a device on behalf of the pool but
//! for the one file that turned out not to be cached, and for one small sample before that was not asked for with care
//! ([`Trust`](crate::trust::Trust)); what is left of that batch goes back into the line. While it reads, it is one
//! of the readers, however long that takes.
//!
//! Not here: what the jobs do.

use forebay_io::{Crew, Error, Kind, Operation, Result};
use futures::FutureExt;
use futures::channel::oneshot;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a consumer that went away with a batch is thought to come back at once and to read then. One that takes
/// the next batch without doing much is back within some tens of microseconds; one that stays away for longer works
/// or waits elsewhere, and has no use for a core that is kept free for it.
const SOON: Duration = Duration::from_micros(300);

enum Job {
    /// Keeps a core busy, as long as it finds its bytes in the page cache.
    Read(Box<dyn FnOnce(&Seat<'_>) + Send>),
    /// Short, or a part of a read that has begun.
    Other(Box<dyn FnOnce() + Send>),
}

/// Handle to the threads. When it is dropped they finish what was submitted, which they notice to be
/// no longer wanted, and end. Nobody waits for that: a call on a dead network filesystem may never
/// come back, and in a forked child the threads do not exist.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    threads: usize,
    /// How many reads out of the page cache may run at once.
    cores: usize,
    line: Mutex<Line>,
    /// Where each thread sleeps.
    beds: Box<[Condvar]>,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    /// Threads that sleep, the one that worked last at the end: it is woken first, because what it works with is most
    /// likely still in a cache.
    asleep: Vec<usize>,
    /// Reads that run and have not met the device.
    reading: usize,
    /// Reads that run on consumers' threads. They are not among those.
    guests: usize,
    /// How many may.
    at_once: usize,
    /// The read that told or ended last had met the device.
    met_device: bool,
    /// The last read found all it wanted in the page cache.
    cached: bool,
    /// When a consumer was here last.
    consumer: Option<Instant>,
    /// How long it is expected back.
    soon: Duration,
    closed: bool,
}

/// What a read is told and tells while it runs.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'a> {
    gave_up: &'a dyn Fn() -> bool,
    meets_device: &'a dyn Fn(),
    goes_back: &'a dyn Fn() -> bool,
    met_device: bool,
}

impl<'a> Turn<'a> {
    /// A turn that can be given up and told on, of a read that took its seat when reads met the device or not.
    pub(crate) fn new(
        gave_up: &'a dyn Fn() -> bool,
        meets_device: &'a dyn Fn(),
        goes_back: &'a dyn Fn() -> bool,
        met_device: bool,
    ) -> Self {
        Turn { gave_up, meets_device, goes_back, met_device }
    }

    /// Whether nobody waits for the result any more.
    pub(crate) fn gave_up(&self) -> bool {
        (self.gave_up)()
    }

    /// Whether reads met the device when this one began.
    pub(crate) fn met_device(&self) -> bool {
        self.met_device
    }

    /// This read waits for a device, or soon will: others may run meanwhile.
    pub(crate) fn meets_device(&self) {
        (self.meets_device)();
    }

    /// Whether what is left of this read is to go back into the line: it has met the device, on a thread that must not
    /// wait for that.
    pub(crate) fn goes_back(&self) -> bool {
        (self.goes_back)()
    }
}

/// A place among the reads that may run, for one that goes on as jobs of its own.
pub(crate) struct Occupied(Arc<Shared>);

impl Drop for Occupied {
    fn drop(&mut self) {
        let mut line = self.0.line();
        line.reading -= 1;
        self.0.wake_all(line);
    }
}

/// The place of one running read among those that may.
pub(crate) struct Seat<'a> {
    shared: &'a Shared,
    /// Of a consumer's thread, and not counted.
    guest: bool,
    left: Cell<bool>,
    /// When it was taken, reads met the device.
    met_device: bool,
}

impl Seat<'_> {
    /// See [`Turn::met_device`].
    pub(crate) fn met_device(&self) -> bool {
        self.met_device
    }

    /// See [`Turn::goes_back`].
    pub(crate) fn goes_back(&self) -> bool {
        self.guest && self.left.get()
    }

    /// Others may run meanwhile.
    pub(crate) fn leave(&self) {
        if !self.left.replace(true) {
            let mut line = self.shared.line();
            line.reading -= usize::from(!self.guest);
            line.at_once = self.shared.threads;
            line.met_device = true;
            line.cached = false;
            self.shared.wake_all(line);
        }
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        // Jobs run without the lock, so what it guards is whole even if one panicked.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one thread, if one sleeps.
    fn wake_one(&self, mut line: MutexGuard<'_, Line>) {
        let woken = line.asleep.pop();
        drop(line);
        woken.into_iter().for_each(|thread| self.beds[thread].notify_one());
    }

    fn wake_all(&self, mut line: MutexGuard<'_, Line>) {
        let woken = std::mem::take(&mut line.asleep);
        drop(line);
        woken.into_iter().for_each(|thread| self.beds[thread].notify_one());
    }

    /// What thread `me` does for as long as there is a pool.
    fn work(&self, me: usize) {
        let mut line = self.line();
        loop {
            match line.next() {
                // That a job panicked its caller hears, because its end of the channel is dropped.
                Some(Job::Other(job)) => {
                    drop(line);
                    let _ = catch_unwind(AssertUnwindSafe(job));
                    line = self.line();
                }
                Some(Job::Read(job)) => {
                    line.reading += 1;
                    // A core that was kept for a consumer who is not back.
                    let more = !line.jobs.is_empty() && line.may_read();
                    let met_device = line.met_device;
                    if more {
                        self.wake_one(line);
                    } else {
                        drop(line);
                    }
                    line = self.read(job, false, met_device);
                }
                None if line.closed && line.jobs.is_empty() => return,
                None => {
                    line.asleep.push(me);
                    line = self.beds[me].wait(line).unwrap_or_else(PoisonError::into_inner);
                    // Still there if nobody woke it.
                    line.asleep.retain(|thread| *thread != me);
                }
            }
        }
    }

    /// Runs a read, whose seat is counted already if it has one.
    fn read(
        &self,
        job: Box<dyn FnOnce(&Seat<'_>) + Send>,
        guest: bool,
        met_device: bool,
    ) -> MutexGuard<'_, Line> {
        let seat = Seat { shared: self, guest, left: Cell::new(false), met_device };
        let _ = catch_unwind(AssertUnwindSafe(|| job(&seat)));
        let mut line = self.line();
        if !seat.left.get() {
            line.reading -= usize::from(!guest);
            line.at_once = self.cores;
            line.cached = true;
            line.met_device = false;
        }
        line
    }

    fn submit(&self, job: Job, first: bool) {
        let mut line = self.line();
        // Whoever reads now takes the next read when it is done.
        let wake = matches!(job, Job::Other(_)) || line.may_read();
        if first {
            line.jobs.push_front(job)
        } else {
            line.jobs.push_back(job)
        }
        if wake {
            self.wake_one(line);
        }
    }
}

impl Line {
    /// Whether one thread more may. One always may, with a consumer or without.
    fn may_read(&self) -> bool {
        if !self.cached || self.reading == 0 {
            return self.reading < self.at_once;
        }
        // The last core is the consumer's: while it reads, however long that takes, and soon after it was here.
        let here = || self.consumer.is_some_and(|seen| seen.elapsed() < self.soon);
        match self.at_once.saturating_sub(self.reading + self.guests) {
            0 => false,
            1 => self.guests > 0 || !here(),
            _ => true,
        }
    }

    /// The first job that may begin now.
    fn next(&mut self) -> Option<Job> {
        if self.may_read() {
            return self.jobs.pop_front();
        }
        let other = self.jobs.iter().position(|job| matches!(job, Job::Other(_)))?;
        self.jobs.remove(other)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("threads", &self.threads).field("cores", &self.cores).finish()
    }
}

impl Pool {
    /// `threads` threads called `NAME-0`, `NAME-1`, of which at most `cores` read out of the page cache
    /// at once.
    ///
    /// # Errors
    /// `Unavailable` if the system starts no more threads.
    pub fn new(name: &str, threads: usize, cores: usize) -> Result<Self> {
        let cores = cores.clamp(1, threads.max(1));
        let line = Mutex::new(Line { at_once: cores, soon: SOON, ..Line::default() });
        let beds = (0..threads).map(|_| Condvar::new()).collect();
        let pool = Pool { shared: Arc::new(Shared { threads, cores, line, beds }) };
        for index in 0..threads {
            let shared = pool.shared.clone();
            std::thread::Builder::new()
                .name(format!("{name}-{index}"))
                .spawn(move || shared.work(index))
                .map_err(|e| {
                    let context = format!("cannot start thread {} of {threads}", index + 1);
                    Error::new(Kind::Unavailable, Operation::Configure, context).with_source(e)
                })?;
        }
        Ok(pool)
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.shared.threads
    }

    /// Puts a read of files in line for its turn on a thread of the pool; `first`, before all others: for
    /// one that has begun.
    pub(crate) fn read(&self, first: bool, job: impl FnOnce(&Seat<'_>) + Send + 'static) {
        self.shared.submit(Job::Read(Box::new(job)), first);
    }

    /// Counts a read as running, though all seats may be taken, until the answer is dropped. It must go on
    /// without a seat and without its caller, because others wait for it.
    pub(crate) fn occupy(&self) -> Occupied {
        self.shared.line().reading += 1;
        Occupied(self.shared.clone())
    }

    /// Runs `job` on a thread of the pool once it is waited for. The job is told how to ask whether its
    /// caller went away. The answer is none if it panicked.
    pub async fn run<T, F>(&self, job: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    {
        self.start(job).await
    }

    /// As [`Pool::run`], begun at once.
    pub fn start<T, F>(&self, job: F) -> impl Future<Output = Option<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    {
        let (answer, receive) = oneshot::channel();
        self.submit(move || {
            if answer.is_canceled() {
                return;
            }
            let value = job(&|| answer.is_canceled());
            // Where the caller went away meanwhile, the value is dropped here.
            let _ = answer.send(value);
        });
        receive.map(Result::ok)
    }

    /// Puts a job in line that is short, or a part of a read that has begun.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        self.shared.submit(Job::Other(Box::new(job)), false);
    }
}

impl Crew for Pool {
    fn seen(&self) {
        let now = Instant::now();
        self.shared.line().consumer = Some(now);
    }

    fn lend_a_hand(&self) -> bool {
        let mut line = self.shared.line();
        if !line.cached || line.reading + line.guests >= self.shared.cores {
            return false;
        }
        let first = line.jobs.iter().position(|job| matches!(job, Job::Read(_)));
        let Some(Job::Read(job)) = first.and_then(|first| line.jobs.remove(first)) else { return false };
        line.guests += 1;
        drop(line);
        let mut line = self.shared.read(job, true, false);
        line.guests -= 1;
        line.consumer = Some(Instant::now());
        true
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut line = self.shared.line();
        line.closed = true;
        self.shared.wake_all(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_panic_reaches_its_caller_and_the_thread_goes_on() {
        let pool = Pool::new("test", 1, 1).unwrap();
        assert_eq!(block_on(pool.run(|_| -> u32 { panic!("a test's own panic") })), None);
        assert_eq!(block_on(pool.run(|_| 7)), Some(7));
    }

    #[test]
    fn a_job_whose_caller_went_away_before_it_began_does_not_run() {
        let pool = Pool::new("test", 1, 1).unwrap();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        pool.submit(move || gate.recv().unwrap());
        let (ran, seen) = std::sync::mpsc::channel::<()>();
        {
            let mut unwanted = Box::pin(pool.run(move |_| ran.send(())));
            assert!(unwanted.as_mut().now_or_never().is_none());
        }
        open.send(()).unwrap();
        assert!(seen.recv().is_err(), "its closure is dropped unrun");
    }

    /// Reads that wait at a gate, and how many have begun.
    fn begun_at_once(reads: usize, meet_device: bool) -> usize {
        let pool = Pool::new("test", 4, 2).unwrap();
        let (tell, begun) = std::sync::mpsc::channel();
        let gate = Arc::new(std::sync::Barrier::new(if meet_device { 4 } else { 2 }));
        for _ in 0..reads {
            let (tell, gate) = (tell.clone(), gate.clone());
            pool.read(false, move |seat| {
                if meet_device {
                    seat.leave();
                }
                // As many as may run meet here; were they fewer, this would hang.
                gate.wait();
                tell.send(()).unwrap();
            });
        }
        drop(tell);
        begun.iter().count()
    }

    #[test]
    fn cached_reads_run_on_the_cores_and_waiting_ones_on_all_threads() {
        assert_eq!(begun_at_once(6, false), 6);
        assert_eq!(begun_at_once(8, true), 8);
    }

    /// A pool of two threads that has read from the page cache, of whose cores one is taken until the gate opens.
    fn half_busy(soon: Duration) -> (Pool, std::sync::mpsc::Sender<()>) {
        let pool = Pool::new("test", 2, 2).unwrap();
        pool.shared.line().soon = soon;
        pool.read(false, |_| {});
        while !pool.shared.line().cached {
            std::thread::yield_now();
        }
        let (open, gate) = std::sync::mpsc::channel();
        let (tell, begun) = std::sync::mpsc::channel();
        pool.read(false, move |_| {
            tell.send(()).unwrap();
            let _ = gate.recv();
        });
        begun.recv().unwrap();
        (pool, open)
    }

    #[test]
    fn a_consumer_reads_in_place_of_a_thread() {
        let (pool, _gate) = half_busy(Duration::MAX);
        assert!(!pool.lend_a_hand(), "there is nothing to read");
        pool.seen();
        let (tell, ran) = std::sync::mpsc::channel();
        pool.read(false, move |_| tell.send(std::thread::current().id()).unwrap());
        assert!(pool.lend_a_hand());
        assert_eq!(ran.recv().unwrap(), std::thread::current().id());
        assert!(!pool.lend_a_hand());
    }

    #[test]
    fn a_consumer_that_reads_for_long_keeps_its_core() {
        let (pool, _gate) = half_busy(Duration::MAX);
        pool.seen();
        let shared = pool.shared.clone();
        let (tell, told) = std::sync::mpsc::channel();
        pool.read(false, move |_| {
            // It was here too long ago to count as near.
            shared.line().soon = Duration::ZERO;
            tell.send(shared.line().may_read()).unwrap();
        });
        assert!(pool.lend_a_hand());
        assert!(!told.recv().unwrap(), "three would read on two cores");
        assert!(pool.shared.line().may_read());
    }

    #[test]
    fn a_consumer_leaves_what_meets_the_device_to_the_threads() {
        let (pool, _gate) = half_busy(Duration::MAX);
        pool.seen();
        let (tell, told) = std::sync::mpsc::channel();
        pool.read(false, move |seat| {
            let before = seat.goes_back();
            seat.leave();
            tell.send((before, seat.goes_back())).unwrap();
        });
        assert!(pool.lend_a_hand());
        assert_eq!(told.recv().unwrap(), (false, true));
        assert!(!pool.shared.line().cached && pool.shared.line().reading == 1);
        let (tell, told) = std::sync::mpsc::channel();
        pool.read(false, move |seat| {
            seat.leave();
            tell.send(seat.goes_back()).unwrap();
        });
        assert!(!told.recv().unwrap(), "a thread of the pool goes on");
    }

    #[test]
    fn a_consumer_that_stays_away_leaves_its_core_to_the_threads() {
        let (pool, _gate) = half_busy(Duration::ZERO);
        pool.seen();
        let (tell, ran) = std::sync::mpsc::channel();
        pool.read(false, move |_| tell.send(()).unwrap());
        ran.recv().unwrap();
    }

    #[test]
    fn a_read_on_several_threads_keeps_others_back_until_all_of_it_has_begun() {
        let pool = Pool::new("test", 4, 2).unwrap();
        let (tell, begun) = std::sync::mpsc::channel();
        let occupied = [pool.occupy(), pool.occupy()];
        let told = tell.clone();
        pool.read(false, move |_| told.send("read").unwrap());
        pool.submit(move || tell.send("part").unwrap());
        assert_eq!(begun.recv(), Ok("part"));
        drop(occupied);
        assert_eq!(begun.recv(), Ok("read"));
    }

    #[test]
    fn a_read_is_told_whether_the_one_before_met_the_device() {
        let pool = Pool::new("test", 1, 1).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        for meets_device in [false, true, false, false] {
            let tell = tell.clone();
            pool.read(false, move |seat| {
                tell.send(seat.met_device).unwrap();
                if meets_device {
                    seat.leave();
                }
            });
        }
        drop(tell);
        assert_eq!(told.iter().collect::<Vec<_>>(), [false, false, true, false]);
    }

    #[test]
    fn the_thread_that_worked_last_is_woken_first() {
        let pool = Pool::new("test", 3, 1).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let worked = (0..50).map(|_| {
            while pool.shared.line().asleep.len() < 3 {
                std::thread::yield_now();
            }
            let tell = tell.clone();
            pool.read(false, move |_| tell.send(std::thread::current().id()).unwrap());
            told.recv().unwrap()
        });
        assert_eq!(worked.collect::<std::collections::HashSet<_>>().len(), 1);
    }

    #[test]
    fn no_more_cached_reads_than_cores_run_at_once() {
        let pool = Pool::new("test", 4, 2).unwrap();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (tell, done) = std::sync::mpsc::channel();
        for _ in 0..50 {
            let (now, most, tell) = (now.clone(), most.clone(), tell.clone());
            pool.read(false, move |_| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
                tell.send(()).unwrap();
            });
        }
        drop(tell);
        assert_eq!(done.iter().count(), 50);
        assert!(most.load(Ordering::SeqCst) <= 2);
    }
}
