//! Timelines are JSON in which no track holds two slices at a time, whatever ran side by side.

use forebay_io::{End, Kind, Location, Observe, Op, Operation, Served};
use forebay_trace::chrome::{Slice, Timeline, TimelineRecorder, Track};
use forebay_trace::export::{self, Target};
use forebay_trace::{Action, Clock, Header, Record, Status};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn header() -> Header {
    Header::new("test 1", "host", Clock { realtime_ns: 1_700_000_000_000_000_000, monotonic_ns: Some(5) })
}

fn read(path: &Path) -> Vec<Value> {
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(file["otherData"]["engine"], "test 1");
    file["traceEvents"].as_array().unwrap().clone()
}

fn of<'a>(events: &'a [Value], phase: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["ph"] == phase).collect()
}

/// Slices by track, each from when to when in nanoseconds.
fn tracks(events: &[Value]) -> HashMap<u64, Vec<(u64, u64)>> {
    let mut tracks: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
    for event in of(events, "X") {
        let ns = |name: &str| (event[name].as_f64().unwrap() * 1e3).round() as u64;
        tracks.entry(event["tid"].as_u64().unwrap()).or_default().push((ns("ts"), ns("ts") + ns("dur")));
    }
    tracks
}

/// What the format asks for: of two slices on a track one is within the other, or they do not meet.
fn assert_nested(events: &[Value]) {
    for (track, slices) in tracks(events) {
        for (i, a) in slices.iter().enumerate() {
            for b in &slices[i + 1..] {
                let apart = a.1 <= b.0 || b.1 <= a.0;
                let nested = (a.0 <= b.0 && b.1 <= a.1) || (b.0 <= a.0 && a.1 <= b.1);
                assert!(apart || nested, "track {track}: {a:?} and {b:?}");
            }
        }
    }
}

fn get(begin: u64, end: u64) -> Record {
    let mut record = Record::asked(Action::Get, "file:///set/\"a\"\u{1}.bin", begin);
    record.t_done = Some(end);
    record.bytes = Some(10);
    record
}

#[test]
fn a_trace_becomes_a_timeline_with_lanes_names_and_a_counter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.chrome.json");
    assert_eq!(Target::of(&path), Some(Target::Chrome));
    let mut slow = get(100, 5_000);
    slow.t_first = Some(2_000);
    let mut failed = get(200, 700);
    (failed.status, failed.bytes) = (Status::Failed(Kind::NotFound), None);
    let mut open = Record::asked(Action::Open, "file:///set/x", 300);
    open.t_done = None;
    let records = [slow, failed, open, get(700, 800), get(6_000, 7_000)];
    let exported = export::write(&path, Target::Chrome, &header(), records.into_iter().map(Ok), 0).unwrap();
    assert_eq!((exported.written, exported.left_out), (5, 0));
    let events = read(&path);
    assert_nested(&events);

    let slices = of(&events, "X");
    let names: Vec<&str> = slices.iter().map(|slice| slice["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["get", "first byte", "get (not_found)", "get", "get"]);
    assert_eq!((&slices[0]["ts"], &slices[0]["dur"]), (&0.1.into(), &4.9.into()), "microseconds");
    assert_eq!(slices[0]["args"]["uri"], "file:///set/\"a\"\u{1}.bin");
    assert_eq!(slices[0]["tid"], slices[1]["tid"], "the wait for the first byte lies within");
    assert_ne!(slices[0]["tid"], slices[2]["tid"]);
    assert_eq!(slices[2]["tid"], slices[3]["tid"], "a lane is used again as soon as it is free");
    assert_eq!(of(&events, "i").len(), 1, "nobody knows when the open ended");

    let named: BTreeMap<u64, &str> = of(&events, "M")
        .iter()
        .filter(|event| event["name"] == "thread_name")
        .map(|event| (event["tid"].as_u64().unwrap(), event["args"]["name"].as_str().unwrap()))
        .collect();
    assert_eq!(named.into_values().collect::<Vec<_>>(), ["get 1", "get 2", "open 1"]);
    assert!(of(&events, "M").iter().any(|event| event["args"]["name"] == "operations"));

    let counts: Vec<(f64, u64)> = of(&events, "C")
        .iter()
        .map(|event| (event["ts"].as_f64().unwrap(), event["args"]["value"].as_u64().unwrap()))
        .collect();
    assert_eq!(counts, [(0.1, 1), (0.2, 2), (0.7, 2), (0.8, 1), (5.0, 0), (6.0, 1), (7.0, 0)]);
}

#[test]
fn tasks_of_a_stage_have_lanes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.json");
    let mut timeline = Timeline::create(&path, &header()).unwrap();
    // In the order of their ends, as tasks are told.
    for (begin, end) in [(0, 50), (10, 60), (50, 70), (5, 80), (80, 90)] {
        let (track, group, details) = (Track::Stages, "read", Map::new());
        timeline.slice(&Slice { track, group, name: "read", begin, end, details }).unwrap();
    }
    timeline.finish().unwrap();
    let events = read(&path);
    assert_nested(&events);
    assert_eq!(tracks(&events).len(), 3);
}

