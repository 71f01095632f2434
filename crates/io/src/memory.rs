//! Objects in memory: for tests, examples and small data that a program already has.

use crate::lock::RwLock;
use crate::{
    Body, Buf, CacheUse, Capability, EntryKind, Error, GetRequest, Kind, ListOptions, Location, Meta, Object,
    Operation, Page, PageBuilder, PageCacheMode, Place, PutMode, PutOptions, ReadOptions, Reservation,
    Result, Served, Store, Through, Version, Want, delete_each,
};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A store whose objects live in this process. Clones share them. Any scheme and host may be used;
/// they are part of the key.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Default)]
struct Shared {
    objects: RwLock<BTreeMap<Location, Stored>>,
    versions: AtomicU64,
}

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    version: u64,
}

impl Stored {
    fn meta(&self) -> Meta {
        let version = Version::new(self.version.to_string());
        Meta {
            kind: EntryKind::Object,
            size: self.bytes.len() as u64,
            modified: None,
            version: Some(version),
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn find(&self, operation: Operation, location: &Location) -> Result<Stored> {
        let objects = self.0.objects.read();
        objects.get(location).cloned().ok_or_else(|| Error::new(Kind::NotFound, operation, "").at(location))
    }

    async fn get_one(
        &self,
        request: &GetRequest,
        options: &ReadOptions,
        place: &dyn Place,
    ) -> Result<Served> {
        let begin = Instant::now();
        check_policy(options, &request.location)?;
        let stored = self.find(Operation::Get, &request.location)?;
        if let Some(version) = &request.if_version
            && Some(version) != stored.meta().version.as_ref()
        {
            let context = format!("version is {}, not {}", stored.version, version.as_str());
            return Err(Error::new(Kind::Precondition, Operation::Get, context).at(&request.location));
        }
        let range = request.range.clone().unwrap_or(0..stored.bytes.len() as u64);
        let bytes = cut(&stored.bytes, range).map_err(|e| e.at(&request.location))?;
        let wants = [Want::new(request.slot, bytes.len() as u64)];
        let mut bufs = match place.try_reserve(&wants) {
            Reservation::Granted(bufs) => bufs,
            Reservation::Wait => place.reserve(&wants).await.map_err(|e| e.at(&request.location))?,
            Reservation::Refused(error) | Reservation::TooLarge { error, .. } => {
                return Err(error.at(&request.location));
            }
        };
        bufs[0].copy_from_slice(bytes);
        Ok(served(bytes.len(), begin))
    }
}

fn served(bytes: usize, begin: Instant) -> Served {
    Served { bytes: bytes as u64, elapsed: begin.elapsed(), first_byte: None, cache: CacheUse::NotApplicable }
}

fn check_policy(options: &ReadOptions, location: &Location) -> Result<()> {
    if options.through == Through::Mapping {
        let context =
            "reading through a mapping (reader_mode=mmap) is for file://: an object in memory is no file";
        return Err(Error::new(Kind::Unsupported, Operation::Get, context).at(location));
    }
    match options.page_cache {
        PageCacheMode::Default => Ok(()),
        mode => Err(Error::new(
            Kind::Unsupported,
            Operation::Get,
            format!("page_cache_mode={mode}: objects in memory are not behind a page cache; use default"),
        )
        .at(location)),
    }
}

fn cut(bytes: &Bytes, range: Range<u64>) -> Result<&[u8]> {
    let len = bytes.len() as u64;
    if range.start > range.end || range.end > len {
        let context = format!("range {}..{} is not inside the {len} bytes there are", range.start, range.end);
        return Err(Error::new(Kind::InvalidRange, Operation::Get, context));
    }
    Ok(&bytes[range.start as usize..range.end as usize])
}

impl Store for MemoryStore {
    fn capability(&self) -> Capability {
        Capability {
            real_directories: false,
            listing_has_details: true,
            details_with_names: true,
            conditional_put: true,
            delete_reports_missing: true,
            versions: true,
            native_batch: true,
            coalesces: false,
            delete_batch: 1,
            ordered_listing: true,
            mappings: false,
            page_cache: &[PageCacheMode::Default],
            byte_keys: true,
        }
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        async move { self.get_one(&request, &options, &*place).await }.boxed()
    }

    fn get_many<'a>(
        &'a self,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Vec<Result<Served>>> {
        async move {
            let mut results = Vec::with_capacity(requests.len());
            for request in &*requests {
                results.push(self.get_one(request, &options, &*place).await);
            }
            results
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
        async move {
            check_policy(&options, location)?;
            let stored = self.find(Operation::Open, location)?;
            let meta = stored.meta();
            Ok(Arc::new(MemoryObject { location: location.clone(), bytes: stored.bytes, meta })
                as Arc<dyn Object>)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        async move { Ok(self.find(Operation::Stat, location)?.meta()) }.boxed()
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        let mut pages = Vec::new();
        let mut builder = PageBuilder::new(location.clone(), 1000);
        let objects = self.0.objects.read();
        let mut last_directory: Option<Vec<u8>> = None;
        // Everything beneath a location sorts after it, but not all of that is beneath it.
        let first = (Bound::Included(location.clone()), Bound::Unbounded);
        for (found, stored) in
            objects.range(first).take_while(|(l, _)| l.path_bytes().starts_with(location.path_bytes()))
        {
            let Some(key) = found.key_beneath(location) else { continue };
            let directory = if options.recursive { None } else { key.iter().position(|&b| b == b'/') };
            match directory.map(|at| &key[..at]) {
                Some(name) => {
                    if last_directory.as_deref() != Some(name) && options.wants(name) {
                        builder.push(&[name], EntryKind::Directory, None);
                    }
                    last_directory = Some(name.to_vec());
                }
                None if options.wants(key) => builder.push(&[key], EntryKind::Object, Some(stored.meta())),
                None => {}
            }
            if builder.is_full() {
                pages.extend(builder.take());
            }
        }
        pages.extend(builder.take());
        stream::iter(pages.into_iter().map(Ok)).boxed()
    }

    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>> {
        async move {
            let promised = body.len();
            let bytes = body
                .into_chunks()
                .try_fold(BytesMut::new(), |mut all, chunk| async move {
                    all.extend_from_slice(&chunk);
                    Ok(all)
                })
                .await?
                .freeze();
            if let Some(promised) = promised.filter(|&p| p != bytes.len() as u64) {
                let context = format!("the body has {} bytes, {promised} were promised", bytes.len());
                return Err(Error::new(Kind::Corrupt, Operation::Put, context).at(location));
            }
            let mut objects = self.0.objects.write();
            if options.mode == PutMode::Create && objects.contains_key(location) {
                return Err(Error::new(Kind::AlreadyExists, Operation::Put, "").at(location));
            }
            let version = self.0.versions.fetch_add(1, Ordering::Relaxed) + 1;
            let stored = Stored { bytes, version };
            let meta = stored.meta();
            objects.insert(location.clone(), stored);
            Ok(meta)
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        delete_each(self, locations).boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        async move {
            let gone = self.0.objects.write().remove(location);
            gone.map(drop).ok_or_else(|| Error::new(Kind::NotFound, Operation::Delete, "").at(location))
        }
        .boxed()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} objects)", self.0.objects.read().len())
    }
}

#[derive(Debug)]
struct MemoryObject {
    location: Location,
    bytes: Bytes,
    meta: Meta,
}

impl MemoryObject {
    fn fill(&self, offset: u64, mut buf: Buf) -> (Buf, Result<Served>) {
        let begin = Instant::now();
        let end = offset.saturating_add(buf.len() as u64);
        let result = cut(&self.bytes, offset..end).map_err(|e| e.at(&self.location)).map(|bytes| {
            buf.copy_from_slice(bytes);
            served(bytes.len(), begin)
        });
        (buf, result)
    }
}

impl Object for MemoryObject {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move { self.fill(offset, buf) }.boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        async move { ranges.into_iter().map(|(offset, buf)| self.fill(offset, buf)).collect() }.boxed()
    }
}
