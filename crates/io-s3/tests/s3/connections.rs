//! Connections are told of as they are opened, by the client that opens them itself.

use crate::server::{fast_options, observed};
use forebay_io::{Budget, Event, Location, Pool, PutOptions, ReadOptions, Store, read};
use forebay_io_s3::{ClientKind, S3Options};
use forebay_io_testkit::RecordingObserver;
use forebay_io_testkit::servers::{FastServer, RefusedPort};
use std::sync::Arc;

fn opened(observer: &RecordingObserver) -> u64 {
    observer.events().iter().filter(|event| **event == Event::Connected).count() as u64
}

#[tokio::test]
async fn as_many_are_told_of_as_the_server_saw() {
    let server = FastServer::start(1).unwrap();
    let observer = Arc::new(RecordingObserver::new());
    let store = observed(server.bucket(), &fast_options(&server), observer.clone());
    let location: Location = format!("s3://{}/key", server.bucket()).parse().unwrap();
    store.put(&location, bytes::Bytes::from_static(b"body").into(), PutOptions::default()).await.unwrap();
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    let get = || read(&store, &location, None, ReadOptions::default(), &pool);
    for _ in 0..5 {
        get().await.unwrap();
    }
    futures::future::join_all((0..8).map(|_| get())).await.into_iter().for_each(|block| drop(block.unwrap()));
    assert_eq!(opened(&observer), server.connections());
    assert!((2..=9).contains(&opened(&observer)), "{} for 14 requests", opened(&observer));
}

#[tokio::test]
async fn a_refused_one_is_none_and_clients_of_others_tell_of_none() {
    let refused = RefusedPort::new().unwrap();
    let observer = Arc::new(RecordingObserver::new());
    let options = S3Options { endpoint: Some(refused.endpoint()), anonymous: true, ..S3Options::default() };
    let location: Location = "s3://bucket/key".parse().unwrap();
    assert!(observed("bucket", &options, observer.clone()).stat(&location).await.is_err());
    assert_eq!(opened(&observer), 0);

    let server = FastServer::start(1).unwrap();
    let options = S3Options { client: ClientKind::ObjectStore, ..fast_options(&server) };
    let store = observed(server.bucket(), &options, observer.clone());
    let location: Location = format!("s3://{}/key", server.bucket()).parse().unwrap();
    store.put(&location, bytes::Bytes::from_static(b"body").into(), PutOptions::default()).await.unwrap();
    assert_eq!(opened(&observer), 0, "it does not say how many it opened");
}
