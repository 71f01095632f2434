//! Damage that is found while shards are indexed: raised, or set aside within a quota and reported.

use crate::fixture::{load, of, root, runtime, store};
use crate::{row_groups, tfrecords, webdatasets};
use forebay_io::{Kind, MemoryStore, PutOptions, Result, Store};
use forebay_loader::{Dataset, DatasetOptions, Format, IndexPlace, Loader, LoaderOptions, OnError};
use std::sync::Arc;
use tokio::runtime::Runtime;

fn skipping(format: Format, quota: u64) -> DatasetOptions {
    DatasetOptions { on_damage: Some(OnError::Skip { quota }), ..of(format) }
}

fn open(runtime: &Runtime, store: &MemoryStore, options: DatasetOptions) -> Result<Dataset> {
    runtime.block_on(Dataset::open(store, &root(), options))
}

/// A shard with damage between two sound ones: raised by name, and else set aside with what is said of it, while
/// `left` samples are read.
fn set_aside(format: Format, sound: &[u8], damaged: Vec<u8>, left: usize, offset: u64, reason: &str) {
    let runtime = runtime();
    let shards = [("a", sound.to_vec()), ("b", damaged), ("c", sound.to_vec())];
    let store = runtime.block_on(store(&shards));
    let raised = open(&runtime, &store, of(format.clone())).unwrap_err();
    assert_eq!(raised.kind(), Kind::Corrupt, "{raised}");
    assert!(raised.to_string().contains(&format!("shards/b: at offset {offset}: ")), "{raised}");
    assert!(raised.to_string().contains(reason), "{raised}");

    let instead = DatasetOptions { on_damage: Some(OnError::Substitute { quota: 9 }), ..of(format.clone()) };
    let refused = open(&runtime, &store, instead).unwrap_err().to_string();
    assert!(refused.contains("no others can stand in") && refused.contains(reason), "{refused}");

    let dataset = open(&runtime, &store, skipping(format, 1)).unwrap();
    assert_eq!(dataset.damage().len(), 1);
    let damage = &dataset.damage()[0];
    assert_eq!((damage.location.clone(), damage.offset), (root().join(b"b"), offset));
    assert!(damage.reason.contains(reason), "{}", damage.reason);
    assert_eq!(dataset.len(), left as u64);
    let samples = load(&runtime, store, dataset);
    assert!(samples.iter().all(|sample| !sample.is_empty()));
}

#[test]
fn of_tfrecords_those_before_the_damage_are_kept() {
    let sound = tfrecords::shard(&[vec![1; 10], vec![2; 20]]);
    let mut wrong = sound.clone();
    wrong[26] ^= 1;
    set_aside(Format::TfRecord, &sound, wrong, 5, 26, "expected the masked CRC-32C");
    let cut = sound[..50].to_vec();
    set_aside(Format::TfRecord, &sound, cut, 5, 26, "expected a record of 20 bytes");
}

#[test]
fn of_a_webdataset_a_sample_without_its_member_is_lost_alone() {
    let sound = webdatasets::archive(&[("1.jpg", vec![1; 9]), ("2.jpg", vec![2; 9]), ("3.jpg", vec![3; 9])]);
    let lacks = webdatasets::archive(&[("1.jpg", vec![1; 9]), ("2.png", vec![2; 9]), ("3.jpg", vec![3; 9])]);
    let format = Format::WebDataset { member: Some("jpg".to_owned()) };
    set_aside(format, &sound, lacks, 8, 1024, "expected a member \"jpg\" of sample \"2\", found png");
}

#[test]
fn of_a_tar_archive_the_samples_before_the_damage_are_kept() {
    let sound = webdatasets::archive(&[("1.jpg", vec![1; 9]), ("2.jpg", vec![2; 9]), ("3.jpg", vec![3; 9])]);
    let mut wrong = sound.clone();
    wrong[2048 + 20] ^= 1;
    // Whether the second sample has more files nobody knows: the header that says it is damaged.
    set_aside(
        Format::WebDataset { member: None },
        &sound,
        wrong,
        7,
        2048,
        "expected a tar header with checksum",
    );
}

#[test]
fn of_records_the_whole_ones_are_kept() {
    let format = Format::Records { record_bytes: 8, header_bytes: 4 };
    set_aside(format, &[7; 28], vec![7; 25], 8, 20, "5 bytes are left");
}

