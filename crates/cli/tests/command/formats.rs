//! `index`, and `load` with formats and manifests.

use crate::run::{Place, types};
use std::fs;

fn records(place: &Place) {
    fs::create_dir(place.at("set")).unwrap();
    for shard in ["set/a", "set/b"] {
        place.write(shard, vec![7; 64 * 100]);
    }
}

#[test]
fn load_reads_samples_inside_files() {
    let place = Place::new();
    records(&place);
    let lines =
        place.json(&["load", "set", "--format", "records", "--record-bytes", "64", "--batch-size=50"]);
    assert_eq!(types(&lines), ["summary"]);
    assert_eq!(lines[0]["samples_in_dataset"], 200);
    assert_eq!(lines[0]["facts"]["bytes"], 12_800);
}

#[test]
fn index_says_what_it_found_and_keeps_it() {
    let place = Place::new();
    place.write("lines.jsonl", "{}\n[1]\n");
    let arguments = ["index", "lines.jsonl", "--format=jsonl", "--index", "indexes"];
    let first = &place.json(&arguments)[0];
    assert_eq!((&first["samples"], &first["index"]["state"]), (&2.into(), &"built".into()));
    assert_eq!(place.json(&arguments)[0]["index"]["state"], "reused");
    assert_eq!(fs::read_dir(place.at("indexes")).unwrap().count(), 1);
    place.write("lines.jsonl", "{}\n[1]\n2\n");
    let text = place.ok(&arguments);
    assert!(text.contains("samples      3") && text.contains("made anew: what it was made from"), "{text}");
}

#[test]
fn a_manifest_names_what_is_loaded() {
    let place = Place::new();
    records(&place);
    place.write("list.csv", "uri,offset,length\nset/b,10,5\nset/a,,\n");
    let lines = place.json(&["load", "list.csv", "--manifest=csv", "--index=none"]);
    assert_eq!(lines[0]["facts"]["bytes"], 6405);
}
