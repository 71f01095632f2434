//! A store, a dataset and options, bound together; and where the consumer is in them.

use crate::honoured;
use crate::left::{Gaps, Left};
use crate::listing::{self, Mark};
use crate::read_batch::Reader;
use crate::samples::Samples;
use crate::seats::Seats;
use crate::state::{Before, Own, State, mismatch};
use crate::{
    Batch, Dataset, Epoch, Listing, LoaderOptions, LoadingMode, OnError, Order, Progress, Quarantine,
    ReaderMode, Sampler, Source,
};
use forebay_io::layer::{Observed, RetryPolicy, Retrying};
use forebay_io::{
    Access, Budget, Error, Lease, Observe, Pool, ReadOptions, Result, Store, Through, Unobserved,
};
use forebay_metrics::{MetricsCollector, MetricsSnapshot};
use forebay_pipeline::{self as pipeline, Clock, Concurrency, Pipeline, Watch};
use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use tokio::runtime::Handle;

/// Loads a dataset, epoch after epoch. See the crate's words for an example.
pub struct Loader(Arc<Shared>);

type OnProgress = Arc<dyn Fn(&Progress) + Send + Sync>;

pub(crate) struct Shared {
    store: Arc<dyn Store>,
    source: Source,
    options: LoaderOptions,
    pool: Pool,
    /// For samples that are read by id: see `pick`.
    picks: Pool,
    collector: Option<Arc<MetricsCollector>>,
    pub(crate) on_progress: Option<OnProgress>,
    /// What tells the batches that are read side by side apart, in traces.
    seats: Arc<Seats>,
    watch: Option<(Instant, Arc<dyn Watch>)>,
    cursor: Mutex<Cursor>,
    quarantine: Mutex<Quarantine>,
}

/// Where the consumer is.
#[derive(Debug, Clone)]
struct Cursor {
    epoch: u64,
    /// What the present run of the epoch started with.
    before: Before,
    /// Of a listing, in place of that: the place that it started from, and what had come with the last batch.
    start: u64,
    mark: Mark,
    /// Batches delivered since then without a gap.
    batches: u64,
    /// Batches delivered beyond a gap (completion order).
    ahead: BTreeSet<u64>,
    /// The epoch was started, so the next start is that of the next epoch.
    begun: bool,
    /// Which run: batches of an earlier one that is still held by somebody do not count.
    run: u64,
}

/// How large a request is with `reader_mode=range` where nobody says it: large enough that a service's
/// latency is small against its transfer, small enough that a sample of some tens of MiB is several.
const RANGE_BYTES: NonZeroU64 = NonZeroU64::new(4 << 20).expect("is not 0");

/// What the loader puts around the store: its own tries, and who counts what was asked.
fn stack(
    store: Arc<dyn Store>,
    options: &LoaderOptions,
    collector: Option<&Arc<MetricsCollector>>,
) -> Arc<dyn Store> {
    let mut store = store;
    if let Some(retries) = options.retries.and_then(NonZeroU32::new) {
        let policy = RetryPolicy {
            max_attempts: retries.saturating_add(1),
            seed: options.seed,
            ..RetryPolicy::default()
        };
        let observer: Arc<dyn Observe> = match collector {
            Some(collector) => collector.clone(),
            None => Arc::new(Unobserved),
        };
        store = Arc::new(Retrying::new(store, policy, observer));
    }
    if let Some(collector) = collector {
        store = Arc::new(Observed::new(store, collector.clone()));
    }
    store
}

impl Loader {
    /// A loader with metrics of its own.
    ///
    /// # Errors
    /// `InvalidConfig` if the options make no sense; see [`LoaderOptions::validate`].
    pub fn new(store: Arc<dyn Store>, source: impl Into<Source>, options: LoaderOptions) -> Result<Self> {
        Self::with_collector(store, source, options, Some(Arc::new(MetricsCollector::new())))
    }

