//! Leaves an endpoint alone for a while that keeps failing ("circuit breaker", M. Nygard, *Release It!*).
//!
//! *Closed*, everything goes through. When `failures` operations in a row end as `Unavailable` or
//! `TimedOut`, it opens. *Open*, everything is refused at once as `Unavailable`, with
//! [`Retry::After`] what is left of the cooldown. When that is over one operation goes through as a
//! *probe*, and the next cooldown begins: at most one probe a cooldown, whatever becomes of it. A probe
//! that the endpoint answers closes the breaker.
//!
//! An answer is an answer: `NotFound` or `Throttled` say that the endpoint is there. What ends as
//! `Cancelled`, is dropped, or failed because a put's own body did, says nothing. Of what was on its way
//! when the breaker opened, nothing counts.
//!
//! It stands next to one endpoint. It needs a tokio runtime's clock, not its timers.

use crate::lock::Mutex;
use crate::{
    Body, Buf, Capability, Error, Event, GetRequest, Kind, ListOptions, Location, Meta, Object, Observe,
    Operation, Page, Place, PutOptions, ReadOptions, Result, Retry, Served, Store,
};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// When a [`Breaker`] opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// So many failures in a row open it.
    pub failures: NonZeroU32,
    /// How long the endpoint is left alone between two probes.
    pub cooldown: Duration,
}

impl Default for BreakerPolicy {
    /// Twenty in a row, five seconds: one dead connection can fail as many requests as it carries, and
    /// must not look like a dead endpoint.
    fn default() -> Self {
        BreakerPolicy {
            failures: NonZeroU32::new(20).expect("20 is not 0"),
            cooldown: Duration::from_secs(5),
        }
    }
}

/// A store behind a circuit breaker. See the module's words.
pub struct Breaker {
    store: Arc<dyn Store>,
    circuit: Arc<Circuit>,
}

impl Breaker {
    /// Guards `store`; `observer` hears of each opening and each refusal.
    pub fn new(store: Arc<dyn Store>, policy: BreakerPolicy, observer: Arc<dyn Observe>) -> Self {
        let state = Mutex::new(State { failed: 0, opened: 0, until: None });
        Breaker { store, circuit: Arc::new(Circuit { policy, observer, state }) }
    }
}

struct Circuit {
    policy: BreakerPolicy,
    observer: Arc<dyn Observe>,
    state: Mutex<State>,
}

struct State {
    /// Failures in a row, while closed.
    failed: u32,
    /// How often it opened: what was let through before says nothing after.
    opened: u64,
    /// Open, and when the next probe may go; none while closed.
    until: Option<Instant>,
}

/// The right to go through.
#[derive(Clone, Copy)]
struct Pass {
    opened: u64,
    probe: bool,
}

impl Circuit {
    /// Lets an operation through, or says how far away the next probe is.
    fn pass(&self) -> Result<Pass, Duration> {
        let mut state = self.state.lock();
        let Some(until) = state.until else { return Ok(Pass { opened: state.opened, probe: false }) };
        let now = Instant::now();
        if now < until {
            return Err(until - now);
        }
        state.until = Some(now + self.policy.cooldown);
        Ok(Pass { opened: state.opened, probe: true })
    }

    fn enter(&self, operation: Operation) -> Result<Pass> {
        self.pass().map_err(|left| self.refusal(operation, left))
    }

    /// Refuses an operation while the next probe is so far away.
    fn refusal(&self, operation: Operation, left: Duration) -> Error {
        self.observer.noted(None, Event::BreakerRefused);
        let context = format!(
            "not sent: {} operations in a row failed here, the next may go in {:.1} s",
            self.policy.failures,
            left.as_secs_f64()
        );
        Error::new(Kind::Unavailable, operation, context).with_retry(Retry::After(left))
    }

    /// Hears how an operation ended that was let through.
    fn ended<T>(&self, pass: Pass, result: &Result<T>) {
        let failed = match result.as_ref().err().map(Error::kind) {
            Some(Kind::Unavailable | Kind::TimedOut) => true,
            Some(Kind::Cancelled) => return,
            _ => false,
        };
        let mut state = self.state.lock();
        if pass.opened != state.opened {
            return;
        }
        match (failed, pass.probe) {
            (false, true) => *state = State { failed: 0, until: None, ..*state },
            (false, false) => state.failed = 0,
            // It stays open until the next probe.
            (true, true) => {}
            (true, false) => {
                state.failed += 1;
                if state.failed >= self.policy.failures.get() {
                    let until = Some(Instant::now() + self.policy.cooldown);
                    *state = State { failed: 0, opened: state.opened + 1, until };
                    drop(state);
                    self.observer.noted(None, Event::BreakerOpened);
                }
            }
        }
    }

