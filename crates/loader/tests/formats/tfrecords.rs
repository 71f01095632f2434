//! TFRecord.

use crate::fixture::{load, of, root, runtime, samples, store};
use forebay_io::{Kind, Store};
use forebay_loader::{Dataset, DatasetOptions, Format};
use proptest::prelude::*;

/// CRC-32C bit by bit: another implementation than the one that is tested.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

fn masked(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

pub(crate) fn shard(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in payloads {
        let len = (payload.len() as u64).to_le_bytes();
        bytes.extend([&len[..], &masked(&len), payload, &masked(payload)].concat());
    }
    bytes
}

#[test]
fn a_length_and_its_checksum_are_those_that_tensorflow_writes() {
    // The first twelve bytes of every event file of TensorBoard.
    assert_eq!(
        [&24u64.to_le_bytes()[..], &masked(&24u64.to_le_bytes())].concat(),
        b"\x18\0\0\0\0\0\0\0\xa3\x7fK\""
    );
}

#[test]
fn a_wrong_length_is_found_while_indexing() {
    let mut bytes = shard(&[vec![1; 10], vec![2; 20]]);
    bytes[26] ^= 1;
    let error = samples(Format::TfRecord, bytes).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    let text = error.to_string();
    assert!(text.starts_with("get mem://set/shards/a: at offset 26: expected the masked CRC-32C "), "{text}");
    let mut cut = shard(&[vec![1; 10], vec![2; 20]]);
    cut.truncate(50);
    let text = samples(Format::TfRecord, cut).unwrap_err().to_string();
    assert!(
        text.contains("at offset 26: expected a record of 20 bytes and its checksum, 12 bytes"),
        "{text}"
    );
    let text = samples(Format::TfRecord, b"\x1f\x8b and so on, compressed".to_vec()).unwrap_err().to_string();
    assert!(text.contains("gzip"), "{text}");
}

#[test]
fn a_wrong_payload_is_found_when_it_is_read_unless_that_is_not_wanted() {
    let runtime = runtime();
    let mut bytes = shard(&[vec![1; 10], vec![2; 20]]);
    bytes[40] ^= 1;
    let store = runtime.block_on(store(&[("a", bytes)]));
    let open = |verify: Option<bool>| {
        let options = DatasetOptions { verify_samples: verify, ..of(Format::TfRecord) };
        runtime.block_on(Dataset::open(&*store, &root(), options)).unwrap()
    };
    let dataset = open(None);
    assert!(dataset.checks());
    dataset.check(0, &[1; 10]).unwrap();
    let error = dataset.check(1, &[3; 20]).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    let text = error.to_string();
    assert!(text.contains("shards/a: at offset 38, sample 1: expected crc32c "), "{text}");
    assert!(open(Some(true)).checks());
    assert!(!open(Some(false)).checks());
    let plain: std::sync::Arc<dyn Store> = store.clone();
    assert_eq!(load(&runtime, plain, open(Some(false))).len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn every_record_is_found(
        sizes in proptest::collection::vec(prop_oneof![0usize..300, 1_000_000usize..1_100_000], 1..6),
    ) {
        let payloads: Vec<_> = sizes.iter().enumerate().map(|(i, &size)| vec![i as u8; size]).collect();
        prop_assert_eq!(samples(Format::TfRecord, shard(&payloads)).unwrap(), payloads);
    }
}
