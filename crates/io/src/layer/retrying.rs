//! Tries again what may succeed the next time, after pauses that grow and are spread by chance.
//!
//! * An error says itself whether to try again ([`Error::retry`]). A pause that the service named
//!   ([`Retry::After`]) is kept, and spread by up to one `base` beyond it; one that is longer than
//!   `cap` ends the tries, and the error goes to whoever can wait that long.
//! * A connection that was cut or an answer that was broken ([`Retry::Soon`](crate::Retry)) is asked for again after
//!   an eighth of the pause that a service is given which failed: it says nothing about load.
//! * Of a batch, only the members that failed are asked for again, each for itself: none waits for another's
//!   pause. Where the store makes a request of each member anyhow (no
//!   [`native_batch`](crate::Capability::native_batch)), it is asked for them one by one, and none waits for another
//!   at all.
//! * What a policy gave up beneath (parts of a large object, by the same [`Retries`]) is given up here.
//! * A listing is begun again only before its first page: later, entries would come twice.
//! * A put is made again only if its body can be sent again ([`Body::again`]: bytes in memory can, a
//!   stream cannot), and one in [`PutMode::Create`] only if the service turned it away (`Throttled`):
//!   after any other failure it may have been done, and its second try would report the first as a
//!   stranger's.
//! * A delete that finds nothing on a later try has succeeded, if an earlier one may have done it. Of many, those
//!   that failed are asked for again together, after one pause.
//!
//! * All tries together keep to a budget ([`RetryBudget`](super::RetryBudget)). What it does not pay for is not made; the
//!   error says so, and the observer hears of it ([`Event::RetryWithheld`]).
//!
//! An error that comes out after more than one attempt says how many there were. Dropping a future
//! stops the tries. Pauses need a tokio runtime with time enabled.

