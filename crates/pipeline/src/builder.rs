//! Puts a pipeline together, stage by stage, and decides which stages share a task.
//!
//! A source or an aggregate has nothing to do until it is asked, so it runs inside the task of a
//! neighbour. A map works ahead of demand: it has a task, and a queue at the end of it.

use std::collections::HashSet;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use forebay_metrics::QueueRole;
use futures::Stream;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::aggregate::Aggregate;
use crate::control::Control;
use crate::exit::Exit;
use crate::feed::{BoxFeed, Fed};
use crate::hand_over::{HandOver, HandOverMeter};
use crate::map::Map;
use crate::queue::Queue;
use crate::shift::{Shift, Worker};
use crate::source::Source;
use crate::stage_meter::StageMeter;
use crate::task::{Queued, Rules, StageTask, Upstream};
use crate::watch::Watch;
use crate::{Clock, Concurrency, OnError, Order, Remainder, Sink};

/// Capacity of a queue between two maps where [`Pipeline::queue`] did not name one: an item to
/// take, and one behind it while the task that puts wakes up. Depth belongs to concurrency and to
/// the last queue; more here only hides from the statistics which stage is slow.
const INNER_CAPACITY: NonZeroUsize = NonZeroUsize::new(2).expect("2 is not 0");

/// Name of the queue that the consumer takes from.
const SINK: &str = "sink";

/// A pipeline in the making: what it yields so far are items `T`, and errors of type `E`.
///
/// Each stage has a name, by which errors and statistics speak of it. A name that is taken gets a
/// number: the second `read` is `read#2`.
#[must_use = "a pipeline does nothing until it is spawned"]
pub struct Pipeline<T, E> {
    feed: BoxFeed<T, E>,
    /// The stage that `feed` ends with.
    last: Arc<StageMeter>,
    /// Whether `feed` works ahead of demand.
    works_ahead: bool,
    /// Hand-overs inside `feed`.
    inside: Vec<Arc<dyn Exit>>,
    plan: Plan,
}

/// What is settled about a pipeline, whatever its items are.
struct Plan {
    names: HashSet<Arc<str>>,
    stages: Vec<Arc<StageMeter>>,
    exits: Vec<Arc<dyn Exit>>,
    launches: Vec<Launch>,
    inner_capacity: NonZeroUsize,
    on_error: OnError,
    clock: Option<Clock>,
    watch: Option<Arc<dyn Watch>>,
}

type Launch = Box<dyn FnOnce(&Handle, &TaskTracker, &Rules) + Send>;

impl Plan {
    fn new() -> Self {
        Self {
            names: HashSet::from([Arc::from(SINK)]),
            stages: Vec::new(),
            exits: Vec::new(),
            launches: Vec::new(),
            inner_capacity: INNER_CAPACITY,
            on_error: OnError::default(),
            clock: None,
            watch: None,
        }
    }

    fn stage(&mut self, name: &str, concurrency: usize) -> Arc<StageMeter> {
        let mut unique: Arc<str> = Arc::from(name);
        let mut count = 1;
        while !self.names.insert(unique.clone()) {
            count += 1;
            unique = Arc::from(format!("{name}#{count}"));
        }
        let meter = Arc::new(StageMeter::new(unique, concurrency));
        self.stages.push(meter.clone());
        meter
    }
}

