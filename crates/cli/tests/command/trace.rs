//! `trace`: recorded, described, converted, compared, replayed and made up.

use crate::run::{Place, lines};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// A data set of 60 files, and the trace of two shuffled epochs over it.
fn recorded(out: &str) -> Place {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "60", "--sizes", "lognormal:32KiB,1.0", "--seed", "1"]);
    let outcome =
        place.run(&["trace", "record", out, "set", "--epochs", "2", "--shuffle", "--batch-size", "8"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(
        outcome.out.contains("120 samples") && outcome.err.starts_with("traced: 121 operations"),
        "{outcome:?}"
    );
    place
}

fn one(place: &Place, arguments: &[&str]) -> Value {
    let mut all = place.json(arguments);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn a_recorded_epoch_is_replayed_as_it_was() {
    let place = recorded("t.jsonl.zst");
    let info = one(&place, &["trace", "info", "t.jsonl.zst"]);
    assert_eq!(info["complete"], true);
    assert_eq!(info["summary"]["operations"]["get"], 120);
    assert_eq!(info["summary"]["locations"], 61);
    let header = &info["header"];
    assert!(
        header["engine"].as_str().unwrap().starts_with("forebay ")
            && header["clock"]["realtime_ns"].as_u64() > Some(1)
    );

    let replay = one(
        &place,
        &["trace", "replay", "t.jsonl.zst", "--max-failures", "0", "--max-size-distance", "0.01"],
    );
    let fidelity = &replay["fidelity"];
    assert_eq!(
        (&fidelity["exact"], &fidelity["done"], &replay["violations"]),
        (&Value::from(true), &Value::from(121), &Value::from(Vec::<Value>::new()))
    );
    assert_eq!(fidelity["bytes"], info["summary"]["bytes"]);
    assert_eq!(fidelity["size_distance"], 0.0);
    // Within 10 % of the bytes of the recording, as a whole: it lasted less than one second.
    assert_eq!(fidelity["recorded_envelope_bytes"][0], info["summary"]["bytes"]);
    assert!(fidelity["submit_error_ns"]["p50"].as_u64() > Some(0));
    assert!(replay["noise_floor_ns"]["n"].as_u64() > Some(100));
}

#[test]
fn a_replay_refuses_what_it_cannot_obey_and_fails_where_all_of_it_failed() {
    let place = recorded("t.jsonl");
    fn replay<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["trace", "replay", "t.jsonl"][..], more].concat()
    }
    for (more, needle) in [
        (&["--concurrency", "4"][..], "concurrency"),
        (&["--mode", "closed", "--time-scale", "3"], "time_scale"),
        (&["--mode", "closed", "--max-submit-error", "1ns"], "submit_error"),
        (&["--mode", "closed", "--max-drift", "1"], "drift"),
        (&["--mode", "closed", "--max-gap-distance", "0.01"], "gap_distance"),
        (&["--mode", "closed", "--max-capped", "1"], "capped"),
        (&["--max-gap-distance", "2"], "0 to 1"),
        (&["--page-cache-mode", "direct_io"], "page_cache_mode=direct_io"),
    ] {
        let told = place.fails(2, &replay(more));
        assert!(told.contains(needle), "{more:?}: {told}");
    }
    // Two epochs in batches: those of a batch are due at once, and all but one of them wait.
    let outcome = place.run(&replay(&["--max-in-flight", "1", "--max-capped", "20", "--json"]));
    let report = &lines(&outcome.out)[0];
    assert!(outcome.code == Some(4) && report["fidelity"]["capped"].as_u64() > Some(20), "{outcome:?}");
    let outcome = place.run(&replay(&["--max-bytes-in-flight", "1KiB"]));
    assert!(
        outcome.out.contains("NOT what the trace says") && outcome.out.contains(" of 121 operations"),
        "{outcome:?}"
    );

    let empty = "{\"forebay_trace\":1,\"engine\":\"e\",\"host\":\"h\",\"clock\":{\"realtime_ns\":1}}\n{\"end\":{\"records\":0,\"dropped\":0}}\n";
    place.write("empty.jsonl", empty.as_bytes());
    place.ok(&["trace", "replay", "empty.jsonl"]);
    let told = place.run(&["trace", "replay", "empty.jsonl", "--max-failures", "0", "--max-drift", "9"]);
    assert_eq!((told.code, told.out.matches("could not be measured").count()), (Some(4), 2), "{told:?}");

    std::fs::remove_dir_all(place.at("set")).unwrap();
    let failed = place.run(&replay(&["--mode", "closed"]));
    assert!(failed.code == Some(1) && failed.out.contains("not_found"), "{failed:?}");
}

