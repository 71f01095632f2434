//! JSON lines.

use crate::fixture::{of, root, runtime, samples, store};
use forebay_io::Kind;
use forebay_loader::{Dataset, DatasetOptions, Format};
use proptest::prelude::*;

#[test]
fn lines_are_samples_without_their_ends() {
    let found = samples(Format::Jsonl, b"{\"a\":1}\r\n\n[2]\n\r\n\"last\"".to_vec()).unwrap();
    assert_eq!(found, [&b"{\"a\":1}"[..], b"[2]", b"\"last\""]);
}

#[test]
fn compressed_files_are_refused() {
    for magic in [&b"\x1f\x8b\x08 and so on"[..], b"\x28\xb5\x2f\xfd and so on"] {
        let error = samples(Format::Jsonl, magic.to_vec()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains("decompress it"), "{error}");
    }
}

#[test]
fn a_line_that_is_no_json_is_named_if_that_is_asked_for() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a", b"{\"a\":1}\n{\"a\":\n".to_vec())]));
    let options = DatasetOptions { verify_samples: Some(true), ..of(Format::Jsonl) };
    let dataset = runtime.block_on(Dataset::open(&*store, &root(), options)).unwrap();
    dataset.check(0, b"{\"a\":1}").unwrap();
    let error = dataset.check(1, b"{\"a\":").unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("at offset 8, sample 1: expected a line of JSON"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn lines_are_those_that_everybody_sees(text in "[a\r\n]{1,60}") {
        let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let expected: Vec<_> =
            lines.filter(|line| !line.is_empty()).map(|line| line.as_bytes().to_vec()).collect();
        match samples(Format::Jsonl, text.clone().into_bytes()) {
            Ok(found) => prop_assert_eq!(found, expected),
            Err(error) => prop_assert!(error.kind() == Kind::NotFound && expected.is_empty(), "{}", error),
        }
    }
}