    /// A loader that counts into `collector`, or nowhere.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn with_collector(
        store: Arc<dyn Store>,
        source: impl Into<Source>,
        options: LoaderOptions,
        collector: Option<Arc<MetricsCollector>>,
    ) -> Result<Self> {
        let source = source.into();
        options.validate()?;
        honoured::by_loader(&options)?;
        source.honours(&options)?;
        let pool = Pool::new(Budget::new(options.max_bytes_in_flight)?);
        let picks = Pool::new(Budget::new(options.max_bytes_in_flight)?);
        let store = stack(store, &options, collector.as_ref());
        Ok(Loader(Arc::new(Shared {
            store,
            source,
            options,
            pool,
            picks,
            collector,
            on_progress: None,
            seats: Seats::new(),
            watch: None,
            cursor: Mutex::new(Cursor::at(0, Before::all(), 0)),
            quarantine: Mutex::default(),
        })))
    }

    /// Calls `tell` after each batch that is delivered, on the consumer's thread.
    ///
    /// # Panics
    /// If an epoch was started before.
    #[must_use]
    pub fn on_progress(mut self, tell: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        let shared = Arc::get_mut(&mut self.0).expect("set before the first epoch");
        shared.on_progress = Some(Arc::new(tell));
        self
    }

    /// Shows `watch` each task of a stage and each change of a queue, in all epochs, with times counted
    /// from `origin`.
    ///
    /// # Panics
    /// If an epoch was started before.
    #[must_use]
    pub fn watched(mut self, origin: Instant, watch: Arc<dyn Watch>) -> Self {
        let shared = Arc::get_mut(&mut self.0).expect("set before the first epoch");
        shared.watch = Some((origin, watch));
        self
    }

    /// The options.
    pub fn options(&self) -> &LoaderOptions {
        &self.0.options
    }

    /// What it loads from.
    pub fn source(&self) -> &Source {
        &self.0.source
    }

    /// The dataset; none with `loading_mode=streaming`.
    pub fn dataset(&self) -> Option<&Arc<Dataset>> {
        match &self.0.source {
            Source::Dataset(dataset) => Some(dataset),
            Source::Listing(_) => None,
        }
    }

    /// The budget behind `max_bytes_in_flight`.
    pub fn budget(&self) -> &Budget {
        self.0.pool.budget()
    }

    /// Bytes of memory that it keeps, for batches that are under way and for those to come.
    pub fn memory(&self) -> u64 {
        self.0.pool.committed() + self.0.picks.committed()
    }

    /// The samples that could not be had so far, in all epochs. Empty unless `on_error` lets some be lost.
    pub fn quarantine(&self) -> Quarantine {
        self.0.quarantine().clone()
    }

    /// How many batches a whole epoch has on this rank. None with `loading_mode=streaming`, where nobody knows
    /// before the listing has ended.
    pub fn batches(&self) -> Option<u64> {
        let dataset = self.dataset()?;
        Some(self.0.batches_left(&self.0.sampler(dataset, 0, &Before::all())))
    }

    /// Everything measured so far.
    pub fn snapshot(&self) -> MetricsSnapshot {
        self.0.snapshot()
    }

    /// Begins an epoch: the one that a loaded state points into, else the next.
    ///
    /// # Errors
    /// None today; options were checked when the loader was made.
    pub fn start(&self, runtime: &Handle) -> Result<Epoch> {
        let shared = &self.0;
        let begun = {
            let mut cursor = shared.cursor();
            if cursor.begun {
                cursor.end();
            }
            cursor.begun = true;
            cursor.run += 1;
            cursor.clone()
        };
        match &shared.source {
            Source::Dataset(dataset) => self.start_known(runtime, dataset, begun),
            Source::Listing(listing) => self.start_streaming(runtime, listing, begun),
        }
    }

    /// A pool of its own is given back with the epoch's last batch.
    fn epoch_pool(&self) -> Pool {
        match self.0.options.persistent_workers {
            true => self.0.pool.clone(),
            false => Pool::new(self.budget().clone()),
        }
    }

    fn start_known(&self, runtime: &Handle, dataset: &Arc<Dataset>, begun: Cursor) -> Result<Epoch> {
        let shared = &self.0;
        let Cursor { run, epoch, before, .. } = begun;
        let sampler = shared.sampler(dataset, epoch, &before);
        let batches = shared.batches_left(&sampler);
        let options = &shared.options;
        let size = options.batch_size as u64;
        // What was overtaken before comes first and in order, so that a state never has more gaps than one run
        // leaves.
        let old = sampler.in_pieces().div_ceil(size);

        let reader = Arc::new(shared.reader(Samples::Dataset(dataset.clone()), epoch, options.on_error));
        let pool = self.epoch_pool();
        let order = match options.loading_mode {
            LoadingMode::Completion => pipeline::Order::CompletionAfter(old),
            LoadingMode::Ordered | LoadingMode::Streaming => pipeline::Order::Delivery,
        };
        let (workers, prefetch) = shared.width()?;
        let sink = shared
            .shown(Pipeline::source("index", 0..batches))
            .map("read", workers, order, move |index| {
                let from = index * size;
                let ids = sampler.ids(from..sampler.len().min(from + size));
                // Taken here, where batches come in the order of delivery, and not when the read is
                // first polled: the place in the line of the budget is what keeps it from hanging.
                let lease = pool.lease(pool.budget().ticket(), ids.len() as u32);
                reader.clone().read(index, ids, lease)
            })
            .sink(prefetch)
            .spawn(runtime);
        if batches == 0 {
            shared.cursor().end();
        }
        let total = Arc::new(OnceLock::from(batches));
        Ok(Epoch::new(sink, runtime.clone(), shared.clone(), run, epoch, total))
    }

    fn start_streaming(&self, runtime: &Handle, listing: &Arc<Listing>, begun: Cursor) -> Result<Epoch> {
        let shared = &self.0;
        let Cursor { run, epoch, start, mark, .. } = begun;
        let total = Arc::new(OnceLock::new());
        let (store, from) = (shared.store.clone(), listing::From { epoch, start, mark });
        let batches = listing::batches(listing.clone(), store, from, &shared.options, total.clone());
        let (root, verify) = (listing.root().clone(), listing.verifies());
        let (reading, pool) = (shared.clone(), self.epoch_pool());
        let (workers, prefetch) = shared.width()?;
        let sink = shared
            .shown(Pipeline::stream("list", batches))
            .map("read", workers, pipeline::Order::Delivery, move |assigned| {
                let listing::Assigned { index, ids, origin } = assigned;
                let samples = Samples::Found { found: origin.found.clone(), root: root.clone(), verify };
                let reader = Arc::new(reading.reader(samples, epoch, reading.options.on_error));
                // In the order of delivery: see `start_known`.
                let lease = pool.lease(pool.budget().ticket(), ids.len() as u32);
                async move { Ok(reader.read(index, ids, lease).await?.streamed(origin)) }
            })
            .sink(prefetch)
            .spawn(runtime);
        Ok(Epoch::new(sink, runtime.clone(), shared.clone(), run, epoch, total))
    }

    /// What reads samples by id, and a lease of so many slots that no epoch waits for.
    pub(crate) fn picking(&self, dataset: &Arc<Dataset>, slots: u32) -> (Arc<Reader>, Arc<Lease>) {
        let Shared { picks, .. } = &*self.0;
        // Whoever asks for samples by id must get those, and no others.
        let reader = self.0.reader(Samples::Dataset(dataset.clone()), 0, OnError::Raise);
        (Arc::new(reader), picks.lease(picks.budget().ticket(), slots))
    }

    /// Makes the next start begin `epoch` at its beginning.
    pub fn set_epoch(&self, epoch: u64) {
        let mut cursor = self.0.cursor();
        *cursor = Cursor::at(epoch, Before::all(), cursor.run + 1);
    }

    /// Where the consumer is: after the last batch that it was given.
    pub fn state(&self) -> State {
        let Shared { options, source, .. } = &*self.0;
        let cursor = self.0.cursor();
        let dataset = match source {
            Source::Dataset(dataset) => dataset,
            Source::Listing(_) => {
                let done = cursor.batches.saturating_mul(options.batch_size as u64);
                let done = done.saturating_mul(options.shard_world_size as u64);
                return State {
                    version: State::VERSION,
                    epoch: cursor.epoch,
                    place: cursor.start.saturating_add(done),
                    gaps: Gaps::default(),
                    own: None,
                    order: listing::order_name(options),
                    seed: options.seed,
                    samples: cursor.mark.entries,
                    fingerprint: cursor.mark.digest.clone(),
                };
            }
        };
        let (left, own) = self.0.left(dataset, &cursor);
        State {
            version: State::VERSION,
            epoch: cursor.epoch,
            place: left.tail,
            gaps: Gaps::of(left.pieces()),
            own,
            order: Order::name(options),
            seed: options.seed,
            samples: dataset.len(),
            fingerprint: dataset.fingerprint().to_owned(),
        }
    }

    /// Makes the next start go on where `state` was saved. World size, rank, batch size and workers
    /// may be others; order and dataset must be the same. What one rank of several saved in completion order goes on
    /// on that rank alone: see [`Loader::load_states`].
    ///
    /// # Errors
    /// `Precondition` if going on would repeat or lose samples, naming what differs.
    pub fn load_state(&self, state: &State) -> Result<()> {
        self.load_states(std::slice::from_ref(state))
    }

    /// Makes the next start go on where all ranks were that saved `states`, also as another rank or with another
    /// world size. The loaders of all ranks that go on must be given the same ones.
    ///
    /// # Errors
    /// As [`Loader::load_state`]; `InvalidConfig` if they are not the states of all ranks, each once.
    pub fn load_states(&self, states: &[State]) -> Result<()> {
        let options = self.options();
        let dataset = match &self.0.source {
            Source::Dataset(dataset) => dataset,
            Source::Listing(_) => {
                let state = listing::earliest(states, options)?;
                let mark = Mark { entries: state.samples, digest: state.fingerprint.clone() };
                let mut cursor = self.0.cursor();
                let begin = Cursor::at(state.epoch, Before::all(), cursor.run + 1);
                *cursor = Cursor { start: state.place, mark, ..begin };
                return Ok(());
            }
        };
        states.iter().try_for_each(|state| self.fits(dataset, state))?;
        let (rank, world) = (options.shard_rank as u64, options.shard_world_size as u64);
        let (epoch, before) = State::before(states, rank, world)?;
        let mut cursor = self.0.cursor();
        *cursor = Cursor::at(epoch, before, cursor.run + 1);
        Ok(())
    }

    /// Whether a state is of this order and this dataset.
    fn fits(&self, dataset: &Dataset, state: &State) -> Result<()> {
        let options = &self.0.options;
        if state.samples != dataset.len() {
            return Err(mismatch("dataset size", state.samples, dataset.len()).at(dataset.root()));
        }
        if state.fingerprint != dataset.fingerprint() {
            return Err(
                mismatch("dataset fingerprint", &state.fingerprint, dataset.fingerprint()).at(dataset.root())
            );
        }
        let order = Order::name(options);
        if state.order != order {
            return Err(mismatch("the order", &state.order, order));
        }
        if Order::is_random(options) && state.seed != options.seed {
            return Err(mismatch("seed", state.seed, options.seed));
        }
        state.left().map(drop)
    }
}

