//! The store: what each promise of [`Store`] is made of here.

use crate::descriptors::Descriptors;
use crate::file;
use crate::kept_files::KeptFiles;
use crate::mapping::Probe;
use crate::object::{FsObject, Opened};
use crate::options::FsOptions;
use crate::pool::Pool;
use crate::put::{Draft, Gathered};
use crate::read_batch::{self, Files, ReadBatch, Terms};
use crate::residency::Lookout;
use crate::walk::Stride;
use crate::{failure, list, split_read, version, waiting};
use forebay_io::{
    Body, Capability, GetRequest, ListOptions, Location, Meta, Object, Observe, Operation, Page,
    PageCacheMode, Place, PutOptions, ReadOptions, Result, Served, Store, delete_each,
};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::BoxStream;
use rustix::fd::AsFd;
use rustix::fs::CWD;
use rustix::io::Errno;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// Files from which a batch is divided among threads. Batches of the usual size are not: several are
/// under way at once, and each is one job and one wake-up.
const DIVIDE_FROM: usize = 256;

/// Files of local and mounted filesystems, under `file://`. Clones share the threads.
///
/// * [`Store::get`] and [`Store::get_many`] see a file that shrinks or grows while it is read, and a
///   version is checked before and (for whole files) after. A rewrite in place that keeps the size is
///   only seen by its version.
/// * Only regular files are objects. Opening a pipe does not hang; it is refused, as are sockets and
///   devices.
/// * [`Store::put`] replaces names, not contents: a symbolic link is replaced by a file, and who has the
///   old file open goes on reading it. New files get the mode that the process's umask allows.
/// * [`Store::delete`] removes a file or a link, never a directory.
///
/// The threads end when the last clone, and the last object that it opened, is dropped. They do not
/// follow into a forked child: make another store there.
#[derive(Clone)]
pub struct FsStore {
    pool: Arc<Pool>,
    files: Arc<Files>,
}

impl FsStore {
    /// A store with threads of its own.
    ///
    /// # Errors
    /// `InvalidConfig` for a bad option; `Unavailable` if the system starts no more threads.
    pub fn new(options: FsOptions) -> Result<Self> {
        Self::start(options, None)
    }

    /// As [`FsStore::new`], and `observer` hears of each request to the kernel that reads.
    ///
    /// # Errors
    /// As [`FsStore::new`].
    pub fn observed(options: FsOptions, observer: Arc<dyn Observe>) -> Result<Self> {
        Self::start(options, Some(observer))
    }

    /// A store with the threads of this one, and their share of descriptors; `observer` hears of what it asks of
    /// the kernel, and of the page cache before one in so many reads.
    #[must_use]
    pub fn with_these_threads(
        &self,
        page_cache_sampling: Option<NonZeroU32>,
        observer: Option<Arc<dyn Observe>>,
    ) -> Self {
        let lookout = observer.as_ref().and(page_cache_sampling).map(Lookout::new);
        let descriptors = self.files.descriptors.clone();
        let files = Files { descriptors, kept: KeptFiles::new(), observer, lookout, probe: Probe::default() };
        FsStore { pool: self.pool.clone(), files: Arc::new(files) }
    }

    fn start(options: FsOptions, observer: Option<Arc<dyn Observe>>) -> Result<Self> {
        let FsOptions { threads, page_cache_sampling } = options.check()?;
        let lookout = observer.as_ref().and(page_cache_sampling).map(Lookout::new);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(FsStore {
            pool: Arc::new(Pool::new("forebay-fs", threads, cores)?),
            files: Arc::new(Files {
                descriptors: Descriptors::new(threads, read_batch::GROUP),
                kept: KeptFiles::new(),
                observer,
                lookout,
                probe: Probe::default(),
            }),
        })
    }

    /// Reads some requests of a batch.
    async fn read_part(
        &self,
        requests: &Arc<[GetRequest]>,
        part: Range<usize>,
        options: &ReadOptions,
        place: &Arc<dyn Place>,
    ) -> Vec<Result<Served>> {
        let split_from = if self.pool.threads() > 1 { split_read::SPLIT_FROM } else { u64::MAX };
        let mapped = match requests.get(part.start) {
            Some(first) => self.files.probe.mappings(Operation::Get, options, &first.location),
            None => Ok(None),
        };
        let mappings = match mapped {
            Ok(mappings) => mappings,
            Err(error) => {
                return part.map(|i| Err(error.duplicate().at(&requests[i].location))).collect();
            }
        };
        let terms = Terms { mode: options.page_cache, target: options.target_request_bytes, split_from };
        let batch = ReadBatch::new(
            requests.clone(),
            part.clone(),
            terms,
            place.clone(),
            self.files.clone(),
            mappings.clone(),
        );
        let results = waiting::run(&self.pool, batch).await;
        let lost = || part.map(|i| Err(failure::lost(Operation::Get, &requests[i].location))).collect();
        results.unwrap_or_else(lost)
    }

