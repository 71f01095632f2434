//! A store made of any client: what every operation shares, and the doors to those that read, list and
//! write.

use crate::attempt::Try;
use crate::opened::ObjectOpened;
use crate::watch::{Phase, Watch};
use crate::{Answered, Client, Failure, HttpOptions, Uploads, listing, read, upload};
use forebay_io::layer::Retries;
use forebay_io::{
    Body, Capability, Error, GetRequest, Kind, ListOptions, Location, Meta, Object, Observe, Operation, Page,
    PageCacheMode, Place, PutOptions, ReadOptions, Result, Served, Store, Through,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, FuturesUnordered, StreamExt};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// One bucket or container as a [`Store`].
///
/// Its futures need a tokio runtime with time enabled. An upload that is dropped half way is taken back by
/// a task of that runtime, which a program that ends waits for with [`Uploads::none_open`].
#[derive(Clone)]
pub struct ObjectBackend(pub(crate) Arc<Shared>);

/// What the store, its opened objects and its uploads share.
pub(crate) struct Shared {
    /// The bucket or container itself.
    root: Location,
    pub(crate) client: Arc<dyn Client>,
    pub(crate) options: HttpOptions,
    pub(crate) observer: Arc<dyn Observe>,
    permits: Semaphore,
    /// Whether the object that was read last was larger than a request is to be.
    large: AtomicBool,
    /// For the parts of one operation.
    pub(crate) retries: Option<Arc<Retries>>,
    /// Those that are open.
    pub(crate) uploads: Uploads,
}

impl ObjectBackend {
    /// The store of what `client` reaches; `location` is any in it: its scheme and host are those of all
    /// that this store serves. `observer` hears of each request.
    pub fn new(
        location: &Location,
        client: Arc<dyn Client>,
        options: HttpOptions,
        observer: Arc<dyn Observe>,
    ) -> Self {
        let permits = Semaphore::new(options.concurrency.get() as usize);
        let (root, large) = (location.clone(), AtomicBool::new(false));
        let (retries, uploads) = (None, Uploads::default());
        ObjectBackend(Arc::new(Shared { root, client, options, observer, permits, large, retries, uploads }))
    }

    /// Counts its uploads in parts among `uploads` while they are open.
    ///
    /// # Panics
    /// If the store was cloned before.
    #[must_use]
    pub fn with_uploads(mut self, uploads: Uploads) -> Self {
        let shared = Arc::get_mut(&mut self.0).expect("set before the store is shared");
        shared.uploads = uploads;
        self
    }

    /// Tries again the parts of large reads and uploads that fail, each for itself: those of a read once a
    /// version pins them. All else is tried again by the wrapper outside, with which `retries` is shared. At
    /// 4% of faults, of 150 parts some fail in each try of all of them, and no number of such tries helps.
    ///
    /// # Panics
    /// If the store was cloned before.
    #[must_use]
    pub fn with_part_retries(mut self, retries: Arc<Retries>) -> Self {
        let shared = Arc::get_mut(&mut self.0).expect("set before the store is shared");
        shared.retries = Some(retries);
        self
    }
}