#[test]
fn what_a_job_does_is_in_its_timeline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.json");
    let origin = Instant::now();
    let recorder = TimelineRecorder::create(&path, &header(), origin).unwrap();
    let location: Location = "s3://bucket/key".parse().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (recorder, location) = (&recorder, &location);
            scope.spawn(move || {
                for i in 0..100 {
                    let op = Op {
                        operation: Operation::Get,
                        location,
                        range: Some(0..10),
                        sample: Some(thread * 100 + i),
                        stage: "read",
                        stream: Some(thread),
                        epoch: Some(3),
                        attempt: 0,
                        begun: Instant::now(),
                    };
                    recorder.started(std::slice::from_ref(&op));
                    let served = Served { bytes: 10, ..Served::default() };
                    recorder.ended(&[op], &[End::Done(served)]);
                }
            });
        }
    });
    let stage: Arc<str> = "read".into();
    recorder.task(&stage, Duration::from_micros(1), Duration::from_micros(9), false);
    recorder.task(&stage, Duration::from_micros(2), Duration::from_micros(8), true);
    recorder.depth(&"sink".into(), Duration::from_micros(9), 2);
    let recorded = recorder.finish().unwrap();
    assert_eq!((recorded.dropped, recorded.failure), (0, None));
    assert!(recorder.finish().is_none());

    let events = read(&path);
    assert_nested(&events);
    let slices = of(&events, "X");
    let gets: Vec<&&Value> = slices.iter().filter(|slice| slice["name"] == "get").collect();
    let mut samples: Vec<u64> =
        gets.iter().map(|slice| slice["args"]["sample_id"].as_u64().unwrap()).collect();
    samples.sort_unstable();
    assert_eq!(samples, (0..400).collect::<Vec<_>>());
    assert!(
        gets.iter().all(|slice| slice["args"]["uri"] == "s3://bucket/key" && slice["args"]["epoch"] == 3)
    );
    assert!(slices.iter().any(|slice| slice["name"] == "read (failed)" && slice["pid"] == 2));
    let counters = of(&events, "C");
    assert!(counters.iter().any(|event| event["name"] == "items in sink" && event["args"]["value"] == 2));
    let in_flight = counters.iter().filter(|event| event["name"] == "operations in flight");
    assert!(in_flight.clone().all(|event| event["args"]["value"].as_u64().unwrap() <= 4));
    assert_eq!(in_flight.count(), 800);
}

#[test]
fn a_full_disk_ends_the_timeline_and_not_the_job() {
    let Ok(recorder) = TimelineRecorder::create(Path::new("/dev/full"), &header(), Instant::now()) else {
        return;
    };
    let stage: Arc<str> = "read".into();
    for i in 0..20_000u64 {
        recorder.task(&stage, Duration::from_micros(i), Duration::from_micros(i + 1), false);
    }
    let recorded = recorder.finish().unwrap();
    assert!(recorded.failure.unwrap().contains("No space left"));
}
