//! Memory is asked for before a request is made, where it is known how much: counted at the server.

use super::{Service, Way};
use crate::data;
use crate::servers::FastServer;
use forebay_io::layer::{AdaptiveLimit, Limited};
use forebay_io::{Budget, GetRequest, ListOptions, Pool, ReadOptions, Result, Store, Unobserved};
use futures::{StreamExt, TryStreamExt, stream};
use std::num::NonZeroU32;
use std::sync::Arc;

const OBJECTS: u64 = 96;
const BATCH: u64 = 8;
/// Bytes of each object.
const LEN: usize = 5000;

/// How many requests it takes to read all objects in batches side by side, under a cap of one batch and a half,
/// and an adaptive limit that breaks off what would wait for memory. `change` makes the requests.
async fn requests(service: &dyn Service, change: impl Fn(GetRequest) -> GetRequest) -> u64 {
    let server = FastServer::start(1).unwrap();
    for number in 0..OBJECTS {
        server.put(server.bucket(), &format!("o/{number}"), data::bytes(number, LEN));
    }
    let limit = AdaptiveLimit { most: NonZeroU32::new(32).unwrap(), ..AdaptiveLimit::default() };
    let backend = service.store(&server, Way::default());
    let store = Limited::adaptive(backend, limit, Arc::new(Unobserved));
    let cap = 3 * BATCH * LEN as u64 / 2;
    let pool = Pool::new(Budget::new(cap).unwrap());
    let (store, pool, change) = (&store, &pool, &change);
    let batches = (0..OBJECTS / BATCH).map(|batch| {
        // Drawn in the order of delivery, as a loader does.
        let lease = pool.lease(pool.budget().ticket(), BATCH as u32);
        async move {
            let of = |slot: u64| {
                let at = service.at(&format!("o/{}", batch * BATCH + slot));
                change(GetRequest::whole(at, slot as u32))
            };
            let results = store
                .get_many((0..BATCH).map(of).collect(), ReadOptions::default(), lease.clone())
                .await
                .into_iter()
                .collect::<Result<Vec<_>>>();
            results.unwrap();
            let block = lease.finish().unwrap();
            for slot in 0..BATCH {
                assert!(block.slot(slot as usize).unwrap() == data::bytes(batch * BATCH + slot, LEN));
            }
        }
    });
    stream::iter(batches).buffered(6).collect::<()>().await;
    assert!(pool.budget().peak() <= cap, "{} of {cap} bytes", pool.budget().peak());
    server.requests()
}

/// With known sizes there are as many requests as objects.
pub async fn one_request_an_object_of_known_size(service: &dyn Service) {
    let found = requests(service, |get| GetRequest { size: Some(LEN as u64), ..get }).await;
    assert_eq!(found, OBJECTS, "{}", service.name());
}

/// With ranges there are as many requests as ranges.
pub async fn one_request_a_range(service: &dyn Service) {
    let found = requests(service, |get| GetRequest { range: Some(0..LEN as u64), ..get }).await;
    assert_eq!(found, OBJECTS, "{}", service.name());
}

/// With unknown or wrong sizes every object is read all the same.
pub async fn sizes_that_are_unknown_or_wrong(service: &dyn Service) {
    let name = service.name();
    assert!(requests(service, |get| get).await >= OBJECTS, "{name}");
    let smaller = requests(service, |get| GetRequest { size: Some(LEN as u64 + 100), ..get }).await;
    assert_eq!(smaller, OBJECTS, "{name}: what was held is enough");
    // The last of a batch to grow finds no more room, and says so; see `GetRequest::size`.
    let server = FastServer::start(1).unwrap();
    server.put(server.bucket(), "grown", data::bytes(1, LEN));
    let store = service.store(&server, Way::default());
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    let lease = pool.lease(pool.budget().ticket(), 2);
    let grown = |slot| GetRequest { size: Some(10), ..GetRequest::whole(service.at("grown"), slot) };
    store.get(grown(0), ReadOptions::default(), lease.clone()).await.unwrap();
    let error = store.get(grown(1), ReadOptions::default(), lease.clone()).await.unwrap_err();
    assert!(error.to_string().contains("grew from 10 to 5000 bytes"), "{name}: {error}");
    assert!(lease.finish().unwrap().slot(0).unwrap() == data::bytes(1, LEN), "{name}");
}

/// A listing gives sizes with the names, unasked.
pub async fn listings_give_sizes(service: &dyn Service) {
    let server = FastServer::start(1).unwrap();
    server.put(server.bucket(), "o/1", data::bytes(1, LEN));
    let store = service.store(&server, Way::default());
    let pages: Vec<_> = store.list(&service.at("o"), ListOptions::recursive()).try_collect().await.unwrap();
    let sizes: Vec<_> = pages.iter().flat_map(|page| page.iter().map(|entry| entry.size)).collect();
    assert_eq!(sizes, [Some(LEN as u64)], "{}", service.name());
}