#[test]
fn a_recording_rotates_and_has_one_name() {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "400", "--sizes", "fixed:64", "--seed", "1"]);
    let record = ["trace", "record", "t.jsonl", "set", "--epochs", "3"];
    place.run(&[&record[..], &["--trace-rotate", "64KiB"]].concat());
    assert!(place.at("t.1.jsonl").exists());
    let info = one(&place, &["trace", "info", "t.jsonl"]);
    assert_eq!((&info["summary"]["operations"]["get"], &info["complete"]), (&1200.into(), &true.into()));
    assert_eq!(
        one(&place, &["trace", "info", "t.1.jsonl"])["complete"],
        false,
        "the first part is not in it"
    );
    assert!(place.ok(&["trace", "info", "t.1.jsonl"]).contains("INCOMPLETE: it begins with part 1"));
    assert!(place.fails(2, &[&record[..], &["--trace", "z.jsonl"]].concat()).contains("records into OUT"));
    assert!(place.fails(2, &["ls", "set", "--trace-rotate", "1MiB"]).contains("--trace FILE"));
    assert!(
        place.fails(2, &[&record[..], &["--trace-rotate", "1"]].concat()).contains("65536 bytes or more")
    );
    assert!(!place.at("z.jsonl").exists());
}

#[test]
fn every_command_can_be_recorded() {
    let place = Place::new();
    place.write("a", b"hello");
    let outcome = place.run(&["cat", "a", "--trace", "t.jsonl"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "hello"));
    let info = one(&place, &["trace", "info", "t.jsonl"]);
    assert_eq!(info["summary"]["bytes"], 5);
    let text = String::from_utf8(place.read("t.jsonl")).unwrap();
    assert!(text.contains("\"command\":[\"cat\",\"a\",\"--trace\",\"t.jsonl\"]"), "{text}");
}

#[test]
fn keys_are_not_in_the_trace() {
    let place = Place::new();
    place.write("a", b"hello");
    // All stores are told of all options; a local one needs none of these, and the run goes on or is refused after
    // the trace has its header.
    for (number, secret) in [
        "limit_concurrency=77123",
        "account_key=U0VDUkVU77123==",
        "connection_string=AccountName=a;AccountKey=U0VD77123==;BlobEndpoint=https://a.blob.core.windows.net",
        "sas_token=sig=77123&sv=1",
    ]
    .into_iter()
    .enumerate()
    {
        let key = secret.split('=').next().unwrap();
        for (form, words) in
            [vec!["--store".to_owned(), secret.to_owned()], vec![format!("--store={secret}")]]
                .into_iter()
                .enumerate()
        {
            let out = format!("{number}-{form}.jsonl");
            let mut line = vec!["cat", "a", "--trace", &out];
            line.extend(words.iter().map(String::as_str));
            place.run(&line);
            let text = String::from_utf8(place.read(&out)).unwrap();
            assert!(text.contains(&format!("{key}=…")) && !text.contains("77123"), "{text}");
        }
    }
}

/// A limit on the size of files stands for a disk that is full: what reaches it fails, and what lies below can be written.
#[test]
fn a_disk_that_is_full_half_way_ends_the_trace_and_not_the_job() {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "200", "--sizes", "fixed:64", "--seed", "1"]);
    for (out, epochs) in [("t.jsonl", 140), ("t.jsonl.zst", 420)] {
        // 300 KiB for what is compressed to a tenth; shells count blocks of 512 or of 1024 bytes.
        let blocks = if out.ends_with(".zst") { 600 } else { 3000 };
        let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let load = ["load", "set", "--shuffle", "--trace", out, "--epochs", &epochs.to_string()];
        let output = Command::new("sh")
            .args(["-c", &limit, env!("CARGO_BIN_EXE_forebay")])
            .args(load)
            .current_dir(place.path())
            .output()
            .unwrap();
        let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{out}: {told}");
        // The command groups its digits.
        let samples = (200 * epochs).to_string();
        assert!(said.replace(',', "").contains(&format!("{samples} samples")), "{said}");
        assert!(told.contains("INCOMPLETE") && told.contains("recording ended early"), "{told}");

        let info = one(&place, &["trace", "info", out]);
        let recorded = info["summary"]["operations"]["get"].as_u64().unwrap();
        let missing = info["dropped"].as_u64().unwrap();
        assert_eq!(info["complete"], false);
        assert!(recorded > 1000 && missing > 1000, "{recorded} recorded, {missing} missing");
        // The listing is an operation, too.
        assert_eq!(
            recorded + missing,
            200 * epochs + 1 - u64::from(info["summary"]["operations"]["list"] == 1)
        );
    }
}

