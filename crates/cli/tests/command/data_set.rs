//! `gen` and `verify`.

use crate::run::{Place, lines, tree, types};
use serde_json::Value;
use std::fs;

fn generate(place: &Place, dir: &str, more: &[&str]) -> Value {
    let arguments = [&["gen", dir, "--seed", "7"], more].concat();
    let mut lines = place.json(&arguments);
    assert_eq!(types(&lines), ["summary"]);
    lines.remove(0)
}

#[test]
fn the_same_seed_makes_the_same_bytes_whatever_the_jobs() {
    let place = Place::new();
    let rule = ["--files", "60", "--sizes", "lognormal:8KiB,1.5", "--per-dir", "25"];
    let summary = generate(&place, "one", &[&rule[..], &["-j", "1"]].concat());
    generate(&place, "two", &[&rule[..], &["-j", "16"]].concat());
    let one = tree(&place.at("one"));
    assert_eq!(one, tree(&place.at("two")));
    assert_eq!(one.len(), 60);
    assert_eq!(one.last().unwrap().0, "000002/00000059.bin");
    let bytes: usize = one.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!((&summary["files"], &summary["bytes"]), (&60.into(), &bytes.into()));
    // Manifests are the same but for the place they name.
    let manifest = |name: &str| {
        let text = String::from_utf8(place.read(&format!("{name}.manifest.jsonl"))).unwrap();
        text.replace(&format!("/{name}\""), "")
    };
    assert_eq!(manifest("one"), manifest("two"));

    generate(&place, "three", &["--files", "60", "--sizes", "lognormal:8KiB,1.5", "--seed", "8"][..4]);
    assert_eq!(
        tree(&place.at("three"))[..25].iter().map(|f| &f.1).collect::<Vec<_>>(),
        one[..25].iter().map(|f| &f.1).collect::<Vec<_>>(),
        "directories are only names"
    );
}

#[test]
fn another_seed_makes_other_bytes_and_more_files_only_add() {
    let place = Place::new();
    place.ok(&["gen", "a", "--files", "3", "--sizes", "list:1KiB,5", "--seed", "1"]);
    place.ok(&["gen", "b", "--files", "5", "--sizes", "list:1KiB,5", "--seed", "1"]);
    place.ok(&["gen", "c", "--files", "3", "--sizes", "list:1KiB,5", "--seed", "2"]);
    assert_eq!(tree(&place.at("b"))[..3], tree(&place.at("a")));
    assert_ne!(tree(&place.at("c")), tree(&place.at("a")));
    let sizes: Vec<_> = tree(&place.at("b")).iter().map(|f| f.1.len()).collect();
    assert_eq!(sizes, [1024, 5, 1024, 5, 1024]);
}

#[test]
fn a_total_is_reached_and_hardly_passed() {
    let place = Place::new();
    let summary =
        generate(&place, "a", &["--total", "1MiB", "--sizes", "fixed:100KB", "--content", "compressible:4"]);
    assert_eq!((&summary["files"], &summary["bytes"]), (&11.into(), &1_100_000.into()));
    assert_eq!(summary["content"], "compressible:4");
}

#[test]
fn the_manifest_says_what_is_there() {
    let place = Place::new();
    generate(&place, "set", &["--files", "3", "--sizes", "fixed:10", "--manifest", "m.jsonl"]);
    let manifest = lines(&String::from_utf8(place.read("m.jsonl")).unwrap());
    assert_eq!(manifest.len(), 4);
    let header = &manifest[0];
    assert_eq!((&header["format"], &header["version"]), (&"forebay-manifest".into(), &1.into()));
    assert_eq!((&header["files"], &header["bytes"], &header["seed"]), (&3.into(), &30.into(), &7.into()));
    for line in &manifest[1..] {
        let bytes = place.read(&format!("set/{}", line["key"].as_str().unwrap()));
        assert_eq!(line["size"], bytes.len());
        assert_eq!(line["blake3"], blake3::hash(&bytes).to_hex().as_str());
    }
}

#[test]
fn nothing_is_overwritten_unasked() {
    let place = Place::new();
    place.write("set/mine", "mine");
    let rule = ["--files", "2", "--sizes", "fixed:1"];
    let text = place.fails(1, &[&["gen", "set"], &rule[..]].concat());
    assert!(text.contains("not empty") && text.contains("--force"), "{text}");
    place.write("other.manifest.jsonl", "mine");
    assert!(place.fails(1, &[&["gen", "other"], &rule[..]].concat()).contains("exists"));
    assert!(place.fails(2, &[&["gen", "set/mine"], &rule[..]].concat()).contains("is a file"));
    assert!(!place.at("other").exists());

    place.ok(&[&["gen", "set", "--force"], &rule[..]].concat());
    assert_eq!(tree(&place.at("set")).len(), 3);
    assert!(place.fails_verify("set").iter().any(|line| line["key"] == "mine"));
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    let place = Place::new();
    for (arguments, why) in [
        (&["gen", "set"][..], "--files"),
        (&["gen", "set", "--files", "0"], "1.."),
        (&["gen", "set", "--files", "1", "--total", "1MiB"], "cannot be used with"),
        (&["gen", "set", "--files", "1", "--sizes", "fixed:1 elephant"], "not a size"),
        (&["gen", "set", "--files", "1", "--content", "zeros"], "random, compressible"),
        (&["gen", "set", "--total", "1MiB", "--sizes", "fixed:0"], "above 0"),
        (&["gen", "set", "--total", "0"], "at least 1 byte"),
        (&["gen", "set", "--files", "1", "--manifest", "set/m.jsonl"], "outside it"),
        (&["gen", "/", "--files", "1"], "--manifest"),
        (&["verify", "set", "--max-bytes-in-flight", "0"], "from 1 to"),
    ] {
        let text = place.fails(2, arguments);
        assert!(text.contains(why), "{arguments:?}: {text}");
    }
    assert!(!place.at("set").exists());
}

