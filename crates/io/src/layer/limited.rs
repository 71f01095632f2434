//! Keeps a store's load under limits: operations in flight, and bytes per second.
//!
//! *Concurrency* counts operations in flight at the inner store. A permit is held until the bytes
//! are in place, for each member of a batch, for each range read of an opened object (an object that
//! is merely open holds none), for each page of a listing while it is fetched (a consumer that thinks
//! between two pages holds none) and for a put until it is done; what one request deletes is one operation. A larger batch is split. First come, first
//! served, but reads that are tried again ([`ReadOptions::attempt`]) go first.
//!
//! Nothing here waits for something else while it holds a permit, because what it waits for may be
//! waiting for the permit. That matters at two places:
//! * *memory.* A read whose place has no memory yet is broken off and its permit given up; once the
//!   memory is there, the read is made again. (The budget lends in delivery order, so a younger batch
//!   may wait for an older one, which needs the permits.) The inner store sees such a read fail as
//!   `Cancelled`; the caller sees nothing of it. A store that is told the size ([`GetRequest::size`]) or a range
//!   asks for memory before it does anything else, so that nothing is made twice.
//! * *the body of a put.* While it has no chunk ready the put's permit is given up, and taken again
//!   before the next chunk is handed on: a body may itself read from this store.
//!
//! The limit may be *adaptive* ([`Limited::adaptive`]): it sinks when the service keeps answering `Throttled` and
//! grows while it serves. Such a limit is one endpoint's, so it stands next to it.
//!
//! *Bytes per second* are paid for before they move, in order of arrival, with bursts of one second's
//! worth at most: reads when their size is known (which is when the place is asked for memory), puts
//! chunk by chunk, chunks above a second's worth cut into pieces. A read larger than that is paid for
//! piece by piece, and then made at once. Reads that fail stay paid. Names and details of listings
//! are not counted. This limit needs a tokio runtime with time enabled.

use super::rate::Rate;
use super::turnstile::{AdaptiveLimit, Permit, Turn, Turnstile};
use crate::lock::Mutex;
use crate::{
    Body, Buf, Capability, Error, GetRequest, Kind, ListOptions, Location, Meta, Object, Observe, Operation,
    Page, Place, Pool, PutOptions, ReadOptions, Reservation, Result, Served, Store, Want,
};
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

/// What [`Limited`] keeps to. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The most operations in flight at the inner store.
    pub concurrency: Option<NonZeroU32>,
    /// The most bytes read and written in a second, together.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// Requests to delete that stand in the line at once for one call; any number of objects may be named in it.
const DELETES_WAITING: usize = 64;

/// A store whose load stays under [`Limits`]. See the module's words for what counts.
pub struct Limited {
    store: Arc<dyn Store>,
    gates: Arc<Gates>,
}

impl Limited {
    /// Limits `store`. Whatever should share the limits shares this one wrapper.
    pub fn new(store: Arc<dyn Store>, limits: Limits) -> Self {
        let turnstile = limits.concurrency.map(Turnstile::fixed);
        let rate = limits.bytes_per_second.map(Rate::new);
        Limited { store, gates: Arc::new(Gates { turnstile, rate }) }
    }

    /// Limits the operations in flight at `store` to what it serves without asking for fewer. `observer`
    /// hears of each change ([`Event::ConcurrencyLimit`](crate::Event)).
    pub fn adaptive(store: Arc<dyn Store>, limit: AdaptiveLimit, observer: Arc<dyn Observe>) -> Self {
        let turnstile = Some(Turnstile::adaptive(limit, observer));
        Limited { store, gates: Arc::new(Gates { turnstile, rate: None }) }
    }

    fn gate(&self, place: &Arc<dyn Place>) -> Arc<Gate> {
        Arc::new(Gate { place: place.clone(), gates: self.gates.clone(), parked: Mutex::default() })
    }

    /// What one request removes: one operation in flight.
    async fn delete_batch(&self, locations: &[Location]) -> Vec<Result<()>> {
        let permit = self.gates.enter(1, Turn::Fresh).await;
        let results = self.store.delete_many(locations).await;
        results.iter().for_each(|result| note(&permit, result));
        results
    }