impl Shared {
    /// (Not one of `parking_lot`, whose table of waiting threads a fork can spoil; see `forebay_io`.)
    fn cursor(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn quarantine(&self) -> MutexGuard<'_, Quarantine> {
        self.quarantine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn options(&self) -> &LoaderOptions {
        &self.options
    }

    fn sampler(&self, dataset: &Dataset, epoch: u64, before: &Before) -> Sampler {
        let (total, options) = (dataset.len(), &self.options);
        match before {
            Before::Shared(left) => Sampler::of(total, epoch, left.clone(), options),
            Before::Own(left, own) => Sampler::of_own(total, epoch, left.clone(), own.end, options),
        }
    }

    /// What the consumer has not been given, and whether only of its own rank's part.
    fn left(&self, dataset: &Dataset, cursor: &Cursor) -> (Left, Option<Own>) {
        let options = &self.options;
        let size = options.batch_size as u64;
        let sampler = self.sampler(dataset, cursor.epoch, &cursor.before);
        let world = options.shard_world_size as u64;
        let own = match cursor.before {
            Before::Own(_, own) => Some(own),
            Before::Shared(_) if options.loading_mode == LoadingMode::Completion && world > 1 => {
                Some(Own { rank: options.shard_rank as u64, world, end: sampler.own_end() })
            }
            // Every other rank was given as many, and none of them before its turn.
            Before::Shared(_) if cursor.ahead.is_empty() => {
                return (sampler.left_after(cursor.batches * size), None);
            }
            Before::Shared(_) => None,
        };
        let next = cursor.ahead.last().map_or(cursor.batches, |last| last + 1);
        let overtaken = (cursor.batches..next).filter(|batch| !cursor.ahead.contains(batch));
        let samples = overtaken.map(|batch| batch * size..sampler.len().min((batch + 1) * size));
        (sampler.own_after(sampler.len().min(next * size), samples), own)
    }

    /// How many batches are read at once, and how many wait.
    fn width(&self) -> Result<(Concurrency, NonZeroUsize)> {
        let workers =
            Concurrency::new(self.options.num_workers).map_err(|e| Error::invalid(e.to_string()))?;
        let prefetch = NonZeroUsize::new(self.options.prefetch);
        Ok((workers, prefetch.ok_or_else(|| Error::invalid("prefetch is 0"))?))
    }

    /// With whoever watches the stages, if anybody does.
    fn shown<T: Send + 'static>(&self, source: Pipeline<T, Error>) -> Pipeline<T, Error> {
        match &self.watch {
            Some((origin, watch)) => source.clock(Clock::since(*origin)).watched(watch.clone()),
            None => source,
        }
    }