impl Place {
    /// The problems that `verify` finds, without the summary.
    fn fails_verify(&self, dir: &str) -> Vec<Value> {
        let outcome = self.run(&["verify", dir, "--json"]);
        assert_eq!((outcome.code, outcome.err.as_str()), (Some(4), ""), "{}", outcome.out);
        let mut lines = lines(&outcome.out);
        let summary = lines.pop().unwrap();
        assert_eq!(summary["type"], "summary");
        let total: u64 = ["missing", "extra", "wrong_size", "wrong_checksum", "unreadable"]
            .iter()
            .map(|name| summary[*name].as_u64().unwrap())
            .sum();
        assert_eq!(total, lines.len() as u64, "{summary}");
        lines
    }
}

#[test]
fn a_good_set_verifies_under_any_cap() {
    let place = Place::new();
    generate(&place, "a set", &["--files", "40", "--sizes", "list:0,1,4KiB,70KiB,900KiB", "--per-dir", "9"]);
    assert!(place.ok(&["verify", "a set"]).contains("verified 40 files"));
    for cap in ["4KiB", "64KiB", "8MiB"] {
        let lines = place.json(&["verify", "a set", "--max-bytes-in-flight", cap, "-j", "3"]);
        assert_eq!(types(&lines), ["summary"], "{cap}");
        assert_eq!((&lines[0]["files"], &lines[0]["missing"]), (&40.into(), &0.into()));
    }
    // The set may move; the manifest is found beside it or where one says.
    fs::rename(place.at("a set"), place.at("moved")).unwrap();
    place.ok(&["verify", "moved", "--manifest", "a set.manifest.jsonl"]);
}

#[test]
fn every_kind_of_damage_is_found_and_named() {
    let place = Place::new();
    generate(&place, "set", &["--files", "12", "--sizes", "list:2KiB,3MiB"]);
    let file = |i: u32| place.at(format!("set/{i:08}.bin"));
    for i in [0, 1] {
        let mut bytes = fs::read(file(i)).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(file(i), bytes).unwrap();
    }
    for i in [2, 3] {
        fs::remove_file(file(i)).unwrap();
    }
    fs::write(file(4), [0; 2047]).unwrap();
    fs::write(file(6), vec![0; 90 << 20]).unwrap();
    fs::remove_file(file(8)).unwrap();
    fs::create_dir(file(8)).unwrap();
    place.write("set/extra ä", "");

    let mut found: Vec<_> = place
        .fails_verify("set")
        .iter()
        .map(|line| format!("{} {}", line["key"].as_str().unwrap(), line["type"].as_str().unwrap()))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "00000000.bin wrong_checksum",
            "00000001.bin wrong_checksum",
            "00000002.bin missing",
            "00000003.bin missing",
            "00000004.bin wrong_size",
            "00000006.bin wrong_size",
            "00000008.bin unreadable",
            "extra ä extra",
        ]
    );
    let outcome = place.run(&["verify", "set"]);
    assert_eq!(outcome.code, Some(4));
    for needle in ["2 missing:", "1 extra:", "  extra ä\n", "2,047 bytes, not 2,048", "8 not as promised"] {
        assert!(outcome.out.contains(needle), "{needle}: {}", outcome.out);
    }
}

#[test]
fn long_lists_are_cut_in_text_and_complete_in_json() {
    let place = Place::new();
    generate(&place, "set", &["--files", "50", "--sizes", "fixed:1"]);
    (0..30).for_each(|i| fs::remove_file(place.at(format!("set/{i:08}.bin"))).unwrap());
    let outcome = place.run(&["verify", "set"]);
    assert!(outcome.out.contains("30 missing") && outcome.out.contains("… and 10 more"), "{}", outcome.out);
    assert_eq!(place.fails_verify("set").len(), 30);
}

#[test]
fn a_manifest_that_is_missing_or_broken_is_said_so() {
    let place = Place::new();
    generate(&place, "set", &["--files", "3", "--sizes", "fixed:1"]);
    assert!(place.fails(3, &["verify", "nothing"]).contains("nothing.manifest.jsonl"));
    let text = String::from_utf8(place.read("set.manifest.jsonl")).unwrap();
    let cut: Vec<_> = text.lines().take(2).collect();
    place.write("set.manifest.jsonl", cut.join("\n"));
    assert!(place.fails(4, &["verify", "set"]).contains("cut short"));
    fs::rename(place.at("set"), place.at("gone")).unwrap();
    place.write("set.manifest.jsonl", &text);
    assert!(place.fails(3, &["verify", "set"]).contains("/set"));
}