    /// Reads as many as may be in flight at once, or fewer.
    async fn read_piece(
        &self,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> Vec<Result<Served>> {
        let mut results: Vec<Option<Result<Served>>> = requests.iter().map(|_| None).collect();
        let mut asked = requests.clone();
        let mut indices: Vec<usize> = (0..requests.len()).collect();
        loop {
            let permits = self.gates.enter(asked.len(), turn(&options)).await;
            let gate = self.gate(&place);
            let answers = self.store.get_many(asked, options.clone(), gate.clone()).await;
            for (index, answer) in indices.iter().zip(&answers) {
                if gate.parked(requests[*index].slot).is_none() {
                    note(&permits, answer);
                }
            }
            drop(permits);
            let mut again = Vec::new();
            for (index, answer) in indices.into_iter().zip(answers) {
                let request = &requests[index];
                let answer = match (answer, gate.parked(request.slot)) {
                    (Err(_), Some(want)) => match wait_for(&*place, want).await {
                        Ok(()) => {
                            again.push(index);
                            continue;
                        }
                        Err(error) => Err(error.at(&request.location)),
                    },
                    (answer, _) => answer,
                };
                results[index] = Some(answer);
            }
            if again.is_empty() {
                return results.into_iter().map(|r| r.expect("each is answered or asked again")).collect();
            }
            asked = again.iter().map(|&index| requests[index].clone()).collect();
            indices = again;
        }
    }
}

/// What is tried again came before, and goes first.
fn turn(options: &ReadOptions) -> Turn {
    if options.attempt > 0 { Turn::Again } else { Turn::Fresh }
}

/// Tells the limit how an operation ended.
fn note<T>(permit: &Option<Permit>, result: &Result<T>) {
    if let Some(permit) = permit {
        permit.ended(result.as_ref().err().map(Error::kind));
    }
}

/// Waits until the place has memory for `want`. The memory stays with the slot when its buffer is
/// dropped, so the read that follows gets it at once.
async fn wait_for(place: &dyn Place, want: Want) -> Result<()> {
    place.reserve(&[want]).await.map(drop)
}

struct Gates {
    turnstile: Option<Arc<Turnstile>>,
    rate: Option<Rate>,
}

impl Gates {
    /// Permits for `operations` at once.
    async fn enter(&self, operations: usize, turn: Turn) -> Option<Permit> {
        let operations = u32::try_from(operations).unwrap_or(u32::MAX);
        Some(self.turnstile.as_ref()?.enter(operations, turn).await)
    }

    async fn pay(&self, bytes: u64) {
        if let Some(rate) = &self.rate {
            rate.pay(bytes).await;
        }
    }

    /// Into how large pieces a batch of `operations` is split; none if it may go as it is.
    ///
    /// A quarter of the limit, so that the slowest read of one piece does not keep the permits of
    /// many from the next. Under a fixed limit a batch that fits goes as it is, in one submission; an adaptive
    /// one stands before services, where each read is a request of its own anyhow, and some take much longer.
    fn piece(&self, operations: usize) -> Option<usize> {
        let turnstile = self.turnstile.as_ref()?;
        let most = turnstile.limit() as usize;
        let piece = most.div_ceil(4);
        (operations > if turnstile.is_adaptive() { piece } else { most }).then_some(piece)
    }
}

/// The place that the inner store sees: it asks the real one, pays, and never lets a read wait for
/// memory while it holds a permit.
struct Gate {
    place: Arc<dyn Place>,
    gates: Arc<Gates>,
    /// Wants that had to wait, by slot.
    parked: Mutex<HashMap<u32, Want>>,
}

impl Gate {
    fn parked(&self, slot: u32) -> Option<Want> {
        self.parked.lock().get(&slot).copied()
    }

