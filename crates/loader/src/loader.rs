//! A store, a dataset and options, bound together; and where the consumer is in them.

use crate::honoured;
use crate::read_batch::Reader;
use crate::state::{Ahead, Overtaken, State, mismatch};
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
    cursor: Mutex<Cursor>,
    quarantine: Mutex<Quarantine>,
}

/// Where the consumer is.
#[derive(Debug, Default)]
struct Cursor {
    epoch: u64,
    /// The place in the global order that the present run of the epoch started from.
    start: u64,
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
            cursor: Mutex::default(),
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
        self.0.batches_left(&self.0.sampler(0, 0))
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
        let (run, epoch, start, skip) = {
            let mut cursor = shared.cursor();
            if cursor.begun {
                *cursor = Cursor { epoch: cursor.epoch + 1, run: cursor.run, ..Cursor::default() };
            }
            cursor.begun = true;
            cursor.run += 1;
            (cursor.run, cursor.epoch, cursor.start, cursor.ahead.clone())
        };
        let sampler = shared.sampler(epoch, start);
        let batches = shared.batches_left(&sampler);
        let options = &shared.options;
        let size = options.batch_size as u64;
        let to_come = batches - skip.len() as u64;

        let indices = (0..batches).filter(move |index| !skip.contains(index));
        let reader = shared.reader(epoch, options.on_error);
        // A pool of its own is given back with the epoch's last batch.
        let pool =
            if options.persistent_workers { shared.pool.clone() } else { Pool::new(self.budget().clone()) };
        let order = match options.loading_mode {
            LoadingMode::Ordered => pipeline::Order::Delivery,
            LoadingMode::Completion => pipeline::Order::Completion,
            LoadingMode::Streaming => return Err(Error::invalid("loading_mode=streaming needs a listing")),
        };
        let workers = Concurrency::new(options.num_workers).map_err(|e| Error::invalid(e.to_string()))?;
        let prefetch = NonZeroUsize::new(options.prefetch).ok_or_else(|| Error::invalid("prefetch is 0"))?;
        let sink = Pipeline::source("index", indices)
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
        if to_come == 0 {
            shared.cursor().end();
        }
        Ok(Epoch::new(sink, runtime.clone(), shared.clone(), run, epoch, to_come))
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
        *cursor = Cursor { epoch, run: cursor.run + 1, ..Cursor::default() };
    }

    /// Where the consumer is: after the last batch that it was given.
    pub fn state(&self) -> State {
        let Shared { options, dataset, .. } = &*self.0;
        let cursor = self.0.cursor();
        let place = self
            .0
            .sampler(cursor.epoch, cursor.start)
            .place_after(cursor.batches * options.batch_size as u64);
        let ahead = (!cursor.ahead.is_empty()).then(|| Ahead {
            overtaken: Overtaken::of(&cursor.ahead, cursor.batches),
            batch_size: options.batch_size,
            shard_rank: options.shard_rank,
            shard_world_size: options.shard_world_size,
        });
        State {
            version: State::VERSION,
            epoch: cursor.epoch,
            place,
            ahead,
            order: Order::name(options),
            seed: options.seed,
            samples: dataset.len(),
            fingerprint: dataset.fingerprint().to_owned(),
        }
    }

    /// Makes the next start go on where `state` was saved. World size, rank, batch size and workers
    /// may be others; order and dataset must be the same.
    ///
    /// # Errors
    /// `Precondition` if going on would repeat or lose samples, naming what differs.
    pub fn load_state(&self, state: &State) -> Result<()> {
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
        if state.place > state.samples {
            let context = format!("the state has {} of {} samples done", state.place, state.samples);
            return Err(Error::invalid(context));
        }
        let ahead = match &state.ahead {
            None => BTreeSet::new(),
            Some(ahead) => {
                let saved = (ahead.batch_size, ahead.shard_rank, ahead.shard_world_size);
                let here = (options.batch_size, options.shard_rank, options.shard_world_size);
                if saved != here {
                    let what = "loading_mode=completion and (batch_size, shard_rank, shard_world_size)";
                    return Err(mismatch(what, format_args!("{saved:?}"), format_args!("{here:?}")));
                }
                let left = self.0.batches_left(&self.0.sampler(state.epoch, state.place));
                ahead.overtaken.batches_ahead(left)?
            }
        };
        let mut cursor = self.0.cursor();
        let run = cursor.run + 1;
        *cursor = Cursor { epoch: state.epoch, start: state.place, ahead, run, ..Cursor::default() };
        Ok(())
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

    fn sampler(&self, epoch: u64, start: u64) -> Sampler {
        Sampler::new(self.dataset.len(), epoch, start, &self.options)
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
                attempt: 0,
            },
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
        if cursor.batches == self.batches_left(&self.sampler(cursor.epoch, cursor.start)) {
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
    /// The epoch is over: the next one begins at its beginning.
    fn end(&mut self) {
        *self = Cursor { epoch: self.epoch + 1, run: self.run, ..Cursor::default() };
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
