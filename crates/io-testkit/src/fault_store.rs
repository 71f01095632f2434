//! A store that goes wrong on purpose, the same way each time.
//!
//! What happens to an operation is a pure function of the seed, the operation, its location and range,
//! and the number of the attempt, so it does not depend on which of many concurrent operations comes
//! first. For `get`, `get_many` and `open` the number is [`ReadOptions::attempt`]; the others are
//! counted here, each location and range for itself.
//!
//! It stands where the network or the disk would: directly around the store that has the data.

use crate::{Fault, FaultCounts, FaultRates};
use forebay_io::{
    Body, Buf, Capability, Error, GetRequest, Kind, ListOptions, Location, Meta, Object, Operation, Page,
    Place, PutOptions, ReadOptions, Reservation, Result, Retry, Served, Store, Want, delete_each,
};
use futures::future::{self, BoxFuture};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// See the module's words.
pub struct FaultStore {
    store: Arc<dyn Store>,
    faults: Arc<Faults>,
}

struct Faults {
    seed: u64,
    rates: FaultRates,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counts: FaultCounts,
    visits: HashMap<(Operation, Location, Option<Range<u64>>), u32>,
    scripts: HashMap<Location, VecDeque<Fault>>,
}

impl FaultStore {
    /// Faults at `rates`, drawn from `seed`, in front of `store`.
    ///
    /// # Errors
    /// `InvalidConfig` if a rate is outside 0 to 1, or their sum above 1.
    pub fn new(store: Arc<dyn Store>, rates: FaultRates, seed: u64) -> Result<Self> {
        rates.check()?;
        Ok(FaultStore { store, faults: Arc::new(Faults { seed, rates, state: Mutex::default() }) })
    }

    /// The next operations at `location`, whatever they are, go like this, one after another; only then
    /// do the rates count again.
    pub fn script(&self, location: &Location, faults: impl IntoIterator<Item = Fault>) {
        self.faults.state.lock().scripts.entry(location.clone()).or_default().extend(faults);
    }

    /// What was injected so far.
    pub fn counts(&self) -> FaultCounts {
        self.faults.state.lock().counts.clone()
    }

    /// Applies what was drawn for a read to its result.
    async fn after(
        &self,
        drawn: &Drawn,
        request: &GetRequest,
        place: &dyn Place,
        result: Result<Served>,
    ) -> Result<Served> {
        let served = self.faults.lose(drawn, Operation::Get, &request.location, result)?;
        match drawn.fault {
            Fault::Short | Fault::Corrupt => {
                let mut buf = again(place, request.slot, served.bytes).await?;
                self.faults.spoil(drawn, Operation::Get, &request.location, &mut buf, Ok(served))
            }
            _ => Ok(served),
        }
    }
}

/// The memory that a read has just filled: a slot keeps its memory, and what was read there, when its
/// buffer is gone.
async fn again(place: &dyn Place, slot: u32, len: u64) -> Result<Buf> {
    let wants = [Want::new(slot, len)];
    let mut bufs = match place.try_reserve(&wants) {
        Reservation::Granted(bufs) => bufs,
        Reservation::Wait => place.reserve(&wants).await?,
        Reservation::TooLarge { error, .. } | Reservation::Refused(error) => return Err(error),
    };
    Ok(bufs.remove(0))
}

/// What was drawn for one operation.
struct Drawn {
    fault: Fault,
    delay: Option<Duration>,
    /// Where to corrupt.
    noise: u64,
}

