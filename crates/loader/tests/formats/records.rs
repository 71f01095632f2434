//! Fixed-length records.

use crate::fixture::{load, root, runtime, store};
use forebay_io::{Kind, PutOptions, Store};
use forebay_loader::{Dataset, DatasetOptions, Extent, Format, Indexed};

fn options(record_bytes: u64, header_bytes: u64) -> DatasetOptions {
    let format = Format::Records { record_bytes, header_bytes };
    DatasetOptions { format, ..DatasetOptions::default() }
}

fn shard(header: u64, records: u8, first: u8) -> Vec<u8> {
    let mut bytes = vec![0xee; header as usize];
    (first..first + records).for_each(|record| bytes.extend([record; 100]));
    bytes
}

#[test]
fn records_are_numbered_through_shards_in_the_order_of_names() {
    let runtime = runtime();
    let shards = [("b", shard(7, 4, 3)), ("a", shard(7, 3, 0)), ("c", shard(7, 0, 0)), ("d", shard(7, 1, 7))];
    let store = runtime.block_on(store(&shards));
    let dataset = runtime.block_on(Dataset::open(&*store, &root(), options(100, 7))).unwrap();
    assert_eq!((dataset.len(), dataset.objects()), (8, 4));
    assert_eq!(dataset.extent(4), Some(Extent { object: 1, range: Some(107..207) }));
    assert_eq!(dataset.key(4).unwrap(), &b"b"[..]);
    assert_eq!(dataset.location(7), Some(root().join(b"d")));
    assert_eq!(dataset.extent(8), None);
    assert_eq!(dataset.indexed(), &Indexed::Needless);
    let samples = load(&runtime, store, dataset);
    assert_eq!(samples, (0..8).map(|record| vec![record; 100]).collect::<Vec<_>>());
}

#[test]
fn what_is_left_over_is_named() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a", shard(0, 2, 0)), ("b", vec![0; 130])]));
    let error = runtime.block_on(Dataset::open(&*store, &root(), options(100, 0))).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert_eq!(
        error.to_string(),
        "get mem://set/shards/b: at offset 100: 30 bytes are left where a record of record_bytes=100 was \
         expected (130 bytes in all, header_bytes=0)"
    );
    let error = runtime.block_on(Dataset::open(&*store, &root(), options(10, 140))).unwrap_err();
    assert!(error.to_string().contains("130 bytes are less than header_bytes=140"), "{error}");
    let error = runtime.block_on(Dataset::open(&*store, &root(), options(0, 0))).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
}

#[test]
fn a_shard_that_changed_since_it_was_looked_at_is_an_error() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a", shard(0, 2, 0))]));
    let dataset = runtime.block_on(Dataset::open(&*store, &root(), options(100, 0))).unwrap();
    let changed = shard(0, 2, 9).into();
    runtime.block_on(store.put(&root().join(b"a"), changed, PutOptions::default())).unwrap();
    let request = dataset.request(0, 0).unwrap();
    let pool = forebay_io::Pool::new(forebay_io::Budget::new(1 << 20).unwrap());
    let lease = pool.lease(pool.budget().ticket(), 1);
    let read = runtime.block_on(store.get(request, Default::default(), lease));
    assert_eq!(read.unwrap_err().kind(), Kind::Precondition);
}

#[test]
fn the_fingerprint_tells_other_sizes_and_other_records_apart() {
    let runtime = runtime();
    let print = |shards: &[(&str, Vec<u8>)], record, header| {
        let store = runtime.block_on(store(shards));
        let dataset = runtime.block_on(Dataset::open(&*store, &root(), options(record, header))).unwrap();
        dataset.fingerprint().to_owned()
    };
    let base = print(&[("a", shard(0, 2, 0))], 100, 0);
    assert_eq!(base, print(&[("a", shard(0, 2, 5))], 100, 0), "contents are not looked at");
    assert_ne!(base, print(&[("a", shard(0, 2, 0))], 50, 0));
    assert_ne!(base, print(&[("a", shard(0, 2, 0))], 100, 100));
    assert_ne!(base, print(&[("a", shard(0, 3, 0))], 100, 0));
}