    /// Asks the real place; what would have to wait there is broken off if it holds a permit.
    fn ask(&self, wants: &[Want]) -> Reservation {
        let reservation = self.place.try_reserve(wants);
        if matches!(reservation, Reservation::Wait) && self.gates.turnstile.is_some() {
            self.parked.lock().extend(wants.iter().map(|want| (want.slot, *want)));
            let context = "broken off to wait for memory; it is read again when there is some";
            return Reservation::Refused(Error::new(Kind::Cancelled, Operation::Get, context));
        }
        reservation
    }
}

fn bytes_of(bufs: &[Buf]) -> u64 {
    bufs.iter().map(|buf| buf.len() as u64).sum()
}

impl Place for Gate {
    fn pool(&self) -> &Pool {
        self.place.pool()
    }

    fn try_reserve(&self, wants: &[Want]) -> Reservation {
        match (self.ask(wants), &self.gates.rate) {
            // The buffers go back; their slots keep the memory until `reserve` asks again.
            (Reservation::Granted(bufs), Some(rate)) if !rate.try_pay(bytes_of(&bufs)) => Reservation::Wait,
            (reservation, _) => reservation,
        }
    }

    fn reserve<'a>(&'a self, wants: &'a [Want]) -> BoxFuture<'a, Result<Vec<Buf>>> {
        async move {
            let bufs = match self.ask(wants) {
                Reservation::Granted(bufs) => bufs,
                Reservation::Wait => self.place.reserve(wants).await?,
                Reservation::TooLarge { error, .. } | Reservation::Refused(error) => return Err(error),
            };
            self.gates.pay(bytes_of(&bufs)).await;
            Ok(bufs)
        }
        .boxed()
    }
}

impl Store for Limited {
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
            loop {
                let permit = self.gates.enter(1, turn(&options)).await;
                let gate = self.gate(&place);
                let result = self.store.get(request.clone(), options.clone(), gate.clone()).await;
                let parked = gate.parked(request.slot);
                if parked.is_none() {
                    note(&permit, &result);
                }
                drop(permit);
                match (result, parked) {
                    (Err(_), Some(want)) => {
                        wait_for(&*place, want).await.map_err(|e| e.at(&request.location))?;
                    }
                    (result, _) => return result,
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
            let Some(piece) = self.gates.piece(requests.len()) else {
                return self.read_piece(requests, options, place).await;
            };
            let pieces = requests.chunks(piece).map(|requests| {
                self.read_piece(requests.iter().cloned().collect(), options.clone(), place.clone())
            });
            join_all(pieces).await.into_iter().flatten().collect()
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
        async move {
            let permit = self.gates.enter(1, Turn::Fresh).await;
            let result = self.store.open(location, options).await;
            note(&permit, &result);
            Ok(Arc::new(LimitedObject { object: result?, gates: self.gates.clone() }) as Arc<dyn Object>)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        async move {
            let permit = self.gates.enter(1, Turn::Fresh).await;
            let result = self.store.stat(location).await;
            note(&permit, &result);
            result
        }
        .boxed()
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        let pages = self.store.list(location, options);
        stream::unfold(pages, move |mut pages| async move {
            let permit = self.gates.enter(1, Turn::Fresh).await;
            let page = pages.next().await?;
            note(&permit, &page);
            Some((page, pages))
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
            let permit = Arc::new(PutPermit::new(self.gates.enter(1, Turn::Fresh).await));
            let (gates, shared) = (self.gates.clone(), permit.clone());
            let body = body.map_chunks(move |chunks| pace(chunks, gates.clone(), shared.clone()));
            // Also when this future is dropped, and whoever still holds the body does not matter.
            let _end = EndOfPut(&permit);
            let result = self.store.put(location, body, options).await;
            permit.ended(&result);
            result
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        async move {
            let batch = self.store.capability().delete_batch.max(1) as usize;
            let requests = locations.chunks(batch).map(|batch| self.delete_batch(batch));
            let results: Vec<_> =
                stream::iter(requests.collect::<Vec<_>>()).buffered(DELETES_WAITING).collect().await;
            results.into_iter().flatten().collect()
        }
        .boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        async move {
            let permit = self.gates.enter(1, Turn::Fresh).await;
            let result = self.store.delete(location).await;
            note(&permit, &result);
            result
        }
        .boxed()
    }
}

impl fmt::Debug for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited")
            .field("store", &self.store)
            .field("concurrency", &self.gates.turnstile)
            .field("rate", &self.gates.rate)
            .finish()
    }
}

/// The permit of a put, given up while its body has nothing to send.
struct PutPermit(Mutex<PutState>);

enum PutState {
    /// In flight, with a permit if there is a limit.
    Sending {
        permit: Option<Permit>,
    },
    Waiting,
    Over,
}

impl PutPermit {
    fn new(permit: Option<Permit>) -> Self {
        PutPermit(Mutex::new(PutState::Sending { permit }))
    }

    fn ended(&self, result: &Result<Meta>) {
        if let PutState::Sending { permit } = &*self.0.lock() {
            note(permit, result);
        }
    }

    fn give_up(&self) {
        let mut state = self.0.lock();
        if matches!(*state, PutState::Sending { .. }) {
            *state = PutState::Waiting;
        }
    }

    async fn take_again(&self, gates: &Gates) {
        let permit = gates.enter(1, Turn::Fresh).await;
        let mut state = self.0.lock();
        if matches!(*state, PutState::Waiting) {
            *state = PutState::Sending { permit };
        }
    }
}

struct EndOfPut<'a>(&'a PutPermit);

impl Drop for EndOfPut<'_> {
    fn drop(&mut self) {
        *self.0.0.lock() = PutState::Over;
    }
}

/// The chunks of a put, each paid for before it is handed on.
fn pace(
    chunks: BoxStream<'static, Result<Bytes>>,
    gates: Arc<Gates>,
    permit: Arc<PutPermit>,
) -> BoxStream<'static, Result<Bytes>> {
    stream::unfold(
        (chunks, Bytes::new(), gates, permit),
        |(mut chunks, mut rest, gates, permit)| async move {
            if rest.is_empty() {
                let ready = chunks.next().now_or_never();
                let next = match ready {
                    Some(next) => next,
                    None => {
                        permit.give_up();
                        let next = chunks.next().await;
                        permit.take_again(&gates).await;
                        next
                    }
                };
                rest = match next? {
                    Ok(chunk) => chunk,
                    Err(error) => return Some((Err(error), (chunks, Bytes::new(), gates, permit))),
                };
            }
            let most = gates.rate.as_ref().map_or(u64::MAX, Rate::burst);
            let piece = rest.split_to(rest.len().min(usize::try_from(most).unwrap_or(usize::MAX)));
            gates.pay(piece.len() as u64).await;
            Some((Ok(piece), (chunks, rest, gates, permit)))
        },
    )
    .boxed()
}