impl Faults {
    fn draw(
        &self,
        operation: Operation,
        location: &Location,
        range: Option<Range<u64>>,
        attempt: Option<u32>,
    ) -> Drawn {
        let mut state = self.state.lock();
        let attempt = attempt.unwrap_or_else(|| {
            let visits = state.visits.entry((operation, location.clone(), range.clone())).or_default();
            *visits += 1;
            *visits - 1
        });
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(operation.name().as_bytes());
        hasher.update(location.to_string().as_bytes());
        let Range { start, end } = range.unwrap_or(u64::MAX..u64::MAX);
        for number in [start, end, attempt.into()] {
            hasher.update(&number.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
        let (mut fault, delay) = self.rates.draw(operation, &mut rng);
        if let Some(scripted) = state.scripts.get_mut(location).and_then(VecDeque::pop_front) {
            fault = scripted;
        }
        state.counts.delays += u64::from(delay.is_some());
        match fault {
            Fault::Error(kind) => *state.counts.errors.entry(kind).or_default() += 1,
            Fault::Hang => state.counts.hangs += 1,
            Fault::Short if !matches!(operation, Operation::Get | Operation::Read | Operation::List) => {
                *state.counts.errors.entry(Kind::Unavailable).or_default() += 1;
                fault = Fault::Error(Kind::Unavailable);
            }
            // Counted when there was something to shorten, lose or corrupt.
            Fault::None | Fault::Short | Fault::Lost | Fault::Corrupt => {}
        }
        Drawn { fault, delay, noise: rng.random() }
    }

    /// What comes before the store behind is asked: delays, hangs and errors.
    async fn before(&self, operation: Operation, location: &Location, drawn: &Drawn) -> Result<()> {
        if let Some(delay) = drawn.delay {
            tokio::time::sleep(delay).await;
        }
        match drawn.fault {
            Fault::Hang => future::pending().await,
            Fault::Error(kind) => Err(self.error(kind, operation, location)),
            _ => Ok(()),
        }
    }

    /// Loses the answer to what has succeeded, if that was drawn.
    fn lose<T>(
        &self,
        drawn: &Drawn,
        operation: Operation,
        location: &Location,
        result: Result<T>,
    ) -> Result<T> {
        let value = result?;
        if drawn.fault == Fault::Lost {
            self.state.lock().counts.lost_answers += 1;
            let context = "injected loss of the answer; the operation was done";
            return Err(Error::new(Kind::TimedOut, operation, context).at(location));
        }
        Ok(value)
    }

    fn error(&self, kind: Kind, operation: Operation, location: &Location) -> Error {
        let error = Error::new(kind, operation, format!("injected {kind}")).at(location);
        match self.rates.throttled_for {
            Some(pause) if kind == Kind::Throttled => error.with_retry(Retry::After(pause)),
            _ => error,
        }
    }

    /// Applies what was drawn for a read to the bytes that it brought.
    fn spoil(
        &self,
        drawn: &Drawn,
        operation: Operation,
        location: &Location,
        buf: &mut Buf,
        result: Result<Served>,
    ) -> Result<Served> {
        let served = self.lose(drawn, operation, location, result)?;
        match drawn.fault {
            Fault::Short => {
                let (half, len) = (buf.len() / 2, buf.len());
                buf[half..].fill(0xA5);
                self.state.lock().counts.short_reads += 1;
                let context = format!("injected short read: {half} of {len} bytes came");
                Err(Error::new(Kind::Corrupt, operation, context).at(location))
            }
            Fault::Corrupt if !buf.is_empty() => {
                let at = (drawn.noise % buf.len() as u64) as usize;
                buf[at] ^= 1 << (drawn.noise >> 61);
                self.state.lock().counts.corruptions += 1;
                Ok(served)
            }
            _ => Ok(served),
        }
    }

    /// What comes in the middle of a listing.
    fn broken_off(&self, location: &Location) -> Result<Page> {
        self.state.lock().counts.short_reads += 1;
        let context = "injected end of the listing after its first page";
        Err(Error::new(Kind::Unavailable, Operation::List, context).at(location))
    }
}

impl Store for FaultStore {
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
            let (location, range) = (&request.location, request.range.clone());
            let drawn = self.faults.draw(Operation::Get, location, range, Some(options.attempt));
            self.faults.before(Operation::Get, location, &drawn).await?;
            let result = self.store.get(request.clone(), options, place.clone()).await;
            self.after(&drawn, &request, &*place, result).await
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
            let drawn: Vec<_> = requests
                .iter()
                .map(|r| {
                    self.faults.draw(Operation::Get, &r.location, r.range.clone(), Some(options.attempt))
                })
                .collect();
            // One submission: it is as late as its latest member, and hangs if one does.
            let before =
                requests.iter().zip(&drawn).map(|(r, d)| self.faults.before(Operation::Get, &r.location, d));
            let before = future::join_all(before).await;
            let asked: Arc<[GetRequest]> =
                requests.iter().zip(&before).filter(|(_, b)| b.is_ok()).map(|(r, _)| r.clone()).collect();
            let mut answers = self.store.get_many(asked, options, place.clone()).await.into_iter();
            let mut results = Vec::with_capacity(requests.len());
            for ((request, drawn), before) in requests.iter().zip(&drawn).zip(before) {
                results.push(match before {
                    Err(error) => Err(error),
                    Ok(()) => {
                        let answer = answers.next().expect("a store answers every request");
                        self.after(drawn, request, &*place, answer).await
                    }
                });
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
            let drawn = self.faults.draw(Operation::Open, location, None, Some(options.attempt));
            self.faults.before(Operation::Open, location, &drawn).await?;
            let object = self.store.open(location, options).await;
            let object = self.faults.lose(&drawn, Operation::Open, location, object)?;
            let (location, faults) = (location.clone(), self.faults.clone());
            Ok(Arc::new(FaultObject { object, location, faults }) as Arc<dyn Object>)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        async move {
            let drawn = self.faults.draw(Operation::Stat, location, None, None);
            self.faults.before(Operation::Stat, location, &drawn).await?;
            let result = self.store.stat(location).await;
            self.faults.lose(&drawn, Operation::Stat, location, result)
        }
        .boxed()
    }

    /// An error comes in place of the first page.
    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        stream::once(async move {
            let drawn = self.faults.draw(Operation::List, location, None, None);
            if let Err(error) = self.faults.before(Operation::List, location, &drawn).await {
                return stream::once(future::ready(Err(error))).boxed();
            }
            let pages = self.store.list(location, options);
            if drawn.fault == Fault::Short {
                let end = stream::once(async { self.faults.broken_off(location) });
                return pages.take(1).chain(end).boxed();
            }
            pages
        })
        .flatten()
        .boxed()
    }

    /// An error comes before the store behind has seen anything of the body.
    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>> {
        async move {
            let drawn = self.faults.draw(Operation::Put, location, None, None);
            self.faults.before(Operation::Put, location, &drawn).await?;
            let result = self.store.put(location, body, options).await;
            self.faults.lose(&drawn, Operation::Put, location, result)
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        // Each draws for itself, as the keys of one request do.
        delete_each(self, locations).boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        async move {
            let drawn = self.faults.draw(Operation::Delete, location, None, None);
            self.faults.before(Operation::Delete, location, &drawn).await?;
            let result = self.store.delete(location).await;
            self.faults.lose(&drawn, Operation::Delete, location, result)
        }
        .boxed()
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore").field("store", &self.store).field("seed", &self.faults.seed).finish()
    }
}

struct FaultObject {
    object: Arc<dyn Object>,
    location: Location,
    faults: Arc<Faults>,
}

impl FaultObject {
    fn draw(&self, offset: u64, buf: &Buf) -> Drawn {
        let range = offset..offset.saturating_add(buf.len() as u64);
        self.faults.draw(Operation::Read, &self.location, Some(range), None)
    }
}

impl Object for FaultObject {
    fn meta(&self) -> &Meta {
        self.object.meta()
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move {
            let drawn = self.draw(offset, &buf);
            if let Err(error) = self.faults.before(Operation::Read, &self.location, &drawn).await {
                return (buf, Err(error));
            }
            let (mut buf, result) = self.object.read_into(offset, buf).await;
            let result = self.faults.spoil(&drawn, Operation::Read, &self.location, &mut buf, result);
            (buf, result)
        }
        .boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        async move {
            let drawn: Vec<_> = ranges.iter().map(|(offset, buf)| self.draw(*offset, buf)).collect();
            let before = drawn.iter().map(|d| self.faults.before(Operation::Read, &self.location, d));
            let before = future::join_all(before).await;
            let mut asked = Vec::new();
            let mut kept = Vec::new();
            for (range, before) in ranges.into_iter().zip(before) {
                match before {
                    Ok(()) => {
                        asked.push(range);
                        kept.push(None);
                    }
                    Err(error) => kept.push(Some((range.1, Err(error)))),
                }
            }
            let mut answers = self.object.read_many(asked).await.into_iter();
            kept.into_iter()
                .zip(&drawn)
                .map(|(kept, drawn)| {
                    kept.unwrap_or_else(|| {
                        let (mut buf, result) = answers.next().expect("an object answers every range");
                        let result =
                            self.faults.spoil(drawn, Operation::Read, &self.location, &mut buf, result);
                        (buf, result)
                    })
                })
                .collect()
        }
        .boxed()
    }
}

impl fmt::Debug for FaultObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultObject").field(&self.object).finish()
    }
}
