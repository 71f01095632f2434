//! One-shot reads of one object.

use super::{fails, get_one, nothing_in_flight, pool, pool_of, put};
use crate::data;
use forebay_io::{GetRequest, Kind, Location, Place, ReadOptions, Reservation, Store, Want, read};
use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

/// Objects of any size come whole: empty, around the alignment of slots, around a page, large.
pub async fn get_reads_whole_objects(store: &dyn Store, root: &Location) {
    let pool = pool();
    for (seed, len) in [0usize, 1, 63, 64, 65, 4095, 4096, 70_001, (1 << 20) + 3].into_iter().enumerate() {
        let bytes = data::bytes(seed as u64, len);
        let location = root.join(format!("{len}.bin").as_bytes());
        put(store, &location, &bytes).await;
        let lease = pool.lease(pool.budget().ticket(), 1);
        let served = get_one(store, GetRequest::whole(location, 0), &lease).await.unwrap();
        assert_eq!(served.bytes, len as u64);
        let block = lease.finish().unwrap();
        assert!(block.slot(0) == Some(&bytes), "the bytes of an object of {len}");
    }
    nothing_in_flight(&pool).await;
}

/// Any range inside an object is read exactly, also an empty one and one up to the end.
pub async fn get_reads_ranges(store: &dyn Store, root: &Location) {
    let location = root.join(b"ranges");
    let bytes = data::bytes(1, 100_000);
    put(store, &location, &bytes).await;
    for range in
        [0..1, 0..100_000, 99_999..100_000, 4096..8192, 4095..8193, 12_345..54_321, 0..0, 100_000..100_000]
    {
        let block =
            read(store, &location, Some(range.clone()), ReadOptions::default(), &pool()).await.unwrap();
        let expected = &bytes[range.start as usize..range.end as usize];
        assert!(block.slot(0) == Some(expected), "{range:?}");
    }
}

/// An empty object is read into an empty slot, which is something else than a slot that was not read.
pub async fn get_of_an_empty_object_places_nothing(store: &dyn Store, root: &Location) {
    let location = root.join(b"empty");
    put(store, &location, b"").await;
    let pool = pool();
    let lease = pool.lease(pool.budget().ticket(), 2);
    let served = get_one(store, GetRequest::whole(location, 1), &lease).await.unwrap();
    assert_eq!(served.bytes, 0);
    let block = lease.finish().unwrap();
    assert_eq!((block.slot(0), block.slot(1)), (None, Some(&b""[..])));
}

/// A range that is not inside the object is refused as a whole: no part of it is read.
pub async fn get_beyond_the_end_is_an_invalid_range(store: &dyn Store, root: &Location) {
    let location = root.join(b"short");
    put(store, &location, &data::bytes(1, 1000)).await;
    let pool = pool();
    let inverted = Range { start: 600, end: 500 };
    for range in [0..1001, 999..1001, 1000..1001, 1001..1002, 1001..1001, 5000..6000, 0..u64::MAX, inverted] {
        let request = GetRequest { range: Some(range.clone()), ..GetRequest::whole(location.clone(), 0) };
        let lease = pool.lease(pool.budget().ticket(), 1);
        let error = fails(get_one(store, request, &lease).await, Kind::InvalidRange, &location);
        let text = error.to_string();
        assert!(text.contains(&range.end.to_string()), "{range:?} is not named: {text}");
    }
    nothing_in_flight(&pool).await;
}

/// What is not there is `NotFound`, in the root, in a directory, and beneath what is not there.
pub async fn get_of_a_missing_object_is_not_found(store: &dyn Store, root: &Location) {
    put(store, &root.join(b"d/there"), b"x").await;
    for key in [&b"missing"[..], b"d/missing", b"no/such/directory", b"ther", b"d/there2"] {
        let location = root.join(key);
        fails(super::get(store, &location).await, Kind::NotFound, &location);
    }
}

/// A directory is not an object.
pub async fn get_of_a_directory_is_refused(store: &dyn Store, root: &Location) {
    put(store, &root.join(b"d/there"), b"x").await;
    let location = root.join(b"d");
    let kind = if store.capability().real_directories { Kind::InvalidConfig } else { Kind::NotFound };
    fails(super::get(store, &location).await, kind, &location);
}

/// A read that is pinned to a version reads that one or fails.
pub async fn get_of_another_version_is_refused(store: &dyn Store, root: &Location) {
    let location = root.join(b"versioned");
    put(store, &location, b"first").await;
    let version = store.stat(&location).await.unwrap().version;
    assert_eq!(version.is_some(), store.capability().versions, "capability and stat agree on versions");
    let pool = pool();
    let Some(version) = version else {
        let if_version = Some(forebay_io::Version::new("1"));
        let request = GetRequest { if_version, ..GetRequest::whole(location.clone(), 0) };
        let lease = pool.lease(pool.budget().ticket(), 1);
        fails(get_one(store, request, &lease).await, Kind::Unsupported, &location);
        return;
    };
    let request = GetRequest { if_version: Some(version), ..GetRequest::whole(location.clone(), 0) };
    let lease = pool.lease(pool.budget().ticket(), 1);
    get_one(store, request.clone(), &lease).await.unwrap();
    assert_eq!(lease.finish().unwrap().slot(0), Some(&b"first"[..]));
    drop(lease);

    put(store, &location, b"other").await;
    let lease = pool.lease(pool.budget().ticket(), 1);
    fails(get_one(store, request, &lease).await, Kind::Precondition, &location);
    drop(lease);
    nothing_in_flight(&pool).await;
}

/// An object that is larger than the budget is a clear error, never a hang, and harms nobody.
pub async fn get_of_what_the_place_can_never_hold_is_refused(store: &dyn Store, root: &Location) {
    let (large, small) = (root.join(b"large"), root.join(b"small"));
    put(store, &large, &data::bytes(1, 10_001)).await;
    put(store, &small, b"small").await;
    let pool = pool_of(10_000);
    let lease = pool.lease(pool.budget().ticket(), 1);
    let error = fails(
        get_one(store, GetRequest::whole(large, 0), &lease).await,
        Kind::InvalidRange,
        &root.join(b"large"),
    );
    assert!(error.to_string().contains("10001") && error.to_string().contains("10000"), "{error}");
    get_one(store, GetRequest::whole(small, 0), &lease).await.unwrap();
    assert_eq!(lease.finish().unwrap().slot(0), Some(&b"small"[..]));
    drop(lease);
    nothing_in_flight(&pool).await;
}

/// A read for which there is no memory yet waits for it, and the cap holds.
pub async fn get_waits_for_memory(store: &dyn Store, root: &Location) {
    let location = root.join(b"waits");
    let bytes = data::bytes(1, 8000);
    put(store, &location, &bytes).await;
    let pool = pool_of(10_000);
    let older = pool.lease(pool.budget().ticket(), 1);
    let Reservation::Granted(held) = older.try_reserve(&[Want::new(0, 5000)]) else {
        panic!("an empty budget lends")
    };
    let released = Cell::new(false);
    let reader = async {
        let lease = pool.lease(pool.budget().ticket(), 1);
        get_one(store, GetRequest::whole(location, 0), &lease).await.unwrap();
        assert!(released.get(), "read before there was memory");
        assert!(lease.finish().unwrap().slot(0) == Some(&bytes));
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
