//! One service behind several endpoints: each operation takes a good one, and a read that finds its
//! endpoint closed is taken to another.
//!
//! The endpoints must be doors of one and the same storage: what is written through one is read through
//! any, and versions mean the same. So a write goes through whichever door is best, and is then there for
//! all. Which door is taken is in the module `endpoints`.
//!
//! *Failing over* is for reads (gets, range reads, opens, stats, and a listing before its first page) that
//! end as `Unavailable`, to endpoints that are well and were not tried yet; so an outage of all of them
//! costs no more attempts than their number, and only until they are known to be unwell. A put or delete
//! that failed may have been done and is not repeated here; a listing goes on where it began, or fails.
//!
//! An opened object stays with its endpoint until that fails; then it is opened at another, and must be
//! the same version there (of a store without versions, the same size), or reading it is a `Precondition`
//! error.

use super::endpoints::{Endpoints, Visit};
use crate::lock::Mutex;
use crate::{
    Body, Buf, Capability, Error, Event, GetRequest, Kind, ListOptions, Location, Meta, Object, Observe,
    Operation, Page, Place, PutOptions, ReadOptions, Result, Served, Store,
};
use futures::future::{BoxFuture, join_all};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use std::fmt;
use std::sync::Arc;

/// A store with several endpoints. See the module's words.
pub struct Balanced {
    shared: Arc<Shared>,
}

struct Shared {
    endpoints: Endpoints,
    capability: Capability,
    observer: Arc<dyn Observe>,
}

impl Balanced {
    /// Balances between stores that are doors of the same storage. `observer` hears of each operation that
    /// is taken to another ([`Event::FailedOver`]); lots are drawn from `seed`.
    ///
    /// # Errors
    /// `InvalidConfig` if there is none, or they can not do the same.
    pub fn new(stores: Vec<Arc<dyn Store>>, observer: Arc<dyn Observe>, seed: u64) -> Result<Self> {
        let Some(capability) = stores.first().map(|store| store.capability()) else {
            return Err(Error::invalid("endpoints: none is given; 1 or more are needed"));
        };
        if stores.iter().any(|store| store.capability() != capability) {
            return Err(Error::invalid(
                "endpoints: they differ in what they can do; they must be one service",
            ));
        }
        let endpoints = Endpoints::new(stores, seed);
        Ok(Balanced { shared: Arc::new(Shared { endpoints, capability, observer }) })
    }
}

impl Shared {
    /// Asks one endpoint after another until one does not say that it is closed.
    async fn ask<'a, T>(
        &'a self,
        bytes: Option<u64>,
        ask: impl Fn(&'a dyn Store) -> BoxFuture<'a, Result<T>>,
    ) -> Result<(T, usize)> {
        let mut tried = Vec::new();
        let mut visit = self.first(bytes);
        loop {
            let result = ask(&*visit.door.store).await;
            let elsewhere = visit.door.ended(&result);
            tried.push(visit.index);
            let index = visit.index;
            match elsewhere.then(|| self.endpoints.choose(bytes, &tried)).flatten() {
                None => return result.map(|value| (value, index)),
                Some(next) => {
                    self.observer.noted(None, Event::FailedOver);
                    visit = next;
                }
            }
        }
    }

    fn first(&self, bytes: Option<u64>) -> Visit<'_> {
        self.endpoints.choose(bytes, &[]).expect("there is one, and none was tried")
    }
}

fn asked_for(request: &GetRequest) -> Option<u64> {
    request.range.as_ref().map(|range| range.end.saturating_sub(range.start))
}

impl Store for Balanced {
    fn capability(&self) -> Capability {
        self.shared.capability
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        async move {
            let bytes = asked_for(&request);
            let get = |store: &'a dyn Store| store.get(request.clone(), options.clone(), place.clone());
            let (served, _) = self.shared.ask(bytes, get).await?;
            self.shared.endpoints.served(served.bytes);
            Ok(served)
        }
        .boxed()
    }

