//! `cp`.

use crate::run::{Place, lines, tree, types};
use std::fs;
use std::os::unix::fs::symlink;

fn place() -> Place {
    let place = Place::new();
    place.write("src/a b.bin", vec![1; 3_000_000]);
    place.write("src/d/ä.bin", "abc");
    place.write("src/d/e/empty", "");
    place
}

#[test]
fn a_file_becomes_a_file_or_a_member_of_a_directory() {
    let place = place();
    let text = place.ok(&["cp", "src/a b.bin", "copy"]);
    assert_eq!(text, "copied 1 file, 2.86 MiB\n");
    assert_eq!(place.read("copy"), place.read("src/a b.bin"));
    place.ok(&["cp", "copy", "src/d"]);
    assert_eq!(place.read("src/d/copy").len(), 3_000_000);
    place.ok(&["cp", "copy", "new directory/"]);
    assert_eq!(place.read("new directory/copy").len(), 3_000_000);
}

#[test]
fn a_tree_is_copied_whole_and_verified() {
    let place = place();
    let lines = place.json(&["cp", "-r", "--verify", "--durable", "-j", "2", "src", "dst"]);
    assert_eq!(tree(&place.at("dst")), tree(&place.at("src")));
    assert_eq!(types(&lines), ["copied", "copied", "copied", "summary"]);
    let summary = &lines[3];
    assert_eq!((&summary["files"], &summary["bytes"]), (&3.into(), &3_000_003.into()));
    let small = lines.iter().find(|line| line["bytes"] == 3).unwrap();
    assert_eq!(small["blake3"], blake3::hash(b"abc").to_hex().as_str());
    assert!(small["to"].as_str().unwrap().ends_with("/dst/d/ä.bin"));
}

#[test]
fn what_is_there_is_replaced_or_skipped_as_one_says() {
    let place = place();
    place.write("dst/d/ä.bin", "old");
    let lines = place.json(&["cp", "-r", "--no-clobber", "src", "dst"]);
    assert_eq!(lines.last().unwrap()["skipped"], 1);
    assert_eq!(place.read("dst/d/ä.bin"), b"old");
    assert_eq!(
        place.ok(&["cp", "-n", "copy?", "x"].map(|a| if a == "copy?" { "src/d/ä.bin" } else { a })),
        "copied 1 file, 3 B\n"
    );
    assert!(place.ok(&["cp", "-n", "src/d/ä.bin", "x"]).contains("skipped 1"));
    place.ok(&["cp", "-r", "src", "dst"]);
    assert_eq!(place.read("dst/d/ä.bin"), b"abc");
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    let place = place();
    assert!(place.fails(2, &["cp", "src", "dst"]).contains("add -r"));
    assert!(place.fails(2, &["cp", "-r", "src", "src/d/inside"]).contains("beneath it"));
    assert!(place.fails(2, &["cp", "src/a b.bin", "src"]).contains("the same object"));
    assert!(place.fails(2, &["cp", "src/a b.bin"]).contains("<DST>"));
    assert!(place.fails(3, &["cp", "missing", "x"]).contains("missing"));
    assert!(place.fails(3, &["cp", "-r", "missing", "x"]).contains("missing"));
    assert!(!place.at("dst").exists() && !place.at("x").exists());
}

#[test]
fn one_failure_does_not_stop_the_others_and_is_reported() {
    let place = place();
    symlink("nowhere", place.at("src/dangling")).unwrap();
    let outcome = place.run(&["cp", "-r", "src", "dst", "--json"]);
    assert_eq!(outcome.code, Some(3), "all failures were of this kind");
    let errors = lines(&outcome.err);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["error"]["kind"], "not_found");
    assert!(errors[0]["error"]["location"].as_str().unwrap().ends_with("/src/dangling"));
    let summary = lines(&outcome.out).pop().unwrap();
    assert_eq!((&summary["files"], &summary["failed"]), (&3.into(), &1.into()));
    fs::remove_file(place.at("src/dangling")).unwrap();
    assert_eq!(tree(&place.at("dst")), tree(&place.at("src")));
}
