//! Opened objects.

use super::{fails, nothing_in_flight, pool, put};
use crate::data;
use forebay_io::{EntryKind, Kind, Location, Place, ReadOptions, Store};

/// An opened object knows its size and fills buffers from any offset, again and again.
pub async fn opened_objects_serve_ranges(store: &dyn Store, root: &Location) {
    let location = root.join(b"object");
    let bytes = data::bytes(1, 100_000);
    put(store, &location, &bytes).await;
    let object = store.open(&location, ReadOptions::default()).await.unwrap();
    assert_eq!((object.meta().size, object.meta().kind), (100_000, EntryKind::Object));
    assert_eq!(object.meta().version, store.stat(&location).await.unwrap().version);
    let pool = pool();
    for (offset, len) in [(0, 100_000), (99_999, 1), (4095, 4098), (100_000, 0), (0, 0), (31, 70_000), (0, 1)]
    {
        let buf = pool.buffer(len).await.unwrap();
        let (buf, result) = object.read_into(offset, buf).await;
        assert_eq!(result.unwrap().bytes, len);
        assert!(buf[..] == bytes[offset as usize..][..len as usize], "{len} bytes at {offset}");
    }
    nothing_in_flight(&pool).await;
}

/// A read that fails gives back the very buffer, which can be used again.
pub async fn opened_objects_give_the_buffer_back_on_failure(store: &dyn Store, root: &Location) {
    let location = root.join(b"object");
    let bytes = data::bytes(1, 1000);
    put(store, &location, &bytes).await;
    let object = store.open(&location, ReadOptions::default()).await.unwrap();
    let pool = pool();
    let mut buf = pool.buffer(100).await.unwrap();
    let address = buf.as_ptr();
    for offset in [901, 1000, 1001, 50_000, u64::MAX] {
        let (back, result) = object.read_into(offset, buf).await;
        fails(result, Kind::InvalidRange, &location);
        assert_eq!((back.as_ptr(), back.len()), (address, 100));
        buf = back;
    }
    let (buf, result) = object.read_into(900, buf).await;
    result.unwrap();
    assert!(buf[..] == bytes[900..]);
    drop(buf);
    nothing_in_flight(&pool).await;
}

/// Ranges are answered in the order given, overlapping or not, and fail alone.
pub async fn opened_objects_read_many_in_the_order_given(store: &dyn Store, root: &Location) {
    let location = root.join(b"object");
    let bytes = data::bytes(1, 300_000);
    put(store, &location, &bytes).await;
    let object = store.open(&location, ReadOptions::default()).await.unwrap();
    let pool = pool();
    let mut offsets: Vec<u64> = (0..60).map(|i| (i * 7919) % 295_000).collect();
    offsets[30] = 299_000;
    let lease = pool.lease(pool.budget().ticket(), 60);
    let wants: Vec<_> = (0..60).map(|slot| forebay_io::Want::new(slot, 5000)).collect();
    let bufs = lease.reserve(&wants).await.unwrap();
    let answers = object.read_many(offsets.iter().copied().zip(bufs).collect()).await;
    assert_eq!(answers.len(), 60);
    for (i, (buf, result)) in answers.into_iter().enumerate() {
        assert_eq!(buf.slot(), i as u32, "buffers come back in their order");
        if i == 30 {
            fails(result, Kind::InvalidRange, &location);
        } else {
            assert_eq!(result.unwrap().bytes, 5000);
            assert!(buf[..] == bytes[offsets[i] as usize..][..5000], "range {i}");
        }
    }
    assert!(object.read_many(Vec::new()).await.is_empty());
    drop(lease);
    nothing_in_flight(&pool).await;
}

/// An opened object stays what it was: when something else is put there, it gives the old bytes or
/// `Precondition`, never others.
pub async fn opened_objects_are_one_version(store: &dyn Store, root: &Location) {
    let location = root.join(b"replaced");
    let (old, new) = (data::bytes(1, 70_000), data::bytes(2, 70_000));
    put(store, &location, &old).await;
    let object = store.open(&location, ReadOptions::default()).await.unwrap();
    put(store, &location, &new).await;
    assert_eq!(object.meta().size, 70_000);
    let pool = pool();
    for offset in [0, 1000, 69_000] {
        let (buf, result) = object.read_into(offset, pool.buffer(1000).await.unwrap()).await;
        match result {
            Ok(_) => assert!(buf[..] == old[offset as usize..][..1000], "other bytes at {offset}"),
            Err(error) => drop(fails(Err::<(), _>(error), Kind::Precondition, &location)),
        }
    }
    let fresh = store.open(&location, ReadOptions::default()).await.unwrap();
    let (buf, result) = fresh.read_into(0, pool.buffer(70_000).await.unwrap()).await;
    result.unwrap();
    assert!(buf[..] == new[..]);
}

/// Nothing to open.
pub async fn open_of_a_missing_object_is_not_found(store: &dyn Store, root: &Location) {
    for key in [&b"missing"[..], b"no/such/directory"] {
        let location = root.join(key);
        fails(store.open(&location, ReadOptions::default()).await, Kind::NotFound, &location);
    }
}

/// A directory is not an object.
pub async fn open_of_a_directory_is_refused(store: &dyn Store, root: &Location) {
    put(store, &root.join(b"d/there"), b"x").await;
    let location = root.join(b"d");
    let kind = if store.capability().real_directories { Kind::InvalidConfig } else { Kind::NotFound };
    fails(store.open(&location, ReadOptions::default()).await, kind, &location);
}