    /// Each endpoint gets its members as one batch.
    fn get_many<'a>(
        &'a self,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Vec<Result<Served>>> {
        async move {
            let endpoints = &self.shared.endpoints;
            let mut results: Vec<_> = requests.iter().map(|_| None).collect();
            // By member: where it was tried.
            let mut tried = vec![Vec::new(); requests.len()];
            let mut visits: Vec<_> =
                requests.iter().map(|request| Some(self.shared.first(asked_for(request)))).collect();
            loop {
                let mut batches = vec![Vec::new(); endpoints.len()];
                for (member, visit) in visits.iter().enumerate() {
                    if let Some(visit) = visit {
                        batches[visit.index].push(member);
                    }
                }
                let batches =
                    batches.iter().zip(endpoints.doors()).filter(|(members, _)| !members.is_empty());
                let answers = batches.map(|(members, door)| {
                    let asked = match members.len() == requests.len() {
                        true => requests.clone(),
                        false => members.iter().map(|&member| requests[member].clone()).collect(),
                    };
                    let answers = door.store.get_many(asked, options.clone(), place.clone());
                    answers.map(move |answers| members.iter().copied().zip(answers).collect::<Vec<_>>())
                });
                let answers = join_all(answers).await;
                let mut again = false;
                for (member, answer) in answers.into_iter().flatten() {
                    let Some(visit) = visits[member].take() else { continue };
                    let elsewhere = visit.door.ended(&answer);
                    tried[member].push(visit.index);
                    if let Ok(served) = &answer {
                        endpoints.served(served.bytes);
                    }
                    let bytes = asked_for(&requests[member]);
                    match elsewhere.then(|| endpoints.choose(bytes, &tried[member])).flatten() {
                        None => results[member] = Some(answer),
                        Some(next) => {
                            self.shared.observer.noted(None, Event::FailedOver);
                            visits[member] = Some(next);
                            again = true;
                        }
                    }
                }
                if !again {
                    break;
                }
            }
            results.into_iter().map(|result| result.expect("a store answers every request")).collect()
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
        async move {
            let open = |store: &'a dyn Store| store.open(location, options.clone());
            let (object, index) = self.shared.ask(Some(0), open).await?;
            let (meta, location, shared) = (object.meta().clone(), location.clone(), self.shared.clone());
            let at = Mutex::new((index, object));
            Ok(Arc::new(BalancedObject { at, meta, location, options, shared }) as Arc<dyn Object>)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        async move { Ok(self.shared.ask(Some(0), |store| store.stat(location)).await?.0) }.boxed()
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        let first = async move {
            let pages = |store: &'a dyn Store| {
                let mut pages = store.list(location, options.clone()).fuse();
                // The first page tells whether the endpoint is there.
                async move { pages.next().await.transpose().map(|page| (page, pages)) }.boxed()
            };
            match self.shared.ask(Some(0), pages).await {
                Ok(((page, pages), _)) => stream::iter(page.map(Ok)).chain(pages).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(first).flatten().boxed()
    }

    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>> {
        async move {
            let visit = self.shared.first(body.len());
            let result = visit.door.store.put(location, body, options).await;
            visit.door.ended(&result);
            result
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        async move {
            let visit = self.shared.first(Some(0));
            let results = visit.door.store.delete_many(locations).await;
            // One request: it is the endpoint's failure only if nothing of it was done.
            if let Some(said) = results.iter().find(|result| result.is_ok()).or(results.first()) {
                visit.door.ended(said);
            }
            results
        }
        .boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        async move {
            let visit = self.shared.first(Some(0));
            let result = visit.door.store.delete(location).await;
            visit.door.ended(&result);
            result
        }
        .boxed()
    }
}

impl fmt::Debug for Balanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stores: Vec<_> = self.shared.endpoints.doors().iter().map(|door| &door.store).collect();
        f.debug_tuple("Balanced").field(&stores).finish()
    }
}

struct BalancedObject {
    /// Which endpoint, and the object as it was opened there.
    at: Mutex<(usize, Arc<dyn Object>)>,
    /// As it was opened first.
    meta: Meta,
    location: Location,
    options: ReadOptions,
    shared: Arc<Shared>,
}

impl BalancedObject {
    fn here(&self) -> (usize, Arc<dyn Object>) {
        self.at.lock().clone()
    }

