//! WebDataset tar archives, written by the `tar` crate.

use crate::fixture::{load, of, root, runtime, samples, store};
use forebay_io::{Kind, Location};
use forebay_loader::{Dataset, DatasetOptions, Format, OnError};
use proptest::prelude::*;

pub(crate) fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

const WHOLE: Format = Format::WebDataset { member: None };

fn member(name: &str) -> Format {
    Format::WebDataset { member: Some(name.to_owned()) }
}

/// The members of every sample: key, extension, content.
fn members(shard: Vec<u8>) -> Vec<Vec<(String, String, Vec<u8>)>> {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a.tar", shard)]));
    let open = || runtime.block_on(Dataset::open(&*store, &root(), of(WHOLE))).unwrap();
    let dataset = open();
    let bytes = load(&runtime, store.clone(), open());
    let sample = |(id, bytes): (usize, &Vec<u8>)| {
        let members = dataset.members(id as u64, bytes).unwrap();
        members
            .into_iter()
            .map(|m| (String::from_utf8(m.key).unwrap(), m.extension, bytes[m.range].to_vec()))
            .collect()
    };
    bytes.iter().enumerate().map(sample).collect()
}

fn strings(name: &str, extension: &str, content: &[u8]) -> (String, String, Vec<u8>) {
    (name.to_owned(), extension.to_owned(), content.to_vec())
}

#[test]
fn neighbours_with_a_key_in_common_are_a_sample() {
    let long = format!("{}/0002", "deep/".repeat(40));
    let (jpg, cls) = (format!("{long}.jpg"), format!("{long}.cls"));
    let files = [
        ("__meta__.json", vec![9; 3]),
        ("0001.jpg", vec![1; 700]),
        ("0001.seg.PNG", vec![2; 512]),
        ("readme", vec![9; 10]),
        (&jpg[..], vec![3; 1]),
        (&cls[..], vec![]),
    ];
    let mut found = members(archive(&files));
    let meta = found.remove(0);
    assert_eq!(meta, [strings("__meta__", "json", &[9; 3])]);
    assert_eq!(
        found,
        [
            vec![strings("0001", "jpg", &[1; 700]), strings("0001", "seg.png", &[2; 512])],
            vec![strings(&long, "jpg", &[3]), strings(&long, "cls", &[])],
        ]
    );
}

#[test]
fn one_member_alone_can_be_the_sample() {
    let files = [("a.x", vec![1; 10]), ("a.y", vec![2; 600]), ("b.y", vec![3; 20]), ("b.x", vec![4; 5])];
    assert_eq!(samples(member("y"), archive(&files)).unwrap(), [vec![2; 600], vec![3; 20]]);
    let error = samples(member("z"), archive(&files)).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("expected a member \"z\" of sample \"a\", found x, y"), "{error}");
}

#[test]
fn pax_names_and_sizes_are_read() {
    let mut builder = tar::Builder::new(Vec::new());
    let name = format!("{}.txt", "é".repeat(90));
    builder.append_pax_extensions([("path", name.as_bytes()), ("mtime", b"1.5")]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(4);
    header.set_path("short").unwrap();
    header.set_cksum();
    builder.append(&header, &b"pax!"[..]).unwrap();
    let found = members(builder.into_inner().unwrap());
    assert_eq!(found, [[strings(&"é".repeat(90), "txt", b"pax!")]]);
}

#[test]
fn a_link_to_a_member_is_refused_and_not_passed_over() {
    let runtime = runtime();
    for kind in [tar::EntryType::Link, tar::EntryType::Symlink] {
        let with_link = |name: &str| {
            let mut builder = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            builder.append_data(&mut header, "a.jpg", &b"1"[..]).unwrap();
            let mut link = tar::Header::new_gnu();
            link.set_entry_type(kind);
            link.set_size(0);
            builder.append_link(&mut link, name, "a.jpg").unwrap();
            builder.into_inner().unwrap()
        };
        let tolerant = DatasetOptions { on_damage: Some(OnError::Skip { quota: 9 }), ..of(WHOLE) };
        let store = runtime.block_on(store(&[("a.tar", with_link("b.jpg"))]));
        let error = runtime.block_on(Dataset::open(&*store, &root(), tolerant)).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains("at offset 1024: \"b.jpg\" is a link"), "{error}");
        assert_eq!(members(with_link("latest")).len(), 1, "no member is lost");
    }
}

