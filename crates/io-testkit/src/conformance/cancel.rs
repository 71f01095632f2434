//! Futures may be dropped at any time.

use super::{eventually, get, get_one, nothing_in_flight, pool, pool_of, put};
use crate::data::{self, Tree};
use forebay_io::{
    GetRequest, ListOptions, Location, Place, PutOptions, ReadOptions, Reservation, Store, Want,
};
use futures::StreamExt;
use std::future::Future;
use std::pin::pin;

/// Polls a future so many times, lets others run between, and drops it.
async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if futures::poll!(&mut future).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// A dropped read gives back its memory and its slots as soon as nobody writes into them any more, and
/// not before.
pub async fn dropped_gets_leak_nothing(store: &dyn Store, root: &Location) {
    let tree = Tree::new(1, 10, 50_000..=200_000);
    tree.put(store, root).await.unwrap();
    let locations = tree.locations(root);
    let pool = pool();
    for polls in 0..6 {
        let lease = pool.lease(pool.budget().ticket(), 10);
        let requests: Vec<_> =
            locations.iter().zip(0..).map(|(l, slot)| GetRequest::whole(l.clone(), slot)).collect();
        if polls % 2 == 0 {
            drop_after(polls, store.get_many(requests.into(), ReadOptions::default(), lease.clone())).await;
        } else {
            let gets = requests.into_iter().map(|r| get_one(store, r, &lease));
            drop_after(polls, futures::future::join_all(gets)).await;
        }
        let wants: Vec<_> =
            tree.iter().zip(0..).map(|((_, b), slot)| Want::new(slot, b.len() as u64)).collect();
        eventually("every slot can be lent again", async || {
            matches!(lease.try_reserve(&wants), Reservation::Granted(_))
        })
        .await;
        eventually("no slot is lent", async || lease.finish().is_ok()).await;
        drop(lease);
        nothing_in_flight(&pool).await;
    }
}

/// A read that is dropped while it waits for memory leaves the line, and those behind it go on.
pub async fn dropped_waits_leak_nothing(store: &dyn Store, root: &Location) {
    let location = root.join(b"object");
    let bytes = data::bytes(1, 6000);
    put(store, &location, &bytes).await;
    let pool = pool_of(10_000);
    let older = pool.lease(pool.budget().ticket(), 1);
    let Reservation::Granted(held) = older.try_reserve(&[Want::new(0, 9000)]) else {
        panic!("an empty budget lends")
    };
    for polls in [1, 3, 30] {
        let lease = pool.lease(pool.budget().ticket(), 2);
        let requests = [0, 1].map(|slot| GetRequest::whole(location.clone(), slot));
        drop_after(polls, store.get_many(requests.into(), ReadOptions::default(), lease.clone())).await;
        let request = GetRequest::whole(location.clone(), 0);
        drop_after(polls, get_one(store, request, &lease)).await;
    }
    eventually("only the older batch holds memory", async || pool.budget().used() == 9024).await;
    drop((held, older));
    nothing_in_flight(&pool).await;
    let lease = pool.lease(pool.budget().ticket(), 1);
    get_one(store, GetRequest::whole(location, 0), &lease).await.unwrap();
    assert!(lease.finish().unwrap().slot(0) == Some(&bytes));
}

/// A dropped read of an opened object frees its buffer when nobody writes into it any more.
pub async fn dropped_reads_of_objects_leak_nothing(store: &dyn Store, root: &Location) {
    let location = root.join(b"object");
    let bytes = data::bytes(1, 500_000);
    put(store, &location, &bytes).await;
    let pool = pool();
    let object = store.open(&location, ReadOptions::default()).await.unwrap();
    for polls in 0..4 {
        let buf = pool.buffer(500_000).await.unwrap();
        drop_after(polls, object.read_into(0, buf)).await;
        let ranges =
            vec![(0, pool.buffer(100_000).await.unwrap()), (400_000, pool.buffer(100_000).await.unwrap())];
        drop_after(polls, object.read_many(ranges)).await;
        nothing_in_flight(&pool).await;
    }
    let (buf, result) = object.read_into(0, pool.buffer(500_000).await.unwrap()).await;
    result.unwrap();
    assert!(buf[..] == bytes[..]);
}

/// After every kind of call was dropped, many times over, the store still does all of them: no permit,
/// descriptor or lock is lost.
pub async fn dropped_calls_leave_the_store_usable(store: &dyn Store, root: &Location) {
    let location = root.join(b"object");
    let bytes = data::bytes(1, 10_000);
    put(store, &location, &bytes).await;
    let spare = root.join(b"spare");
    for round in 0..50 {
        let polls = round % 4;
        drop_after(polls, get(store, &location)).await;
        drop_after(polls, store.stat(&location)).await;
        drop_after(polls, store.open(&location, ReadOptions::default())).await;
        drop_after(polls, store.put(&spare, bytes.clone().into(), PutOptions::default())).await;
        drop_after(polls, store.delete(&spare)).await;
        drop_after(polls, store.list(root, ListOptions::recursive()).next()).await;
    }
    assert!(get(store, &location).await.unwrap() == bytes);
    put(store, &spare, b"spare").await;
    eventually("all that is left is listed", async || super::keys(store, root).await.len() == 2).await;
    store.delete(&spare).await.unwrap();
}
