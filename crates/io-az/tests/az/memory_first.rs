//! Memory is asked for before a request is made, where it is known how much: counted at the server.

use crate::server::{at, clients, on_fast};
use forebay_io::layer::{AdaptiveLimit, Limited};
use forebay_io::{Budget, GetRequest, ListOptions, Pool, ReadOptions, Result, Store, Unobserved};
use forebay_io_object::HttpOptions;
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
async fn requests(client: &str, change: impl Fn(GetRequest) -> GetRequest) -> u64 {
    let server = FastServer::start(1).unwrap();
    for number in 0..OBJECTS {
        server.put(server.bucket(), &format!("o/{number}"), data::bytes(number, LEN));
    }
    let limit = AdaptiveLimit { most: NonZeroU32::new(32).unwrap(), ..AdaptiveLimit::default() };
    let backend = Arc::new(on_fast(client, &server.azure_endpoint(), HttpOptions::default()));
    let store = Limited::adaptive(backend, limit, Arc::new(Unobserved));
    let cap = 3 * BATCH * LEN as u64 / 2;
    let pool = Pool::new(Budget::new(cap).unwrap());
    let (store, pool, change) = (&store, &pool, &change);
    let batches = (0..OBJECTS / BATCH).map(|batch| {
        // Drawn in the order of delivery, as a loader does.
        let lease = pool.lease(pool.budget().ticket(), BATCH as u32);
        async move {
            let of = |slot: u64| {
                change(GetRequest::whole(at(&format!("o/{}", batch * BATCH + slot)), slot as u32))
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

#[tokio::test]
async fn with_known_sizes_there_are_as_many_requests_as_objects() {
    for client in clients() {
        let sized = requests(client, |get| GetRequest { size: Some(LEN as u64), ..get }).await;
        assert_eq!(sized, OBJECTS, "{client}");
        let ranges = requests(client, |get| GetRequest { range: Some(0..LEN as u64), ..get }).await;
        assert_eq!(ranges, OBJECTS, "{client}");
        assert!(requests(client, |get| get).await >= OBJECTS, "{client}");
    }
}

#[tokio::test]
async fn a_listing_gives_sizes_with_the_names_unasked() {
    for client in clients() {
        let server = FastServer::start(1).unwrap();
        server.put(server.bucket(), "o/1", data::bytes(1, LEN));
        let store = on_fast(client, &server.azure_endpoint(), HttpOptions::default());
        let pages: Vec<_> = store.list(&at("o"), ListOptions::recursive()).try_collect().await.unwrap();
        let sizes: Vec<_> = pages.iter().flat_map(|page| page.iter().map(|entry| entry.size)).collect();
        assert_eq!(sizes, [Some(LEN as u64)], "{client}");
    }
}
