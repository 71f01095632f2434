//! Indexes that are kept: used while they fit, made anew when they do not, refused when they cannot be saved.

use crate::fixture::{load, root, runtime, store};
use crate::tfrecords::shard;
use forebay_io::{Kind, Location, MemoryStore, PutOptions, Store};
use forebay_loader::{Dataset, DatasetOptions, Format, IndexPlace, Indexed};
use std::sync::Arc;

fn options() -> DatasetOptions {
    DatasetOptions { format: Format::TfRecord, ..DatasetOptions::default() }
}

fn payloads(n: u8) -> Vec<Vec<u8>> {
    (0..n).map(|i| vec![i; 100]).collect()
}

async fn index_of(store: &MemoryStore) -> Location {
    let dataset = Dataset::open(store, &root(), options()).await.unwrap();
    match dataset.indexed() {
        Indexed::Reused(location) | Indexed::Built(Some(location)) => location.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_index_is_made_once_beside_the_data_and_is_no_sample() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a", shard(&payloads(9)))]));
    let open = || runtime.block_on(Dataset::open(&*store, &root(), options())).unwrap();
    let first = open();
    let Indexed::Built(Some(location)) = first.indexed() else { panic!("{:?}", first.indexed()) };
    assert!(location.to_string().starts_with("mem://set/shards.tfrecord-"), "{location}");
    let again = open();
    assert_eq!(again.indexed(), &Indexed::Reused(location.clone()));
    assert_eq!((again.fingerprint(), again.objects()), (first.fingerprint(), 1));
    assert_eq!(load(&runtime, store, again), payloads(9));
}

#[test]
fn other_data_or_a_damaged_index_make_it_anew() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a", shard(&payloads(9)))]));
    let location = runtime.block_on(index_of(&store));
    let open = || runtime.block_on(Dataset::open(&*store, &root(), options())).unwrap();
    let put = |location: &Location, bytes: Vec<u8>| {
        runtime.block_on(store.put(location, bytes.into(), PutOptions::default())).unwrap();
    };
    let rebuilt = |dataset: &Dataset, cause: &str| match dataset.indexed() {
        Indexed::Rebuilt { why, .. } => assert!(why.contains(cause), "{why}"),
        other => panic!("{other:?}"),
    };
    put(&root().join(b"a"), shard(&payloads(5)));
    let dataset = open();
    rebuilt(&dataset, "has changed");
    assert_eq!(dataset.len(), 5);
    put(&root().join(b"b"), shard(&payloads(2)));
    assert_eq!(open().len(), 7);
    assert_eq!(open().indexed(), &Indexed::Reused(location.clone()));
    put(&location, b"no index".to_vec());
    rebuilt(&open(), "damaged: 8 bytes are no index");
    put(&location, vec![0; 5000]);
    rebuilt(&open(), "damaged: it does not end as an index does");
    assert_eq!(load(&runtime, store.clone(), open()).len(), 7);
}

#[test]
fn of_shards_only_those_that_changed_are_read_again() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[
        ("a", shard(&payloads(9))),
        ("b", shard(&payloads(4))),
        ("c", shard(&payloads(6))),
    ]));
    let open = || runtime.block_on(Dataset::open(&*store, &root(), options())).unwrap();
    open();
    let rebuilt = |of: &str| {
        let dataset = open();
        let Indexed::Rebuilt { why, .. } = dataset.indexed() else { panic!("{:?}", dataset.indexed()) };
        assert!(why.ends_with(&format!("{of} shards were read")), "{why}");
        // As a whole new one would be.
        let anew = DatasetOptions { index: IndexPlace::Nowhere, ..options() };
        let anew = runtime.block_on(Dataset::open(&*store, &root(), anew)).unwrap();
        assert_eq!((dataset.len(), dataset.fingerprint()), (anew.len(), anew.fingerprint()));
        load(&runtime, store.clone(), dataset)
    };
    let put = |name: &[u8], n: u8| {
        let shard = shard(&payloads(n));
        runtime.block_on(store.put(&root().join(name), shard.into(), PutOptions::default())).unwrap();
    };
    put(b"b", 7);
    assert_eq!(rebuilt("1 of 3"), [payloads(9), payloads(7), payloads(6)].concat());
    put(b"aa", 2);
    assert_eq!(rebuilt("1 of 4"), [payloads(9), payloads(2), payloads(7), payloads(6)].concat());
    runtime.block_on(store.delete(&root().join(b"a"))).unwrap();
    assert_eq!(rebuilt("0 of 3"), [payloads(2), payloads(7), payloads(6)].concat());
}

#[test]
fn a_folder_keeps_the_indexes_of_many() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a", shard(&payloads(9)))]));
    let elsewhere = Arc::new(MemoryStore::new());
    let folder: Location = "mem://cache/indexes".parse().unwrap();
    let index = IndexPlace::Folder { store: elsewhere.clone(), folder: folder.clone() };
    let open = |root: &Location| {
        let options = DatasetOptions { index: index.clone(), ..options() };
        runtime.block_on(Dataset::open(&*store, root, options)).unwrap()
    };
    let (all, one) = (open(&root()), open(&root().join(b"a")));
    assert_ne!(all.indexed(), one.indexed());
    assert!(matches!(all.indexed(), Indexed::Built(Some(place)) if place.key_beneath(&folder).is_some()));
    assert!(matches!(open(&root()).indexed(), Indexed::Reused(_)));
}

#[test]
fn a_failed_scan_leaves_no_index_and_no_place_is_refused() {
    let runtime = runtime();
    let mut broken = shard(&payloads(9));
    broken[500] ^= 1;
    broken.truncate(900);
    let store = runtime.block_on(store(&[("a", broken)]));
    let error = runtime.block_on(Dataset::open(&*store, &root(), options())).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    let all = runtime.block_on(Dataset::list(
        &*store,
        &"mem://set/".parse().unwrap(),
        forebay_io::ListOptions::recursive(),
    ));
    assert_eq!(all.unwrap().len(), 1, "no index was left behind");
    let top: Location = "mem://set/".parse().unwrap();
    let error = runtime.block_on(Dataset::open(&*store, &top, options())).unwrap_err();
    assert!(error.to_string().contains("no place beside"), "{error}");
}

#[test]
fn many_shards_at_once_keep_their_order() {
    let runtime = runtime();
    let shards: Vec<_> = (0..40u8)
        .map(|i| {
            (format!("{i:03}"), shard(&(0..i % 5 + 1).map(|k| vec![i; 10 + k as usize]).collect::<Vec<_>>()))
        })
        .collect();
    let shards: Vec<_> = shards.iter().map(|(name, bytes)| (&name[..], bytes.clone())).collect();
    let store = runtime.block_on(store(&shards));
    let dataset = runtime.block_on(Dataset::open(&*store, &root(), options())).unwrap();
    let expected: Vec<_> =
        (0..40u8).flat_map(|i| (0..i % 5 + 1).map(move |k| vec![i; 10 + k as usize])).collect();
    let memory = dataset.memory();
    assert_eq!(load(&runtime, store, dataset), expected);
    assert!(memory < 100 * expected.len() + 40 * 200, "{memory} bytes");
}
