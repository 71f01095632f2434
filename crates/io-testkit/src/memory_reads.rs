//! A store in memory whose reads are a test's own: what it wants to see happen between a caller and a service.

use forebay_io::{
    Body, Capability, GetRequest, ListOptions, Location, MemoryStore, Meta, Object, Page, Place, PutOptions,
    ReadOptions, Result, Served, Store,
};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::BoxStream;
use std::fmt;
use std::sync::Arc;

/// How a read goes.
pub trait Reads: fmt::Debug + Send + Sync {
    /// One read of what `memory` holds.
    fn get<'a>(
        &'a self,
        memory: &'a MemoryStore,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>>;
}

/// See the module's words. Several reads at once are as many reads side by side; all else is the memory's.
#[derive(Debug)]
pub struct MemoryReads<R> {
    memory: MemoryStore,
    /// How its reads go.
    pub reads: R,
}

impl<R: Reads> MemoryReads<R> {
    /// A store of what `memory` holds.
    pub fn new(memory: MemoryStore, reads: R) -> Self {
        MemoryReads { memory, reads }
    }
}

impl<R: Reads> Store for MemoryReads<R> {
    fn capability(&self) -> Capability {
        self.memory.capability()
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        self.reads.get(&self.memory, request, options, place)
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
        self.memory.open(location, options)
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        self.memory.stat(location)
    }

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        self.memory.list(location, options)
    }

    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>> {
        self.memory.put(location, body, options)
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        self.memory.delete_many(locations)
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        self.memory.delete(location)
    }
}