    fn reader(&self, samples: Samples, epoch: u64, on_error: OnError) -> Reader {
        let options = &self.options;
        Reader {
            store: self.store.clone(),
            samples,
            options: ReadOptions {
                access: Access::Sequential,
                page_cache: options.page_cache_mode,
                through: match options.reader_mode {
                    ReaderMode::Mmap => Through::Mapping,
                    ReaderMode::Sequential | ReaderMode::Range => Through::Calls,
                },
                target_request_bytes: match options.reader_mode {
                    ReaderMode::Range => Some(options.target_request_bytes.unwrap_or(RANGE_BYTES)),
                    ReaderMode::Sequential | ReaderMode::Mmap => options.target_request_bytes,
                },
                stage: "read",
                stream: None,
                attempt: 0,
            },
            seats: self.seats.clone(),
            on_error,
            seed: options.seed,
            deadline: options.deadline,
            epoch,
        }
    }

    fn batches_left(&self, sampler: &Sampler) -> u64 {
        let size = self.options.batch_size as u64;
        if self.options.drop_last { sampler.len() / size } else { sampler.len().div_ceil(size) }
    }

    /// The consumer was given a batch of this run.
    pub(crate) fn delivered(&self, run: u64, batch: &Batch) {
        let mut cursor = self.cursor();
        if cursor.run != run {
            return;
        }
        cursor.ahead.insert(batch.index());
        while cursor.ahead.first() == Some(&cursor.batches) {
            cursor.ahead.pop_first();
            cursor.batches += 1;
        }
        let over = match (&self.source, batch.mark()) {
            (Source::Dataset(dataset), _) => {
                cursor.batches == self.batches_left(&self.sampler(dataset, cursor.epoch, &cursor.before))
            }
            (Source::Listing(_), Some((mark, last))) => {
                cursor.mark = mark.clone();
                last
            }
            (Source::Listing(_), None) => false,
        };
        if over {
            cursor.end();
        }
    }

