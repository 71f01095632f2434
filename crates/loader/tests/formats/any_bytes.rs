//! Whatever bytes a shard has, it is read or refused: no scanner panics, hangs, or takes memory that a
//! damaged length asks for.

use crate::fixture::samples;
use crate::{row_groups, tfrecords, webdatasets};
use forebay_io::Kind;
use forebay_loader::Format;
use proptest::prelude::*;

fn formats() -> Vec<Format> {
    vec![
        Format::WebDataset { member: None },
        Format::WebDataset { member: Some("x".to_owned()) },
        Format::TfRecord,
        Format::Npy,
        Format::Npz { member: None },
        Format::Parquet,
        Format::Jsonl,
    ]
}

fn answered(format: &Format, bytes: Vec<u8>) {
    if let Err(error) = samples(format.clone(), bytes) {
        let expected = [Kind::Corrupt, Kind::Unsupported, Kind::NotFound, Kind::InvalidConfig];
        assert!(expected.contains(&error.kind()), "{error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
        for format in formats() {
            answered(&format, bytes.clone());
        }
    }

    #[test]
    fn damaged_files_are_read_or_refused(
        at in any::<prop::sample::Index>(), byte: u8, cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let good = [
            (formats()[0].clone(), webdatasets::archive(&[("a.x", vec![1; 10]), ("b.x", vec![2; 600])])),
            (formats()[2].clone(), tfrecords::shard(&[vec![1; 10], vec![2; 20]])),
            (formats()[5].clone(), row_groups::file(&[vec![(1, "a".to_owned()); 9], vec![(2, "b".to_owned())]])),
        ];
        for (format, mut bytes) in good {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            answered(&format, bytes);
        }
    }
}