impl<T, E> Pipeline<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    /// Begins with the items of an iterator.
    ///
    /// `next` runs on the runtime when the stage behind has a slot free for the item, so it must not
    /// block; where it does, turn it into a [`Pipeline::stream`]. If it panics, the items end
    /// with that error.
    pub fn source<I>(name: &str, items: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
    {
        let mut plan = Plan::new();
        let meter = plan.stage(name, 1);
        let feed = Box::new(Source::from_iterator(meter.clone(), items.into_iter()));
        Self::begin(feed, meter, plan)
    }

    /// Begins with the items of a stream, which is polled when the stage behind has a slot free.
    ///
    /// After an error the stream is polled on, unless the policy is [`OnError::Stop`].
    pub fn stream<S>(name: &str, items: S) -> Self
    where
        S: Stream<Item = Result<T, E>> + Send + 'static,
    {
        let mut plan = Plan::new();
        let meter = plan.stage(name, 1);
        let feed = Box::new(Source::from_stream(meter.clone(), Box::pin(items)));
        Self::begin(feed, meter, plan)
    }

    fn begin(feed: BoxFeed<T, E>, last: Arc<StageMeter>, plan: Plan) -> Self {
        Self { feed, last, works_ahead: false, inside: Vec::new(), plan }
    }

    /// What a failed item does to the pipeline; [`OnError::Stop`] unless it is named. Holds for all
    /// stages, wherever in the chain it is called.
    pub fn on_error(mut self, policy: OnError) -> Self {
        self.plan.on_error = policy;
        self
    }

    /// The clock of the statistics; [`Clock::monotonic`] unless it is named.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.plan.clock = Some(clock);
        self
    }

    /// Who sees each task and each change of a queue; nobody unless it is named. Holds for all stages.
    pub fn watched(mut self, watch: Arc<dyn Watch>) -> Self {
        self.plan.watch = Some(watch);
        self
    }

    /// Capacity of the queues between the maps that follow; 2 unless it is named.
    pub fn queue(mut self, capacity: NonZeroUsize) -> Self {
        self.plan.inner_capacity = capacity;
        self
    }

    /// Runs `function` over each item, up to `concurrency` of them at once.
    ///
    /// All futures of a stage are polled by one task, so they overlap in waiting and not in
    /// computing: work that keeps a core busy belongs on a pool that the future awaits. A panic in
    /// `function` or its future is that item's error.
    ///
    /// Look-ahead: never more than `concurrency` items are in work; finished ones that wait for
    /// their turn or for the consumer, together with those in work, never exceed `concurrency` plus
    /// the capacity of the queue behind the stage.
    pub fn map<U, F, Fut>(
        self,
        name: &str,
        concurrency: Concurrency,
        order: Order,
        function: F,
    ) -> Pipeline<U, E>
    where
        U: Send + 'static,
        F: FnMut(T) -> Fut + Send + 'static,
        Fut: Future<Output = Result<U, E>> + Send + 'static,
    {
        let (input, inside, mut plan) = if self.works_ahead {
            let (queue, upstream, plan) = self
                .close(QueueRole::Inner, |task, runtime, tasks| tasks.spawn_on(task, runtime).abort_handle());
            let input: BoxFeed<T, E> = Box::new(Queued::new(queue, upstream));
            (input, Vec::new(), plan)
        } else {
            self.hand_over()
        };
        let meter = plan.stage(name, concurrency.get());
        let map = Map::new(meter.clone(), input, concurrency, order, function);
        Pipeline { feed: Box::new(map), last: meter, works_ahead: true, inside, plan }
    }

    /// Collects items into lists of `length`, in the order they come.
    pub fn aggregate(self, name: &str, length: NonZeroUsize, remainder: Remainder) -> Pipeline<Vec<T>, E> {
        let works_ahead = self.works_ahead;
        let (input, inside, mut plan) = self.hand_over();
        let meter = plan.stage(name, 1);
        let aggregate = Aggregate::new(meter.clone(), input, length, remainder);
        Pipeline { feed: Box::new(aggregate), last: meter, works_ahead, inside, plan }
    }

    /// Ends with the queue that the consumer takes from, `capacity` items deep.
    pub fn sink(self, capacity: NonZeroUsize) -> Runnable<T, E> {
        let pipeline = Self { plan: Plan { inner_capacity: capacity, ..self.plan }, ..self };
        let shift = Arc::new(OnceLock::new());
        let known = shift.clone();
        let (queue, last, plan) = pipeline.close(QueueRole::Sink, move |task, runtime, tasks| {
            let shift = Shift::new(task, runtime);
            known.set(shift.clone()).ok().expect("a task is launched once");
            tasks.spawn_on(Worker(shift), runtime).abort_handle()
        });
        Runnable { queue, shift, last, plan }
    }

    /// Lets the next stage take items inside this task.
    fn hand_over(mut self) -> (BoxFeed<T, E>, Vec<Arc<dyn Exit>>, Plan) {
        let meter = Arc::new(HandOverMeter::new(self.last));
        self.plan.exits.push(meter.clone());
        self.inside.push(meter.clone());
        let input = Box::new(HandOver::new(self.feed, meter));
        (input, self.inside, self.plan)
    }

    /// Makes a task of the stages since the last queue.
    fn close(
        self,
        role: QueueRole,
        spawn: impl FnOnce(StageTask<T, E>, &Handle, &TaskTracker) -> AbortHandle + Send + 'static,
    ) -> (Arc<Queue<Fed<T, E>>>, Upstream, Plan) {
        let mut plan = self.plan;
        let stage = self.last.name.clone();
        let name = match role {
            QueueRole::Sink => Arc::from(SINK),
            QueueRole::Inner => stage.clone(),
        };
        let queue = Arc::new(Queue::new(name, role, plan.inner_capacity.get()));
        plan.exits.push(queue.clone());
        let upstream = Upstream::default();
        let (feed, inside) = (self.feed, self.inside);
        let (out, known) = (queue.clone(), upstream.clone());
        plan.launches.push(Box::new(move |runtime, tasks, rules| {
            let task = StageTask::new(feed, out, inside, stage, rules.clone());
            known.set(spawn(task, runtime, tasks)).expect("a task is launched once");
        }));
        (queue, upstream, plan)
    }
}

/// A whole pipeline that does not run yet.
#[must_use = "a pipeline does nothing until it is spawned"]
pub struct Runnable<T, E> {
    queue: Arc<Queue<Fed<T, E>>>,
    /// Known once the last task runs.
    shift: Arc<OnceLock<Arc<Shift<T, E>>>>,
    last: Upstream,
    plan: Plan,
}

impl<T, E> Runnable<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    /// Starts the pipeline's tasks, one for each map (and one for the source where there is no map).
    ///
    /// The runtime must be driven for items to flow and, after a cancellation, for the tasks to go. While a
    /// plain thread waits for an item, it does the work of the last task.
    pub fn spawn(self, runtime: &Handle) -> Sink<T, E> {
        let rules =
            Rules { clock: self.plan.clock.unwrap_or_else(Clock::monotonic), on_error: self.plan.on_error };
        if let Some(watch) = &self.plan.watch {
            self.plan.stages.iter().for_each(|stage| stage.watcher.set(watch));
            self.plan.exits.iter().for_each(|exit| exit.watched(watch));
        }
        let now = rules.clock.now();
        for exit in &self.plan.exits {
            exit.open(now);
        }
        let tasks = TaskTracker::new();
        // From the source on: a task may end the one before it from its first poll.
        for launch in self.plan.launches {
            launch(runtime, &tasks, &rules);
        }
        tasks.close();
        let control = Control::new(rules.clock.clone(), self.plan.stages, self.plan.exits, self.last, tasks);
        let shift = self.shift.get().expect("every task was launched").clone();
        Sink::new(self.queue, shift, rules.clock, control)
    }
}