#[test]
fn damage_is_named_by_offset() {
    let files = [("a.x", vec![1; 10]), ("b.x", vec![2; 600])];
    let error = |bytes: Vec<u8>| {
        let error = samples(WHOLE, bytes).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        error.to_string()
    };
    let mut flipped = archive(&files);
    flipped[1024] ^= 1;
    assert!(error(flipped).contains("at offset 1024: expected a tar header with checksum"));
    let mut cut = archive(&files);
    cut.truncate(1024 + 512 + 100);
    assert!(error(cut).contains("at offset 1536: expected 600 bytes of \"b.x\", 100 are left"));
    let twice = archive(&[("a.x", vec![1; 10]), ("a.x", vec![1; 10])]);
    assert!(error(twice).contains("at offset 1024: \"a.x\" is a second time"));
    let both = [archive(&files), archive(&files)].concat();
    assert!(error(both).contains("expected nothing but zeros after the end"));
}

#[test]
fn structure_is_checked_when_that_is_asked_for() {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a", archive(&[("a.x", vec![1; 10])]))]));
    let options = DatasetOptions { verify_samples: Some(true), ..of(WHOLE) };
    let dataset = runtime.block_on(Dataset::open(&*store, &root(), options)).unwrap();
    assert!(dataset.check(0, &[1; 522]).unwrap_err().to_string().contains("expected a tar header"));
    let elsewhere: Location = "mem://set/shards/a".parse().unwrap();
    assert_eq!(dataset.location(0), Some(elsewhere));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn every_member_is_found(
        groups in proptest::collection::vec(proptest::collection::vec(0usize..3000, 1..4), 1..8),
    ) {
        let mut files = Vec::new();
        let mut expected = Vec::new();
        for (i, sizes) in groups.iter().enumerate() {
            let mut sample = Vec::new();
            for (k, &size) in sizes.iter().enumerate() {
                files.push((format!("d/{i:04}.e{k}"), vec![(i + k) as u8; size]));
                sample.push(strings(&format!("d/{i:04}"), &format!("e{k}"), &vec![(i + k) as u8; size]));
            }
            expected.push(sample);
        }
        let files: Vec<_> = files.iter().map(|(name, content)| (&name[..], content.clone())).collect();
        prop_assert_eq!(members(archive(&files)), expected);
    }
}

#[test]
fn an_archive_that_is_cut_off_is_damage_wherever_that_is() {
    let whole = archive(&[("a.x", vec![1; 2]), ("a.y", vec![2; 600]), ("b.x", vec![3; 1])]);
    // A header and a block, a header and two, a header and a block; then the end.
    assert_eq!(whole.len(), 512 * 9);
    for len in (0..=512 * 7).step_by(128).chain([514, 600, 1537, 1600, 3583]) {
        let cut = whole[..len].to_vec();
        let error = samples(WHOLE, cut).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{len}: {error}");
    }
    // One block of zeros says it as well as two.
    for len in [512 * 8, 512 * 9] {
        assert_eq!(samples(WHOLE, whole[..len].to_vec()).unwrap().len(), 2, "{len}");
    }
    let text = samples(WHOLE, whole[..512 * 7].to_vec()).unwrap_err().to_string();
    assert!(text.contains("at offset 3584: ") && text.contains("on_damage=skip:QUOTA accepts"), "{text}");
}

/// Some writers leave out the end of an archive, so what may be whole is kept; what cannot be whole is not.
#[test]
fn an_archive_without_an_end_is_taken_where_damage_is_tolerated() {
    let whole = archive(&[("a.x", vec![1; 2]), ("b.x", vec![3; 1])]);
    let runtime = runtime();
    let open = |len: usize| {
        let store = runtime.block_on(store(&[("a", whole[..len].to_vec()), ("b", whole.clone())]));
        let options = DatasetOptions { on_damage: Some(OnError::Skip { quota: 1 }), ..of(WHOLE) };
        runtime.block_on(Dataset::open(&*store, &root(), options)).unwrap()
    };
    for (len, left) in [(2048, 4), (2047, 3), (1537, 3), (1024, 3), (600, 2)] {
        let dataset = open(len);
        assert_eq!((dataset.len(), dataset.damage().len()), (left, 1), "{len}");
    }
}