    /// Runs a short job, and says so if its thread was lost.
    async fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        location: &Location,
        job: impl FnOnce(&Location) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let at = location.clone();
        let done = self.pool.run(move |_| job(&at)).await;
        done.unwrap_or_else(|| Err(failure::lost(operation, location)))
    }
}

impl Store for FsStore {
    fn capability(&self) -> Capability {
        Capability {
            real_directories: true,
            listing_has_details: false,
            details_with_names: false,
            conditional_put: true,
            delete_reports_missing: true,
            versions: true,
            native_batch: true,
            coalesces: false,
            delete_batch: 1,
            ordered_listing: false,
            mappings: true,
            page_cache: &[
                PageCacheMode::Default,
                PageCacheMode::FadviseSequential,
                PageCacheMode::FadviseRandom,
                PageCacheMode::DontNeed,
            ],
            byte_keys: true,
        }
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        async move {
            let mut results = self.get_many(Arc::new([request]), options, place).await;
            results.remove(0)
        }
        .boxed()
    }

    fn get_many<'a>(
        &'a self,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Vec<Result<Served>>> {
        async move {
            if options.page_cache == PageCacheMode::DirectIO {
                let refuse = |r: &GetRequest| Err(file::no_direct_io(Operation::Get, &r.location));
                return requests.iter().map(refuse).collect();
            }
            let _under_way = self.files.kept.begin();
            place.pool().served_by(|| {
                let crew: Weak<Pool> = Arc::downgrade(&self.pool);
                crew
            });
            let files = requests.len();
            let parts =
                if files < DIVIDE_FROM { 1 } else { self.pool.threads().min(files * 2 / DIVIDE_FROM) };
            if parts == 1 {
                return self.read_part(&requests, 0..files, &options, &place).await;
            }
            let each = files.div_ceil(parts);
            let parts = (0..files)
                .step_by(each)
                .map(|begin| self.read_part(&requests, begin..files.min(begin + each), &options, &place));
            join_all(parts).await.into_iter().flatten().collect()
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
        async move {
            let mode = options.page_cache;
            if mode == PageCacheMode::DirectIO {
                return Err(file::no_direct_io(Operation::Open, location));
            }
            self.files.probe.mappings(Operation::Open, &options, location)?;
            let (fd, meta) = self
                .run(Operation::Open, location, move |location| {
                    let (fd, stat) =
                        file::open_file(Operation::Open, location, (CWD, location.path_bytes()))?;
                    file::advise_before(mode, fd.as_fd(), Operation::Open, location)?;
                    Ok((fd, version::meta_of(&stat)))
                })
                .await?;
            let meta = meta.ok_or_else(|| failure::not_a_file(Operation::Open, location))?;
            let opened = Opened { fd: Arc::new(fd), location: location.clone(), meta, options };
            Ok(Arc::new(FsObject::new(opened, self.files.clone(), self.pool.clone())) as Arc<dyn Object>)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        self.run(Operation::Stat, location, |location| {
            file::check_scheme(Operation::Stat, location)?;
            let stat = rustix::fs::stat(location.path_bytes())
                .map_err(|errno| failure::os(Operation::Stat, errno, location))?;
            version::meta_of(&stat).ok_or_else(|| failure::not_a_file(Operation::Stat, location))
        })
        .boxed()
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        list::list(self.pool.clone(), location, options, Stride::LONG)
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
                let at = location.clone();
                let step = self
                    .pool
                    .run(move |gave_up| {
                        let mut draft = match begun {
                            Some(draft) => draft,
                            None => Draft::begin(&at, options)?,
                        };
                        draft.write(&chunks)?;
                        // Whoever went away does not want it any more.
                        if last && !gave_up() { draft.commit(promised).map(Ok) } else { Ok(Err(draft)) }
                    })
                    .await;
                match step.unwrap_or_else(|| Err(failure::lost(Operation::Put, location)))? {
                    Ok(meta) => return Ok(meta),
                    Err(begun) => draft = Some(begun),
                }
            }
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        delete_each(self, locations).boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        self.run(Operation::Delete, location, |location| {
            file::check_scheme(Operation::Delete, location)?;
            rustix::fs::unlink(location.path_bytes()).map_err(|errno| match errno {
                Errno::ISDIR => failure::is_a_directory(Operation::Delete, location),
                errno => failure::os(Operation::Delete, errno, location),
            })
        })
        .boxed()
    }
}

impl fmt::Debug for FsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsStore").field("threads", &self.pool.threads()).finish()
    }
}
