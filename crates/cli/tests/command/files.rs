//! Files that commands write beside their work: metrics of whatever reads, and none over what is read.

use crate::run::{Place, lines};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// The one line of a file of metrics.
fn metrics(place: &Place, name: &str) -> Value {
    let lines = lines(&String::from_utf8(place.read(name)).unwrap());
    assert_eq!(lines.len(), 1, "{name}");
    lines[0].clone()
}

fn data_set() -> Place {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "20", "--sizes", "fixed:4KiB"]);
    place
}

#[test]
fn whatever_reads_can_be_measured() {
    let place = data_set();
    let some = fs::read_dir(place.at("set")).unwrap().next().unwrap().unwrap().file_name();
    let some = format!("set/{}", some.to_str().unwrap());
    place.run(&["cat", &some, "--trace", "t.jsonl"]);
    for (arguments, operation, bytes) in [
        (&["cp", "-r", "set", "copy"][..], "put", 20 * 4096),
        (&["verify", "set"], "get", 20 * 4096),
        (&["cat", &some], "read", 4096),
        (&["trace", "replay", "t.jsonl"], "read", 4096),
    ] {
        let out = format!("{}.json", arguments[0]);
        let outcome = place.run(&[arguments, &["--metrics-out", &out]].concat());
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}", outcome.err);
        let told = metrics(&place, &out);
        assert_eq!((&told["type"], &told["ended"]), (&"metrics".into(), &true.into()));
        assert_eq!(told["metrics"]["operations"][operation]["bytes"], bytes, "{arguments:?}");
        assert_eq!(told["metrics"]["backends"]["file"]["operations"][operation]["bytes"], bytes);
        assert_eq!(told["facts"]["bytes"], bytes, "{arguments:?}");
        assert!(place.ok(&["report", &out]).contains(operation), "{arguments:?}");
    }
    // Wrong words are refused before anything is done.
    let text = place.fails(2, &["cp", "-r", "set", "other", "--metrics-out", "m.txt"]);
    assert!(text.contains(".hlog") && !place.at("other").exists(), "{text}");
    place.fails(2, &["verify", "set", "--metrics-interval", "1"]);
}

#[test]
fn a_run_that_fails_is_measured_too() {
    let place = data_set();
    place.fails(3, &["cp", "missing", "x", "--metrics-out", "m.json"]);
    let told = metrics(&place, "m.json");
    assert_eq!(told["metrics"]["backend_counters"]["errors"], 1);
}

#[test]
fn intervals_are_written_while_it_runs() {
    let place = data_set();
    // As slow as it takes for some intervals to pass.
    let slow = ["--store", "limit_bytes_per_second=50KiB"];
    let verify = ["verify", "set", "--metrics-out", "m.json", "--metrics-interval", "0.01"];
    place.ok(&[&verify[..], &slow].concat());
    let told = lines(&String::from_utf8(place.read("m.json")).unwrap());
    assert!(told.len() > 1, "{} lines", told.len());
    let ended: Vec<_> = told.iter().map(|line| line["ended"] == true).collect();
    assert!(ended[ended.len() - 1] && !ended[0]);
}

#[test]
fn nothing_is_written_over_what_is_read() {
    let place = data_set();
    let trace = "some.jsonl";
    place.run(&["ls", "set", "--trace", trace]);
    let (before, manifest) = (place.read(trace), place.read("set.manifest.jsonl"));
    let uri = format!("file://{}", place.at(trace).display().to_string().replace(' ', "%20"));
    fs::hard_link(place.at(trace), place.at("other name.jsonl")).unwrap();
    for arguments in [
        &["cat", trace, "--trace", trace][..],
        &["cat", &uri, "--trace", trace],
        &["cat", trace, "--trace", "other name.jsonl"],
        &["cp", trace, "copy", "--trace", trace],
        &["cp", "set.manifest.jsonl", "copy", "--metrics-out", "set.manifest.jsonl"],
        &["trace", "replay", trace, "--trace", "./some.jsonl"],
        &["trace", "info", trace, "--trace", trace],
        &["trace", "convert", trace, "other name.jsonl"],
        &["trace", "record", trace, trace],
        &["verify", "set", "--trace", "set.manifest.jsonl"],
        &["report", trace, "--html", trace],
    ] {
        let text = place.fails(2, arguments);
        assert!(text.contains("written over"), "{arguments:?}: {text}");
        assert!(place.read(trace) == before, "{arguments:?}");
        assert!(place.read("set.manifest.jsonl") == manifest, "{arguments:?}");
    }
    let text = place.fails(2, &["ls", "set", "--trace", "new", "--trace-rotate", "0"]);
    assert!(text.contains("65536 bytes or more"), "{text}");
    let text = place.fails(2, &["load", "set", "--trace", "new", "--chrome-trace", "new"]);
    assert!(text.contains("two files"), "{text}");
}

#[test]
fn a_file_beyond_what_is_allowed_is_an_error_with_its_name() {
    let place = data_set();
    place.write("large", vec![7; 1 << 20]);
    // The limit is in blocks of 512 or 1024 bytes.
    let limited = |arguments: &str| {
        let shell = format!("ulimit -f 100; exec \"$0\" {arguments}");
        let program = env!("CARGO_BIN_EXE_forebay");
        Command::new("sh").args(["-c", &shell, program]).current_dir(place.path()).output().unwrap()
    };
    let output = limited("cp large copy");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code > 0), "{:?}: {text}", output.status);
    assert!(text.contains("copy") && text.contains("File too large"), "{text}");
    assert!(!place.at("copy").exists());
}
