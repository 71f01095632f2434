//! `load`.

use crate::run::{Place, lines, types};
use std::fs;

fn place() -> Place {
    let place = Place::new();
    place.ok(&[
        "gen",
        "set",
        "--files",
        "100",
        "--sizes",
        "lognormal:16KiB,1.0",
        "--seed",
        "1",
        "--per-dir",
        "30",
    ]);
    place
}

#[test]
fn the_report_has_what_was_promised_of_it() {
    let place = place();
    let text = place.ok(&["load", "set", "--epochs", "2", "--batch-size", "8", "--shuffle", "--verify"]);
    for needle in [
        "200 samples in 26 batches, 2 epochs",
        "MiB/s",
        "batches/s",
        "p99.99",
        "Request size",
        "In flight",
        "of 1.00 GiB",
        "get-wait",
        "data ready",
        "CPU",
        "asked for default, used default for 200 reads",
        "200 samples: all as promised",
        "samples are carried 33.3 places on average, 99 at most",
    ] {
        assert!(text.contains(needle), "{needle}: {text}");
    }
}

#[test]
fn files_are_read_through_mappings_where_that_is_said() {
    let place = place();
    let text = place.ok(&["load", "set", "--reader-mode=mmap", "--verify"]);
    assert!(text.contains("100 samples: all as promised"), "{text}");
    let summary = &place.json(&["load", "set", "--reader-mode=mmap"])[0];
    assert_eq!(summary["metrics"]["backend_counters"]["mappings"], 100);
    let past = format!("direct://{}", place.path().join("set").display());
    let text = place.fails(2, &["load", &past, "--reader-mode=mmap"]);
    assert!(text.contains("reader_mode=mmap") && text.contains("use sequential or range"), "{text}");
}

#[test]
fn json_is_one_object_with_options_facts_and_metrics() {
    let place = place();
    let arguments = [
        "load",
        "set",
        "--batch-size=16",
        "--drop-last",
        "--max-bytes-in-flight",
        "8MiB",
        "--page-cache-mode",
        "dont_need",
    ];
    let lines = place.json(&arguments);
    assert_eq!(types(&lines), ["summary"]);
    let summary = &lines[0];
    assert_eq!(summary["samples_in_dataset"], 100);
    assert_eq!(summary["options"]["batch_size"], 16);
    assert_eq!(summary["options"]["drop_last"], true);
    let facts = &summary["facts"];
    assert_eq!((&facts["samples"], &facts["batches"], &facts["epochs"]), (&96.into(), &6.into(), &1.into()));
    assert!(facts["elapsed_s"].as_f64().unwrap() > 0.0 && facts["cpu_user_s"].is_number());
    assert_eq!(facts["max_bytes_in_flight"], 8 << 20);
    let metrics = &summary["metrics"];
    assert_eq!(metrics["backend_counters"]["gets"], 96);
    assert_eq!(metrics["backend_counters"]["bytes_read"], facts["bytes"]);
    assert_eq!(metrics["page_cache"]["applied"]["dont_need"], 96);
    assert!(metrics["peak_inflight"].as_u64().unwrap() <= 8 << 20);
    assert_eq!(metrics["queues"].as_array().unwrap().last().unwrap()["items"], 6);
    assert!(summary["problems"].is_null());
}

#[test]
fn the_report_has_the_requests_that_were_really_made() {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "10", "--sizes", "fixed:10KiB", "--seed", "1"]);
    let arguments = ["load", "set", "--target-request-bytes", "4096"];
    for more in [&[][..], &["--trace", "trace"]] {
        let summary = lines(&place.run(&[&arguments, more, &["--json"]].concat()).out).pop().unwrap();
        let metrics = &summary["metrics"];
        assert_eq!(
            (&metrics["backend_counters"]["gets"], &metrics["backend_counters"]["bytes_read"]),
            (&10.into(), &102_400.into())
        );
        let attempts = &metrics["operations"]["get"]["attempts"];
        assert_eq!((&attempts["requests"], &attempts["bytes"]), (&30.into(), &102_400.into()), "{metrics}");
    }
    assert!(place.ok(&arguments).contains("Asked of the backend, get"));
}

#[test]
fn epochs_globs_limits_and_shards_choose_what_is_loaded() {
    let place = place();
    let samples = |more: &[&str]| {
        let summary = place.json(&[&["load", "set"], more].concat()).pop().unwrap();
        (summary["facts"]["samples"].as_u64().unwrap(), summary["facts"]["batches"].as_u64().unwrap())
    };
    assert_eq!(samples(&[]), (100, 4));
    assert_eq!(samples(&["--epochs", "3"]), (300, 12));
    assert_eq!(samples(&["--glob", "000001/*"]), (30, 1));
    assert_eq!(samples(&["--limit", "2", "--batch-size", "10", "--epochs", "2"]), (40, 4));
    assert_eq!(samples(&["--shard-rank", "1", "--shard-world-size", "3"]).0, 33);
    assert_eq!(samples(&["--verify", "--limit=1"]), (32, 1), "what was not asked for is not missed");
    // Draws come more than once, and leave others out.
    assert_eq!(samples(&["--verify", "--random-index-mode=zipfian:2"]), (100, 4));
}

