//! `rm`.

use crate::run::{Place, types};
use std::fs;
use std::os::unix::fs::symlink;

fn place() -> Place {
    let place = Place::new();
    for name in ["one", "two words", "d/x", "d/e/y", "kept/k"] {
        place.write(name, name);
    }
    fs::create_dir(place.at("d/empty")).unwrap();
    symlink(place.at("kept"), place.at("d/link")).unwrap();
    place
}

#[test]
fn objects_go_and_others_stay() {
    let place = place();
    assert_eq!(place.ok(&["rm", "one", "two words"]), "removed 2 objects\n");
    assert!(!place.at("one").exists() && !place.at("two words").exists() && place.at("d/x").exists());
}

#[test]
fn a_tree_goes_with_its_directories_but_not_what_its_links_lead_to() {
    let place = place();
    let lines = place.json(&["rm", "-r", "d"]);
    assert_eq!(types(&lines), ["removed", "removed", "removed", "summary"]);
    assert_eq!(lines[3]["objects"], 3);
    assert!(!place.at("d").exists());
    assert_eq!(place.read("kept/k"), b"kept/k");
}

#[test]
fn a_link_is_removed_and_not_followed() {
    let place = place();
    place.ok(&["rm", "d/link"]);
    assert!(fs::symlink_metadata(place.at("d/link")).is_err() && place.at("kept/k").exists());
}

#[test]
fn what_nobody_means_is_refused_before_anything_is_touched() {
    let place = place();
    assert!(place.fails(2, &["rm", "one", "d"]).contains("add -r"));
    for uri in ["/", "file:///", "//.", ".", "..", "d/..", "../.."] {
        let text = place.fails(2, &["rm", "-r", "one", uri]);
        assert!(text.contains("not removed") || text.contains("'..'"), "{uri}: {text}");
    }
    let link = place.at("to here");
    symlink(place.path().parent().unwrap(), &link).unwrap();
    let roundabout = link.join(place.path().file_name().unwrap());
    assert!(place.fails(2, &["rm", "-r", roundabout.to_str().unwrap()]).contains("working directory"));
    assert!(place.fails(2, &["rm"]).contains("<URI>"));
    assert!(place.at("one").exists() && place.at("d/x").exists());
}

#[test]
fn a_missing_one_is_named_and_the_others_go() {
    let place = place();
    let text = place.fails(3, &["rm", "missing", "one"]);
    assert!(text.contains("/missing"), "{text}");
    assert!(!place.at("one").exists());
    assert!(place.fails(3, &["rm", "-r", "missing"]).contains("/missing"));
}
