//! Whatever a file holds, reading it ends: with records or with an error that has a place. Never a panic, never
//! memory without bound.

use forebay_trace::import::{Import, ImportOptions, Source};
use forebay_trace::{Error, Reader};
use proptest::prelude::*;

/// Text that looks enough like each format to get past its first line, and then goes wrong.
fn near_misses() -> impl Strategy<Value = (Source, String)> {
    let word = prop_oneof![
        Just("read".to_owned()),
        Just("\"a\\\"b\"".to_owned()),
        Just("1700000000.123456".to_owned()),
        Just("3</x>".to_owned()),
        Just("= -1 ENOENT (No)".to_owned()),
        Just("<unfinished ...>".to_owned()),
        Just("<... read resumed>".to_owned()),
        Just("X_POSIX".to_owned()),
        Just("2025-10-01T12:34:56.789Z".to_owned()),
        Just("GET".to_owned()),
        "[0-9]{1,22}",
        "[a-z/(){}<>=,.\\\\\"-]{0,8}",
        any::<char>().prop_map(String::from),
    ];
    let line = proptest::collection::vec(word, 0..14);
    let glue = prop_oneof![Just(" "), Just("\t"), Just("")];
    (0..Source::ALL.len(), proptest::collection::vec((line, glue), 0..12)).prop_map(|(i, lines)| {
        let source = Source::ALL[i];
        let first = match source {
            Source::Forebay => r#"{"forebay_trace":1,"engine":"e","host":"h","clock":{"realtime_ns":1}}"#,
            Source::OpLog => "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns",
            Source::Fio => "fio version 3 iolog",
            Source::Darshan => "# DXT, file_id: 1, file_name: /x",
            Source::Strace => "1 1.5 openat(AT_FDCWD, \"/x\", O_RDONLY) = 3 <0.1>",
        };
        let lines: Vec<_> = lines.into_iter().map(|(words, glue)| words.join(glue)).collect();
        (source, format!("{first}\n{}", lines.join("\n")))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn nearly_right_traces_end_in_an_error_or_in_records((source, text) in near_misses()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        std::fs::write(&path, text).unwrap();
        let options = ImportOptions { bucket: Some("b".into()), base: None };
        match Import::open(&path, source, &options) {
            Err(Error::Parse { line, column, .. }) => prop_assert!(line >= 1 && column >= 1),
            Err(error) => prop_assert!(false, "{error}"),
            Ok(import) => {
                for (i, record) in import.enumerate() {
                    prop_assert!(i < 100);
                    if let Err(error) = record {
                        prop_assert!(matches!(error, Error::Parse { .. }), "{}", error);
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400), zst in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if zst { "t.zst" } else { "t" });
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(reader) = Reader::open(&path) {
            reader.for_each(drop);
        }
        let _ = Source::detect(&path);
    }
}