#[test]
fn how_well_a_window_mixes_is_told() {
    let place = place();
    let carried = |more: &[&str]| {
        let summary = place.json(&[&["load", "set"], more].concat()).pop().unwrap();
        (summary["displacement"]["mean"].as_f64(), summary["displacement"]["most"].as_u64())
    };
    assert_eq!(carried(&[]), (Some(0.0), Some(0)));
    let (mean, most) = carried(&["--shuffle", "--shuffle-window=10"]);
    assert!((4.5..6.0).contains(&mean.unwrap()) && most.unwrap() < 15, "{mean:?} {most:?}");
    assert_eq!(carried(&["--random-index-mode=uniform"]), (None, None));
    assert_eq!(carried(&["--loading-mode=streaming"]), (None, None));
}

#[test]
fn streaming_needs_no_whole_listing() {
    let place = place();
    let summary = place.json(&["load", "set", "--loading-mode=streaming", "--epochs=2"]).pop().unwrap();
    assert_eq!(summary["facts"]["samples"], 200);
    assert!(summary["samples_in_dataset"].is_null());
    let outcome = place.run(&["load", "set", "--loading-mode=streaming", "--verify"]);
    assert!(outcome.code != Some(0) && outcome.err.contains("ordered"), "{}", outcome.err);
}

#[test]
fn damage_is_found_while_loading() {
    let place = place();
    let victim = place.at("set/000000/00000003.bin");
    let mut bytes = fs::read(&victim).unwrap();
    bytes[0] ^= 1;
    fs::write(&victim, bytes).unwrap();
    fs::remove_file(place.at("set/000000/00000004.bin")).unwrap();
    place.write("set/unknown", "x");
    let outcome = place.run(&["load", "set", "--verify", "--json"]);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(4), ""));
    let mut lines = lines(&outcome.out);
    let summary = lines.pop().unwrap();
    assert_eq!(types(&lines), ["missing", "wrong_checksum", "extra"]);
    assert_eq!(lines[1]["key"], "000000/00000003.bin");
    assert_eq!(summary["problems"]["missing"], 1);

    let text = place.run(&["load", "set", "--verify"]).out;
    assert!(text.contains("1 wrong checksum:\n  000000/00000003.bin"), "{text}");
    assert!(text.contains("3 not as promised"), "{text}");
    assert!(place.fails(3, &["load", "set", "--verify=nowhere.jsonl"]).contains("nowhere.jsonl"));
}

#[test]
fn what_cannot_be_loaded_is_named_with_a_remedy() {
    let place = place();
    fs::create_dir(place.at("empty")).unwrap();
    assert!(place.fails(3, &["load", "missing"]).contains("/missing"));
    assert!(place.fails(3, &["load", "empty"]).contains("nothing to load"));
    let text = place.fails(1, &["load", "set", "--max-bytes-in-flight", "1KiB"]);
    assert!(text.contains("max_bytes_in_flight"), "{text}");
    std::os::unix::fs::symlink("nowhere", place.at("set/zz dangling")).unwrap();
    let text = place.fails(3, &["load", "set"]);
    assert!(text.contains("/set/zz%20dangling"), "{text}");
}

#[test]
fn options_are_the_loaders_own() {
    let place = place();
    let text = place.fails(2, &["load", "set", "--batchsize", "3"]);
    assert!(text.contains("--batch-size"), "{text}");
    assert!(place.fails(2, &["load", "set", "--batch-size", "0"]).contains("from 1 to"));
    for (flag, value) in [("--deadline", "nan"), ("--timeout", "inf")] {
        let text = place.fails(2, &["load", "set", flag, value]);
        assert!(text.contains("a number from 0.000001") && text.contains(value), "{text}");
    }
    place.write("options.toml", "deadline = nan\n");
    assert!(place.fails(2, &["load", "set", "--options-file=options.toml"]).contains("no number"));
    assert!(place.fails(2, &["load", "set", "--page-cache-mode", "dontneed"]).contains("dont_need"));
    let text = place.fails(2, &["load", "set", "--shard-rank", "3"]);
    assert!(text.contains("shard_world_size"), "{text}");
}

#[test]
fn what_is_lost_is_listed_and_never_dropped_in_silence() {
    let place = place();
    place.write("set/large.bin", vec![1; 4 << 20]);
    let load = ["load", "set", "--max-bytes-in-flight", "2MiB", "--batch-size", "8", "--on-error"];
    let text = place.ok(&[&load[..], &["skip:5"]].concat());
    assert!(text.contains("Quarantine    1 skipped, 0 substituted"), "{text}");
    assert!(text.contains("set/large.bin: 4194304 bytes are more than max_bytes_in_flight"), "{text}");
    let summary = &place.json(&[&load[..], &["substitute:5", "--epochs", "2"]].concat())[0];
    let lost = &summary["quarantine"]["samples"][0];
    assert_eq!((&lost["kind"], &lost["times"]), (&"invalid_range".into(), &2.into()));
    assert_eq!(summary["quarantine"]["substituted"], 2);
}

