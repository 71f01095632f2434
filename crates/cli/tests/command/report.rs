//! `load --metrics-out` and `report`.

use crate::run::{Place, lines};

fn place() -> Place {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "60", "--sizes", "fixed:4KiB", "--seed", "1"]);
    place
}

fn text(place: &Place, name: &str) -> String {
    String::from_utf8(place.read(name)).unwrap()
}

#[test]
fn the_suffix_decides_the_format() {
    let place = place();
    for (name, needle) in [
        ("m.json", "\"type\":\"metrics\""),
        ("m.csv", "counter,,gets,total,,,operations,60"),
        ("m.prom", "forebay_gets_total 60\n"),
        ("m.om", "# TYPE forebay_gets counter\nforebay_gets_total 60\n"),
        ("m.hlog", "Tag=operation.get.latency_ns,"),
    ] {
        place.ok(&["load", "set", "--metrics-out", name]);
        assert!(text(&place, name).contains(needle), "{name}: {}", text(&place, name));
    }
    for wrong in ["m.txt", "m", "m.JSON"] {
        assert!(place.fails(2, &["load", "set", "--metrics-out", wrong]).contains(".prom"), "{wrong}");
    }
    assert!(
        place.fails(2, &["load", "set", "--metrics-out=m.csv", "--metrics-interval=1"]).contains(".hlog")
    );
    for wrong in ["0", "-1", "nan", "1e9", "x"] {
        place.fails(2, &["load", "set", "--metrics-out=m.json", &format!("--metrics-interval={wrong}")]);
    }
    place.fails(2, &["load", "set", "--metrics-interval=1"]);
    place.fails(3, &["load", "set", "--metrics-out=no/such/m.json"]);
}

#[test]
fn what_histograms_keep_is_a_choice_and_changes_no_counter() {
    let place = place();
    let run = |name: &str, flags: &[&str]| {
        place.ok(&[&["load", "set", "--epochs", "20", "--metrics-out", name], flags].concat());
        lines(&text(&place, name)).pop().unwrap()["metrics"].clone()
    };
    let get = |metrics: &serde_json::Value| metrics["operations"]["get"]["latency_us_hist"].clone();
    for (flags, digits) in [
        (&[][..], 3),
        (&["--metrics-preset=inference"], 4),
        (&["--metrics-preset=high_frequency"], 2),
        (&["--metrics-preset=inference", "--metrics-significant-digits=1", "--metrics-batch-size=64"], 1),
    ] {
        let metrics = run("m.json", flags);
        assert_eq!(get(&metrics)["recorded"]["digits"], digits, "{flags:?}");
        assert_eq!(get(&metrics)["n"], 1_200);
        assert_eq!(metrics["backends"]["file"]["counters"]["gets"], 1_200);
    }
    let some = run("some.json", &["--metrics-sampling-rate", "0.25"]);
    let latency = get(&some);
    assert_eq!((&latency["of"], &latency["recorded"]["sampling_rate"]), (&1_200.into(), &0.25.into()));
    assert!((200..400).contains(&latency["n"].as_u64().unwrap()), "{}", latency["n"]);
    assert_eq!(some["backend_counters"]["gets"], 1_200);
    let report = place.ok(&["report", "some.json"]);
    assert!(report.contains("of 1,200") && report.contains("95 % confidence"), "{report}");
    let refused = place.fails(4, &["report", "m.json", "some.json"]);
    assert!(refused.contains("digits") || refused.contains("sampling_rate"), "{refused}");
    for wrong in ["preset=fast", "significant-digits=6", "sampling-rate=0", "sampling-rate=2", "batch-size=0"]
    {
        place.fails(2, &["load", "set", &format!("--metrics-{wrong}")]);
    }
}

