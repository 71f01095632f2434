//! Connections are kept: counted where they arrive.

use crate::server::{at, clients, on_fast};
use forebay_io::{Budget, Pool, PutOptions, ReadOptions, Store, read};
use forebay_io_object::HttpOptions;
use forebay_io_testkit::data;
use forebay_io_testkit::servers::FastServer;
use futures::TryStreamExt;
use futures::future::join_all;
use std::num::NonZeroU64;

fn filled(objects: u64, len: usize) -> FastServer {
    let server = FastServer::start(1).unwrap();
    for number in 0..objects {
        server.put(server.bucket(), &format!("o/{number}"), data::bytes(number, len));
    }
    server
}

#[tokio::test]
async fn requests_one_after_another_share_a_connection_whatever_they_are() {
    for client in clients() {
        let server = filled(200, 1000);
        let store = on_fast(client, &server.azure_endpoint(), HttpOptions::default());
        let pool = Pool::new(Budget::new(1 << 20).unwrap());
        for number in 0..200 {
            let location = at(&format!("o/{number}"));
            let block = read(&store, &location, None, ReadOptions::default(), &pool).await.unwrap();
            assert!(block.slot(0).unwrap() == data::bytes(number, 1000));
        }
        store.stat(&at("o/1")).await.unwrap();
        store.put(&at("new"), b"x".as_slice().into(), PutOptions::default()).await.unwrap();
        let pages: Vec<_> = store.list(&at(""), Default::default()).try_collect().await.unwrap();
        assert_eq!(pages.len(), 1);
        let missing = read(&store, &at("missing"), None, ReadOptions::default(), &pool).await;
        assert!(missing.is_err());
        store.delete(&at("new")).await.unwrap();
        assert!(server.requests() >= 205, "{client}: {} requests", server.requests());
        // A refusal without a body to read may cost its connection, and the next request another.
        assert!(server.connections() <= 2, "{client}: {} connections", server.connections());
    }
}

#[tokio::test]
async fn requests_side_by_side_need_no_more_connections_than_there_are_of_them() {
    const AT_ONCE: u64 = 8;
    for client in clients() {
        let server = filled(AT_ONCE, 40_000);
        let http = HttpOptions { request_bytes: NonZeroU64::new(40_000), ..HttpOptions::default() };
        let store = on_fast(client, &server.azure_endpoint(), http);
        let pool = Pool::new(Budget::new(1 << 20).unwrap());
        for _ in 0..20 {
            let one = |number| {
                let (store, pool) = (&store, &pool);
                async move {
                    let location = at(&format!("o/{number}"));
                    read(store, &location, None, ReadOptions::default(), pool).await.unwrap();
                }
            };
            join_all((0..AT_ONCE).map(one)).await;
        }
        assert!(server.requests() >= 20 * AT_ONCE, "{client}: {} requests", server.requests());
        // What one request needs may be given back just after the next has asked: some are spare.
        let most = 2 * AT_ONCE;
        assert!(server.connections() <= most, "{client}: {} connections", server.connections());
    }
}
