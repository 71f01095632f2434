//! The store: what each promise of [`Store`] is made of here.

use crate::batch::{Batch, Stop};
use crate::object::DirectObject;
use crate::options::DirectOptions;
use crate::put::DirectDraft;
use crate::shared::{Shared, check_policy, request_bytes};
use forebay_io::{
    Body, Capability, GetRequest, ListOptions, Location, Meta, Object, Operation, Page, PageCacheMode, Place,
    PutOptions, ReadOptions, Result, Served, Store,
};
use forebay_io_fs::posix::{self, Gathered};
use forebay_io_fs::{FsOptions, FsStore};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use rustix::fs::CWD;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Files of local and mounted filesystems, past the page cache, under `direct://`. Clones share the ring
/// and the threads.
///
/// * What a filesystem wants of offsets, lengths and addresses is its own affair and the store's: any
///   range of any file may be read, into any buffer. Without a copy if the destination is a
///   [`Lease`](forebay_io::Lease), or a buffer that happens to lie right, and the range begins at a
///   block.
/// * Where `O_DIRECT` is refused, the next best is used, and [`Served::cache`](forebay_io::Served) and the
///   observer say so; with [`strict`](DirectOptions::strict) it is an error.
/// * A file that shrinks or grows while it is read whole is found out, as is another version than was
///   asked for.
/// * [`Store::put`] writes past the page cache, too. Names are those of `file://`: see
///   [`FsStore`](forebay_io_fs::FsStore) for what is promised of them.
///
/// The threads end when the last clone, and the last object that it opened, is dropped. They do not
/// follow into a forked child: make another store there.
#[derive(Clone)]
pub struct DirectStore {
    shared: Arc<Shared>,
    names: FsStore,
}

/// What of the pools' memory is registered with a store's ring; see
/// [`register_buffers`](DirectOptions::register_buffers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingMemory {
    /// Bytes that are registered now.
    pub registered: u64,
    /// Stretches of memory that could not be registered so far, of which the observer hears
    /// ([`Event::Unregistered`](forebay_io::Event)). They are read into all the same.
    pub refused: u64,
}

/// Listing, asking and removing is all that the store of names does here.
const NAMING_THREADS: usize = 2;

impl DirectStore {
    /// A store with a ring (or threads) of its own.
    ///
    /// # Errors
    /// `InvalidConfig` for a bad option; `Unsupported` if a ring is required and refused; `Unavailable`
    /// if the system starts no more threads.
    pub fn new(options: DirectOptions) -> Result<Self> {
        let shared = Shared::start(options)?;
        let names = FsStore::new(FsOptions { threads: NAMING_THREADS, ..FsOptions::default() })?;
        Ok(DirectStore { shared, names })
    }

    /// Whether reads go through an `io_uring`; else threads make them.
    pub fn uses_ring(&self) -> bool {
        self.shared.engine.has_ring()
    }

    /// What of the pools' memory the ring's kernel knows; nothing where there is no ring.
    pub fn ring_memory(&self) -> RingMemory {
        self.shared.engine.registered().map_or(RingMemory::default(), |counts| RingMemory {
            registered: counts.bytes.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
        })
    }

    /// Runs a short job, and says so if its thread was lost.
    async fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        location: &Location,
        job: impl FnOnce(&dyn Fn() -> bool) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = self.shared.engine.threads.run(job).await;
        done.unwrap_or_else(|| Err(posix::lost(operation, location)))
    }
}

impl Store for DirectStore {
    fn capability(&self) -> Capability {
        let page_cache: &[PageCacheMode] = match self.shared.options.direct_io {
            true => &[PageCacheMode::Default, PageCacheMode::DirectIO],
            false => &[PageCacheMode::Default],
        };
        Capability { mappings: false, page_cache, ..self.names.capability() }
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        async move { self.get_many(Arc::new([request]), options, place).await.remove(0) }.boxed()
    }

    fn get_many<'a>(
        &'a self,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Vec<Result<Served>>> {
        async move {
            let direct_io = self.shared.options.direct_io;
            let refused =
                |r: &GetRequest| check_policy(Operation::Get, &r.location, &options, direct_io).err();
            if requests.first().is_some_and(|first| refused(first).is_some()) {
                let refuse = |r| Err(refused(r).expect("it depends on the options alone"));
                return requests.iter().map(refuse).collect();
            }
            let mut batch = Batch::new(self.shared.clone(), requests.clone(), options, place.clone());
            let mut room = None;
            loop {
                match batch.start(room).await {
                    Ok(Stop::Wait(waiting)) => {
                        room = Some(place.reserve(waiting.wants()).await);
                        batch = waiting;
                    }
                    Ok(Stop::Done(results)) => return results,
                    Err(_) => {
                        let lost = |r: &GetRequest| Err(posix::lost(Operation::Get, &r.location));
                        return requests.iter().map(lost).collect();
                    }
                }
            }
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
        async move {
            check_policy(Operation::Open, location, &options, self.shared.options.direct_io)?;
            let (shared, at) = (self.shared.clone(), location.clone());
            self.run(Operation::Open, location, move |_| {
                let seat = shared.engine.seat();
                let (file, stat) = shared.open(Operation::Open, &at, (CWD, at.path_bytes()), seat)?;
                let meta = posix::meta_of(&stat).ok_or_else(|| posix::not_a_file(Operation::Open, &at))?;
                let object = DirectObject::new(file, at, meta, request_bytes(&options), shared);
                Ok(Arc::new(object) as Arc<dyn Object>)
            })
            .await
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        self.names.stat(location)
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        self.names.list(location, options)
    }

    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>> {
        async move {
            let mut body = Gathered::new(body);
            let promised = body.promised();
            let mut draft = None;
            loop {
                let (chunks, last) = body.next(location).await?;
                let begun = draft.take();
                let (at, shared) = (location.clone(), self.shared.clone());
                let step = self.run(Operation::Put, location, move |gave_up| {
                    let mut draft = match begun {
                        Some(draft) => draft,
                        None => DirectDraft::begin(&at, options, &shared.options)?,
                    };
                    draft.write(&chunks)?;
                    // Whoever went away does not want it any more.
                    if last && !gave_up() { draft.commit(promised).map(Ok) } else { Ok(Err(draft)) }
                });
                match step.await? {
                    Ok(meta) => return Ok(meta),
                    Err(begun) => draft = Some(begun),
                }
            }
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        self.names.delete_many(locations)
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        self.names.delete(location)
    }
}

impl fmt::Debug for DirectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectStore")
            .field("ring", &self.uses_ring())
            .field("ring_memory", &self.ring_memory())
            .field("options", &self.shared.options)
            .finish()
    }
}