#[test]
fn intervals_are_lines_that_only_grow_and_end_with_the_whole() {
    let place = place();
    let common = ["load", "set", "--epochs", "50", "--batch-size", "1", "--metrics-interval", "0.02"];
    place.ok(&[&common[..], &["--metrics-out", "m.json"]].concat());
    let written = lines(&text(&place, "m.json"));
    let gets = |line: &serde_json::Value| line["metrics"]["backend_counters"]["gets"].as_u64().unwrap();
    assert!(written.len() >= 2, "{} lines", written.len());
    assert!(written.is_sorted_by_key(gets));
    let (last, before) = written.split_last().unwrap();
    assert_eq!((gets(last), &last["ended"]), (3_000, &true.into()));
    assert!(before.iter().all(|line| line["ended"] == false));
    assert!(place.ok(&["report", "m.json"]).contains("3,000 samples"));

    place.ok(&[&common[..], &["--metrics-out", "m.hlog"]].concat());
    let log = text(&place, "m.hlog");
    assert_eq!(log.matches("log format version").count(), 1, "one header");
    assert!(log.matches("Tag=operation.get.latency_ns,").count() >= 2);
}

#[test]
fn several_files_are_merged_and_two_compared() {
    let place = place();
    place.ok(&["load", "set", "--metrics-out", "a.json"]);
    place.ok(&["load", "set", "--epochs", "2", "--metrics-out", "b.json"]);
    let merged = place.json(&["report", "a.json", "b.json"]);
    assert_eq!(merged[0]["metrics"]["backend_counters"]["gets"], 180);
    assert_eq!(merged[0]["metrics"]["operations"]["get"]["latency_us_hist"]["n"], 180);
    assert_eq!(merged[0]["facts"]["samples"], 180);
    let compared = place.ok(&["report", "--compare", "a.json", "b.json"]);
    assert!(compared.contains("get latency p50") && compared.contains("throughput"), "{compared}");
    assert!(compared.contains("Rates have no bounds"), "{compared}");
    let rows = &place.json(&["report", "--compare", "a.json", "a.json"])[0]["rows"];
    let differs =
        |row: &serde_json::Value| row["differs"] == true || row["change"].as_f64().is_some_and(|c| c != 0.0);
    assert!(!rows.as_array().unwrap().iter().any(differs), "a run does not differ from itself: {rows}");
    assert!(place.fails(2, &["report", "--compare", "a.json"]).contains("two files"));
}

#[test]
fn what_is_no_file_of_metrics_is_refused() {
    let place = Place::new();
    place.fails(3, &["report", "missing.json"]);
    for (name, content, needle) in [
        ("empty.json", "", "no line has metrics"),
        ("other.json", "{\"type\":\"summary\"}\n", "no line has metrics"),
        ("broken.json", "{\"metrics\":", "line 1 column"),
        ("later.json", "{\"metrics\":{\"schema_version\":9}}", "schema version 9"),
        ("less.json", "{\"metrics\":{\"schema_version\":2}}", "missing field"),
    ] {
        place.write(name, content);
        let text = place.fails(4, &["report", name]);
        assert!(text.contains(needle) && text.contains(name), "{text}");
    }
}

/// A file with intervals, of a run with so many reads.
fn measured(place: &Place, name: &str) {
    let common = ["load", "set", "--epochs", "40", "--batch-size", "1", "--metrics-interval", "0.02"];
    place.ok(&[&common[..], &["--metrics-out", name]].concat());
}

#[test]
fn reports_are_drawn_as_a_page_a_picture_and_on_the_terminal() {
    let place = place();
    measured(&place, "a.json");
    let plain = place.ok(&["report", "a.json"]);
    let drawn = place.ok(&["report", "a.json", "--html", "a.html", "--svg", "a.svg", "--plot"]);
    assert!(drawn.starts_with(&plain), "the report stays as it is");
    let charts =
        ["Latency, get", "Request sizes, get", "Latency over time, get", "Throughput", "Bytes in flight"];
    let (page, picture) = (text(&place, "a.html"), text(&place, "a.svg"));
    for chart in charts {
        assert!(drawn.contains(&format!("\n{chart}\n")), "{chart}: {drawn}");
        assert!(page.contains(chart) && picture.contains(chart), "{chart}");
    }
    assert!(page.contains("2,400 samples in"), "the report is on the page");
    assert!(!page.contains('\u{1b}') && !drawn.contains('\u{1b}'));
    assert!(drawn.lines().all(|line| line.chars().count() <= 80));
    assert!(
        place
            .ok(&["report", "a.json", "--plot=ascii"])
            .lines()
            .skip(plain.lines().count())
            .all(str::is_ascii)
    );

    measured(&place, "b.json");
    place.ok(&["report", "--compare", "a.json", "b.json", "--svg", "both.svg"]);
    let both = text(&place, "both.svg");
    assert!(both.contains("data-name=\"a.json\"") && both.contains("data-name=\"b.json\""));
    assert!(place.ok(&["report", "a.json", "b.json", "--plot"]).contains("Latency over time, get"));
}

