//! A store, a dataset and options, bound together; and where the consumer is in them.

use crate::honoured;
use crate::left::{Gaps, Left};
use crate::read_batch::Reader;
use crate::seats::Seats;
use crate::state::{Before, Own, State, mismatch};
use crate::{
    Batch, Dataset, Epoch, LoaderOptions, LoadingMode, OnError, Order, Progress, Quarantine, ReaderMode,
    Sampler,
};
use forebay_io::layer::{Observed, RetryPolicy, Retrying};
use forebay_io::{Access, Budget, Error, Lease, Observe, Pool, ReadOptions, Result, Store, Unobserved};
use forebay_metrics::{MetricsCollector, MetricsSnapshot};
use forebay_pipeline::{self as pipeline, Concurrency, Pipeline};
use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// Loads a dataset, epoch after epoch. See the crate's words for an example.
pub struct Loader(Arc<Shared>);

type OnProgress = Arc<dyn Fn(&Progress) + Send + Sync>;

pub(crate) struct Shared {
    store: Arc<dyn Store>,
    dataset: Arc<Dataset>,
    options: LoaderOptions,
    pool: Pool,
    /// For samples that are read by id: see `pick`.
    picks: Pool,
    collector: Option<Arc<MetricsCollector>>,
    pub(crate) on_progress: Option<OnProgress>,
    /// What tells the batches that are read side by side apart, in traces.
    seats: Arc<Seats>,
    cursor: Mutex<Cursor>,
    quarantine: Mutex<Quarantine>,
}

/// Where the consumer is.
#[derive(Debug)]
struct Cursor {
    epoch: u64,
    /// What the present run of the epoch started with.
    before: Before,
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
    pub fn new(store: Arc<dyn Store>, dataset: Arc<Dataset>, options: LoaderOptions) -> Result<Self> {
        Self::with_collector(store, dataset, options, Some(Arc::new(MetricsCollector::new())))
    }

    /// A loader that counts into `collector`, or nowhere.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn with_collector(
        store: Arc<dyn Store>,
        dataset: Arc<Dataset>,
        options: LoaderOptions,
        collector: Option<Arc<MetricsCollector>>,
    ) -> Result<Self> {
        options.validate()?;
        honoured::by_loader(&options)?;
        let pool = Pool::new(Budget::new(options.max_bytes_in_flight)?);
        let picks = Pool::new(Budget::new(options.max_bytes_in_flight)?);
        let store = stack(store, &options, collector.as_ref());
        Ok(Loader(Arc::new(Shared {
            store,
            dataset,
            options,
            pool,
            picks,
            collector,
            on_progress: None,
            seats: Seats::new(),
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

    /// The options.
    pub fn options(&self) -> &LoaderOptions {
        &self.0.options
    }

    /// The dataset.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.0.dataset
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

    /// How many batches a whole epoch has on this rank.
    pub fn batches(&self) -> u64 {
        self.0.batches_left(&self.0.sampler(0, &Before::all()))
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
        let (run, epoch, sampler) = {
            let mut cursor = shared.cursor();
            if cursor.begun {
                cursor.end();
            }
            cursor.begun = true;
            cursor.run += 1;
            (cursor.run, cursor.epoch, shared.sampler(cursor.epoch, &cursor.before))
        };
        let batches = shared.batches_left(&sampler);
        let options = &shared.options;
        let size = options.batch_size as u64;
        // What was overtaken before comes first and in order, so that a state never has more gaps than one run
        // leaves.
        let old = sampler.in_pieces().div_ceil(size);

        let reader = shared.reader(epoch, options.on_error);
        // A pool of its own is given back with the epoch's last batch.
        let pool =
            if options.persistent_workers { shared.pool.clone() } else { Pool::new(self.budget().clone()) };
        let order = match options.loading_mode {
            LoadingMode::Ordered => pipeline::Order::Delivery,
            LoadingMode::Completion => pipeline::Order::CompletionAfter(old),
            LoadingMode::Streaming => return Err(Error::invalid("loading_mode=streaming needs a listing")),
        };
        let workers = Concurrency::new(options.num_workers).map_err(|e| Error::invalid(e.to_string()))?;
        let prefetch = NonZeroUsize::new(options.prefetch).ok_or_else(|| Error::invalid("prefetch is 0"))?;
        let sink = Pipeline::source("index", 0..batches)
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
        Ok(Epoch::new(sink, runtime.clone(), shared.clone(), run, epoch, batches))
    }

    /// What reads samples by id, and a lease of so many slots that no epoch waits for.
    pub(crate) fn picking(&self, slots: u32) -> (Arc<Reader>, Arc<Lease>) {
        let Shared { picks, .. } = &*self.0;
        // Whoever asks for samples by id must get those, and no others.
        (self.0.reader(0, OnError::Raise), picks.lease(picks.budget().ticket(), slots))
    }

    /// Makes the next start begin `epoch` at its beginning.
    pub fn set_epoch(&self, epoch: u64) {
        let mut cursor = self.0.cursor();
        *cursor = Cursor::at(epoch, Before::all(), cursor.run + 1);
    }

    /// Where the consumer is: after the last batch that it was given.
    pub fn state(&self) -> State {
        let Shared { options, dataset, .. } = &*self.0;
        let cursor = self.0.cursor();
        let (left, own) = self.0.left(&cursor);
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
        states.iter().try_for_each(|state| self.fits(state))?;
        let options = self.options();
        let (rank, world) = (options.shard_rank as u64, options.shard_world_size as u64);
        let (epoch, before) = State::before(states, rank, world)?;
        let mut cursor = self.0.cursor();
        *cursor = Cursor::at(epoch, before, cursor.run + 1);
        Ok(())
    }

    /// Whether a state is of this order and this dataset.
    fn fits(&self, state: &State) -> Result<()> {
        let Shared { options, dataset, .. } = &*self.0;
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

    fn sampler(&self, epoch: u64, before: &Before) -> Sampler {
        let (total, options) = (self.dataset.len(), &self.options);
        match before {
            Before::Shared(left) => Sampler::of(total, epoch, left.clone(), options),
            Before::Own(left, own) => Sampler::of_own(total, epoch, left.clone(), own.end, options),
        }
    }

    /// What the consumer has not been given, and whether only of its own rank's part.
    fn left(&self, cursor: &Cursor) -> (Left, Option<Own>) {
        let options = &self.options;
        let size = options.batch_size as u64;
        let sampler = self.sampler(cursor.epoch, &cursor.before);
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

    fn reader(&self, epoch: u64, on_error: OnError) -> Arc<Reader> {
        let options = &self.options;
        Arc::new(Reader {
            store: self.store.clone(),
            dataset: self.dataset.clone(),
            options: ReadOptions {
                access: Access::Sequential,
                page_cache: options.page_cache_mode,
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
        })
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
        if cursor.batches == self.batches_left(&self.sampler(cursor.epoch, &cursor.before)) {
            cursor.end();
        }
    }

    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        if let Some(collector) = &self.collector {
            let gauge = collector.inflight_bytes();
            gauge.set_cap(self.pool.budget().cap());
            gauge.reached(self.pool.budget().peak());
            collector.snapshot()
        } else {
            MetricsCollector::new().snapshot()
        }
    }
}

impl Cursor {
    /// Before `before`, in a run that begins with the next start.
    fn at(epoch: u64, before: Before, run: u64) -> Self {
        Cursor { epoch, before, batches: 0, ahead: BTreeSet::new(), begun: false, run }
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
            .field("dataset", &self.0.dataset)
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}
