//! Tries again what may succeed the next time, after pauses that grow and are spread by chance.
//!
//! * An error says itself whether to try again ([`Error::retry`]). A pause that the service named
//!   ([`Retry::After`]) is kept, and spread by up to one `base` beyond it; one that is longer than
//!   `cap` ends the tries, and the error goes to whoever can wait that long.
//! * Of a batch, only the members that failed are asked for again, after one common pause.
//! * A listing is begun again only before its first page: later, entries would come twice.
//! * A put is made again only if its body can be sent again ([`Body::again`]: bytes in memory can, a
//!   stream cannot), and one in [`PutMode::Create`] only if the service turned it away (`Throttled`):
//!   after any other failure it may have been done, and its second try would report the first as a
//!   stranger's.
//! * A delete that finds nothing on a later try has succeeded, if an earlier one may have done it.
//!
//! * All tries together keep to a budget ([`RetryBudget`](super::RetryBudget)). What it does not pay for is not made; the
//!   error says so, and the observer hears of it ([`Event::RetryWithheld`]).
//!
//! An error that comes out after more than one attempt says how many there were. Dropping a future
//! stops the tries. Pauses need a tokio runtime with time enabled.

use super::retries::{Again, Pause, Retries, RetryPolicy, last};
use crate::{
    Body, Buf, Capability, GetRequest, Kind, ListOptions, Location, Meta, Object, Observe, Page, Place,
    PutMode, PutOptions, ReadOptions, Result, Served, Store,
};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
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
            let mut made = 0;
            loop {
                let options = ReadOptions { attempt: options.attempt + made, ..options.clone() };
                match self.store.get(request.clone(), options, place.clone()).await {
                    Err(error) => self.tries.again(error, &mut made).await?,
                    done => {
                        self.tries.succeeded(1);
                        return done;
                    }
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
            let mut results: Vec<_> = requests.iter().map(|_| None).collect();
            let mut asked = requests.clone();
            let mut indices: Vec<usize> = (0..requests.len()).collect();
            for made in 1.. {
                let options = ReadOptions { attempt: options.attempt + made - 1, ..options.clone() };
                let answers = self.store.get_many(asked, options, place.clone()).await;
                let mut pause = Pause::default();
                let mut again = Vec::new();
                for (index, answer) in indices.into_iter().zip(answers) {
                    match self.tries.settle(answer, made, &mut pause) {
                        Ok(result) => results[index] = Some(result),
                        Err(Again) => again.push(index),
                    }
                }
                if again.is_empty() {
                    break;
                }
                self.tries.wait(pause).await;
                asked = again.iter().map(|&index| requests[index].clone()).collect();
                indices = again;
            }
            results.into_iter().map(|r| r.expect("each has its last word or is tried again")).collect()
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
        async move {
            let mut made = 0;
            let object = loop {
                let options = ReadOptions { attempt: options.attempt + made, ..options.clone() };
                match self.store.open(location, options).await {
                    Err(error) => self.tries.again(error, &mut made).await?,
                    Ok(object) => {
                        self.tries.succeeded(1);
                        break object;
                    }
                }
            };
            Ok(Arc::new(RetryingObject { object, tries: self.tries.clone() }) as Arc<dyn Object>)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        async move {
            let mut made = 0;
            loop {
                match self.store.stat(location).await {
                    Err(error) => self.tries.again(error, &mut made).await?,
                    done => {
                        self.tries.succeeded(1);
                        return done;
                    }
                }
            }
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

impl Object for RetryingObject {
    fn meta(&self) -> &Meta {
        self.object.meta()
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move {
            let mut buf = buf;
            let mut made = 0;
            loop {
                let (back, result) = self.object.read_into(offset, buf).await;
                buf = back;
                let Err(error) = result else {
                    self.tries.succeeded(1);
                    return (buf, result);
                };
                if let Err(error) = self.tries.again(error, &mut made).await {
                    return (buf, Err(error));
                }
            }
        }
        .boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        async move {
            let offsets: Vec<u64> = ranges.iter().map(|(offset, _)| *offset).collect();
            let mut results: Vec<_> = ranges.iter().map(|_| None).collect();
            let mut asked = ranges;
            let mut indices: Vec<usize> = (0..offsets.len()).collect();
            for made in 1.. {
                let answers = self.object.read_many(asked).await;
                let mut pause = Pause::default();
                let mut again = Vec::new();
                asked = Vec::new();
                for (index, (buf, answer)) in indices.into_iter().zip(answers) {
                    match self.tries.settle(answer, made, &mut pause) {
                        Ok(result) => results[index] = Some((buf, result)),
                        Err(Again) => {
                            again.push(index);
                            asked.push((offsets[index], buf));
                        }
                    }
                }
                if again.is_empty() {
                    break;
                }
                self.tries.wait(pause).await;
                indices = again;
            }
            results.into_iter().map(|r| r.expect("each has its last word or is tried again")).collect()
        }
        .boxed()
    }
}

impl fmt::Debug for RetryingObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Retrying").field(&self.object).finish()
    }
}
