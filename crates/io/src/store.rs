//! The two traits that every backend and every wrapper implements. No method has a default: a
//! wrapper that forgets to forward one must not compile.

use crate::{
    Body, Buf, Capability, GetRequest, ListOptions, Location, Meta, Page, Place, PutOptions, ReadOptions,
    Result, Served,
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::fmt;
use std::sync::Arc;

/// A place where objects live.
///
/// Futures may be dropped at any time: nothing becomes half visible, no memory is reused before
/// the kernel is done with it, and no permit, byte of budget or descriptor is leaked.
pub trait Store: Send + Sync + fmt::Debug {
    /// What this store can do.
    fn capability(&self) -> Capability;

    /// Reads one object, or a range of it, in one round trip: its size need not be known before.
    ///
    /// # Errors
    /// `NotFound`, `Denied`; `InvalidRange` if the range is not inside the object or the place can
    /// never hold it; `Precondition` if `if_version` does not match or the object changed while it
    /// was read; `Unsupported` if the page-cache policy cannot be obeyed.
    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>>;

    /// Reads many objects with one submission and one wake-up. `result[i]` belongs to
    /// `requests[i]`, and one failure does not touch the others. Errors as [`Store::get`].
    fn get_many<'a>(
        &'a self,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Vec<Result<Served>>>;

    /// Opens one version of an object for many range reads.
    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>>;

    /// Size, time and version, without reading.
    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>>;

    /// Everything beneath `location`, page by page, in no promised order. A location that names an
    /// object lists as that one object, with an empty key.
    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>>;

    /// Writes an object. Readers see the old bytes or the new, never a part.
    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>>;

    /// Removes an object.
    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>>;

    /// Removes many objects, [`Capability::delete_batch`] of them a request. `result[i]` belongs to
    /// `locations[i]`, and one failure does not touch the others. What is not there is as in [`Store::delete`].
    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>>;
}

/// One opened version of an object.
pub trait Object: Send + Sync + fmt::Debug {
    /// Size and version as they were when it was opened.
    fn meta(&self) -> &Meta;

    /// Fills `buf` from `offset`. The buffer comes back, also on failure: what reads into it (a
    /// kernel, a socket) owns it until then.
    ///
    /// # Errors
    /// `InvalidRange` if `offset + buf.len()` is beyond the object's size.
    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)>;

    /// Fills many buffers with one submission and one wake-up, in the order given.
    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>>;
}

/// [`Store::delete_many`] of a store whose service takes one object a request: one after the other.
pub async fn delete_each(store: &dyn Store, locations: &[Location]) -> Vec<Result<()>> {
    let mut results = Vec::with_capacity(locations.len());
    for location in locations {
        results.push(store.delete(location).await);
    }
    results
}
