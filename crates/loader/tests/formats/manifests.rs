//! Manifests: entries in three forms, on several stores, with lengths and checksums that are obeyed.

use crate::fixture::{load, root, runtime, store};
use crate::{row_groups, tfrecords};
use forebay_io::{Kind, Location, MemoryStore, PutOptions, Store};
use forebay_loader::{Dataset, DatasetOptions, Extent, Format, IndexPlace, ManifestKind};
use std::sync::Arc;

fn options(kind: ManifestKind) -> DatasetOptions {
    DatasetOptions { manifest: Some(kind), index: IndexPlace::Nowhere, ..DatasetOptions::default() }
}

/// A store with some objects, and this manifest among them.
fn with(kind: ManifestKind, manifest: impl Into<Vec<u8>>) -> Result<(Arc<MemoryStore>, Dataset), String> {
    let runtime = runtime();
    let objects = [("a", vec![1; 10]), ("d/b", vec![2; 20]), ("list", manifest.into())];
    let store = runtime.block_on(store(&objects));
    let other: Location = "s3://bucket/far".parse().unwrap();
    runtime.block_on(store.put(&other, vec![3; 30].into(), PutOptions::default())).unwrap();
    let dataset = runtime.block_on(Dataset::open(&*store, &root().join(b"list"), options(kind)));
    dataset.map(|dataset| (store, dataset)).map_err(|error| error.to_string())
}

#[test]
fn entries_are_samples_in_their_order_whatever_they_are_written_in() {
    let runtime = runtime();
    let jsonl = r#"{"uri": "d/b", "label": 7}
{"uri": "s3://bucket/far", "offset": 5, "length": 10}

{"uri": "s3://bucket/far", "offset": 0, "length": 5}
{"uri": "mem://set/shards/a", "length": null}"#;
    let csv = "label,uri,offset,length\n7,d/b,,\n,\"s3://bucket/far\",5,10\n,s3://bucket/far,0,5\r\n,mem://set/shards/a,,";
    for (kind, text) in [(ManifestKind::Jsonl, jsonl), (ManifestKind::Csv, csv)] {
        let (store, dataset) = with(kind, text).unwrap();
        assert_eq!((dataset.len(), dataset.objects()), (4, 3));
        assert_eq!(dataset.extent(1), Some(Extent { object: 1, range: Some(5..15) }));
        assert_eq!(dataset.extent(3), Some(Extent { object: 2, range: None }));
        assert_eq!(dataset.key(0).unwrap(), &b"shards/d/b"[..]);
        let found = load(&runtime, store, dataset);
        assert_eq!(found, [vec![2; 20], vec![3; 10], vec![3; 5], vec![1; 10]], "{kind}");
    }
    let rows = ["d/b", "s3://bucket/far", "a"].map(|uri| (0, uri.to_owned()));
    let (store, dataset) =
        with(ManifestKind::Parquet, row_groups::file(&[rows[..2].to_vec(), rows[2..].to_vec()])).unwrap();
    assert_eq!(load(&runtime, store, dataset), [vec![2; 20], vec![3; 30], vec![1; 10]]);
}

