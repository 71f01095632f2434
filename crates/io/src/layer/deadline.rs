//! Gives up what takes too long, as `TimedOut`.
//!
//! The limit is for one attempt, from when it is sent to its last byte, and so it stands next to the
//! backend, under retries and limits. What counts is the time that the service takes: waiting for memory
//! and for the body of a put does not. Each member of a batch and each page of a listing has a limit of
//! its own; a put must get on, taking a chunk or ending within the limit.
//!
//! The members of a batch are asked for one by one, at the same time: a deadline that is to end one and
//! not its neighbours needs its own future. So it is for stores where a batch is many requests anyway.
//!
//! A read that is given up has given its memory back when the error comes. Needs a tokio runtime with
//! time enabled.

use super::stopwatch::{Stopwatch, Timed};
use crate::{
    Body, Buf, Capability, Error, GetRequest, Kind, ListOptions, Location, Meta, Object, Operation, Page,
    Place, PutOptions, ReadOptions, Result, Served, Store,
};
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A store whose attempts end within a limit. See the module's words.
pub struct Deadline {
    store: Arc<dyn Store>,
    limit: Duration,
}

impl Deadline {
    /// Ends each attempt of `store` within `limit`.
    pub fn new(store: Arc<dyn Store>, limit: Duration) -> Self {
        Deadline { store, limit }
    }
}

/// What `future` comes to before the watch shows `limit`.
async fn within<T>(watch: &Stopwatch, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = watch.reaches(limit) => None,
    }
}

fn late(limit: Duration, operation: Operation) -> Error {
    Error::new(Kind::TimedOut, operation, format!("not done within operation_timeout={limit:?}"))
}

impl Deadline {
    async fn simply<T>(
        &self,
        operation: Operation,
        location: &Location,
        future: BoxFuture<'_, Result<T>>,
    ) -> Result<T> {
        let done = within(&Stopwatch::new(), self.limit, future).await;
        done.unwrap_or_else(|| Err(late(self.limit, operation).at(location)))
    }
}

impl Store for Deadline {
    fn capability(&self) -> Capability {
        Capability { native_batch: false, ..self.store.capability() }
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        async move {
            let watch = Arc::new(Stopwatch::new());
            let timed = Arc::new(Timed::new(place, watch.clone()));
            let location = request.location.clone();
            match within(&watch, self.limit, self.store.get(request, options, timed.clone())).await {
                Some(result) => result,
                None => {
                    timed.returned().await;
                    Err(late(self.limit, Operation::Get).at(&location))
                }
            }
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
            join_all(requests.iter().map(|r| self.get(r.clone(), options.clone(), place.clone()))).await
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
        async move {
            let object = self.store.open(location, options);
            let object = self.simply(Operation::Open, location, object).await?;
            let (location, limit) = (location.clone(), self.limit);
            Ok(Arc::new(DeadlineObject { object, location, limit }) as Arc<dyn Object>)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        self.simply(Operation::Stat, location, self.store.stat(location)).boxed()
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        let pages = self.store.list(location, options);
        stream::unfold(Some(pages), move |pages| async move {
            let mut pages = pages?;
            match within(&Stopwatch::new(), self.limit, pages.next()).await {
                Some(page) => page.map(|page| (page, Some(pages))),
                None => Some((Err(late(self.limit, Operation::List).at(location)), None)),
            }
        })
        .boxed()
    }

    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>> {
        async move {
            let watch = Arc::new(Stopwatch::new());
            let pace = watch.clone();
            let body = body.map_chunks(move |chunks| watched(chunks, pace.clone()));
            let done = within(&watch, self.limit, self.store.put(location, body, options)).await;
            done.unwrap_or_else(|| Err(late(self.limit, Operation::Put).at(location)))
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        async move {
            let done = within(&Stopwatch::new(), self.limit, self.store.delete_many(locations)).await;
            let late = |at| Err(late(self.limit, Operation::Delete).at(at));
            done.unwrap_or_else(|| locations.iter().map(late).collect())
        }
        .boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        self.simply(Operation::Delete, location, self.store.delete(location)).boxed()
    }
}

/// The same chunks; the watch stands still until one is there and then begins anew.
fn watched(
    chunks: BoxStream<'static, Result<Bytes>>,
    watch: Arc<Stopwatch>,
) -> BoxStream<'static, Result<Bytes>> {
    stream::unfold((chunks, watch), |(mut chunks, watch)| async move {
        let waiting = watch.wait();
        let chunk = chunks.next().await;
        drop(waiting);
        watch.restart();
        chunk.map(|chunk| (chunk, (chunks, watch)))
    })
    .boxed()
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("store", &self.store).field("limit", &self.limit).finish()
    }
}

struct DeadlineObject {
    object: Arc<dyn Object>,
    location: Location,
    limit: Duration,
}

impl Object for DeadlineObject {
    fn meta(&self) -> &Meta {
        self.object.meta()
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move {
            let claim = buf.claim();
            let read = self.object.read_into(offset, buf);
            match within(&Stopwatch::new(), self.limit, read).await {
                Some(done) => done,
                None => {
                    let buf = claim.reclaim().await.expect("a batch is not finished while it is read");
                    (buf, Err(late(self.limit, Operation::Read).at(&self.location)))
                }
            }
        }
        .boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        join_all(ranges.into_iter().map(|(offset, buf)| self.read_into(offset, buf))).boxed()
    }
}

impl fmt::Debug for DeadlineObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deadline").field(&self.object).finish()
    }
}
