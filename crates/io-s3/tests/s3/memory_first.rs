//! Memory is asked for before a request is made, where it is known how much: counted at the server.

use crate::server::{fast_options, store};
use forebay_io::layer::{AdaptiveLimit, Limited};
use forebay_io::{Budget, GetRequest, ListOptions, Location, Pool, ReadOptions, Result, Store, Unobserved};
use forebay_io_testkit::data;
use forebay_io_testkit::servers::FastServer;
use futures::{StreamExt, TryStreamExt, stream};
use std::num::NonZeroU32;
use std::sync::Arc;

const OBJECTS: u64 = 96;
const BATCH: u64 = 8;
const LEN: usize = 5000;

/// How many requests it takes to read all objects in batches side by side, under a cap of one batch and a half,
/// and an adaptive limit that breaks off what would wait for memory. `change` makes the requests.
async fn requests(change: impl Fn(GetRequest) -> GetRequest) -> u64 {
    let server = FastServer::start(1).unwrap();
    for number in 0..OBJECTS {
        server.put(server.bucket(), &format!("o/{number}"), data::bytes(number, LEN));
    }
    let limit = AdaptiveLimit { most: NonZeroU32::new(32).unwrap(), ..AdaptiveLimit::default() };
    let backend = Arc::new(store(server.bucket(), &fast_options(&server)));
    let store = Limited::adaptive(backend, limit, Arc::new(Unobserved));
    let cap = 3 * BATCH * LEN as u64 / 2;
    let pool = Pool::new(Budget::new(cap).unwrap());
    let at = |number: u64| -> Location { format!("s3://{}/o/{number}", server.bucket()).parse().unwrap() };
    let (store, pool, at, change) = (&store, &pool, &at, &change);
    let batches = (0..OBJECTS / BATCH).map(|batch| {
        // Drawn in the order of delivery, as a loader does.
        let lease = pool.lease(pool.budget().ticket(), BATCH as u32);
        async move {
            let of = |slot: u64| change(GetRequest::whole(at(batch * BATCH + slot), slot as u32));
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

#[tokio::test]
async fn with_known_sizes_there_are_as_many_requests_as_objects() {
    assert_eq!(requests(|get| GetRequest { size: Some(LEN as u64), ..get }).await, OBJECTS);
}

#[tokio::test]
async fn with_ranges_there_are_as_many_requests_as_ranges() {
    assert_eq!(requests(|get| GetRequest { range: Some(0..LEN as u64), ..get }).await, OBJECTS);
}

#[tokio::test]
async fn with_unknown_or_wrong_sizes_every_object_is_read_all_the_same() {
    assert!(requests(|get| get).await >= OBJECTS);
    let smaller = requests(|get| GetRequest { size: Some(LEN as u64 + 100), ..get }).await;
    assert_eq!(smaller, OBJECTS, "what was held is enough");
    // The last of a batch to grow finds no more room, and says so; see `GetRequest::size`.
    let server = FastServer::start(1).unwrap();
    server.put(server.bucket(), "grown", data::bytes(1, LEN));
    let store = store(server.bucket(), &fast_options(&server));
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    let lease = pool.lease(pool.budget().ticket(), 2);
    let at: Location = format!("s3://{}/grown", server.bucket()).parse().unwrap();
    let grown = |slot| GetRequest { size: Some(10), ..GetRequest::whole(at.clone(), slot) };
    store.get(grown(0), ReadOptions::default(), lease.clone()).await.unwrap();
    let error = store.get(grown(1), ReadOptions::default(), lease.clone()).await.unwrap_err();
    assert!(error.to_string().contains("grew from 10 to 5000 bytes"), "{error}");
    assert!(lease.finish().unwrap().slot(0).unwrap() == data::bytes(1, LEN));
}

#[tokio::test]
async fn a_listing_gives_sizes_with_the_names_unasked() {
    let server = FastServer::start(1).unwrap();
    server.put(server.bucket(), "o/1", data::bytes(1, LEN));
    let root: Location = format!("s3://{}/o", server.bucket()).parse().unwrap();
    let store = store(server.bucket(), &fast_options(&server));
    let pages: Vec<_> = store.list(&root, ListOptions::recursive()).try_collect().await.unwrap();
    let sizes: Vec<_> = pages.iter().flat_map(|page| page.iter().map(|entry| entry.size)).collect();
    assert_eq!(sizes, [Some(LEN as u64)]);
}
