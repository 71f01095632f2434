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

#[test]
fn what_gen_wrote_down_is_loaded_as_a_manifest() {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "5", "--sizes", "lognormal:1KiB,0.5", "--seed", "3"]);
    for more in [&["--batch-size=2"][..], &["--loading-mode=streaming"]] {
        let load = ["load", "set.manifest.jsonl", "--manifest=jsonl", "--verify-samples"];
        let lines = place.json(&[&load, more].concat());
        assert_eq!(lines[0]["facts"]["samples"], 5, "{more:?}");
    }
    let lines = place.json(&["index", "set.manifest.jsonl", "--manifest", "jsonl"]);
    assert_eq!(lines[0]["samples"], 5);
}

#[test]
fn a_policy_for_damage_is_refused_where_it_can_do_nothing() {
    let place = Place::new();
    records(&place);
    place.write("lines.jsonl", "{}\n");
    let records = ["load", "set", "--format=records", "--record-bytes=64"];
    let text = place.fails(2, &[&records[..], &["--on-damage=substitute:1"]].concat());
    assert!(text.contains("on_damage must be one of raise, skip:QUOTA"), "{text}");
    let text = place.fails(2, &["load", "lines.jsonl", "--format=jsonl", "--on-damage=skip:1"]);
    assert!(text.contains("on_damage changes nothing with format=jsonl"), "{text}");
    // What a loader does with samples goes for damage only where there can be some.
    place.ok(&["load", "lines.jsonl", "--format=jsonl", "--on-error=skip:1"]);
}

#[test]
fn an_archive_that_is_cut_off_is_not_loaded() {
    let place = Place::new();
    let mut header = [0; 512];
    header[..3].copy_from_slice(b"a.x");
    header[124..135].copy_from_slice(b"00000000002");
    header[148..156].fill(b' ');
    header[156] = b'0';
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let whole = [&header[..], &[7; 2], &[0; 510], &[0; 1024]].concat();
    let load = ["load", "set.tar", "--format=webdataset", "--index=none"];
    place.write("set.tar", &whole);
    place.ok(&load);
    for len in [514, 1024] {
        place.write("set.tar", &whole[..len]);
        let text = place.fails(4, &load);
        assert!(text.contains(&format!("at offset {len}: ")), "{text}");
    }
    place.ok(&[&load[..], &["--on-damage=skip:1"]].concat());
}
