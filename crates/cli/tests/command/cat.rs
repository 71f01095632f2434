//! `cat`.

use crate::run::{Place, lines};
use std::io::Read;
use std::process::Stdio;

fn bytes() -> Vec<u8> {
    (0..5_000_017u32).map(|i| (i % 253) as u8).collect()
}

fn place() -> Place {
    let place = Place::new();
    place.write("big file", bytes());
    place
}

fn cat(place: &Place, arguments: &[&str]) -> Vec<u8> {
    let output = place.command(&[&["cat", "big file"], arguments].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn all_bytes_or_a_range_of_them() {
    let (place, bytes) = (place(), bytes());
    assert_eq!(cat(&place, &[]), bytes);
    assert_eq!(cat(&place, &["--range", "10..2MiB"]), bytes[10..2 << 20]);
    assert_eq!(cat(&place, &["--range", "5_000_000.."]), bytes[5_000_000..]);
    assert_eq!(cat(&place, &["--range", "..7"]), bytes[..7]);
    assert!(cat(&place, &["--range", "7..7"]).is_empty());
}

#[test]
fn an_empty_file_is_nothing() {
    let place = Place::new();
    place.write("empty", "");
    assert_eq!(place.ok(&["cat", "empty"]), "");
}

#[test]
fn json_leaves_the_bytes_alone_and_sums_up_on_standard_error() {
    let place = place();
    let outcome = place.run(&["cat", "big file", "--range", "0..253", "--json"]);
    assert_eq!(outcome.code, Some(0));
    let summary = &lines(&outcome.err)[0];
    assert_eq!((&summary["bytes"], &summary["size"]), (&253.into(), &5_000_017.into()));
    assert_eq!(summary["range"], serde_json::json!([0, 253]));
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    let place = place();
    let text = place.fails(1, &["cat", "big file", "--range", "0..6000000"]);
    assert!(text.contains("0..6000000") && text.contains("5000017"), "{text}");
    assert!(place.fails(2, &["cat", "big file", "--range", "9..3"]).contains("before it begins"));
    assert!(place.fails(2, &["cat", "big file", "--range", "nonsense"]).contains("A..B"));
}

#[test]
fn what_has_no_bytes_is_an_error() {
    let place = place();
    assert!(place.fails(3, &["cat", "missing"]).contains("missing"));
    assert_ne!(place.run(&["cat", "."]).code, Some(0), "a directory");
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let place = place();
    let mut child =
        place.command(&["cat", "big file"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(first[..], bytes()[..10]);
}

#[test]
fn a_closed_pipe_ends_other_commands_silently_too() {
    let place = Place::new();
    // More names than a pipe holds.
    (0..400).for_each(|i| place.write(format!("{i:0200}"), ""));
    for arguments in [&["ls"][..], &["ls", "--json", "-U"]] {
        let mut child =
            place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{arguments:?}");
    }
}
