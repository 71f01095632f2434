//! A walk as a stream: while a page is used, the next one is read, and no more than that one.
//!
//! Each page is a job of its own, so a listing whose consumer is slow holds no thread.

use crate::failure;
use crate::pool::Pool;
use crate::walk::{Begun, Walk};
use forebay_io::{Error, ListOptions, Location, Operation, Page, Result};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use std::sync::Arc;

/// A page and what comes after it.
type Step = Result<Option<(Page, Box<Walk>)>>;

/// Every page beneath `root`.
pub(crate) fn list<'a>(
    pool: Arc<Pool>,
    root: &Location,
    options: ListOptions,
) -> BoxStream<'a, Result<Page>> {
    let root = root.clone();
    stream::once(async move {
        let at = root.clone();
        let begun = pool.run(move |_| Walk::begin(&at, options)).await;
        let pages = match begun.unwrap_or_else(|| Err(failure::lost(Operation::List, &root)))? {
            Begun::Object(page) => stream::iter(page.map(Ok)).boxed(),
            Begun::Tree(walk) => pages(pool, root, walk),
        };
        Ok::<_, Error>(pages)
    })
    .try_flatten()
    .boxed()
}

fn pages(pool: Arc<Pool>, root: Location, walk: Box<Walk>) -> BoxStream<'static, Result<Page>> {
    let first = ahead(&pool, &root, walk);
    stream::try_unfold(first, move |step| {
        let (pool, root) = (pool.clone(), root.clone());
        async move { Ok(step.await?.map(|(page, walk)| (page, ahead(&pool, &root, walk)))) }
    })
    .boxed()
}

/// The next step, begun at once.
fn ahead(pool: &Pool, root: &Location, mut walk: Box<Walk>) -> BoxFuture<'static, Step> {
    let root = root.clone();
    let step = pool.start(move |gave_up| Ok(walk.page(gave_up)?.map(|page| (page, walk))));
    async move { step.await.unwrap_or_else(|| Err(failure::lost(Operation::List, &root))) }.boxed()
}