    /// Opens the same version at an endpoint that was not tried yet. `None` if none of them is well.
    async fn elsewhere(&self, tried: &mut Vec<usize>) -> Option<Result<Arc<dyn Object>>> {
        loop {
            let visit = self.shared.endpoints.choose(Some(0), tried)?;
            self.shared.observer.noted(None, Event::FailedOver);
            tried.push(visit.index);
            let opened = visit.door.store.open(&self.location, self.options.clone()).await;
            let closed = visit.door.ended(&opened);
            match opened {
                Ok(object) => {
                    let (found, meta) = (object.meta(), &self.meta);
                    if found.version != meta.version || found.size != meta.size {
                        let context = "it is another version at the endpoint that was failed over to";
                        let error = Error::new(Kind::Precondition, Operation::Read, context);
                        return Some(Err(error.at(&self.location)));
                    }
                    *self.at.lock() = (visit.index, object.clone());
                    return Some(Ok(object));
                }
                Err(error) if !closed => return Some(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl Object for BalancedObject {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move {
            let (index, mut object) = self.here();
            let (mut index, mut buf, mut tried) = (index, buf, vec![index]);
            loop {
                let visit = self.shared.endpoints.visit(index, Some(buf.len() as u64));
                let (back, result) = object.read_into(offset, buf).await;
                buf = back;
                let closed = visit.door.ended(&result);
                drop(visit);
                if !closed {
                    return (buf, result);
                }
                match self.elsewhere(&mut tried).await {
                    None => return (buf, result),
                    Some(Err(error)) => return (buf, Err(error)),
                    Some(Ok(opened)) => object = opened,
                }
                index = *tried.last().expect("the one that it was just opened at");
            }
        }
        .boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        async move {
            let (mut index, mut object) = self.here();
            let mut tried = vec![index];
            let offsets: Vec<u64> = ranges.iter().map(|(offset, _)| *offset).collect();
            let mut results: Vec<_> = ranges.iter().map(|_| None).collect();
            let (mut asked, mut members) = (ranges, (0..offsets.len()).collect::<Vec<_>>());
            loop {
                let bytes = asked.iter().map(|(_, buf)| buf.len() as u64).sum();
                let visit = self.shared.endpoints.visit(index, Some(bytes));
                let answers = object.read_many(asked).await;
                let mut failed = Vec::new();
                for (member, (buf, answer)) in members.into_iter().zip(answers) {
                    match visit.door.ended(&answer) {
                        true => failed.push((member, buf, answer)),
                        false => results[member] = Some((buf, answer)),
                    }
                }
                drop(visit);
                let next = if failed.is_empty() { None } else { self.elsewhere(&mut tried).await };
                match next {
                    None => {
                        failed
                            .into_iter()
                            .for_each(|(member, buf, answer)| results[member] = Some((buf, answer)));
                        break;
                    }
                    Some(Err(error)) => {
                        for (member, buf, _) in failed {
                            results[member] = Some((buf, Err(error.duplicate())));
                        }
                        break;
                    }
                    Some(Ok(opened)) => object = opened,
                }
                index = *tried.last().expect("the one that it was just opened at");
                members = failed.iter().map(|(member, ..)| *member).collect();
                asked = failed.into_iter().map(|(member, buf, _)| (offsets[member], buf)).collect();
            }
            results.into_iter().map(|result| result.expect("an object answers every range")).collect()
        }
        .boxed()
    }
}

impl fmt::Debug for BalancedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Balanced").field(&self.at.lock().1).finish()
    }
}
