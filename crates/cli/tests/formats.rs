//! Formats and manifests over files: the same samples as over any store, and indexes that stay in theirs.

use forebay_io::{Location, PutOptions, Store};
use forebay_io_open::{StoreOptions, open};
use forebay_loader::{Dataset, DatasetOptions, Format, Indexed, Loader, LoaderOptions, ManifestKind};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

fn files() -> Arc<dyn Store> {
    open(&"file:///".parse().unwrap(), &StoreOptions::default()).unwrap()
}

fn at(path: &Path) -> Location {
    Location::from_path(path).unwrap()
}

fn load(runtime: &Runtime, store: Arc<dyn Store>, dataset: Dataset) -> Vec<Vec<u8>> {
    let options = LoaderOptions { batch_size: 7, shuffle: true, ..LoaderOptions::default() };
    let mut samples = vec![Vec::new(); dataset.len() as usize];
    let loader = Loader::new(store, Arc::new(dataset), options).unwrap();
    let mut epoch = loader.start(runtime.handle()).unwrap();
    while let Some(batch) = epoch.next_blocking() {
        let batch = batch.unwrap();
        for (i, &id) in batch.ids().iter().enumerate() {
            samples[id as usize] = batch.sample(i).to_vec();
        }
    }
    samples
}

#[test]
fn samples_in_files_are_found_kept_and_read_and_a_changed_file_is_found_out() {
    let (runtime, store) = (runtime(), files());
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("set");
    fs::create_dir(&root).unwrap();
    let mut expected = Vec::new();
    for shard in 0..3 {
        let lines: Vec<_> = (0..50).map(|i| format!("{{\"shard\":{shard},\"i\":{i}}}")).collect();
        fs::write(root.join(format!("{shard}.jsonl")), lines.join("\n")).unwrap();
        expected.extend(lines.into_iter().map(String::into_bytes));
    }
    let open = || {
        let options =
            DatasetOptions { format: Format::Jsonl, verify_samples: Some(true), ..DatasetOptions::default() };
        runtime.block_on(Dataset::open(&*store, &at(&root), options)).unwrap()
    };
    assert!(matches!(open().indexed(), Indexed::Built(Some(_))));
    let dataset = open();
    assert!(matches!(dataset.indexed(), Indexed::Reused(_)));
    assert_eq!(load(&runtime, store.clone(), dataset), expected);

    let before = open();
    let inode = fs::metadata(root.join("1.jsonl")).unwrap().ino();
    fs::write(root.join("1.jsonl"), "[1]\n[2]\n").unwrap();
    assert_eq!(fs::metadata(root.join("1.jsonl")).unwrap().ino(), inode);
    let pool = forebay_io::Pool::new(forebay_io::Budget::new(1 << 20).unwrap());
    let lease = pool.lease(pool.budget().ticket(), 1);
    let read = runtime.block_on(store.get(before.request(60, 0).unwrap(), Default::default(), lease));
    assert_eq!(read.unwrap_err().kind(), forebay_io::Kind::Precondition, "not other bytes in its place");
    let after = open();
    assert!(matches!(after.indexed(), Indexed::Rebuilt { .. }));
    assert_eq!(after.len(), 102);
}

/// Resident bytes grow by what the options say, and not with the manifest, which stays in its file.
#[test]
fn a_large_index_stays_in_its_file() {
    let (runtime, store) = (runtime(), files());
    let folder = tempfile::tempdir().unwrap();
    let lines: String =
        (0..20_000).map(|i| format!("{{\"uri\":\"train/{i:08}.bin\",\"length\":7}}\n")).collect();
    let manifest = at(&folder.path().join("list.jsonl"));
    runtime.block_on(store.put(&manifest, lines.into_bytes().into(), PutOptions::default())).unwrap();
    let open = |index_resident_bytes| {
        let options = DatasetOptions {
            manifest: Some(ManifestKind::Jsonl),
            index_resident_bytes,
            ..DatasetOptions::default()
        };
        runtime.block_on(Dataset::open(&*store, &manifest, options)).unwrap()
    };
    let (small, large) = (open(0), open(1 << 30));
    assert!(matches!(large.indexed(), Indexed::Reused(_)));
    assert!(small.memory() < 4096, "{}", small.memory());
    assert!(large.memory() > 20_000 * 30 && large.memory() < 20_000 * 100, "{}", large.memory());
    for id in [0, 4095, 4096, 19_999] {
        assert_eq!(small.request(id, 0).unwrap().location, large.request(id, 0).unwrap().location);
        assert!(small.location(id).unwrap().to_string().ends_with(&format!("train/{id:08}.bin")));
        assert!(small.check(id, &[0; 6]).is_err());
    }
    assert_eq!(small.fingerprint(), large.fingerprint());
}