    /// The consumer was told that there are no more batches of this run.
    pub(crate) fn ended(&self, run: u64) {
        let mut cursor = self.cursor();
        // Where the last batch was known to be the last, the cursor is beyond it already.
        if cursor.run == run && cursor.begun {
            cursor.end();
        }
    }

    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        if let Some(collector) = &self.collector {
            let gauge = collector.inflight_bytes();
            gauge.set_cap(self.pool.budget().cap());
            gauge.reached(self.pool.budget().peak());
            let mut snapshot = collector.snapshot();
            let now = &mut snapshot.inflight_bytes;
            now.level = now.level.max(self.pool.budget().used());
            snapshot
        } else {
            MetricsCollector::new().snapshot()
        }
    }
}

impl Cursor {
    /// Before `before`, in a run that begins with the next start.
    fn at(epoch: u64, before: Before, run: u64) -> Self {
        let (batches, ahead, mark) = (0, BTreeSet::new(), Mark::default());
        Cursor { epoch, before, start: 0, mark, batches, ahead, begun: false, run }
    }

    /// The epoch is over: the next one begins at its beginning.
    fn end(&mut self) {
        *self = Cursor::at(self.epoch + 1, Before::all(), self.run);
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("store", &self.0.store)
            .field("source", &self.0.source)
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}
