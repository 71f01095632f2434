//! Fingerprints: a resume on data that has changed fails.

use crate::fixture::{of, root, runtime, store};
use crate::tfrecords;
use forebay_io::{Kind, Location, PutOptions, Store};
use forebay_loader::{
    Dataset, DatasetOptions, Format, Listing, Loader, LoaderOptions, LoadingMode, ManifestKind, Source,
};
use std::sync::Arc;

/// What a loader over `options` says of a state that was saved before `a` became `after`, between batches.
fn resumed(options: &DatasetOptions, before: Vec<u8>, after: Vec<u8>, streaming: bool) -> Option<Kind> {
    let runtime = runtime();
    let objects = [("a", before), ("b", vec![5; 10]), ("list", b"uri\na\nb\n".to_vec())];
    let store = runtime.block_on(store(&objects[..if options.manifest.is_some() { 3 } else { 2 }]));
    let at: Location = match options.manifest {
        Some(_) => root().join(b"list"),
        None => root(),
    };
    let loader = || {
        let source: Source = match streaming {
            true => Arc::new(Listing::new(&at, options.clone()).unwrap()).into(),
            false => Arc::new(runtime.block_on(Dataset::open(&*store, &at, options.clone())).unwrap()).into(),
        };
        let loading_mode = if streaming { LoadingMode::Streaming } else { LoadingMode::Ordered };
        let options = LoaderOptions { batch_size: 1, loading_mode, ..LoaderOptions::default() };
        Loader::new(store.clone(), source, options).unwrap()
    };
    let first = loader();
    first.start(runtime.handle()).unwrap().next_blocking().unwrap().unwrap();
    let state = first.state();
    loader().load_state(&state).unwrap();
    runtime.block_on(store.put(&root().join(b"a"), after.into(), PutOptions::default())).unwrap();
    let again = loader();
    if let Err(error) = again.load_state(&state) {
        return Some(error.kind());
    }
    let next = again.start(runtime.handle()).unwrap().next_blocking().unwrap();
    next.err().map(|error| error.kind())
}

#[test]
fn an_object_that_was_written_anew_at_the_same_size_ends_a_resume() {
    let records = Format::Records { record_bytes: 5, header_bytes: 0 };
    for format in [Format::Raw, records, Format::Jsonl] {
        let options = of(format.clone());
        assert_eq!(
            resumed(&options, vec![1; 10], vec![2; 10], false),
            Some(Kind::Precondition),
            "{format:?}"
        );
    }
    assert_eq!(resumed(&of(Format::Raw), vec![1; 10], vec![2; 10], true), Some(Kind::Precondition));
}

/// What a manifest names nobody has looked at: it is as good as what it says.
#[test]
fn a_manifest_tells_what_it_says() {
    let csv = DatasetOptions { manifest: Some(ManifestKind::Csv), ..of(Format::Raw) };
    assert_eq!(resumed(&csv, vec![1; 10], vec![2; 10], false), None);
    let runtime = runtime();
    let print = |text: &str| {
        let store = runtime.block_on(store(&[("list", text.into())]));
        let dataset = runtime.block_on(Dataset::open(&*store, &root().join(b"list"), csv.clone())).unwrap();
        dataset.fingerprint().to_owned()
    };
    let said =
        ["uri,length\na,5\n", "uri,length\na,6\n", "uri,checksum\na,crc32c:00000000\n", "uri,checksum\na,\n"];
    let prints: std::collections::BTreeSet<_> = said.map(print).into();
    assert_eq!(prints.len(), 4);
}

#[test]
fn checksums_of_records_are_part_of_a_fingerprint() {
    let (one, other) = (tfrecords::shard(&[vec![1; 10]]), tfrecords::shard(&[vec![2; 10]]));
    let runtime = runtime();
    let print = |shard: &Vec<u8>| {
        let store = runtime.block_on(store(&[("a", shard.clone())]));
        let dataset = runtime.block_on(Dataset::open(&*store, &root(), of(Format::TfRecord))).unwrap();
        dataset.fingerprint().to_owned()
    };
    assert_eq!(print(&one), print(&one));
    assert_ne!(print(&one), print(&other));
}
