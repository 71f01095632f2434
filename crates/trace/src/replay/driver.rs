//! The thread that paces, submits and takes note.

use super::memory::Memory;
use super::plan::{Outline, Plan, Step, Steps, scaled};
use super::prepare::content;
use super::targets::{Objects, Stores, Targets};
use super::{Mode, ReplayOptions, wait};
use crate::error::{Error, Result};
use crate::{Action, Fidelity, Record};
use forebay_io::{Access, GetRequest, Kind, ListOptions, Location, Pool, PutOptions, ReadOptions, Store};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::task::{ArcWake, waker};
use futures::{FutureExt, StreamExt};
use hdrhistogram::Histogram;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::iter::Peekable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Ends a replay from outside: what is in flight is waited for, nothing more is submitted.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

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
    let _inside = runtime.enter();
    wait::wake_exactly();
    let mut driver = Driver::new(plan, options, stores)?;
    let waker = waker(Arc::new(Wake(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut told = driver.begin;
    loop {
        driver.collect(&mut context);
        if stop.0.load(Ordering::Relaxed) {
            driver.fidelity.stopped = true;
            driver.schedule = Schedule::Over;
        }
        let now = Instant::now();
        if now.saturating_duration_since(told) >= TELL {
            told = now;
            progress(&driver.progress());
        }
        match driver.due()? {
            Due::Over if driver.in_flight.is_empty() => break,
            Due::Over | Due::AfterAnEnd => std::thread::park_timeout(TELL),
            Due::At(due) if due > now => wait::approach(due.min(now + TELL)),
            Due::At(due) => {
                if driver.is_full() {
                    driver.note_cap(due);
                    std::thread::park_timeout(TELL);
                } else {
                    driver.submit()?;
                }
            }
        }
    }
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
    /// By the clock, or at once where nothing says when.
    Timed {
        steps: Box<Peekable<Steps<'a>>>,
        scale: Option<f64>,
    },
    /// Streams, each at its own pace.
    Streams(Box<Streams<'a>>),
    Over,
}

struct Streams<'a> {
    steps: Peekable<Steps<'a>>,
    scale: f64,
    streams: HashMap<u64, Stream>,
    /// Streams whose next operation has a time.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    waiting: usize,
}

#[derive(Default)]
struct Stream {
    steps: VecDeque<Step>,
    /// An operation of it is in flight, or has a time in the heap.
    engaged: bool,
    /// When its last operation ended here, and in the trace's time.
    last: Option<(Instant, Duration)>,
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
    /// The last due instant that was counted as capped.
    capped: Option<Instant>,
    ended: u64,
}

/// An operation that is over.
struct Ended {
    pool: Option<Pool>,
    size: u64,
    stream: Option<u64>,
    /// When it ended in the trace's time.
    recorded_end: Duration,
    due: Option<Instant>,
    submitted: Instant,
    at: Instant,
    read: bool,
    recorded_failure: bool,
    result: Result<u64, Kind>,
}

impl<'a> Driver<'a> {
    fn new(plan: &'a Plan, options: &'a ReplayOptions, stores: &'a Stores) -> Result<Driver<'a>> {
        let outline = Outline::default();
        let steps = Steps::new(plan, options, outline.clone()).peekable();
        let mut schedule = match options.mode {
            Mode::Open { time_scale } => Schedule::Timed { steps: Box::new(steps), scale: Some(time_scale) },
            Mode::Closed { .. } => Schedule::Timed { steps: Box::new(steps), scale: None },
            Mode::Dependency { time_scale } => Schedule::Streams(Box::new(Streams {
                steps,
                scale: time_scale,
                streams: HashMap::new(),
                due: BinaryHeap::new(),
                waiting: 0,
            })),
        };
        // Sorting a long trace takes its time: before the clock starts.
        match &mut schedule {
            Schedule::Timed { steps, .. } => drop(steps.peek()),
            Schedule::Streams(streams) => drop(streams.steps.peek()),
            Schedule::Over => {}
        }
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
            capped: None,
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
    fn collect(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(ended)) = self.in_flight.poll_next_unpin(context) {
            self.note(ended);
        }
    }

    fn note(&mut self, ended: Ended) {
        self.ended += 1;
        self.bytes_in_flight -= ended.size;
        self.last_end = self.last_end.max(ended.at);
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
            Err(kind) => {
                *self.fidelity.failures.entry(kind.name().to_owned()).or_default() += 1;
                self.fidelity.failed_as_recorded += u64::from(ended.recorded_failure);
            }
        }
        if let (Some(stream), Schedule::Streams(streams)) = (ended.stream, &mut self.schedule) {
            let state = streams.streams.entry(stream).or_default();
            (state.engaged, state.last) = (false, Some((ended.at, ended.recorded_end)));
            let more = streams.waiting >= self.options.look_ahead && streams.steps.peek().is_some();
            self.fidelity.starved += u64::from(state.steps.is_empty() && more);
            streams.engage(stream, self.begin);
        }
    }

    fn due(&mut self) -> Result<Due> {
        let begin = self.begin;
        match &mut self.schedule {
            Schedule::Over => Ok(Due::Over),
            Schedule::Timed { steps, scale } => match steps.peek() {
                None => Ok(Due::Over),
                Some(Err(_)) => Err(failure(steps)),
                Some(Ok(step)) => match *scale {
                    Some(scale) => Ok(Due::At(begin + scaled(step.at, scale)?)),
                    None => Ok(Due::At(begin)),
                },
            },
            Schedule::Streams(streams) => {
                streams.read_ahead(self.options.look_ahead, begin)?;
                match streams.due.peek() {
                    Some(Reverse((due, _))) => Ok(Due::At(*due)),
                    None if streams.waiting == 0 && streams.steps.peek().is_none() => Ok(Due::Over),
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
        let next = match &mut self.schedule {
            Schedule::Timed { steps, .. } => steps.peek().and_then(|step| step.as_ref().ok()),
            Schedule::Streams(streams) => match streams.due.peek() {
                Some(Reverse((_, stream))) => streams.streams.get(stream).and_then(|s| s.steps.front()),
                None => None,
            },
            Schedule::Over => None,
        };
        let size = next.and_then(|step| step.record.size()).unwrap_or(0);
        // One is always let through: a single operation above the cap fails with a reason of its own.
        self.in_flight.len() >= most
            || (!self.in_flight.is_empty()
                && self.bytes_in_flight.saturating_add(size) > self.options.max_bytes_in_flight)
    }

    /// In closed mode the cap is the pace, not a fault.
    fn note_cap(&mut self, due: Instant) {
        if !matches!(self.options.mode, Mode::Closed { .. }) && self.capped != Some(due) {
            self.capped = Some(due);
            self.fidelity.capped += 1;
        }
    }

    fn submit(&mut self) -> Result<()> {
        let (step, due) = match &mut self.schedule {
            Schedule::Over => return Ok(()),
            Schedule::Timed { steps, scale } => {
                let Some(step) = steps.next().transpose()? else { return Ok(()) };
                let due = scale.map(|scale| scaled(step.at, scale)).transpose()?.map(|at| self.begin + at);
                (step, due)
            }
            Schedule::Streams(streams) => {
                let Some(Reverse((due, stream))) = streams.due.pop() else { return Ok(()) };
                let Some(step) = streams.streams.get_mut(&stream).and_then(|s| s.steps.pop_front()) else {
                    return Ok(());
                };
                streams.waiting -= 1;
                (step, Some(due))
            }
        };
        let scale = match self.options.mode {
            Mode::Open { time_scale } | Mode::Dependency { time_scale } => Some(time_scale),
            Mode::Closed { .. } => None,
        };
        let record = step.record;
        let location = self.options.remap.apply(&record.uri.parse()?);
        let uri = location.to_string();
        let planned = scale.map(|scale| scaled(step.at, scale)).transpose()?;
        self.fidelity.plan(&record, &uri, planned, scale.unwrap_or(1.0));
        self.trace_time = step.at;
        let store = self.targets.store(&location)?;
        let pool = if record.op.is_read() { Some(self.memory.take()?) } else { None };
        let size = record.size().filter(|_| record.op.is_read()).unwrap_or(0);
        let asked = (record.op, location.to_string(), record.offset, record.len);

        let actual = Instant::now();
        if let Some(due) = due {
            let since = |at: Instant| at.saturating_duration_since(self.begin);
            self.fidelity.submit(since(due), since(actual));
            if let Some((before, before_due)) = self.before.replace((actual, due)) {
                note_time(&mut self.fidelity.gaps, actual.saturating_duration_since(before));
                note_time(&mut self.fidelity.intended_gaps, due.saturating_duration_since(before_due));
            }
        }
        self.bytes_in_flight += size;
        let operation = Operation {
            store,
            objects: self.targets.objects.clone(),
            location,
            record,
            page_cache: self.options.page_cache,
        };
        let recorded_end = step.at + Duration::from_nanos(operation.record.latency().unwrap_or(0));
        self.in_flight.push(operation.run(pool, size, due, recorded_end));
        let (op, uri, offset, len) = asked;
        self.fidelity.ask(op, &uri, offset, len);
        self.fidelity.peak_in_flight = self.fidelity.peak_in_flight.max(self.in_flight.len());
        self.fidelity.peak_bytes_in_flight = self.fidelity.peak_bytes_in_flight.max(self.bytes_in_flight);
        Ok(())
    }

    fn finish(mut self) -> Fidelity {
        self.fidelity.left_out = self.outline.left_out();
        self.fidelity
    }
}

fn note_time(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

/// The error that stands next.
fn failure(steps: &mut Peekable<Steps<'_>>) -> Error {
    match steps.next() {
        Some(Err(error)) => error,
        _ => Error::Invalid("a trace that could not be read could be read after all".into()),
    }
}

impl Streams<'_> {
    fn read_ahead(&mut self, most: usize, begin: Instant) -> Result<()> {
        while self.waiting < most {
            match self.steps.peek() {
                None => break,
                Some(Err(_)) => return Err(failure(&mut self.steps)),
                Some(Ok(_)) => {}
            }
            let Some(Ok(step)) = self.steps.next() else { break };
            let stream = step.record.stream.unwrap_or(0);
            self.streams.entry(stream).or_default().steps.push_back(step);
            self.waiting += 1;
            self.engage(stream, begin);
        }
        Ok(())
    }

    /// Gives the stream's next operation its time, if it is free and has one.
    fn engage(&mut self, stream: u64, begin: Instant) {
        let state = self.streams.entry(stream).or_default();
        if state.engaged {
            return;
        }
        let Some(step) = state.steps.front() else { return };
        let due = match state.last {
            Some((ended, recorded)) => ended + step.at.saturating_sub(recorded).mul_f64(self.scale),
            None => begin + step.at.mul_f64(self.scale),
        };
        state.engaged = true;
        self.due.push(Reverse((due, stream)));
    }
}

/// What one operation needs to be done.
struct Operation {
    store: Arc<dyn Store>,
    objects: Arc<Objects>,
    location: Location,
    record: Record,
    page_cache: forebay_io::PageCacheMode,
}

impl Operation {
    fn run(
        self,
        pool: Option<Pool>,
        size: u64,
        due: Option<Instant>,
        recorded_end: Duration,
    ) -> BoxFuture<'static, Ended> {
        async move {
            let submitted = Instant::now();
            let result = self.perform(pool.as_ref()).await;
            Ended {
                pool,
                size,
                stream: self.record.stream,
                recorded_end,
                due,
                submitted,
                at: Instant::now(),
                read: self.record.op.is_read(),
                recorded_failure: !self.record.status.is_ok(),
                result: result.map_err(|error| error.kind()),
            }
        }
        .boxed()
    }

    fn options(&self) -> ReadOptions {
        ReadOptions {
            access: Access::Random,
            page_cache: self.page_cache,
            target_request_bytes: None,
            stage: "replay",
            attempt: 0,
        }
    }

    async fn perform(&self, pool: Option<&Pool>) -> forebay_io::Result<u64> {
        let record = &self.record;
        let range = match (record.offset, record.len) {
            (Some(offset), Some(len)) => Some(offset..offset.saturating_add(len)),
            _ => None,
        };
        match (record.op, pool) {
            (Action::Get, Some(pool)) => {
                let request = GetRequest { range, ..GetRequest::whole(self.location.clone(), 0) };
                let lease = pool.lease(pool.budget().ticket(), 1);
                Ok(self.store.get(request, self.options(), lease).await?.bytes)
            }
            (Action::Read, Some(pool)) => {
                let object = match self.objects.get(&self.location) {
                    Some(object) => object,
                    None => self.open().await?,
                };
                let range = range.unwrap_or(0..object.meta().size);
                let buf = pool.buffer(range.end - range.start).await?;
                let (_, served) = object.read_into(range.start, buf).await;
                Ok(served?.bytes)
            }
            (Action::Open, _) => self.open().await.map(|_| 0),
            (Action::Stat, _) => self.store.stat(&self.location).await.map(|_| 0),
            (Action::List, _) => {
                let mut pages = self.store.list(&self.location, ListOptions::recursive());
                while let Some(page) = pages.next().await {
                    page?;
                }
                Ok(0)
            }
            (Action::Put, _) => {
                let body = content(record.size().unwrap_or(0), [0; 32]);
                self.store.put(&self.location, body, PutOptions::default()).await.map(|meta| meta.size)
            }
            (Action::Delete, _) => self.store.delete(&self.location).await.map(|()| 0),
            (Action::Get | Action::Read, None) => unreachable!("reads are given memory"),
        }
    }

    async fn open(&self) -> forebay_io::Result<Arc<dyn forebay_io::Object>> {
        let object = self.store.open(&self.location, self.options()).await?;
        self.objects.insert(self.location.clone(), object.clone());
        Ok(object)
    }
}
