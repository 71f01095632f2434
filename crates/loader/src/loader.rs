//! A store, a dataset and options, bound together; and where the consumer is in them.

mod saved;

use crate::hand::Hand;
use crate::honoured;
use crate::listing::{self, Mark};
use crate::memory::Memory;
use crate::read_batch::Reader;
use crate::samples::Samples;
use crate::seats::Seats;
use crate::state::Before;
use crate::{
    Batch, Dataset, Epoch, Listing, LoaderOptions, LoadingMode, OnError, Progress, Quarantine, ReaderMode,
    Sampler, Source,
};
use forebay_io::layer::{Coalesced, Observed, RetryPolicy, Retrying};
use forebay_io::{
    Access, Budget, Error, Lease, MemoryCap, Observe, ReadOptions, Result, Store, Through, Unobserved,
};
use forebay_metrics::{GaugeReading, MetricsCollector, MetricsSnapshot};
use forebay_pipeline::{self as pipeline, Clock, Concurrency, Pipeline, Watch};
use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
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
    memory: Memory,
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
    /// Where it was at the end of the epoch before.
    last: Option<Box<Cursor>>,
    /// Which run: batches of an earlier one that is still held by somebody do not count.
    run: u64,
}

/// What the loader puts around the store: requests of the size that was asked for, where the store itself makes none of
/// several samples; its own tries, and who counts what was asked.
fn stack(
    store: Arc<dyn Store>,
    options: &LoaderOptions,
    collector: Option<&Arc<MetricsCollector>>,
) -> Arc<dyn Store> {
    let mut store = store;
    if options.request_bytes().is_some() && !store.capability().coalesces {
        store = Arc::new(Coalesced::new(store));
    }
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
        honoured::by_store(&options, &*store, source.root())?;
        if let Source::Listing(listing) = &source
            && listing.splits_by_name(&*store, &options)
        {
            listing::honours_by_name(&options)?;
        }
        let memory = Memory::own(&options)?;
        let store = stack(store, &options, collector.as_ref());
        let quarantine = match &source {
            Source::Dataset(dataset) => Quarantine::of(dataset.damage()),
            Source::Listing(_) => Quarantine::default(),
        };
        Ok(Loader(Arc::new(Shared {
            store,
            source,
            options,
            memory,
            collector,
            on_progress: None,
            seats: Seats::new(),
            watch: None,
            cursor: Mutex::new(Cursor::at(0, Before::all(), 0)),
            quarantine: Mutex::new(quarantine),
        })))
    }

    /// Takes its memory from `cap`, with all other loaders that do; at most `max_bytes_in_flight` of it. Its largest
    /// batch is guaranteed, so that loaders whose batches are taken in turns never wait for each other: as large as
    /// so many of the largest sample, where the dataset knows how long its samples are (of one with an index it looks
    /// them through once), else `max_bytes_in_flight`. Batches count until they are dropped.
    ///
    /// # Errors
    /// `InvalidConfig` if the cap has no room for that beside what it guarantees to others, with the numbers;
    /// `Unavailable` if others have been lent it at this moment: make all loaders before the first epoch.
    ///
    /// # Panics
    /// If an epoch was started before.
    pub fn under(mut self, cap: &MemoryCap) -> Result<Self> {
        let shared = Arc::get_mut(&mut self.0).expect("set before the first epoch");
        shared.memory = Memory::under(cap, &shared.source, &shared.options)?;
        Ok(self)
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
        self.0.memory.budget()
    }

    /// Bytes of memory that are kept, for batches that are under way and for those to come: its own, or those of all
    /// loaders under its [`MemoryCap`].
    pub fn memory(&self) -> u64 {
        self.0.memory.committed()
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

    fn start_known(&self, runtime: &Handle, dataset: &Arc<Dataset>, begun: Cursor) -> Result<Epoch> {
        let shared = &self.0;
        let Cursor { run, epoch, before, .. } = begun;
        let sampler = shared.sampler(dataset, epoch, &before);
        let batches = shared.batches_left(&sampler);
        let over = shared.all_have(batches, &sampler, &before);
        let options = &shared.options;
        let size = options.batch_size as u64;
        // What was overtaken before comes first and in order, so that a state never has more gaps than one run
        // leaves.
        let old = sampler.in_pieces().div_ceil(size);

        let reader = Arc::new(shared.reader(Samples::Dataset(dataset.clone()), epoch, options.on_error));
        let pool = shared.memory.of_epoch(options.persistent_workers);
        let order = match options.loading_mode {
            LoadingMode::Completion => pipeline::Order::CompletionAfter(old),
            LoadingMode::Ordered | LoadingMode::Streaming => pipeline::Order::Delivery,
        };
        let (workers, prefetch) = shared.width()?;
        let hand = Arc::new(Hand(pool.clone()));
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
            .spawn(runtime)
            .assisting(hand);
        if over && batches == 0 {
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
        let (reading, pool) = (shared.clone(), shared.memory.of_epoch(shared.options.persistent_workers));
        let (workers, prefetch) = shared.width()?;
        let hand = Arc::new(Hand(pool.clone()));
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
            .spawn(runtime)
            .assisting(hand);
        Ok(Epoch::new(sink, runtime.clone(), shared.clone(), run, epoch, total))
    }

    /// What reads samples by id, and a lease of so many slots that no epoch waits for.
    ///
    /// # Errors
    /// As [`Loader::under`].
    pub(crate) fn picking(&self, dataset: &Arc<Dataset>, slots: u32) -> Result<(Arc<Reader>, Arc<Lease>)> {
        let picks = self.0.memory.of_picks()?;
        // Whoever asks for samples by id must get those, and no others.
        let reader = self.0.reader(Samples::Dataset(dataset.clone()), 0, OnError::Raise);
        Ok((Arc::new(reader), picks.lease(picks.budget().ticket(), slots)))
    }

    /// Makes the next start begin `epoch` at its beginning.
    pub fn set_epoch(&self, epoch: u64) {
        let mut cursor = self.0.cursor();
        *cursor = Cursor::at(epoch, Before::all(), cursor.run + 1);
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
                target_request_bytes: options.request_bytes(),
                stage: "read",
                stream: None,
                epoch: Some(epoch),
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
        self.batches_of(sampler.len())
    }

    fn batches_of(&self, samples: u64) -> u64 {
        let size = self.options.batch_size as u64;
        if self.options.drop_last { samples / size } else { samples.div_ceil(size) }
    }

    /// Whether with so many batches each rank has been given all of its own. While some still have one before them
    /// the epoch is not over, also for those who have none: what they save has to say what is left of it. Of a rank
    /// that goes on from its own state alone nobody knows what the others have.
    fn all_have(&self, batches: u64, sampler: &Sampler, before: &Before) -> bool {
        matches!(before, Before::Shared(_)) && batches == self.batches_of(sampler.longest())
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
                let sampler = self.sampler(dataset, cursor.epoch, &cursor.before);
                self.all_have(cursor.batches, &sampler, &cursor.before)
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
            let budget = self.memory.budget();
            let gauge = collector.inflight_bytes();
            gauge.set_cap(budget.cap());
            gauge.reached(budget.peak());
            let mut snapshot = collector.snapshot();
            let now = &mut snapshot.inflight_bytes;
            now.level = now.level.max(budget.used());
            if let Some(all) = budget.memory_cap().map(MemoryCap::reading) {
                let level = all.in_flight + all.held;
                snapshot.shared_bytes = GaugeReading { level, peak: all.peak, cap: Some(all.cap) };
            }
            snapshot
        } else {
            MetricsCollector::new().snapshot()
        }
    }
}

impl Cursor {
    /// Whether the consumer was given this batch of the epoch.
    fn was_given(&self, batch: u64) -> bool {
        batch < self.batches || self.ahead.contains(&batch)
    }

    /// Before `before`, in a run that begins with the next start.
    fn at(epoch: u64, before: Before, run: u64) -> Self {
        let (batches, ahead, mark) = (0, BTreeSet::new(), Mark::default());
        Cursor { epoch, before, start: 0, mark, batches, ahead, begun: false, last: None, run }
    }

    /// The epoch is over: the next one begins at its beginning.
    fn end(&mut self) {
        let next = Cursor::at(self.epoch + 1, Before::all(), self.run);
        let ended = std::mem::replace(self, next);
        self.last = Some(Box::new(Cursor { last: None, ..ended }));
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
