//! The thread that paces, submits and takes note.

use super::memory::Memory;
use super::operation::{Ended, Operation};
use super::plan::{Outline, Plan, Step, Steps, scaled};
use super::stop::{Stop, Wish};
use super::streams::{Streams, recorded_end};
use super::targets::{Stores, Targets};
use super::wait::Timer;
use super::{Mode, ReplayOptions};
use crate::error::{Error, Result};
use crate::{Fidelity, Record};
use forebay_io::{Kind, PageCacheMode, Pool, ReadOptions};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::task::{ArcWake, waker};
use hdrhistogram::Histogram;
use std::iter::Peekable;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Operations submitted, those that were skipped included: where to go on after an end before time.
    pub position: u64,
    /// Operations of the whole plan, those that were skipped included.
    pub total: u64,
    /// Operations that ended, well or not.
    pub ended: u64,
    /// Bytes that arrived.
    pub bytes: u64,
    /// Operations in flight.
    pub in_flight: usize,
    /// Since the beginning.
    pub elapsed: Duration,
    /// The instant of the trace that the last submission belongs to.
    pub trace_time: Duration,
    /// How long it will last from here: by the trace's clock where that sets the pace, else as fast as it went so far.
    /// None before anything has ended.
    pub left: Option<Duration>,
}

/// How often progress is told.
const TELL: Duration = Duration::from_millis(200);

/// Time to get ready before the first operation is due.
const LEAD: Duration = Duration::from_millis(5);