#[test]
fn traces_of_other_tools_are_converted_and_what_is_lost_is_said() {
    let place = recorded("t.jsonl");
    for (out, format) in
        [("t.tsv.zst", "op-log"), ("t.csv", "csv"), ("t.parquet", "parquet"), ("u.jsonl.zst", "forebay")]
    {
        let outcome = place.run(&["trace", "convert", "t.jsonl", out]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(outcome.out.contains(&format!("wrote 121 operations to {out} ({format})")), "{outcome:?}");
        assert_eq!(outcome.err.contains("lost on the way"), format != "forebay", "{outcome:?}");
    }
    let difference = &one(&place, &["trace", "diff", "t.jsonl", "t.tsv.zst"])["difference"];
    assert_eq!(
        (&difference["operations_ratio"], &difference["size_distance"], &difference["latency_distance"]),
        (&Value::from(1.0), &Value::from(0.0), &Value::from(0.0))
    );
    assert!(place.fails(2, &["trace", "convert", "t.jsonl", "t.unknown"]).contains("--to"));
    assert!(place.fails(2, &["trace", "convert", "t.jsonl", "-", "--to", "csv"]).contains("standard output"));
    assert!(!place.at("-").exists());
    assert!(place.fails(3, &["trace", "info", "missing.jsonl"]).contains("missing.jsonl"));
    place.write(
        "broken.jsonl",
        b"{\"forebay_trace\":1,\"engine\":\"e\",\"host\":\"h\",\"clock\":{\"realtime_ns\":1}}\n{oops\n",
    );
    assert!(place.fails(4, &["trace", "info", "broken.jsonl"]).contains("broken.jsonl, line 2, column 2"));
}

#[test]
fn fio_replays_what_is_exported_for_it() {
    // Names in a log of fio cannot have blanks.
    let folder = tempfile::Builder::new().prefix("forebay-fio").tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        let output = command.args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["gen", "set", "--files", "20", "--sizes", "fixed:8KiB", "--seed", "1"]);
    run(&["trace", "record", "t.jsonl", "set"]);
    let converted = &lines(&run(&["trace", "convert", "t.jsonl", "t.iolog", "--json"]))[0];
    assert_eq!((converted["written"].as_u64(), converted["left_out"].as_u64()), (Some(20), Some(1)));
    let fio = Command::new("fio")
        .args(["--name=replay", "--read_iolog=t.iolog", "--ioengine=psync", "--output-format=json"])
        .current_dir(folder.path())
        .output()
        .expect("fio is installed by `cargo xtask test`, or by your system's packages");
    assert!(fio.status.success(), "{fio:?}");
    let text = String::from_utf8(fio.stdout).unwrap();
    let report: Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
    let read = &report["jobs"][0]["read"];
    assert_eq!((read["total_ios"].as_u64(), read["io_bytes"].as_u64()), (Some(20), Some(20 * 8192)));
}

