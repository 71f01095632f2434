//! Batched one-shot reads.

use super::{fails, get_many, nothing_in_flight, pool, pool_of, put};
use crate::data::{self, Tree};
use forebay_io::{GetRequest, Kind, Location, Place, ReadOptions, Reservation, Store, Want};
use futures::{StreamExt, stream};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// `result[i]` belongs to `requests[i]`, and the bytes to the slot that it names, in whatever order
/// they came.
pub async fn get_many_answers_in_the_order_of_requests(store: &dyn Store, root: &Location) {
    let tree = Tree::new(3, 150, 0..=5000);
    tree.put(store, root).await.unwrap();
    let pool = pool();
    let lease = pool.lease(pool.budget().ticket(), 150);
    let requests = tree
        .locations(root)
        .into_iter()
        .enumerate()
        .map(|(i, location)| GetRequest::whole(location, 149 - i as u32))
        .collect();
    let results = get_many(store, requests, &lease).await;
    let block = lease.finish().unwrap();
    for (i, ((key, bytes), result)) in tree.iter().zip(results).enumerate() {
        let name = String::from_utf8_lossy(key);
        assert_eq!(result.unwrap().bytes, bytes.len() as u64, "{name}");
        assert!(block.slot(149 - i) == Some(bytes), "{name}");
    }
}

/// One member's failure does not touch the others, whatever kind it is.
pub async fn get_many_members_fail_alone(store: &dyn Store, root: &Location) {
    let locations: Vec<_> = (0..6).map(|i| root.join(format!("{i}").as_bytes())).collect();
    for (i, location) in locations.iter().enumerate().filter(|(i, _)| *i != 1) {
        let len = if i == 3 { 200_000 } else { 1000 };
        put(store, location, &data::bytes(i as u64, len)).await;
    }
    let pool = pool_of(100_000);
    let lease = pool.lease(pool.budget().ticket(), 6);
    let mut requests: Vec<_> =
        locations.iter().enumerate().map(|(i, l)| GetRequest::whole(l.clone(), i as u32)).collect();
    requests[2].range = Some(500..1001);
    let mut results = get_many(store, requests, &lease).await;
    fails(results.remove(3), Kind::InvalidRange, &locations[3]);
    fails(results.remove(2), Kind::InvalidRange, &locations[2]);
    fails(results.remove(1), Kind::NotFound, &locations[1]);
    results.into_iter().for_each(|result| assert_eq!(result.unwrap().bytes, 1000));
    let block = lease.finish().unwrap();
    for slot in [0, 4, 5] {
        assert!(block.slot(slot) == Some(&data::bytes(slot as u64, 1000)), "slot {slot}");
    }
    drop((block, lease));
    nothing_in_flight(&pool).await;
}

/// A batch without members is answered at once.
pub async fn get_many_of_nothing_answers_nothing(store: &dyn Store, _root: &Location) {
    let pool = pool();
    let lease = pool.lease(pool.budget().ticket(), 0);
    assert!(get_many(store, Vec::new(), &lease).await.is_empty());
}

/// The same object may be asked for many times, whole and in parts.
pub async fn get_many_reads_parts_of_one_object(store: &dyn Store, root: &Location) {
    let location = root.join(b"shared");
    let bytes = data::bytes(1, 50_000);
    put(store, &location, &bytes).await;
    let pool = pool();
    let ranges = [None, Some(0..10_000), Some(5_000..15_000), Some(49_999..50_000), Some(7..7), None];
    let lease = pool.lease(pool.budget().ticket(), 6);
    let requests = ranges
        .iter()
        .zip(0..)
        .map(|(range, slot)| GetRequest { range: range.clone(), ..GetRequest::whole(location.clone(), slot) })
        .collect();
    for result in get_many(store, requests, &lease).await {
        result.unwrap();
    }
    let block = lease.finish().unwrap();
    for (slot, range) in ranges.into_iter().enumerate() {
        let range = range.map_or(0..50_000, |r| r.start as usize..r.end as usize);
        assert!(block.slot(slot) == Some(&bytes[range]), "slot {slot}");
    }
}

