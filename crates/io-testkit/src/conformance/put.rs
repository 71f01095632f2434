//! Writing, atomically.

use super::{eventually, fails, get, keys, put};
use crate::data;
use bytes::Bytes;
use forebay_io::{Body, Error, Kind, Location, Operation, PutMode, PutOptions, Store};
use futures::future::{self, Either};
use futures::{FutureExt, StreamExt, stream};
use std::cell::Cell;

const CREATE: PutOptions = PutOptions { mode: PutMode::Create, durable: false };

/// A body of these chunks that lets others run before each, as a socket would.
fn chunked(chunks: Vec<Vec<u8>>, len: Option<u64>) -> Body {
    let chunks = stream::iter(chunks).then(|chunk| async move {
        tokio::task::yield_now().await;
        Ok(Bytes::from(chunk))
    });
    Body::stream(chunks.boxed(), len)
}

/// A put replaces what was there, larger or smaller, and makes the directories that it needs.
pub async fn put_replaces(store: &dyn Store, root: &Location) {
    let location = root.join(b"new/directory/object");
    for len in [100, 100_000, 0, 17] {
        let bytes = data::bytes(len as u64, len);
        put(store, &location, &bytes).await;
        assert!(get(store, &location).await.unwrap() == bytes, "{len} bytes");
        assert_eq!(keys(store, root).await.len(), 1, "and nothing else is left");
    }
}

/// Where the store can refuse to replace it does so, and what was there stays; where it cannot, it says
/// so and writes nothing.
pub async fn put_create_never_replaces(store: &dyn Store, root: &Location) {
    let location = root.join(b"d/object");
    let result = store.put(&location, b"first".as_slice().into(), CREATE).await;
    if !store.capability().conditional_put {
        fails(result, Kind::Unsupported, &location);
        assert!(keys(store, root).await.is_empty());
        return;
    }
    assert_eq!(result.unwrap().size, 5);
    fails(store.put(&location, b"other".as_slice().into(), CREATE).await, Kind::AlreadyExists, &location);
    assert_eq!(get(store, &location).await.unwrap(), b"first");
    assert_eq!(keys(store, root).await.len(), 1, "and nothing else is left");
}

/// Of many that create one object at once, exactly one does, and its bytes are there.
pub async fn put_create_has_one_winner(store: &dyn Store, root: &Location) {
    if !store.capability().conditional_put {
        return put_create_never_replaces(store, root).await;
    }
    let location = root.join(b"contended");
    let puts = (0..8u8).map(|i| store.put(&location, chunked(vec![vec![i; 1000]; 5], None), CREATE));
    let results = future::join_all(puts).await;
    let winners: Vec<_> = (0..8u8).zip(&results).filter(|(_, r)| r.is_ok()).map(|(i, _)| i).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    for result in results.into_iter().filter(|r| r.is_err()) {
        fails(result, Kind::AlreadyExists, &location);
    }
    assert_eq!(get(store, &location).await.unwrap(), vec![winners[0]; 5000]);
    assert_eq!(keys(store, root).await.len(), 1, "and nothing else is left");
}

/// Bodies come in chunks of any size, of known length or not.
pub async fn put_takes_bodies_in_chunks(store: &dyn Store, root: &Location) {
    let sizes = [1usize, 0, 4096, 70_000, 3, 0, 200_000, 1];
    let chunks: Vec<_> = sizes.iter().enumerate().map(|(i, &len)| data::bytes(i as u64, len)).collect();
    let whole = chunks.concat();
    for (key, body) in [
        (&b"unknown"[..], chunked(chunks.clone(), None)),
        (b"known", chunked(chunks.clone(), Some(whole.len() as u64))),
        (b"whole", Body::from(whole.clone())),
        (b"nothing", chunked(Vec::new(), None)),
    ] {
        let location = root.join(key);
        let expected = if key == b"nothing" { &[][..] } else { &whole };
        let meta = store.put(&location, body, PutOptions::default()).await.unwrap();
        assert_eq!(meta.size, expected.len() as u64);
        assert!(get(store, &location).await.unwrap() == expected, "{location}");
    }
}

/// A durable put is a put.
pub async fn put_durable_puts(store: &dyn Store, root: &Location) {
    for (i, mode) in [PutMode::Overwrite, PutMode::Create].into_iter().enumerate() {
        let location = root.join(format!("durable/{i}").as_bytes());
        let options = PutOptions { mode, durable: true };
        let result = store.put(&location, b"kept".as_slice().into(), options).await;
        if mode == PutMode::Create && !store.capability().conditional_put {
            fails(result, Kind::Unsupported, &location);
        } else {
            result.unwrap();
            assert_eq!(get(store, &location).await.unwrap(), b"kept");
        }
    }
}

/// A reader beside a writer sees the old bytes or the new, never a part of either.
pub async fn put_is_atomic_for_readers(store: &dyn Store, root: &Location) {
    let location = root.join(b"contended");
    // Lengths differ, so that a mixture would show in the length too.
    let content = |round: usize| vec![b'a' + (round % 2) as u8; 60_000 + 40_000 * (round % 2)];
    put(store, &location, &content(0)).await;
    let done = Cell::new(false);
    let writer = async {
        for round in 1..40 {
            let chunks = content(round).chunks(10_000).map(<[u8]>::to_vec).collect();
            store.put(&location, chunked(chunks, None), PutOptions::default()).await.unwrap();
        }
        done.set(true);
    };
    let reader = async {
        let mut seen = 0;
        while !done.get() || seen == 0 {
            match get(store, &location).await {
                Ok(bytes) => {
                    let round = usize::from(bytes.first() == Some(&b'b'));
                    assert!(bytes == content(round), "a mixture of {} bytes", bytes.len());
                    seen += 1;
                }
                // "The object changed while it was read" is an honest answer.
                Err(error) => drop(fails(Err::<(), _>(error), Kind::Precondition, &location)),
            }
            tokio::task::yield_now().await;
        }
    };
    futures::join!(writer, reader);
    assert!(get(store, &location).await.unwrap() == content(39));
    assert_eq!(keys(store, root).await.len(), 1, "and nothing else is left");
}