/// The rules of the Trace Event Format, as importers hold files to them: what each kind of event must have, and that
/// complete events of one track lie within each other or apart. Operations that merely overlap are to be in
/// different tracks, so no begin and end events (`b`, `e`) are wanted.
fn check_trace_events(events: &[serde_json::Value]) {
    let mut tracks = std::collections::BTreeMap::<u64, Vec<(u64, u64)>>::new();
    let mut process_of = std::collections::BTreeMap::new();
    let mut named = std::collections::BTreeSet::new();
    for event in events {
        // Microseconds, to the nanosecond.
        let ns = |key: &str| {
            let us = event[key].as_f64().unwrap_or_else(|| panic!("{key}: {event}"));
            assert!((0.0..1e13).contains(&us), "{key}: {event}");
            (us * 1e3).round() as u64
        };
        let number = |key: &str| event[key].as_u64().unwrap_or_else(|| panic!("{key}: {event}"));
        let name = event["name"].as_str().expect("every event has a name");
        let pid = number("pid");
        let phase = event["ph"].as_str().expect("every event has a phase");
        if matches!(phase, "X" | "i") || name.starts_with("thread_") {
            let tid = number("tid");
            assert_eq!(*process_of.entry(tid).or_insert(pid), pid, "a track of two processes: {event}");
        }
        match phase {
            "M" => {
                let known = ["process_name", "process_sort_index", "thread_name", "thread_sort_index"];
                assert!(known.contains(&name), "{event}");
                if name == "thread_name" {
                    assert!(event["args"]["name"].is_string(), "{event}");
                    named.insert(number("tid"));
                }
            }
            "X" => {
                let (begin, tid) = (ns("ts"), number("tid"));
                assert!(named.contains(&tid) && event["cat"].is_string(), "{event}");
                tracks.entry(tid).or_default().push((begin, begin + ns("dur")));
            }
            "i" => {
                assert!(["g", "p", "t"].contains(&event["s"].as_str().unwrap()), "{event}");
                ns("ts");
            }
            "C" => {
                let args = event["args"].as_object().unwrap();
                assert!(!args.is_empty() && args.values().all(serde_json::Value::is_number), "{event}");
                ns("ts");
            }
            _ => panic!("a phase that is not written: {event}"),
        }
    }
    for (tid, mut slices) in tracks {
        // As importers take them: by beginning, the longer first.
        slices.sort_by_key(|&(begin, end)| (begin, std::cmp::Reverse(end)));
        let mut open: Vec<u64> = Vec::new();
        for (begin, end) in slices {
            while open.pop_if(|until| *until <= begin).is_some() {}
            assert!(
                open.last().is_none_or(|until| end <= *until),
                "track {tid}: {begin} to {end} in {open:?}"
            );
            open.push(end);
        }
    }
}

#[test]
fn a_timeline_of_a_run_has_its_operations_stages_and_queues() {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "60", "--sizes", "fixed:4KiB"]);
    let outcome = place.run(&["load", "set", "--chrome-trace", "t.json", "--trace", "t.jsonl"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.err.contains("ui.perfetto.dev"), "{}", outcome.err);
    let events = |name: &str| {
        let file: serde_json::Value = serde_json::from_slice(&place.read(name)).unwrap();
        file["traceEvents"].as_array().unwrap().clone()
    };
    let count = |events: &[serde_json::Value], phase: &str, name: &str| {
        events.iter().filter(|event| event["ph"] == phase && event["name"] == name).count()
    };
    let live = events("t.json");
    assert_eq!(count(&live, "X", "get"), 60);
    assert!(count(&live, "X", "read") > 0 && count(&live, "X", "index") > 0);
    assert!(count(&live, "C", "items in sink") > 0 && count(&live, "C", "operations in flight") > 0);
    check_trace_events(&live);

    place.run(&["trace", "convert", "t.jsonl", "c.chrome.json"]);
    let converted = events("c.chrome.json");
    assert_eq!((count(&converted, "X", "get"), count(&converted, "X", "list")), (60, 1));
    check_trace_events(&converted);
    place.fails(3, &["load", "set", "--chrome-trace", "no/such/t.json"]);
}

#[test]
fn progress_is_shown_elsewhere_than_on_a_terminal_only_when_asked_for() {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "60", "--sizes", "fixed:4KiB"]);
    let outcome = place.run(&["load", "set", "--epochs", "2", "--progress", "always"]);
    let lines: Vec<&str> = outcome.err.lines().collect();
    assert_eq!(lines.len(), 2, "one for each epoch: {}", outcome.err);
    assert!(lines[1].starts_with("epoch 2/2  2/2 batches  "), "{}", lines[1]);
    for needle in ["MiB/s", "p99 ", "ready "] {
        assert!(lines[1].contains(needle), "{needle}: {}", lines[1]);
    }
    assert!(place.fails(2, &["load", "set", "--progress", "often"]).contains("never"));
}