use super::retried_deletes;
use super::retries::{Retries, RetryPolicy, last};
use crate::{
    Body, Buf, Capability, GetRequest, Kind, ListOptions, Location, Meta, Object, Observe, Page, Place,
    PutMode, PutOptions, ReadOptions, Result, Served, Store,
};
use futures::future::{BoxFuture, join_all};
use futures::stream::{self, BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use std::fmt;
use std::sync::Arc;

/// A store that tries again. See the module's words for what and when.
pub struct Retrying {
    store: Arc<dyn Store>,
    tries: Arc<Retries>,
}

impl Retrying {
    /// Tries again what `store` fails at; `observer` hears of each time ([`Event::Retried`](crate::Event::Retried)).
    pub fn new(store: Arc<dyn Store>, policy: RetryPolicy, observer: Arc<dyn Observe>) -> Self {
        Retrying::sharing(store, Arc::new(Retries::new(policy, observer)))
    }

    /// The same, by a policy, and out of a budget, that others beneath it share.
    pub fn sharing(store: Arc<dyn Store>, tries: Arc<Retries>) -> Self {
        Retrying { store, tries }
    }

    /// The result of a get whose first attempt ended as `first`.
    async fn get_again(
        &self,
        first: Result<Served>,
        request: &GetRequest,
        options: &ReadOptions,
        place: &Arc<dyn Place>,
    ) -> Result<Served> {
        let get = |made| self.store.get(request.clone(), tried(options, made), place.clone());
        self.tries.until_done(first, get).await
    }
}

/// The options of a read that was tried so many times before.
fn tried(options: &ReadOptions, made: u32) -> ReadOptions {
    ReadOptions { attempt: options.attempt + made, ..options.clone() }
}

impl Store for Retrying {
    fn capability(&self) -> Capability {
        self.store.capability()
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        async move {
            let first = self.store.get(request.clone(), options.clone(), place.clone()).await;
            self.get_again(first, &request, &options, &place).await
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
            let Capability { native_batch, coalesces, .. } = self.store.capability();
            if !(native_batch || coalesces && options.target_request_bytes.is_some()) {
                // Each is a request of its own beneath. Asked for one by one, what fails is tried again at once
                // and not when all others are there, and none waits for the slowest of its neighbours.
                let (options, place) = (&options, &place);
                let gets = requests.iter().map(|request| async move {
                    let first = self.store.get(request.clone(), options.clone(), place.clone()).await;
                    self.get_again(first, request, options, place).await
                });
                return join_all(gets).await;
            }
            let mut results = self.store.get_many(requests.clone(), options.clone(), place.clone()).await;
            self.tries.succeeded(results.iter().filter(|result| result.is_ok()).count());
            let failed = results.iter_mut().zip(&*requests).filter(|(result, _)| result.is_err());
            let (options, place) = (&options, &place);
            let again = failed.map(|(result, request)| async move {
                let error = std::mem::replace(result, Ok(Served::default()));
                *result = self.get_again(error, request, options, place).await;
            });
            again.collect::<FuturesUnordered<_>>().collect::<()>().await;
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
            let first = self.store.open(location, options.clone()).await;
            let open = |made| self.store.open(location, tried(&options, made));
            let object = self.tries.until_done(first, open).await?;
            Ok(Arc::new(RetryingObject { object, tries: self.tries.clone() }) as Arc<dyn Object>)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        async move {
            let first = self.store.stat(location).await;
            self.tries.until_done(first, |_| self.store.stat(location)).await
        }
        .boxed()
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        let pages = self.store.list(location, options.clone());
        // Some(n): no page came yet, and n attempts failed.
        stream::unfold((pages, Some(0), options), move |(mut pages, mut failed, options)| async move {
            loop {
                let (error, made) = match (pages.next().await, &mut failed) {
                    (Some(Err(error)), Some(made)) => (error, made),
                    (page, _) => {
                        self.tries.succeeded(usize::from(matches!(page, Some(Ok(_)))));
                        return page.map(|page| (page, (pages, None, options)));
                    }
                };
                if let Err(error) = self.tries.again(error, made).await {
                    return Some((Err(error), (pages, None, options)));
                }
                pages = self.store.list(location, options.clone());
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
            let mut body = body;
            let mut made = 0;
            loop {
                let spare = body.again();
                match (self.store.put(location, body, options).await, spare) {
                    (Err(error), Some(spare))
                        if options.mode == PutMode::Overwrite || error.kind() == Kind::Throttled =>
                    {
                        self.tries.again(error, &mut made).await?;
                        body = spare;
                    }
                    (result, _) => {
                        self.tries.succeeded(usize::from(result.is_ok()));
                        return result.map_err(|error| last(error, made + 1));
                    }
                }
            }
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        retried_deletes::delete_many(&*self.store, &self.tries, locations).boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        async move {
            let mut done_perhaps = false;
            let mut made = 0;
            loop {
                match self.store.delete(location).await {
                    Err(error) if done_perhaps && error.kind() == Kind::NotFound => return Ok(()),
                    Err(error) => {
                        done_perhaps |= error.kind() != Kind::Throttled;
                        self.tries.again(error, &mut made).await?;
                    }
                    done => {
                        self.tries.succeeded(1);
                        return done;
                    }
                }
            }
        }
        .boxed()
    }
}

impl fmt::Debug for Retrying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retrying").field("store", &self.store).field("policy", self.tries.policy()).finish()
    }
}

struct RetryingObject {
    object: Arc<dyn Object>,
    tries: Arc<Retries>,
}

impl RetryingObject {
    /// What comes of a read whose first attempt ended as `answer`.
    async fn read_again(&self, offset: u64, answer: (Buf, Result<Served>)) -> (Buf, Result<Served>) {
        self.tries.until_done_with(answer, |buf, _| self.object.read_into(offset, buf)).await
    }
}

impl Object for RetryingObject {
    fn meta(&self) -> &Meta {
        self.object.meta()
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move {
            let first = self.object.read_into(offset, buf).await;
            self.read_again(offset, first).await
        }
        .boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        async move {
            let offsets: Vec<u64> = ranges.iter().map(|(offset, _)| *offset).collect();
            let answers = self.object.read_many(ranges).await;
            if answers.iter().all(|(_, answer)| answer.is_ok()) {
                self.tries.succeeded(answers.len());
                return answers;
            }
            join_all(offsets.into_iter().zip(answers).map(|(offset, first)| self.read_again(offset, first)))
                .await
        }
        .boxed()
    }
}

impl fmt::Debug for RetryingObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Retrying").field(&self.object).finish()
    }
}
