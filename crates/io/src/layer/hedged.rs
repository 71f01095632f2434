//! Sends a second request when the first takes longer than most, and takes the answer that comes first
//! ("hedged requests", J. Dean and L. A. Barroso, *The Tail at Scale*, CACM 2013).
//!
//! "Longer than most" is a quantile of the latencies of the last few hundred requests of the same kind,
//! without the time that they waited for memory, and never less than `min_delay`. Before enough is known
//! nothing is hedged. With a quantile of 0.95 about one request in twenty is sent twice; when a service
//! slows down as a whole that would be all of them for a while, so hedges also keep to one and a half times
//! their share of the successes.
//!
//! Gets, range reads, opens and stats are hedged; listings, puts and deletes are not. The first answer
//! wins: success, or an error that would come again. The other request is dropped. A failure that may pass
//! ends the pair only if the other one fails too.
//!
//! Both requests of a pair may be reading at the same time, and never into the same memory: the second one
//! to ask reads into memory beside the caller's slot, which is copied if it wins. It is of the caller's pool and counts
//! in the caller's budget, and is at most `spare_bytes` for all hedges together. If none is free there is no hedge,
//! which is counted: nothing waits for it, and it is given back when the pair ends, so that whoever is next
//! in the line waits for two reads at most.
//!
//! The members of a batch are asked for one by one, at the same time, so that each can be hedged. Needs a
//! tokio runtime with time enabled.

use super::hedge_place::{HedgeMemory, HedgePlace, Which};
use super::recent::Recent;
use super::retry_budget::{Purse, RetryBudget};
use super::stopwatch::Stopwatch;
use crate::{
    Body, Budget, Buf, Capability, Error, Event, GetRequest, Kind, ListOptions, Location, Meta, Object,
    Observe, Page, Place, PutOptions, ReadOptions, Result, Retry, Served, Store, Want,
};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::BoxStream;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// When [`Hedged`] sends a second request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HedgePolicy {
    /// The share of requests that are not hedged: above 0 and below 1.
    pub quantile: f64,
    /// No second request before this.
    pub min_delay: Duration,
    /// What all second reads together may take of their callers' memory, beside the slots, under the callers' caps;
    /// 1 or more. Where it is not free now there is no second read.
    pub spare_bytes: u64,
}

impl Default for HedgePolicy {
    /// The slowest twentieth, after 5 ms at least (what is faster is not worth a request), with 64 MiB.
    fn default() -> Self {
        HedgePolicy { quantile: 0.95, min_delay: Duration::from_millis(5), spare_bytes: 64 << 20 }
    }
}

/// A store whose slow reads are sent twice. See the module's words.
pub struct Hedged {
    store: Arc<dyn Store>,
    hedges: Arc<Hedges>,
}

impl Hedged {
    /// Hedges the reads of `store`; `observer` hears of each second request and of each that won.
    ///
    /// # Errors
    /// `InvalidConfig` if the quantile is not between 0 and 1, or there is to be no spare memory.
    pub fn new(store: Arc<dyn Store>, policy: HedgePolicy, observer: Arc<dyn Observe>) -> Result<Self> {
        let HedgePolicy { quantile, spare_bytes, .. } = policy;
        if !(quantile > 0.0 && quantile < 1.0) {
            let context = format!("hedge_quantile must be above 0 and below 1, is {quantile}");
            return Err(Error::invalid(context));
        }
        let budget = RetryBudget { per_success: (1.0 - quantile) * 1.5, per_second: 1.0, most: 10.0 };
        let most = Budget::new(spare_bytes).map_err(|e| e.context("hedge_memory"))?;
        let hedges = Hedges {
            memory: Arc::new(HedgeMemory::new(most, observer.clone())),
            policy,
            observer,
            gets: Recent::new(quantile),
            reads: Recent::new(quantile),
            lookups: Recent::new(quantile),
            purse: Purse::new(budget),
        };
        Ok(Hedged { store, hedges: Arc::new(hedges) })
    }

