//! A walk as a stream: while a page is used, the next one is read, and no more than that one.
//!
//! Each page is a job of its own, so a listing whose consumer is slow holds no thread.

use crate::failure;
use crate::pool::Pool;
use crate::walk::{Begun, Stride, Walk};
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
    stride: Stride,
) -> BoxStream<'a, Result<Page>> {
    let root = root.clone();
    stream::once(async move {
        let at = root.clone();
        let begun = pool.run(move |_| Walk::begin(&at, options, stride)).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use std::collections::BTreeSet;

    /// A consumer that uses the only thread between two pages, on a tree of many pages.
    #[test]
    fn pages_hold_no_thread_and_every_entry_comes_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut expected = BTreeSet::new();
        for directory in ["", "a/", "a/b/", "c/"] {
            std::fs::create_dir_all(dir.path().join(directory)).unwrap();
            for i in 0..100 {
                let name = format!("{directory}{i:03}-{}", "x".repeat(i));
                std::fs::write(dir.path().join(&name), b"").unwrap();
                expected.insert(name);
            }
        }
        let root = Location::from_path(dir.path()).unwrap();
        let pool = Arc::new(Pool::new("test", 1, 1).unwrap());
        let mut seen = BTreeSet::new();
        let count = block_on(async {
            let mut pages = list(pool.clone(), &root, ListOptions::recursive(), Stride::SHORT);
            let mut count = 0;
            while let Some(page) = pages.next().await {
                for entry in page.unwrap().iter() {
                    let key = String::from_utf8(entry.key.to_vec()).unwrap();
                    assert!(seen.insert(key), "{:?} came twice", entry.key);
                }
                assert_eq!(pool.run(|_| 7).await, Some(7));
                count += 1;
            }
            count
        });
        assert_eq!(seen, expected);
        assert!(count >= 20, "{count} pages of 400 entries");
    }

    #[test]
    fn a_listing_that_is_given_up_gives_its_thread_back() {
        let dir = tempfile::tempdir().unwrap();
        (0..100).for_each(|i| std::fs::write(dir.path().join(i.to_string()), b"").unwrap());
        let root = Location::from_path(dir.path()).unwrap();
        let pool = Arc::new(Pool::new("test", 1, 1).unwrap());
        let mut pages = list(pool.clone(), &root, ListOptions::recursive(), Stride::SHORT);
        block_on(pages.next()).unwrap().unwrap();
        drop(pages);
        assert_eq!(block_on(pool.run(|_| 7)), Some(7));
        let links = std::fs::read_dir("/proc/self/fd").unwrap();
        let open = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
        assert_eq!(open.filter(|path| path.starts_with(dir.path())).count(), 0);
    }
}