struct LimitedObject {
    object: Arc<dyn Object>,
    gates: Arc<Gates>,
}

impl LimitedObject {
    async fn read_piece(&self, ranges: Vec<(u64, Buf)>) -> Vec<(Buf, Result<Served>)> {
        let permits = self.gates.enter(ranges.len(), Turn::Fresh).await;
        self.gates.pay(ranges.iter().map(|(_, buf)| buf.len() as u64).sum()).await;
        let results = self.object.read_many(ranges).await;
        results.iter().for_each(|(_, result)| note(&permits, result));
        results
    }
}

impl Object for LimitedObject {
    fn meta(&self) -> &Meta {
        self.object.meta()
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move {
            let permit = self.gates.enter(1, Turn::Fresh).await;
            self.gates.pay(buf.len() as u64).await;
            let (buf, result) = self.object.read_into(offset, buf).await;
            note(&permit, &result);
            (buf, result)
        }
        .boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        async move {
            let Some(piece) = self.gates.piece(ranges.len()) else {
                return self.read_piece(ranges).await;
            };
            let mut pieces = Vec::new();
            let mut ranges = ranges.into_iter().peekable();
            while ranges.peek().is_some() {
                pieces.push(self.read_piece(ranges.by_ref().take(piece).collect()));
            }
            join_all(pieces).await.into_iter().flatten().collect()
        }
        .boxed()
    }
}

impl fmt::Debug for LimitedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limited").field(&self.object).finish()
    }
}