#[test]
fn rates_of_runs_with_intervals_are_compared_with_confidence() {
    let place = place();
    // As `load` writes them, a line a second.
    let metrics = &place.json(&["load", "set"])[0]["metrics"].clone();
    let write = |name: &str, rates: &[u64]| {
        let (mut bytes, mut lines) = (0, String::new());
        for (second, rate) in (1..).zip(rates) {
            bytes += rate << 20;
            let facts = serde_json::json!({
                "elapsed_s": f64::from(second), "samples": bytes >> 12, "batches": 0, "bytes": bytes, "epochs": 1,
                "cpu_user_s": null, "cpu_system_s": null, "max_bytes_in_flight": null,
                "page_cache_requested": null,
            });
            lines +=
                &serde_json::json!({ "type": "metrics", "facts": facts, "metrics": metrics }).to_string();
            lines.push('\n');
        }
        place.write(name, &lines);
    };
    write("a.json", &[100, 104, 96, 101, 99, 100]);
    write("b.json", &[120, 124, 116, 121, 119, 120]);
    write("c.json", &[100, 140, 80, 110, 70, 130]);
    let row = |a: &str, b: &str| {
        let rows = place.json(&["report", "--compare", a, b])[0]["rows"].clone();
        rows.as_array().unwrap().iter().find(|row| row["what"] == "throughput").unwrap().clone()
    };
    assert_eq!(row("a.json", "b.json")["differs"], true);
    assert_eq!(row("a.json", "c.json")["differs"], false);
    let interval = &row("a.json", "b.json")["a_interval"];
    let [low, high] = [0, 1].map(|end| interval[end].as_f64().unwrap() / f64::from(1 << 20));
    assert!(low > 95.0 && low < 100.0 && high > 100.0 && high < 105.0, "{interval}");
    let text = place.ok(&["report", "--compare", "a.json", "b.json"]);
    assert!(text.contains("Student's t over 6 intervals of a and 6 of b"), "{text}");
}

#[test]
fn a_log_of_intervals_is_reported_and_drawn_too() {
    let place = place();
    measured(&place, "m.hlog");
    let report = place.ok(&["report", "m.hlog", "--svg", "m.svg"]);
    assert!(report.contains("Latency") && !report.contains("Throughput"), "{report}");
    assert!(text(&place, "m.svg").contains("Latency over time, get"));
    place.ok(&["load", "set", "--metrics-out", "m.csv"]);
    assert!(place.fails(4, &["report", "m.csv"]).contains(".hlog"));
    place.write("x.hlog", "nonsense\n");
    assert!(place.fails(4, &["report", "x.hlog"]).contains("interval 1"));
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let place = place();
    place.ok(&["load", "set", "--metrics-out", "m.json"]);
    let outcome = place.run(&["report", "m.json", "--svg", "m.svg"]);
    assert_eq!(outcome.code, Some(0));
    assert!(
        outcome.err.contains("a --metrics-interval SECONDS that the run is longer than"),
        "{}",
        outcome.err
    );
    place.fails(3, &["report", "m.json", "--html", "no/such/m.html"]);
    assert!(place.fails(2, &["report", "m.json", "--plot=x"]).contains("ascii"));
    place.fails(2, &["report", "m.json", "--plot", "--json"]);
}

#[test]
fn metrics_that_there_is_no_room_for_leave_nothing_behind() {
    let place = place();
    let limit = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    let output = std::process::Command::new("sh")
        .args(["-c", limit, env!("CARGO_BIN_EXE_forebay"), "load", "set", "--metrics-out", "full.json"])
        .current_dir(place.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("cannot write metrics"), "{told}");
    assert!(!place.at("full.json").exists() && !place.at("full.json.part").exists());
}