    /// How many of a batch may go through, and the pass for them: all, one as a probe, or none. Also how
    /// long the others have to wait.
    fn enter_many(&self, members: usize) -> (usize, Option<Pass>, Duration) {
        match self.pass() {
            Ok(pass) if pass.probe => (members.min(1), Some(pass), self.policy.cooldown),
            Ok(pass) => (members, Some(pass), Duration::ZERO),
            Err(left) => (0, None, left),
        }
    }
}

impl Store for Breaker {
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
            let pass = self.circuit.enter(Operation::Get).map_err(|e| e.at(&request.location))?;
            let result = self.store.get(request, options, place).await;
            self.circuit.ended(pass, &result);
            result
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
            let (through, pass, left) = self.circuit.enter_many(requests.len());
            let mut results = Vec::with_capacity(requests.len());
            if let Some(pass) = pass {
                let asked =
                    if through == requests.len() { requests.clone() } else { requests[..through].into() };
                results = self.store.get_many(asked, options, place).await;
                results.iter().for_each(|result| self.circuit.ended(pass, result));
            }
            for request in &requests[through..] {
                results.push(Err(self.circuit.refusal(Operation::Get, left).at(&request.location)));
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
            let pass = self.circuit.enter(Operation::Open).map_err(|e| e.at(location))?;
            let result = self.store.open(location, options).await;
            self.circuit.ended(pass, &result);
            let (location, circuit) = (location.clone(), self.circuit.clone());
            Ok(Arc::new(BreakerObject { object: result?, location, circuit }) as Arc<dyn Object>)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        async move {
            let pass = self.circuit.enter(Operation::Stat).map_err(|e| e.at(location))?;
            let result = self.store.stat(location).await;
            self.circuit.ended(pass, &result);
            result
        }
        .boxed()
    }

    /// Each page is an operation: a listing goes on only while the breaker is closed.
    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        let pages = self.store.list(location, options);
        stream::unfold(Some(pages), move |pages| async move {
            let mut pages = pages?;
            let pass = match self.circuit.enter(Operation::List) {
                Ok(pass) => pass,
                Err(error) => return Some((Err(error.at(location)), None)),
            };
            let page = pages.next().await;
            match &page {
                Some(page) => self.circuit.ended(pass, page),
                None => self.circuit.ended(pass, &Ok(())),
            }
            page.map(|page| (page, Some(pages)))
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
            let pass = self.circuit.enter(Operation::Put).map_err(|e| e.at(location))?;
            let broken = Arc::new(AtomicBool::new(false));
            let seen = broken.clone();
            let body = body.map_chunks(move |chunks| {
                let seen = seen.clone();
                chunks.inspect(move |chunk| seen.store(chunk.is_err(), Ordering::Relaxed)).boxed()
            });
            let result = self.store.put(location, body, options).await;
            if !broken.load(Ordering::Relaxed) {
                self.circuit.ended(pass, &result);
            }
            result
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        async move {
            let pass = match self.circuit.enter(Operation::Delete) {
                Ok(pass) => pass,
                Err(refusal) => return locations.iter().map(|at| Err(refusal.duplicate().at(at))).collect(),
            };
            let results = self.store.delete_many(locations).await;
            // A service that answers for one of them has answered.
            if let Some(said) = results.iter().find(|result| result.is_ok()).or(results.first()) {
                self.circuit.ended(pass, said);
            }
            results
        }
        .boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        async move {
            let pass = self.circuit.enter(Operation::Delete).map_err(|e| e.at(location))?;
            let result = self.store.delete(location).await;
            self.circuit.ended(pass, &result);
            result
        }
        .boxed()
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("store", &self.store)
            .field("policy", &self.circuit.policy)
            .field("open", &self.circuit.state.lock().until.is_some())
            .finish()
    }
}

struct BreakerObject {
    object: Arc<dyn Object>,
    location: Location,
    circuit: Arc<Circuit>,
}

impl Object for BreakerObject {
    fn meta(&self) -> &Meta {
        self.object.meta()
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move {
            let pass = match self.circuit.enter(Operation::Read) {
                Ok(pass) => pass,
                Err(error) => return (buf, Err(error.at(&self.location))),
            };
            let (buf, result) = self.object.read_into(offset, buf).await;
            self.circuit.ended(pass, &result);
            (buf, result)
        }
        .boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        async move {
            let (through, pass, left) = self.circuit.enter_many(ranges.len());
            let mut asked = ranges;
            let refused = asked.split_off(through);
            let mut results = Vec::new();
            if let Some(pass) = pass {
                results = self.object.read_many(asked).await;
                results.iter().for_each(|(_, result)| self.circuit.ended(pass, result));
            }
            for (_, buf) in refused {
                let error = self.circuit.refusal(Operation::Read, left).at(&self.location);
                results.push((buf, Err(error)));
            }
            results
        }
        .boxed()
    }
}

impl fmt::Debug for BreakerObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Breaker").field(&self.object).finish()
    }
}
