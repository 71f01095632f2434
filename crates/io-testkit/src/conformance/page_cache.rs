//! Page-cache policy: obeyed or refused, never dropped.

use super::{pool, put};
use crate::data;
use forebay_io::{CacheUse, GetRequest, Kind, Location, PageCacheMode, ReadOptions, Result, Served, Store};

/// What a read with this mode came to.
fn used(mode: PageCacheMode, result: Result<Served>) -> Option<CacheUse> {
    match result {
        Ok(served) => {
            let honest = match (mode, served.cache) {
                // The store's own way, whatever that is.
                (PageCacheMode::Default, _) => true,
                // Or the next best, where the filesystem cannot: said to be so.
                (
                    PageCacheMode::DirectIO,
                    CacheUse::Uncached | CacheUse::Applied(PageCacheMode::DontNeed),
                ) => true,
                (_, CacheUse::Applied(applied)) => applied == mode,
                (_, CacheUse::NotApplicable | CacheUse::Uncached) => false,
            };
            assert!(honest, "{mode} was asked for, {:?} was used", served.cache);
            Some(served.cache)
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Unsupported, "{error}");
            assert!(error.to_string().contains(mode.name()), "the mode is not named: {error}");
            assert_ne!(mode, PageCacheMode::Default, "{error}");
            None
        }
    }
}

/// Each mode is either applied, and said to be, or refused as unsupported; and all ways to read agree.
pub async fn page_cache_policy_is_obeyed_or_refused(store: &dyn Store, root: &Location) {
    let location = root.join(b"object");
    let bytes = data::bytes(1, 20_000);
    put(store, &location, &bytes).await;
    let pool = pool();
    for mode in PageCacheMode::ALL {
        let options = ReadOptions { page_cache: mode, ..Default::default() };
        let lease = pool.lease(pool.budget().ticket(), 2);
        let one = store.get(GetRequest::whole(location.clone(), 0), options.clone(), lease.clone()).await;
        let many = [GetRequest::whole(location.clone(), 1)].into();
        let many = store.get_many(many, options.clone(), lease.clone()).await.remove(0);
        let object = match store.open(&location, options).await {
            Ok(object) => {
                // From another pool: behind the lease, whose slots may stay empty, it would wait for ever.
                let buf = super::pool().buffer(20_000).await.unwrap();
                let (buf, result) = object.read_into(0, buf).await;
                assert!(result.is_err() || buf[..] == bytes, "{mode}");
                result
            }
            Err(error) => Err(error),
        };
        let (one, many, object) = (used(mode, one), used(mode, many), used(mode, object));
        assert_eq!((one, many), (many, object), "{mode}: get, get_many and read_into disagree");
        let block = lease.finish().unwrap();
        let expected = one.map(|_| &*bytes);
        assert!(block.slot(0) == expected && block.slot(1) == expected, "{mode}");
    }
}
