//! `ls` and `stat`.

use crate::run::{Place, types};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

fn place() -> Place {
    let place = Place::new();
    for (name, size) in [("b.bin", 3), ("a b ä.bin", 70_000), ("d/x.txt", 1), ("d/e/y.bin", 0)] {
        place.write(name, vec![7; size]);
    }
    place
}

#[test]
fn one_level_or_everything_sorted() {
    let place = place();
    assert_eq!(place.ok(&["ls"]), "a b ä.bin\nb.bin\nd/\n");
    assert_eq!(place.ok(&["ls", "-r", "."]), "a b ä.bin\nb.bin\nd/e/y.bin\nd/x.txt\n");
    assert_eq!(place.ok(&["ls", "d"]), "e/\nx.txt\n");
    assert_eq!(place.ok(&["ls", "b.bin"]), "b.bin\n", "an object lists as itself");
}

#[test]
fn globs_choose() {
    let place = place();
    assert_eq!(place.ok(&["ls", "-r", "--glob", "**/*.bin"]), "a b ä.bin\nb.bin\nd/e/y.bin\n");
    assert_eq!(place.ok(&["ls", "-r", "--glob", "*.bin"]), "a b ä.bin\nb.bin\n");
    assert_eq!(place.ok(&["ls", "--glob", "nothing*"]), "");
    assert!(place.fails(2, &["ls", "--glob", "a["]).contains("a["));
}

#[test]
fn unsorted_lists_the_same() {
    let place = place();
    let set = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(set(&place.ok(&["ls", "-rU"])), set(&place.ok(&["ls", "-r"])));
}

#[test]
fn long_has_sizes_and_times() {
    let place = place();
    let text = place.ok(&["ls", "-l"]);
    let line = text.lines().find(|line| line.ends_with("a b ä.bin")).unwrap();
    assert!(line.contains("70,000") && line.contains("20") && line.contains("Z  "), "{line}");
}

#[test]
fn uris_name_the_same_places_as_paths() {
    let place = place();
    let root = place.path().to_str().unwrap().replace(' ', "%20");
    assert_eq!(place.ok(&["ls", &format!("file://{root}/d")]), "e/\nx.txt\n");
    assert_eq!(place.ok(&["cat", &format!("file://{root}/b.bin")]).len(), 3);
}

#[test]
fn names_that_are_not_text_are_listed_and_reached() {
    let place = Place::new();
    let name = OsStr::from_bytes(b"odd\xff name");
    place.write(name, "12");
    let line = &place.json(&["ls"])[0];
    assert!(line["location"].as_str().unwrap().ends_with("/odd%FF%20name"), "{line}");
    let output = place.command(&["cat"]).arg(name).output().unwrap();
    assert_eq!(output.stdout, b"12");
}

#[test]
fn json_lines_have_what_is_known() {
    let place = place();
    let lines = place.json(&["ls", "-l"]);
    assert_eq!(types(&lines), ["object", "object", "directory"]);
    assert_eq!(lines[0]["key"], "a b ä.bin");
    assert_eq!(lines[0]["size"], 70_000);
    assert!(lines[0]["modified"].as_str().unwrap().ends_with('Z'));
    assert!(lines[0]["location"].as_str().unwrap().starts_with("file:///"));
    assert!(place.json(&["ls"])[0].get("modified").is_none(), "details cost calls and are asked for");
}

#[test]
fn what_is_not_there_is_code_3_and_named() {
    let place = place();
    let text = place.fails(3, &["ls", "missing"]);
    assert!(text.starts_with("error: list file:///") && text.contains("/missing: No such file"), "{text}");
    assert!(place.fails(3, &["stat", "missing"]).contains("missing"));
}

#[test]
fn stat_goes_on_after_a_failure() {
    let place = place();
    let outcome = place.run(&["stat", "b.bin", "missing", "d"]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.out.contains("b.bin\n  kind      object\n  size      3 (3 B)\n"), "{}", outcome.out);
    assert!(outcome.out.contains("/d\n  kind      directory\n"), "{}", outcome.out);
    assert!(outcome.err.contains("missing"));

    let lines = place.json(&["stat", "b.bin", "d"]);
    assert_eq!(types(&lines), ["object", "directory"]);
    assert_eq!(lines[0]["size"], 3);
    assert!(lines[0]["version"].is_string());
}
