//! Tells an observer about every operation of a store: begun once, ended once, also when its future
//! is dropped half way. Listings end with their stream; opened objects are watched too.

use super::spans::Spans;
use crate::{
    Body, Buf, Capability, End, GetRequest, ListOptions, Location, Meta, Object, Observe, Op, Operation,
    Page, Place, PutOptions, ReadOptions, Result, Served, Store,
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// A store that is watched.
pub struct Observed {
    store: Arc<dyn Store>,
    observer: Arc<dyn Observe>,
    /// Whether operations are spans of `tracing`, too.
    spans: bool,
    /// Read once when a batch begins, and at most once when it ends.
    clock: fn() -> Instant,
}

impl Observed {
    /// Watches `store` with `observer`.
    pub fn new(store: Arc<dyn Store>, observer: Arc<dyn Observe>) -> Self {
        Observed { store, observer, spans: false, clock: Instant::now }
    }

    /// Makes a span of `tracing` of each operation, if a subscriber wants such; with the feature `tracing`. For one
    /// of the layers that a store goes through, or each operation is several spans.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn with_spans(self) -> Self {
        Observed { spans: true, ..self }
    }

    fn begin<'a>(&'a self, ops: Vec<Op<'a>>) -> Watch<'a> {
        Watch::begin(&*self.observer, self.spans, self.clock, ops)
    }

    fn watch<'a>(&'a self, operation: Operation, location: &'a Location) -> Watch<'a> {
        self.begin(vec![op(operation, location, (self.clock)())])
    }
}

fn op(operation: Operation, location: &Location, begun: Instant) -> Op<'_> {
    Op {
        operation,
        location,
        range: None,
        sample: None,
        stage: "",
        stream: None,
        epoch: None,
        attempt: 0,
        begun,
    }
}

fn op_of<'a>(request: &'a GetRequest, options: &ReadOptions, begun: Instant) -> Op<'a> {
    Op {
        operation: Operation::Get,
        location: &request.location,
        range: request.range.clone(),
        sample: request.sample,
        stage: options.stage,
        stream: options.stream,
        epoch: options.epoch,
        attempt: options.attempt,
        begun,
    }
}

/// Operations that have begun. Dropped before [`Watch::end`], they were cancelled.
struct Watch<'a> {
    observer: &'a dyn Observe,
    ops: Vec<Op<'a>>,
    spans: Spans,
    clock: fn() -> Instant,
}

impl<'a> Watch<'a> {
    fn begin(observer: &'a dyn Observe, spans: bool, clock: fn() -> Instant, ops: Vec<Op<'a>>) -> Self {
        let spans = if spans { Spans::of(&ops) } else { Spans::default() };
        observer.started(&ops);
        Watch { observer, ops, spans, clock }
    }

    fn end<'r>(mut self, results: impl Iterator<Item = Result<Served, &'r crate::Error>>) {
        // The members of a batch end together, as far as can be told here.
        let mut now = None;
        let clock = self.clock;
        let ends: Vec<End> = results
            .zip(&self.ops)
            .map(|(result, op)| match result {
                // A store that measured the object alone knows better than the time of the batch.
                Ok(served) if !served.elapsed.is_zero() => End::Done(served),
                Ok(served) => {
                    let elapsed = now.get_or_insert_with(clock).saturating_duration_since(op.begun);
                    End::Done(Served { elapsed, ..served })
                }
                Err(error) => End::Failed(error.kind()),
            })
            .collect();
        let ops = std::mem::take(&mut self.ops);
        debug_assert_eq!(ops.len(), ends.len(), "a store answers every request");
        self.observer.ended(&ops, &ends);
        std::mem::take(&mut self.spans).end(&ends);
    }

    fn end_one<T>(self, result: &Result<T>, bytes: u64) {
        self.end(std::iter::once(result.as_ref().map(|_| Served { bytes, ..Default::default() })));
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.ops.is_empty() {
            self.observer.ended(&self.ops, &vec![End::Cancelled; self.ops.len()]);
        }
    }
}