/// The keys beneath the root become these.
async fn left(store: &dyn Store, root: &Location, expected: &[&[u8]]) {
    eventually("nothing of the failed put is listed", async || {
        keys(store, root).await.iter().map(|k| &**k).eq(expected.iter().copied())
    })
    .await;
}

/// An error from the body is the put's error, and neither a part nor a temporary name is left.
pub async fn put_whose_body_fails_leaves_nothing(store: &dyn Store, root: &Location) {
    let (old, new) = (root.join(b"old"), root.join(b"d/new"));
    put(store, &old, b"old").await;
    for location in [&old, &new] {
        for whole in [0, 1, 200_000] {
            let chunks = [
                Ok(Bytes::from(vec![1; whole])),
                Err(Error::new(Kind::Denied, Operation::Read, "the source went away")),
                Ok(Bytes::from_static(b"more")),
            ];
            let body = Body::stream(stream::iter(chunks).boxed(), None);
            let error = store.put(location, body, PutOptions::default()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Denied, "{error}");
            assert!(error.to_string().contains("the source went away"), "{error}");
        }
    }
    assert_eq!(get(store, &old).await.unwrap(), b"old");
    fails(get(store, &new).await, Kind::NotFound, &new);
    left(store, root, &[b"old"]).await;
}

/// A body that is shorter or longer than it said is refused.
pub async fn put_of_another_length_than_promised_leaves_nothing(store: &dyn Store, root: &Location) {
    let (old, new) = (root.join(b"old"), root.join(b"new"));
    put(store, &old, b"old").await;
    for location in [&old, &new] {
        for promised in [0, 1999, 2001, 1 << 40] {
            let body = chunked(vec![vec![1; 1000]; 2], Some(promised));
            let result = store.put(location, body, PutOptions::default()).await;
            let error = fails(result, Kind::Corrupt, location);
            assert!(error.to_string().contains(&promised.to_string()), "{error}");
        }
    }
    assert_eq!(get(store, &old).await.unwrap(), b"old");
    fails(get(store, &new).await, Kind::NotFound, &new);
    left(store, root, &[b"old"]).await;
}

/// A put whose caller goes away in the middle never happened.
pub async fn put_dropped_half_way_leaves_nothing(store: &dyn Store, root: &Location) {
    let (old, new) = (root.join(b"old"), root.join(b"new"));
    put(store, &old, b"old").await;
    for location in [&old, &new] {
        let (begun, wait) = tokio::sync::oneshot::channel();
        let chunk = stream::once(future::ready(Ok(Bytes::from(vec![1; 100_000]))));
        let rest = stream::once(async move {
            let _ = begun.send(());
            future::pending().await
        });
        let body = Body::stream(chunk.chain(rest).boxed(), Some(200_000));
        let put = store.put(location, body, PutOptions::default());
        match future::select(put, wait).await {
            Either::Left((result, _)) => panic!("a put without the end of its body: {result:?}"),
            Either::Right((asked, put)) => {
                asked.expect("the store has read the first chunk");
                drop(put);
            }
        }
    }
    assert_eq!(get(store, &old).await.unwrap(), b"old");
    fails(get(store, &new).await, Kind::NotFound, &new);
    left(store, root, &[b"old"]).await;
    // And the next put is not hindered.
    put(store, &new, b"new").await;
    assert_eq!(get(store, &new).await.unwrap(), b"new");
}

/// Where directories are real, one is not replaced; elsewhere a key may be a prefix of others.
pub async fn put_over_a_directory(store: &dyn Store, root: &Location) {
    let (directory, inside) = (root.join(b"d"), root.join(b"d/inside"));
    put(store, &inside, b"inside").await;
    let result = store.put(&directory, b"x".as_slice().into(), PutOptions::default()).await;
    if store.capability().real_directories {
        fails(result, Kind::InvalidConfig, &directory);
        left(store, root, &[b"d/inside"]).await;
    } else {
        result.unwrap();
        assert_eq!(get(store, &directory).await.unwrap(), b"x");
    }
    assert_eq!(get(store, &inside).await.unwrap(), b"inside");
}

/// Where directories are real, an object is not one; elsewhere a key may go on beneath another.
pub async fn put_beneath_an_object(store: &dyn Store, root: &Location) {
    let (object, beneath) = (root.join(b"o"), root.join(b"o/beneath"));
    put(store, &object, b"object").await;
    let result = store.put(&beneath, b"x".as_slice().into(), PutOptions::default()).await;
    if store.capability().real_directories {
        let error = result.expect_err("a file is not a directory");
        assert_eq!(error.location(), Some(&beneath), "{error}");
        left(store, root, &[b"o"]).await;
    } else {
        result.unwrap();
        assert_eq!(get(store, &beneath).await.unwrap(), b"x");
    }
    let again = get(store, &object).map(|bytes| bytes.unwrap()).await;
    assert_eq!(again, b"object");
}
