//! NPY and NPZ. (Files that NumPy itself wrote are read by the tests of the Python package.)

use crate::fixture::{of, root, runtime, samples, store};
use forebay_io::{Kind, PutOptions, Store};
use forebay_loader::{ArrayMeta, Dataset, DatasetOptions, Format};
use std::io::Write;

pub(crate) fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let padded = format!("{header:<width$}\n", width = 118 - 1);
    [b"\x93NUMPY\x01\x00", &(padded.len() as u16).to_le_bytes()[..], padded.as_bytes(), data].concat()
}

fn floats(rows: u64, first: f32) -> Vec<u8> {
    let data: Vec<u8> = (0..rows * 6).flat_map(|i| (first + i as f32).to_le_bytes()).collect();
    npy(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 2, 3), }}"), &data)
}

#[test]
fn rows_are_samples_of_one_type_and_shape() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a.npy", floats(2, 0.0)), ("b.npy", floats(3, 12.0))]));
    let dataset = runtime.block_on(Dataset::open(&*store, &root(), of(Format::Npy))).unwrap();
    assert_eq!(dataset.array(), Some(&ArrayMeta { dtype: "<f4".to_owned(), shape: vec![2, 3] }));
    let found = crate::fixture::load(&runtime, store, dataset);
    let expected: Vec<u8> = (0..30).flat_map(|i| (i as f32).to_le_bytes()).collect();
    assert_eq!(found.concat(), expected);
    assert_eq!(found.len(), 5);
}

#[test]
fn of_arrays_only_those_that_changed_are_looked_at_again() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a.npy", floats(2, 0.0)), ("b.npy", floats(3, 12.0))]));
    let options = || DatasetOptions { format: Format::Npy, ..DatasetOptions::default() };
    let open = || runtime.block_on(Dataset::open(&*store, &root(), options())).unwrap();
    open();
    let longer = floats(4, 12.0);
    runtime.block_on(store.put(&root().join(b"b.npy"), longer.into(), PutOptions::default())).unwrap();
    let dataset = open();
    assert!(dataset.indexed().to_string().contains("1 of 2 shards were read"), "{}", dataset.indexed());
    assert_eq!(dataset.array(), Some(&ArrayMeta { dtype: "<f4".to_owned(), shape: vec![2, 3] }));
    let expected: Vec<u8> = (0..36).flat_map(|i| (i as f32).to_le_bytes()).collect();
    assert_eq!(crate::fixture::load(&runtime, store.clone(), dataset).concat(), expected);
}

#[test]
fn arrays_that_have_no_rows_to_read_are_refused() {
    for (header, data, why) in [
        ("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", 16, "Fortran order"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 16, "of type \"|O\""),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 4, "no axis"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 7, "found 7 bytes"),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8, "have fields"),
    ] {
        let error = samples(Format::Npy, npy(header, &vec![0; data])).unwrap_err().to_string();
        assert!(error.contains(why), "{header}: {error}");
    }
    // In one dimension both orders are the same.
    let flat = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }", &[7; 8]);
    assert_eq!(samples(Format::Npy, flat).unwrap(), [[7; 4]; 2]);
}

#[test]
fn shards_of_different_shapes_are_an_error() {
    let runtime = runtime();
    let other = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 5), }", &[0; 20]);
    let store = runtime.block_on(store(&[("a.npy", floats(2, 0.0)), ("b.npy", other)]));
    let error = runtime.block_on(Dataset::open(&*store, &root(), of(Format::Npy))).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("b.npy: at offset 0: rows of type <f4 and shape [5]"), "{error}");
}

pub(crate) fn npz(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in members {
        writer.start_file(format!("{name}.npy"), stored).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn one_array_of_an_archive_is_read() {
    let archive = npz(&[("x", floats(3, 0.0)), ("y", floats(2, 100.0))]);
    let of = |member: Option<&str>| Format::Npz { member: member.map(str::to_owned) };
    let y = samples(of(Some("y")), archive.clone()).unwrap();
    assert_eq!(y[0][..4], 100f32.to_le_bytes());
    assert_eq!(samples(of(None), npz(&[("x", floats(3, 0.0))])).unwrap().len(), 3);
    for (member, why) in [(None, "none was named"), (Some("z"), "\"z\" is none of them")] {
        let error = samples(of(member), archive.clone()).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidConfig);
        assert!(error.to_string().contains("(x, y)") && error.to_string().contains(why), "{error}");
    }
    let error = samples(of(None), vec![0; 500]).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
}