impl Store for Observed {
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
            let asked = request.clone();
            let watch = self.begin(vec![op_of(&asked, &options, (self.clock)())]);
            let result = self.store.get(request, options, place).await;
            watch.end(std::iter::once(result.as_ref().copied()));
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
            let begun = (self.clock)();
            let ops = requests.iter().map(|r| op_of(r, &options, begun)).collect();
            let watch = self.begin(ops);
            let results = self.store.get_many(requests.clone(), options, place).await;
            watch.end(results.iter().map(|r| r.as_ref().copied()));
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
            let ReadOptions { stage, stream, epoch, attempt, .. } = options;
            let opened =
                Op { stage, stream, epoch, attempt, ..op(Operation::Open, location, (self.clock)()) };
            let watch = self.begin(vec![opened]);
            let result = self.store.open(location, options).await;
            watch.end_one(&result, 0);
            let (location, observer) = (location.clone(), self.observer.clone());
            let (spans, clock) = (self.spans, self.clock);
            result.map(|object| {
                Arc::new(ObservedObject { object, location, observer, spans, clock, stage, stream, epoch })
                    as Arc<dyn Object>
            })
        }
        .boxed()
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        async move {
            let watch = self.watch(Operation::Stat, location);
            let result = self.store.stat(location).await;
            watch.end_one(&result, 0);
            result
        }
        .boxed()
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        let pages = self.store.list(location, options);
        let watch = Some(self.watch(Operation::List, location));
        futures::stream::unfold((pages, watch), |(mut pages, mut watch)| async move {
            let page = pages.next().await;
            match (&page, watch.take()) {
                (None, Some(open)) => open.end_one(&Ok(()), 0),
                (Some(Err(error)), Some(open)) => open.end(std::iter::once(Err(error))),
                (_, still) => watch = still,
            }
            page.map(|page| (page, (pages, watch)))
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
            let watch = self.watch(Operation::Put, location);
            let result = self.store.put(location, body, options).await;
            watch.end_one(&result, result.as_ref().map_or(0, |meta| meta.size));
            result
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        async move {
            let begun = (self.clock)();
            let watch = self.begin(locations.iter().map(|at| op(Operation::Delete, at, begun)).collect());
            let results = self.store.delete_many(locations).await;
            watch.end(results.iter().map(|result| result.as_ref().map(|()| Served::default())));
            results
        }
        .boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        async move {
            let watch = self.watch(Operation::Delete, location);
            let result = self.store.delete(location).await;
            watch.end_one(&result, 0);
            result
        }
        .boxed()
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observed").field(&self.store).finish()
    }
}

struct ObservedObject {
    object: Arc<dyn Object>,
    location: Location,
    observer: Arc<dyn Observe>,
    spans: bool,
    clock: fn() -> Instant,
    stage: &'static str,
    stream: Option<u64>,
    epoch: Option<u64>,
}

impl ObservedObject {
    fn read_op(&self, range: Range<u64>, begun: Instant) -> Op<'_> {
        Op {
            range: Some(range),
            stage: self.stage,
            stream: self.stream,
            epoch: self.epoch,
            ..op(Operation::Read, &self.location, begun)
        }
    }
}

fn range_of(offset: u64, buf: &Buf) -> Range<u64> {
    offset..offset.saturating_add(buf.len() as u64)
}

impl Object for ObservedObject {
    fn meta(&self) -> &Meta {
        self.object.meta()
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move {
            let watch = Watch::begin(
                &*self.observer,
                self.spans,
                self.clock,
                vec![self.read_op(range_of(offset, &buf), (self.clock)())],
            );
            let (buf, result) = self.object.read_into(offset, buf).await;
            watch.end(std::iter::once(result.as_ref().copied()));
            (buf, result)
        }
        .boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        async move {
            let begun = (self.clock)();
            let op_of = |(offset, buf): &(u64, Buf)| self.read_op(range_of(*offset, buf), begun);
            let ops = ranges.iter().map(op_of).collect();
            let watch = Watch::begin(&*self.observer, self.spans, self.clock, ops);
            let results = self.object.read_many(ranges).await;
            watch.end(results.iter().map(|(_, r)| r.as_ref().copied()));
            results
        }
        .boxed()
    }
}

impl fmt::Debug for ObservedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observed").field(&self.object).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, MemoryStore, Pool, Unobserved};
    use std::cell::Cell;

    thread_local! {
        static READINGS: Cell<u32> = const { Cell::new(0) };
    }

    fn counted() -> Instant {
        READINGS.with(|readings| readings.set(readings.get() + 1));
        Instant::now()
    }

    #[test]
    fn a_batch_costs_one_reading_of_the_clock_where_it_begins_and_at_most_one_where_it_ends() {
        let memory = Arc::new(MemoryStore::new());
        let at: Location = "mem://set/a".parse().unwrap();
        let store = Observed { clock: counted, ..Observed::new(memory, Arc::new(Unobserved)) };
        let readings = || READINGS.with(|readings| readings.take());
        futures::executor::block_on(async {
            store.put(&at, Body::from(vec![1; 4096]), PutOptions::default()).await.unwrap();
            readings();
            let pool = Pool::new(Budget::new(1 << 20).unwrap());
            let requests: Arc<[_]> = (0..64).map(|slot| GetRequest::whole(at.clone(), slot)).collect();
            let place = pool.lease(pool.budget().ticket(), 64);
            let results = store.get_many(requests, ReadOptions::default(), place).await;
            assert!(results.iter().all(Result::is_ok));
            // This store measures each object alone, so nobody else has to.
            assert_eq!(readings(), 1);

            let unmeasured = (0..64).map(|_| Ok(Served { bytes: 1, ..Served::default() }));
            let ops = (0..64).map(|_| op(Operation::Get, &at, Instant::now())).collect();
            store.begin(ops).end(unmeasured);
            assert_eq!(readings(), 1, "one for all 64 that end together");
        });
    }
}
