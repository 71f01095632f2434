//! One store over many: each location goes to the store of its scheme and host, opened when first named.
//!
//! For lists of objects in several places. What it does not do: open anything by itself, or try a second
//! store when the first fails.

use crate::PageCacheMode;
use crate::lock::Mutex;
use crate::{
    Body, Capability, GetRequest, ListOptions, Location, Meta, Object, Page, Place, PutOptions, ReadOptions,
    Result, Served, Store,
};
use futures::channel::mpsc;
use futures::future::{BoxFuture, join_all};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, SinkExt, StreamExt};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A scheme and a host: what one store serves.
type Host = (String, Option<String>);

type Open = dyn Fn(&Location) -> Result<Arc<dyn Store>> + Send + Sync;

/// See the module's words.
pub struct Routed {
    home: Arc<dyn Store>,
    open: Box<Open>,
    stores: Mutex<HashMap<Host, Arc<dyn Store>>>,
}

/// Requests of one store in a batch, and which of the batch they are.
struct Share {
    store: Result<Arc<dyn Store>>,
    requests: Vec<GetRequest>,
    places: Vec<usize>,
}

impl Routed {
    /// A store that asks `open` for the store of each scheme and host that is named, once. Its capability is
    /// that of `home`, the store that most is expected of; whether a file is mapped, and what is done to a page cache,
    /// is for the store of each to say.
    pub fn new(
        home: Arc<dyn Store>,
        open: impl Fn(&Location) -> Result<Arc<dyn Store>> + Send + Sync + 'static,
    ) -> Self {
        Routed { home, open: Box::new(open), stores: Mutex::new(HashMap::new()) }
    }

    fn of(&self, location: &Location) -> Result<Arc<dyn Store>> {
        let place = (location.scheme().to_owned(), location.host().map(str::to_owned));
        if let Some(store) = self.stores.lock().get(&place) {
            return Ok(store.clone());
        }
        // Opened without the lock: it may take a while, and to do it twice does no harm.
        let store = (self.open)(location)?;
        Ok(self.stores.lock().entry(place).or_insert(store).clone())
    }
}

impl Store for Routed {
    fn capability(&self) -> Capability {
        Capability { mappings: true, page_cache: &PageCacheMode::ALL, ..self.home.capability() }
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        async move { self.of(&request.location)?.get(request, options, place).await }.boxed()
    }

    fn get_many<'a>(
        &'a self,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Vec<Result<Served>>> {
        async move {
            let same = |a: &GetRequest, b: &GetRequest| {
                a.location.scheme() == b.location.scheme() && a.location.host() == b.location.host()
            };
            if let Some(first) = requests.first()
                && requests.iter().all(|request| same(first, request))
            {
                return match self.of(&first.location) {
                    Ok(store) => store.get_many(requests, options, place).await,
                    Err(error) => requests.iter().map(|_| Err(error.duplicate())).collect(),
                };
            }
            let mut shares: Vec<Share> = Vec::new();
            for (index, request) in requests.iter().enumerate() {
                let known = shares.iter().position(|share| same(&share.requests[0], request));
                let known = known.unwrap_or_else(|| {
                    let store = self.of(&request.location);
                    shares.push(Share { store, requests: Vec::new(), places: Vec::new() });
                    shares.len() - 1
                });
                shares[known].requests.push(request.clone());
                shares[known].places.push(index);
            }
            let reads = shares.into_iter().map(|share| {
                let (options, place) = (options.clone(), place.clone());
                async move {
                    let results = match share.store {
                        Ok(store) => store.get_many(share.requests.into(), options, place).await,
                        Err(error) => share.places.iter().map(|_| Err(error.duplicate())).collect(),
                    };
                    share.places.into_iter().zip(results)
                }
            });
            let mut results: Vec<_> = join_all(reads).await.into_iter().flatten().collect();
            results.sort_unstable_by_key(|(index, _)| *index);
            results.into_iter().map(|(_, result)| result).collect()
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
        async move { self.of(location)?.open(location, options).await }.boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        async move { self.of(location)?.stat(location).await }.boxed()
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        let store = match self.of(location) {
            Ok(store) => store,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        // The listing borrows its store, which may be one that was opened just now: so one future owns
        // both, and hands the pages over.
        let location = location.clone();
        let (mut sender, pages) = mpsc::channel(0);
        let list = async move {
            let mut pages = store.list(&location, options);
            while let Some(page) = pages.next().await {
                if sender.send(page).await.is_err() {
                    break;
                }
            }
        };
        let list = stream::once(list).filter_map(|()| async { None });
        stream::select(pages, list).boxed()
    }

    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>> {
        async move { self.of(location)?.put(location, body, options).await }.boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        async move {
            let of = |at: &Location| (at.scheme().to_owned(), at.host().map(str::to_owned));
            let mut shares: HashMap<_, (Vec<usize>, Vec<Location>)> = HashMap::new();
            for (index, location) in locations.iter().enumerate() {
                let (places, share) = shares.entry(of(location)).or_default();
                places.push(index);
                share.push(location.clone());
            }
            let deletes = shares.into_values().map(|(places, share)| async move {
                let results = match self.of(&share[0]) {
                    Ok(store) => store.delete_many(&share).await,
                    Err(error) => share.iter().map(|_| Err(error.duplicate())).collect(),
                };
                places.into_iter().zip(results)
            });
            let mut results: Vec<_> = join_all(deletes).await.into_iter().flatten().collect();
            results.sort_unstable_by_key(|(index, _)| *index);
            results.into_iter().map(|(_, result)| result).collect()
        }
        .boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        async move { self.of(location)?.delete(location).await }.boxed()
    }
}

impl fmt::Debug for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Routed({:?}, {} stores)", self.home, self.stores.lock().len())
    }
}