/// Replays `plan`. It blocks its thread until it is done: the pacing is its own. Stores that need a runtime find `runtime`.
///
/// # Errors
/// Those of the options and of the trace, and a location that no store can be opened for. An operation that
/// fails is counted, not an error of the replay.
pub fn replay(
    plan: &Plan,
    options: &ReplayOptions,
    stores: &Stores,
    runtime: &Handle,
    stop: &Stop,
    mut progress: impl FnMut(&Progress),
) -> Result<Fidelity> {
    options.validate()?;
    stop.wakes_me();
    if options.page_cache != PageCacheMode::Default {
        runtime.block_on(check_page_cache(plan, options, stores))?;
    }
    let _inside = runtime.enter();
    let mut driver = Driver::new(plan, options, stores)?;
    // Not before: sorting a long trace is nothing to do ahead of all others.
    let mut timer = Timer::new(options.priority)?;
    let waker = waker(Arc::new(Wake(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut told = driver.begin;
    loop {
        driver.collect(&mut context)?;
        match stop.wish() {
            Wish::GoOn => {}
            Wish::Stop => driver.stop(),
            Wish::GiveUp => {
                driver.stop();
                driver.fidelity.given_up = driver.in_flight.len() as u64;
                break;
            }
        }
        let now = Instant::now();
        if now.saturating_duration_since(told) >= TELL {
            told = now;
            progress(&driver.progress());
        }
        match driver.due()? {
            Due::Over if driver.in_flight.is_empty() => break,
            Due::Over | Due::AfterAnEnd => std::thread::park_timeout(TELL),
            Due::At(due) if due > now => timer.approach(due.min(now + TELL)),
            Due::At(_) => {
                if driver.is_full() {
                    driver.full = true;
                    std::thread::park_timeout(TELL);
                } else {
                    driver.submit(&mut context)?;
                }
            }
        }
    }
    driver.fidelity.scheduling = timer.scheduling();
    driver.fidelity.elapsed = driver.last_end.saturating_duration_since(driver.begin);
    progress(&driver.progress());
    Ok(driver.finish())
}

struct Wake(Thread);

impl ArcWake for Wake {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.unpark();
    }
}

/// When the next operation is to be submitted.
enum Due {
    At(Instant),
    /// Something in flight has to end first.
    AfterAnEnd,
    /// There is none.
    Over,
}

/// What is next, and when.
enum Schedule<'a> {
    /// By the clock, or at once where nothing says when. The next one is ready before its time.
    Timed {
        steps: Box<Peekable<Steps<'a>>>,
        scale: Option<f64>,
        next: Option<Box<Ready>>,
    },
    /// Streams, each at its own pace.
    Streams(Box<Streams<'a>>),
    Over,
}

/// An operation that only has to be asked for.
struct Ready {
    operation: Operation,
    pool: Option<Pool>,
    /// Bytes that it counts for in flight.
    size: u64,
    due: Option<Instant>,
    /// The instant of the trace at which it is due, and the one at which it had ended.
    at: Duration,
    recorded_end: Duration,
}

struct Driver<'a> {
    options: &'a ReplayOptions,
    targets: Targets<'a>,
    memory: Memory,
    schedule: Schedule<'a>,
    outline: Outline,
    in_flight: FuturesUnordered<BoxFuture<'static, Ended>>,
    bytes_in_flight: u64,
    fidelity: Fidelity,
    begin: Instant,
    last_end: Instant,
    /// The submission before: when it was, and when it was due.
    before: Option<(Instant, Instant)>,
    trace_time: Duration,
    /// Whether an operation is due that a cap keeps back, and until when the last one was kept back: what was due by then is
    /// late because of it.
    full: bool,
    full_until: Option<Instant>,
    ended: u64,
}

impl<'a> Driver<'a> {
    fn new(plan: &'a Plan, options: &'a ReplayOptions, stores: &'a Stores) -> Result<Driver<'a>> {
        let outline = Outline::default();
        let mut steps = Steps::new(plan, options, outline.clone()).peekable();
        // Sorting a long trace takes its time: before the clock starts.
        let nothing = steps.peek().is_none();
        if nothing {
            check_nothing(options, outline.total())?;
        }
        let schedule = match options.mode {
            Mode::Open { time_scale } => {
                Schedule::Timed { steps: Box::new(steps), scale: Some(time_scale), next: None }
            }
            Mode::Closed { .. } => Schedule::Timed { steps: Box::new(steps), scale: None, next: None },
            Mode::Dependency { time_scale } => {
                Schedule::Streams(Box::new(Streams::new(steps, time_scale, options.look_ahead)))
            }
        };
        let begin = Instant::now() + LEAD;
        Ok(Driver {
            options,
            targets: Targets::new(stores),
            memory: Memory::new(options.max_bytes_in_flight),
            schedule,
            outline,
            in_flight: FuturesUnordered::new(),
            bytes_in_flight: 0,
            fidelity: Fidelity::new(),
            begin,
            last_end: begin,
            before: None,
            trace_time: Duration::ZERO,
            full: false,
            full_until: None,
            ended: 0,
        })
    }

    fn progress(&self) -> Progress {
        let position = self.options.skip + self.fidelity.submitted;
        let total = self.outline.total().max(position);
        let elapsed = self.begin.elapsed();
        let left = match self.options.mode {
            Mode::Open { time_scale } => {
                let left = self.outline.end().saturating_sub(self.trace_time);
                scaled(left, time_scale).ok()
            }
            Mode::Closed { .. } | Mode::Dependency { .. } => (self.fidelity.submitted > 0)
                .then(|| elapsed.mul_f64((total - position) as f64 / self.fidelity.submitted as f64)),
        };
        Progress {
            position,
            total,
            left,
            ended: self.ended,
            bytes: self.fidelity.bytes,
            in_flight: self.in_flight.len(),
            elapsed,
            trace_time: self.trace_time,
        }
    }

    /// Takes in what has ended.
    fn collect(&mut self, context: &mut Context<'_>) -> Result<()> {
        while let Poll::Ready(Some(ended)) = self.in_flight.poll_next_unpin(context) {
            self.note(ended)?;
        }
        Ok(())
    }

    fn note(&mut self, ended: Ended) -> Result<()> {
        self.ended += 1;
        self.bytes_in_flight -= ended.size;
        self.last_end = self.last_end.max(ended.at);
        self.fidelity.ask(ended.asked);
        if let Some(pool) = ended.pool {
            self.memory.give_back(pool);
        }
        match ended.result {
            Ok(bytes) => {
                let since = |from: Instant| ended.at.saturating_duration_since(from);
                note_time(&mut self.fidelity.latency, since(ended.submitted));
                if let Some(due) = ended.due {
                    note_time(&mut self.fidelity.latency_from_intended, since(due));
                }
                self.fidelity.finish(ended.read, bytes, since(self.begin));
            }
            Err(error) => {
                *self.fidelity.failures.entry(error.kind().name().to_owned()).or_default() += 1;
                self.fidelity.first_failure.get_or_insert_with(|| error.to_string());
                self.fidelity.failed_as_recorded += u64::from(ended.recorded_failure);
            }
        }
        if let (Some(stream), Schedule::Streams(streams)) = (ended.stream, &mut self.schedule) {
            let starved = streams.ended(stream, ended.recorded_end, ended.at, self.begin)?;
            self.fidelity.starved += u64::from(starved);
        }
        Ok(())
    }

    fn due(&mut self) -> Result<Due> {
        let begin = self.begin;
        match &mut self.schedule {
            Schedule::Over => Ok(Due::Over),
            Schedule::Timed { steps, scale, next } => {
                if next.is_none() {
                    let Some(step) = steps.next().transpose()? else { return Ok(Due::Over) };
                    let due = scale.map(|scale| scaled(step.at, scale)).transpose()?.map(|at| begin + at);
                    *next = Some(Box::new(get_ready(
                        step,
                        due,
                        self.options,
                        &mut self.targets,
                        &mut self.memory,
                    )?));
                }
                Ok(Due::At(next.as_ref().and_then(|next| next.due).unwrap_or(begin)))
            }
            Schedule::Streams(streams) => {
                streams.read_ahead(begin)?;
                match streams.due() {
                    Some(due) => Ok(Due::At(due)),
                    None if streams.is_over() => Ok(Due::Over),
                    None => Ok(Due::AfterAnEnd),
                }
            }
        }
    }

    fn is_full(&mut self) -> bool {
        let most = match self.options.mode {
            Mode::Closed { concurrency } => concurrency.min(self.options.max_in_flight),
            _ => self.options.max_in_flight,
        };
        let size = match &self.schedule {
            Schedule::Timed { next, .. } => next.as_ref().map_or(0, |next| next.size),
            Schedule::Streams(streams) => streams.first().map_or(0, |step| size_of(&step.record)),
            Schedule::Over => 0,
        };
        // One is always let through: a single operation above the cap fails with a reason of its own.
        self.in_flight.len() >= most
            || (!self.in_flight.is_empty()
                && self.bytes_in_flight.saturating_add(size) > self.options.max_bytes_in_flight)
    }

    /// Nothing more is submitted.
    fn stop(&mut self) {
        self.fidelity.stopped = true;
        self.schedule = Schedule::Over;
    }

    /// Asks for the next operation, at once, and then does what there is to be noted about it.
    fn submit(&mut self, context: &mut Context<'_>) -> Result<()> {
        let ready = match &mut self.schedule {
            Schedule::Over => return Ok(()),
            Schedule::Timed { next, .. } => next.take().map(|ready| *ready),
            Schedule::Streams(streams) => match streams.pop(self.begin)? {
                None => None,
                Some((step, due)) => {
                    Some(get_ready(step, Some(due), self.options, &mut self.targets, &mut self.memory)?)
                }
            },
        };
        let Some(Ready { operation, pool, size, due, at, recorded_end }) = ready else { return Ok(()) };
        let (record, location) = (operation.record.clone(), operation.location.clone());

        let actual = Instant::now();
        if std::mem::take(&mut self.full) {
            self.full_until = Some(actual);
        }
        self.in_flight.push(operation.run(pool, size, due, actual, recorded_end));
        self.bytes_in_flight += size;
        self.fidelity.peak_in_flight = self.fidelity.peak_in_flight.max(self.in_flight.len());
        self.fidelity.peak_bytes_in_flight = self.fidelity.peak_bytes_in_flight.max(self.bytes_in_flight);
        self.collect(context)?;

        if let Some(due) = due {
            let since = |at: Instant| at.saturating_duration_since(self.begin);
            self.fidelity.submit(since(due), since(actual));
            self.fidelity.capped += u64::from(self.full_until.is_some_and(|until| due <= until));
            if let Some((before, before_due)) = self.before.replace((actual, due)) {
                note_time(&mut self.fidelity.gaps, actual.saturating_duration_since(before));
                note_time(&mut self.fidelity.intended_gaps, due.saturating_duration_since(before_due));
            }
        }
        let scale = match self.options.mode {
            Mode::Open { time_scale } | Mode::Dependency { time_scale } => Some(time_scale),
            Mode::Closed { .. } => None,
        };
        let uri = location.to_string();
        let planned = scale.map(|scale| scaled(at, scale)).transpose()?;
        self.trace_time = at;
        self.fidelity.plan(&record, &uri, planned, scale.unwrap_or(1.0));
        Ok(())
    }

    fn finish(mut self) -> Fidelity {
        self.fidelity.left_out = self.outline.left_out();
        self.fidelity.planned = self.outline.total().saturating_sub(self.options.skip);
        self.fidelity
    }
}

/// A replay without a single operation: fine where the trace has none, or an earlier run did them all; else a mistake.
fn check_nothing(options: &ReplayOptions, total: u64) -> Result<()> {
    if options.skip > total && total > 0 {
        return Err(Error::Invalid(format!("skip is {}, and there are {total} operations", options.skip)));
    }
    if total == 0 && (options.from > Duration::ZERO || options.until.is_some()) {
        let until = options.until.map_or(String::new(), |until| format!(" to {until:?}"));
        let from = options.from;
        return Err(Error::Invalid(format!("the trace has no operation from {from:?} on{until}")));
    }
    Ok(())
}

/// Asks one object of each place that is read whether the page cache can be used as the options say: a policy that a store
/// cannot obey would fail every operation.
async fn check_page_cache(plan: &Plan, options: &ReplayOptions, stores: &Stores) -> Result<()> {
    let mut targets = Targets::new(stores);
    for location in plan.places(options)? {
        let read = ReadOptions { page_cache: options.page_cache, stage: "replay", ..ReadOptions::default() };
        match targets.store(&location)?.open(&location, read).await {
            Err(error) if error.kind() == Kind::Unsupported => return Err(Error::Invalid(error.to_string())),
            // What else there is to say, its own operation will.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Bytes that an operation counts for in flight.
fn size_of(record: &Record) -> u64 {
    record.size().filter(|_| record.op.is_read()).unwrap_or(0)
}

/// Does all that can be done before an operation is due.
fn get_ready(
    step: Step,
    due: Option<Instant>,
    options: &ReplayOptions,
    targets: &mut Targets<'_>,
    memory: &mut Memory,
) -> Result<Ready> {
    let Step { record, at } = step;
    let location = options.remap.apply(&record.uri.parse()?);
    let store = targets.store(&location)?;
    let pool = if record.op.is_read() { Some(memory.take()?) } else { None };
    let (size, recorded_end) = (size_of(&record), recorded_end(at, &record));
    let objects = targets.objects.clone();
    let operation = Operation { store, objects, location, record, page_cache: options.page_cache };
    Ok(Ready { operation, pool, size, due, at, recorded_end })
}

fn note_time(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}