impl Shared {
    /// The key of an object of this store.
    pub(crate) fn key<'l>(&self, operation: Operation, location: &'l Location) -> Result<&'l str> {
        let key = self.prefix(operation, location)?;
        if key.is_empty() {
            let context = "names a bucket or container, not an object; put the object's key behind it";
            return Err(Error::new(Kind::InvalidConfig, operation, context).at(location));
        }
        Ok(key)
    }

    /// The same where a whole bucket may be meant.
    pub(crate) fn prefix<'l>(&self, operation: Operation, location: &'l Location) -> Result<&'l str> {
        let invalid = |context: String| Err(Error::new(Kind::InvalidConfig, operation, context).at(location));
        if location.scheme() != self.root.scheme() || location.host() != self.root.host() {
            let (scheme, host) = (self.root.scheme(), self.root.host().unwrap_or_default());
            return invalid(format!("this store serves {scheme}://{host}/ and nothing else"));
        }
        match std::str::from_utf8(location.path_bytes()) {
            Ok(key) => Ok(key),
            Err(_) => invalid("keys of object stores are UTF-8, and this one is not".into()),
        }
    }

    /// Whether the next object is expected to be larger than a request: objects that are read one after
    /// another are mostly alike.
    pub(crate) fn finds_large(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }

    /// What an object turned out to be.
    pub(crate) fn found(&self, large: bool) {
        if self.finds_large() != large {
            self.large.store(large, Ordering::Relaxed);
        }
    }

    /// Leave to make a request. Given back when dropped.
    pub(crate) async fn permit(&self) -> SemaphorePermit<'_> {
        self.permits.acquire().await.expect("never closed")
    }

    /// Makes one request that is no GET of an object: with leave, under its deadlines, reported.
    pub(crate) async fn call<T>(
        &self,
        operation: Operation,
        location: &Location,
        sent: u64,
        request: Answered<'_, T>,
    ) -> Result<T, Failure> {
        let _permit = self.permit().await;
        let mut attempt = Try::begin(self, operation, location, None);
        let mut watch = Watch::start(&self.options, attempt.begun());
        let result = watch.wait(Phase::Answer { sent }, request).await;
        if result.is_ok() {
            attempt.bytes = sent;
            attempt.answered(200);
        }
        attempt.end(result)
    }

    /// The page cache is the kernel's, and not on the way here.
    pub(crate) fn check_policy(
        &self,
        operation: Operation,
        location: &Location,
        options: &ReadOptions,
    ) -> Result<()> {
        if options.through == Through::Mapping {
            let context = "reading through a mapping (reader_mode=mmap) is for file://: there is no file here to map; \
                           use sequential or range";
            return Err(Error::new(Kind::Unsupported, operation, context).at(location));
        }
        match options.page_cache {
            PageCacheMode::Default => Ok(()),
            mode => {
                let context = format!(
                    "page_cache_mode={mode}: objects of a service are not behind a page cache; use default"
                );
                Err(Error::new(Kind::Unsupported, operation, context).at(location))
            }
        }
    }

    async fn stat(&self, operation: Operation, location: &Location) -> Result<Meta> {
        let key = self.key(operation, location)?;
        let head = self.call(operation, location, 0, self.client.head(key)).await;
        Ok(head.map_err(|failure| failure.into_error(operation, location))?.meta())
    }

    async fn delete(&self, location: &Location) -> Result<()> {
        let key = self.key(Operation::Delete, location)?;
        let answer = self.call(Operation::Delete, location, 0, self.client.delete(key)).await;
        answer.map_err(|failure| failure.into_error(Operation::Delete, location))
    }

    async fn delete_batch(&self, locations: &[Location]) -> Vec<Result<()>> {
        let operation = Operation::Delete;
        let keys: Vec<Result<&str>> =
            locations.iter().map(|location| self.key(operation, location)).collect();
        let valid: Vec<String> = keys.iter().flatten().map(|key| (*key).to_owned()).collect();
        let Some(first) = locations.first() else { return Vec::new() };
        if self.client.facts().delete_batch <= 1 {
            let mut answers = Vec::with_capacity(locations.len());
            for location in locations {
                answers.push(self.delete(location).await);
            }
            return answers;
        }
        let request = self.client.delete_many(&valid);
        let answers = match valid.is_empty() {
            true => Ok(Vec::new()),
            false => self.call(operation, first, 0, request).await,
        };
        let mut answers = match answers {
            Ok(answers) => answers.into_iter().map(Some).collect(),
            Err(failure) => {
                let said = |_| {
                    let Failure { kind, retry, status, said } = &failure;
                    Some(Err(Failure { kind: *kind, retry: *retry, status: *status, said: said.clone() }))
                };
                valid.iter().map(said).collect::<Vec<_>>()
            }
        }
        .into_iter();
        let each = keys.into_iter().zip(locations).map(|(key, location)| {
            key?;
            let answer = answers.next().flatten().unwrap_or_else(|| {
                Err(Failure::new(Kind::Corrupt, "the service did not say whether it was deleted"))
            });
            answer.map_err(|failure| failure.into_error(operation, location))
        });
        each.collect()
    }
}

impl Store for ObjectBackend {
    fn capability(&self) -> Capability {
        let facts = self.0.client.facts();
        Capability {
            real_directories: false,
            listing_has_details: false,
            details_with_names: true,
            conditional_put: facts.conditional_put,
            delete_reports_missing: facts.delete_reports_missing,
            versions: true,
            // Each is a request of its own.
            native_batch: false,
            coalesces: false,
            delete_batch: u32::try_from(facts.delete_batch.max(1)).unwrap_or(u32::MAX),
            ordered_listing: true,
            mappings: false,
            page_cache: &[PageCacheMode::Default],
            byte_keys: false,
        }
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        async move { read::get(&self.0, &request, &options, &*place).await }.boxed()
    }

    fn get_many<'a>(
        &'a self,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Vec<Result<Served>>> {
        async move {
            let (shared, options, place) = (&self.0, &options, &*place);
            let mut gets: FuturesUnordered<_> =
                requests
                    .iter()
                    .enumerate()
                    .map(|(index, request)| async move {
                        (index, read::get(shared, request, options, place).await)
                    })
                    .collect();
            let mut results: Vec<Option<Result<Served>>> = requests.iter().map(|_| None).collect();
            while let Some((index, result)) = gets.next().await {
                results[index] = Some(result);
            }
            results.into_iter().map(|result| result.expect("each was awaited")).collect()
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
        async move {
            self.0.check_policy(Operation::Open, location, &options)?;
            let meta = self.0.stat(Operation::Open, location).await?;
            let opened = ObjectOpened::new(self.0.clone(), location.clone(), meta, &options);
            Ok(Arc::new(opened) as Arc<dyn Object>)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        self.0.stat(Operation::Stat, location).boxed()
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        listing::list(self.0.clone(), location, options)
    }

    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>> {
        upload::put(&self.0, location, body, options).boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        self.0.delete(location).boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        async move {
            let shared = &*self.0;
            let batch = shared.client.facts().delete_batch.max(1);
            let batches: Vec<_> = locations.chunks(batch).map(|batch| shared.delete_batch(batch)).collect();
            let at_once = shared.options.concurrency.get() as usize;
            let results: Vec<_> = stream::iter(batches).buffered(at_once).collect().await;
            results.into_iter().flatten().collect()
        }
        .boxed()
    }
}

impl fmt::Debug for ObjectBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { root, client, options, .. } = &*self.0;
        f.debug_struct("ObjectBackend")
            .field("scheme", &root.scheme())
            .field("host", &root.host())
            .field("client", client)
            .field("options", options)
            .finish_non_exhaustive()
    }
}