    async fn get_one(
        &self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> Result<Served> {
        let hedges = &self.hedges;
        let watch = Arc::new(Stopwatch::new());
        let pair = HedgePlace::new(place, request.slot, hedges.memory.clone(), watch.clone());
        let read =
            |which| self.store.get(request.clone(), options.clone(), pair.lane(which)).map(Attempt::new);
        let (winner, result) = hedges
            .race(&hedges.gets, &watch, read(Which::First).boxed(), || {
                pair.has_spare().then(|| read(Which::Second).boxed())
            })
            .await;
        match result.0 {
            Ok(served) => pair.settle(winner).await.map(|()| served).map_err(|e| e.at(&request.location)),
            Err(error) => {
                pair.returned().await;
                Err(error)
            }
        }
    }

    async fn look_up<'a, T: Send + 'a>(
        &'a self,
        ask: impl Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    ) -> Result<T> {
        let watch = Stopwatch::new();
        let again = || Some(ask().map(Attempt::new).boxed());
        let first = ask().map(Attempt::new).boxed();
        self.hedges.race(&self.hedges.lookups, &watch, first, again).await.1.0
    }
}

/// What the store and its opened objects share.
struct Hedges {
    policy: HedgePolicy,
    observer: Arc<dyn Observe>,
    gets: Recent,
    reads: Recent,
    lookups: Recent,
    purse: Purse,
    memory: Arc<HedgeMemory>,
}

/// How a request of a pair ended, and what else comes back with it.
struct Attempt<T, X = ()>(Result<T>, X);

impl<T> Attempt<T> {
    fn new(result: Result<T>) -> Self {
        Attempt(result, ())
    }
}

impl<T, X> Attempt<T, X> {
    /// Whether the other request of the pair could only say the same.
    fn is_answer(&self) -> bool {
        match &self.0 {
            Ok(_) => true,
            Err(error) => error.retry() == Retry::Never && error.kind() != Kind::Cancelled,
        }
    }
}

impl Hedges {
    /// The first answer of a pair of requests, the second of which is only made when the first is late.
    /// The one that did not win has been dropped.
    async fn race<'a, T, X>(
        &self,
        recent: &Recent,
        watch: &Stopwatch,
        mut first: BoxFuture<'a, Attempt<T, X>>,
        second: impl FnOnce() -> Option<BoxFuture<'a, Attempt<T, X>>>,
    ) -> (Which, Attempt<T, X>) {
        let delay = recent.usual().map(|usual| usual.max(self.policy.min_delay));
        let early = match delay {
            None => Some(first.as_mut().await),
            Some(delay) => tokio::select! {
                biased;
                attempt = &mut first => Some(attempt),
                () = watch.reaches(delay) => None,
            },
        };
        if let Some(attempt) = early {
            self.ended(recent, watch, &attempt);
            return (Which::First, attempt);
        }
        let Some(mut other) = self.purse.take().then(second).flatten() else {
            let attempt = first.await;
            self.ended(recent, watch, &attempt);
            return (Which::First, attempt);
        };
        self.observer.noted(None, Event::Hedged);
        let (came, attempt) = tokio::select! {
            biased;
            attempt = &mut first => (Which::First, attempt),
            attempt = &mut other => (Which::Second, attempt),
        };
        let (winner, attempt) = match (attempt.is_answer(), came) {
            (true, _) => (came, attempt),
            // It failed in a way that may pass: the other may do better, and else the first one's word
            // counts.
            (false, Which::First) => match other.await {
                better if better.is_answer() => (Which::Second, better),
                _ => (Which::First, attempt),
            },
            (false, Which::Second) => (Which::First, first.await),
        };
        self.ended(recent, watch, &attempt);
        if winner == Which::Second && attempt.0.is_ok() {
            self.observer.noted(None, Event::HedgeWon);
        }
        (winner, attempt)
    }

    fn ended<T, X>(&self, recent: &Recent, watch: &Stopwatch, attempt: &Attempt<T, X>) {
        if attempt.0.is_ok() {
            // Where the second one won, the first took this long at least.
            recent.record(watch.elapsed());
            self.purse.succeeded(1);
        }
    }
}

impl Store for Hedged {
    fn capability(&self) -> Capability {
        Capability { native_batch: false, ..self.store.capability() }
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        self.get_one(request, options, place).boxed()
    }

    fn get_many<'a>(
        &'a self,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Vec<Result<Served>>> {
        async move {
            join_all(requests.iter().map(|r| self.get_one(r.clone(), options.clone(), place.clone()))).await
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
        async move {
            let object = self.look_up(move || self.store.open(location, options.clone())).await?;
            Ok(Arc::new(HedgedObject { object, hedges: self.hedges.clone() }) as Arc<dyn Object>)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        self.look_up(move || self.store.stat(location)).boxed()
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        self.store.list(location, options)
    }

    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>> {
        self.store.put(location, body, options)
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        self.store.delete_many(locations)
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        self.store.delete(location)
    }
}

impl fmt::Debug for Hedged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedged").field("store", &self.store).field("policy", &self.hedges.policy).finish()
    }
}

struct HedgedObject {
    object: Arc<dyn Object>,
    hedges: Arc<Hedges>,
}

impl HedgedObject {
    async fn read_one(&self, offset: u64, buf: Buf) -> (Buf, Result<Served>) {
        let (claim, len) = (buf.claim(), buf.len() as u64);
        let (pool, mut spare) = (buf.pool().clone(), None);
        let read = |buf| self.object.read_into(offset, buf).map(|(buf, result)| Attempt(result, buf)).boxed();
        let again = || {
            let bufs = self.hedges.memory.take(&mut spare, &pool, &[Want::new(0, len)]);
            bufs.and_then(|bufs| bufs.into_iter().next()).map(read)
        };
        let watch = Stopwatch::new();
        let raced = self.hedges.race(&self.hedges.reads, &watch, read(buf), again).await;
        match raced {
            (Which::First, Attempt(result, buf)) => (buf, result),
            (Which::Second, Attempt(result, spare)) => {
                let mut buf = claim.reclaim().await.expect("a batch is not finished while it is read");
                if result.is_ok() {
                    buf.copy_from_slice(&spare);
                }
                (buf, result)
            }
        }
    }
}

impl Object for HedgedObject {
    fn meta(&self) -> &Meta {
        self.object.meta()
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        self.read_one(offset, buf).boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        join_all(ranges.into_iter().map(|(offset, buf)| self.read_one(offset, buf))).boxed()
    }
}

impl fmt::Debug for HedgedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hedged").field(&self.object).finish()
    }
}