/// Members are pinned to versions each for itself.
pub async fn get_many_checks_versions(store: &dyn Store, root: &Location) {
    let (old, new) = (root.join(b"old"), root.join(b"new"));
    put(store, &old, b"old").await;
    put(store, &new, b"new").await;
    let version = async |location| store.stat(location).await.unwrap().version;
    let (old_version, stale) = (version(&old).await, version(&new).await);
    put(store, &new, b"newer").await;
    let pool = pool();
    let lease = pool.lease(pool.budget().ticket(), 2);
    let versions = store.capability().versions;
    let any = || (!versions).then(|| forebay_io::Version::new("1"));
    let requests = vec![
        GetRequest { if_version: old_version, ..GetRequest::whole(old, 0) },
        GetRequest { if_version: stale.or_else(any), ..GetRequest::whole(new.clone(), 1) },
    ];
    let mut results = get_many(store, requests, &lease).await;
    let kind = if versions { Kind::Precondition } else { Kind::Unsupported };
    fails(results.remove(1), kind, &new);
    assert_eq!(results.remove(0).unwrap().bytes, 3);
}

/// A batch for which there is no memory yet waits for it, and the cap holds.
pub async fn get_many_waits_for_memory(store: &dyn Store, root: &Location) {
    let tree = Tree::new(5, 20, 100..=400);
    tree.put(store, root).await.unwrap();
    let pool = pool_of(10_000);
    let older = pool.lease(pool.budget().ticket(), 1);
    let Reservation::Granted(held) = older.try_reserve(&[Want::new(0, 9_900)]) else {
        panic!("an empty budget lends")
    };
    let released = Cell::new(false);
    let reader = async {
        let lease = pool.lease(pool.budget().ticket(), 20);
        let requests =
            tree.locations(root).into_iter().zip(0..).map(|(l, slot)| GetRequest::whole(l, slot)).collect();
        for result in get_many(store, requests, &lease).await {
            result.unwrap();
        }
        assert!(released.get(), "read before there was memory");
        let block = lease.finish().unwrap();
        for (slot, (_, bytes)) in tree.iter().enumerate() {
            assert!(block.slot(slot) == Some(bytes), "slot {slot}");
        }
    };
    let owner = async {
        // Long enough for a store to run into the wait; if it does not, the test is only weaker.
        tokio::time::sleep(Duration::from_millis(20)).await;
        released.set(true);
        drop((held, older));
    };
    futures::join!(reader, owner);
    assert!(pool.budget().peak() <= 10_000);
    nothing_in_flight(&pool).await;
}

/// Many batches at once under a budget that holds one or two of them: all are delivered, in order.
pub async fn get_many_never_deadlocks_under_a_small_budget(store: &dyn Store, root: &Location) {
    const BATCHES: usize = 24;
    const MEMBERS: usize = 5;
    let tree = Tree::new(9, BATCHES * MEMBERS, 0..=3000);
    tree.put(store, root).await.unwrap();
    let locations = tree.locations(root);
    let contents: Vec<_> = tree.iter().map(|(_, bytes)| bytes.clone()).collect();
    // The largest batch is 5 slots of 3008 bytes.
    let cap = 20_000;
    let pool = pool_of(cap);
    // Asked for youngest first, which is the harder order: the budget serves the oldest ticket.
    let mut leases: Vec<_> =
        (0..BATCHES).map(|_| pool.lease(pool.budget().ticket(), MEMBERS as u32)).enumerate().collect();
    leases.reverse();
    let blocks: Vec<tokio::sync::OnceCell<forebay_io::Block>> =
        (0..BATCHES).map(|_| Default::default()).collect();
    let readers = stream::iter(leases).for_each_concurrent(None, |(batch, lease)| {
        let members = batch * MEMBERS..(batch + 1) * MEMBERS;
        let requests: Arc<[_]> =
            locations[members].iter().zip(0..).map(|(l, slot)| GetRequest::whole(l.clone(), slot)).collect();
        let blocks = &blocks;
        async move {
            for result in store.get_many(requests, ReadOptions::default(), lease.clone()).await {
                result.unwrap();
            }
            assert!(blocks[batch].set(lease.finish().unwrap()).is_ok());
        }
    });
    let consumer = async {
        for (batch, contents) in contents.chunks(MEMBERS).enumerate() {
            while !blocks[batch].initialized() {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            let block = blocks[batch].get().expect("initialized");
            for (slot, bytes) in contents.iter().enumerate() {
                assert!(block.slot(slot) == Some(bytes), "batch {batch}, slot {slot}");
            }
            block.take();
        }
    };
    futures::join!(readers, consumer);
    assert!(pool.budget().peak() <= cap);
    nothing_in_flight(&pool).await;
}