#[test]
fn what_is_wrong_is_named_by_its_place() {
    for (kind, text, why) in [
        (ManifestKind::Jsonl, "{\"uri\": \"a\"}\n{\"url\": \"a\"}\n", "at offset 13: expected a field uri"),
        (ManifestKind::Jsonl, "{\"uri\": \"a\", \"lenght\": 3}", "did you mean \"length\"?"),
        (ManifestKind::Jsonl, "{\"uri\": \"a\", \"offset\": 3}", "an offset and no length"),
        (ManifestKind::Jsonl, "{\"uri\": \"a\"} x", "expected an entry as JSON"),
        (
            ManifestKind::Jsonl,
            "{\"uri\": \"a\", \"checksum\": \"md5:1\"}",
            "is not a checksum; write crc32c:",
        ),
        (
            ManifestKind::Jsonl,
            "{\"format\":\"forebay-manifest\",\"files\":3}\n{\"key\":\"a\"}",
            "expected 3 files",
        ),
        (ManifestKind::Jsonl, "", "no entry"),
        (ManifestKind::Csv, "name,length\na,1\n", "with uri among them"),
        (ManifestKind::Csv, "uri,length\na,1\na,many\n", "at offset 15: expected a number of bytes"),
        (ManifestKind::Csv, "uri,length\na\n", "expected 2 values, found 1"),
        (ManifestKind::Parquet, "this is no parquet", "expected PAR1"),
    ] {
        let error = with(kind, text).map(drop).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn promised_lengths_are_always_checked_and_checksums_when_asked_for() {
    let runtime = runtime();
    let digest = blake3::hash(&[1; 10]).to_hex();
    let text = format!(
        "{{\"format\":\"forebay-manifest\",\"version\":1,\"root\":\"mem://set/shards\",\"files\":2}}\n\
         {{\"key\":\"a\",\"size\":10,\"blake3\":\"{digest}\"}}\n{{\"key\":\"d/b\",\"size\":20}}\n"
    );
    let (store, dataset) = with(ManifestKind::Jsonl, text).unwrap();
    dataset.check(0, &[9; 10]).unwrap();
    let error = dataset.check(0, &[1; 9]).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("shards/a: at offset 0, sample 0: expected 10 bytes, found 9"));
    let options = DatasetOptions { verify_samples: Some(true), ..options(ManifestKind::Jsonl) };
    let dataset = runtime.block_on(Dataset::open(&*store, &root().join(b"list"), options)).unwrap();
    dataset.check(0, &[1; 10]).unwrap();
    assert!(
        dataset.check(0, &[9; 10]).unwrap_err().to_string().contains(&format!("expected blake3 {digest}"))
    );
    dataset.check(1, &[9; 20]).unwrap();

    // A loader looks too: the object was replaced by a shorter one.
    runtime.block_on(store.put(&root().join(b"d/b"), vec![2; 19].into(), PutOptions::default())).unwrap();
    let loader = forebay_loader::Loader::new(store, Arc::new(dataset), Default::default()).unwrap();
    let error = loader.start(runtime.handle()).unwrap().next_blocking().unwrap().unwrap_err();
    assert!(error.to_string().contains("expected 20 bytes, found 19"), "{error}");
}

#[test]
fn a_manifest_may_name_shards() {
    let runtime = runtime();
    let shard = |first: u8| tfrecords::shard(&[vec![first; 5], vec![first + 1; 6]]);
    let objects = [
        ("x", shard(1)),
        ("y", shard(3)),
        ("list", b"{\"uri\":\"y\"}\n{\"uri\":\"mem://set/shards/x\"}".to_vec()),
    ];
    let store = runtime.block_on(store(&objects));
    let options = DatasetOptions { format: Format::TfRecord, ..options(ManifestKind::Jsonl) };
    let dataset = runtime.block_on(Dataset::open(&*store, &root().join(b"list"), options)).unwrap();
    assert_eq!(load(&runtime, store.clone(), dataset), [vec![3; 5], vec![4; 6], vec![1; 5], vec![2; 6]]);
    let uris = ["x", "y"].map(|key| root().join(key.as_bytes()));
    let options = DatasetOptions { format: Format::TfRecord, ..DatasetOptions::default() };
    let dataset = runtime.block_on(Dataset::of_uris(&*store, &uris, options)).unwrap();
    assert_eq!(dataset.len(), 4);
    let dataset = runtime.block_on(Dataset::of_uris(&*store, &uris, DatasetOptions::default())).unwrap();
    assert_eq!(load(&runtime, store.clone(), dataset), [shard(1), shard(3)]);
    assert!(runtime.block_on(Dataset::of_uris(&*store, &[], DatasetOptions::default())).is_err());
}

/// Its first line has names of its own, some of them near to those of entries.
#[test]
fn a_header_has_names_of_its_own() {
    let header =
        r#"{"format":"forebay-manifest","version":1,"root":"mem://set/shards","files":2,"sizes":"fixed:10"}"#;
    let text = format!("{header}\n{{\"key\":\"a\",\"size\":10}}\n{{\"key\":\"d/b\",\"size\":20}}\n");
    let (store, dataset) = with(ManifestKind::Jsonl, text).unwrap();
    assert_eq!(load(&runtime(), store, dataset), [vec![1; 10], vec![2; 20]]);
    let entry = with(ManifestKind::Jsonl, "{\"key\":\"a\",\"sizes\":10}").unwrap_err();
    assert!(entry.contains("unknown field \"sizes\"; did you mean \"size\"?"), "{entry}");
}

#[test]
fn a_field_that_is_given_twice_is_refused_unless_it_says_the_same() {
    for (kind, text) in [
        (ManifestKind::Csv, "uri,uri\na,d/b\n"),
        (ManifestKind::Jsonl, r#"{"uri":"a","key":"d/b"}"#),
        (ManifestKind::Jsonl, r#"{"uri":"a","length":10,"size":11}"#),
    ] {
        let why = with(kind, text).unwrap_err();
        assert!(why.contains("is given twice"), "{why}");
    }
    with(ManifestKind::Jsonl, r#"{"uri":"a","length":10,"size":10}"#).unwrap();
}

#[test]
fn a_row_group_of_a_manifest_may_be_empty() {
    let rows = vec![(0, "a".to_owned())];
    let (_, dataset) = with(ManifestKind::Parquet, row_groups::file(&[vec![], rows])).unwrap();
    assert_eq!(dataset.len(), 1);
}