#[test]
fn a_made_up_trace_is_prepared_mapped_and_held_to_bounds() {
    let place = Place::new();
    place.ok(&[
        "trace",
        "synth",
        "s.jsonl",
        "--prefix",
        "s3://nowhere/x",
        "--arrivals",
        "poisson:2000",
        "--operations",
        "400",
        "--objects",
        "20",
        "--sizes",
        "fixed:4KiB",
    ]);
    let map = format!("s3://nowhere={}", place.at("here").display());
    let replay = one(&place, &["trace", "replay", "s.jsonl", "--map", &map, "--prepare"]);
    assert_eq!(
        (replay["prepared"]["objects"].as_u64(), replay["fidelity"]["done"].as_u64()),
        (Some(20), Some(400))
    );
    assert_eq!(replay["fidelity"]["exact"], true);
    assert!(place.at("here/x/00000007.bin").exists());

    std::fs::remove_file(place.at("here/x/00000007.bin")).unwrap();
    let failed =
        place.run(&["trace", "replay", "s.jsonl", "--map", &map, "--mode", "closed", "--max-failures", "0"]);
    assert_eq!(failed.code, Some(4), "{failed:?}");
    assert!(failed.out.contains("EXCEEDED") && failed.out.contains("not_found"), "{failed:?}");
    let mut held = vec!["trace", "replay", "s.jsonl", "--map", &map, "--prepare", "--exact"];
    assert_eq!(place.run(&held).code, Some(0));
    held.extend(["--max-bytes-in-flight", "1KiB", "--max-latency-distance", "1"]);
    let failed = place.run(&held);
    assert_eq!(failed.code, Some(4), "{failed:?}");
    for violation in
        ["stores were not asked for exactly what the trace says", "latencies could not be measured"]
    {
        assert!(failed.out.contains(violation), "{failed:?}");
    }
    assert!(place.fails(2, &["trace", "replay", "s.jsonl", "--time-scale", "0"]).contains("time_scale"));
    assert!(
        place
            .fails(2, &["trace", "synth", "x", "--prefix", "p", "--arrivals", "daily:3"])
            .contains("poisson:RATE")
    );
}

#[test]
fn batches_that_are_read_side_by_side_are_streams_of_the_trace() {
    let place = recorded("t.jsonl");
    let mut streams: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    let mut gets = 0;
    for line in lines(&String::from_utf8(place.read("t.jsonl")).unwrap()) {
        if line["op"] == "get" {
            gets += 1;
            let time = |name: &str| line[name].as_u64().unwrap();
            streams.entry(time("stream")).or_default().push((time("t_submit"), time("t_done")));
        }
    }
    assert_eq!(gets, 120);
    // The default of num_workers.
    assert!(streams.len() <= 8, "{streams:?}");
    for operations in streams.values_mut() {
        operations.sort_unstable();
        // What is asked for later than a batch is asked for after its end.
        for batch in operations.chunk_by(|a, b| a.0 == b.0).collect::<Vec<_>>().windows(2) {
            let ended = batch[0].iter().map(|(_, done)| *done).max().unwrap();
            assert!(batch[1][0].0 >= ended, "{batch:?}");
        }
    }
    let replay = one(&place, &["trace", "replay", "t.jsonl", "--mode", "dependency", "--max-failures", "0"]);
    assert_eq!(
        (&replay["fidelity"]["exact"], replay["fidelity"]["done"].as_u64()),
        (&true.into(), Some(121))
    );
}

/// Parity: an epoch of some seconds, held to a rate that lets a second hold many batches, and its replay under the same
/// limit, ask for the same sizes and move the same bytes in each second, to a tenth.
#[test]
fn an_epoch_of_some_seconds_and_its_replay_have_one_histogram_and_one_envelope() {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "300", "--sizes", "lognormal:8KiB,0.5", "--seed", "4"]);
    let limit = ["--store", "limit_bytes_per_second=1MiB"];
    let record =
        [&["trace", "record", "t.jsonl", "set", "--shuffle", "--batch-size", "4"][..], &limit].concat();
    assert_eq!(place.run(&record).code, Some(0));
    let info = one(&place, &["trace", "info", "t.jsonl"]);
    assert!(info["summary"]["span_ns"].as_u64() > Some(1_000_000_000), "{info}");
    let bounds = ["--max-failures", "0", "--max-size-distance", "0.1", "--max-envelope-deviation", "0.1"];
    // A machine that stands still for a moment moves bytes from one second to the next: it is asked three times at most.
    let replay = [&["trace", "replay", "t.jsonl", "--json"][..], &limit, &bounds].concat();
    let mut outcome = place.run(&replay);
    for _ in 0..2 {
        if outcome.code != Some(0) {
            outcome = place.run(&replay);
        }
    }
    let fidelity = &lines(&outcome.out)[0]["fidelity"];
    assert_eq!((&fidelity["exact"], fidelity["done"].as_u64()), (&true.into(), Some(301)));
    assert_eq!(fidelity["bytes"], info["summary"]["bytes"]);
    assert!(outcome.code == Some(0) && fidelity["envelope_deviation"].as_f64() <= Some(0.1), "{outcome:?}");
}