#[test]
fn of_parquet_a_file_without_its_footer_is_set_aside() {
    let sound = row_groups::file(&[vec![(1, "a".to_owned())], vec![(2, "b".to_owned())]]);
    let mut wrong = sound.clone();
    let end = wrong.len() as u64 - 4;
    wrong[end as usize] = b'X';
    set_aside(Format::Parquet, &sound, wrong, 4, end, "expected PAR1");
}

#[test]
fn of_arrays_one_that_is_damaged_or_unlike_the_others_is_set_aside() {
    let array = |shape: &str, data: usize| {
        let header = format!("{{'descr': '<u1', 'fortran_order': False, 'shape': {shape}, }}");
        crate::arrays::npy(&header, &vec![7; data])
    };
    let sound = array("(3, 2)", 6);
    set_aside(Format::Npy, &sound, array("(3, 2)", 5), 6, 128, "found 5 bytes");
    set_aside(Format::Npy, &sound, array("(2, 3)", 6), 6, 0, "must be alike");
    set_aside(Format::Npy, &sound, b"no array".to_vec(), 6, 0, "expected");
    let zip = |bytes: &[u8]| crate::arrays::npz(&[("x", bytes.to_vec())]);
    let whole = zip(&sound);
    let cut = whole[..whole.len() - 1].to_vec();
    set_aside(Format::Npz { member: None }, &whole, cut, 6, 0, "expected a ZIP archive of arrays");
}

#[test]
fn the_quota_counts_places_of_damage() {
    let runtime = runtime();
    let sound = records_shard();
    let store = runtime.block_on(store(&[("a", sound), ("b", vec![1; 5]), ("c", vec![1; 6])]));
    let format = Format::Records { record_bytes: 8, header_bytes: 0 };
    let error = open(&runtime, &store, skipping(format.clone(), 1)).unwrap_err().to_string();
    assert!(error.contains("on_damage=skip:1: 2 places of damage") && error.contains("shards/c"), "{error}");
    assert_eq!(open(&runtime, &store, skipping(format, 2)).unwrap().damage().len(), 2);
}

fn records_shard() -> Vec<u8> {
    vec![1; 16]
}

#[test]
fn where_nothing_is_left_the_damage_is_the_error() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a", b"no array".to_vec())]));
    let error = open(&runtime, &store, skipping(Format::Npy, 9)).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("no sample is left"), "{error}");
}

/// Whoever opens it next decides anew, from what the index says; and a shard that was mended is read again.
#[test]
fn an_index_remembers_damage_until_the_shard_is_another() {
    let runtime = runtime();
    let sound = tfrecords::shard(&[vec![1; 10], vec![2; 20]]);
    let store = runtime.block_on(store(&[("a", sound.clone()), ("b", sound[..50].to_vec())]));
    let beside = |policy| DatasetOptions {
        index: IndexPlace::Beside,
        on_damage: Some(policy),
        ..of(Format::TfRecord)
    };
    let skip = OnError::Skip { quota: 1 };
    assert!(open(&runtime, &store, beside(OnError::Raise)).is_err());
    for state in ["built", "reused"] {
        let dataset = open(&runtime, &store, beside(skip)).unwrap();
        assert_eq!((dataset.len(), dataset.damage().len()), (3, 1), "{state}");
    }
    let raised = open(&runtime, &store, beside(OnError::Raise)).unwrap_err().to_string();
    assert!(raised.contains("shards/b: at offset 26: expected a record of 20 bytes"), "{raised}");

    let at = root().join(b"b");
    runtime.block_on(store.put(&at, sound.into(), PutOptions::default())).unwrap();
    let dataset = open(&runtime, &store, beside(OnError::Raise)).unwrap();
    assert_eq!((dataset.len(), dataset.damage().len()), (4, 0));
}

#[test]
fn a_loader_reports_what_was_set_aside() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a", records_shard()), ("b", vec![1; 11])]));
    let format = Format::Records { record_bytes: 8, header_bytes: 0 };
    let dataset = open(&runtime, &store, skipping(format, 3)).unwrap();
    let loader = Loader::new(store, Arc::new(dataset), LoaderOptions::default()).unwrap();
    let report = loader.quarantine();
    assert!(!report.is_empty());
    let damage = &report.to_json()["damage"][0];
    assert_eq!((&damage["location"], &damage["offset"]), (&"mem://set/shards/b".into(), &8.into()));
    assert!(damage["reason"].as_str().unwrap().contains("3 bytes are left"), "{damage}");
}
