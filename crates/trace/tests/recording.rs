//! A trace that is recorded is the trace that is read, over rotation, compression and failure.

use forebay_io::layer::Observed;
use forebay_io::{
    Budget, End, GetRequest, ListOptions, Location, MemoryStore, Observe, Op, Operation, Pool, PutOptions,
    ReadOptions, Served, Store,
};
use forebay_trace::{
    Action, Clock, Error, Header, Reader, Record, Recorder, RecorderOptions, Status, Summary, Writer,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn header() -> Header {
    Header::new("test 1", "host", Clock { realtime_ns: 1_700_000_000_000_000_000, monotonic_ns: Some(5) })
}

fn op<'a>(location: &'a Location, begun: Instant, sample: u64) -> Op<'a> {
    Op {
        operation: Operation::Get,
        location,
        range: None,
        sample: Some(sample),
        stage: "read",
        stream: Some(3),
        epoch: None,
        attempt: 0,
        begun,
    }
}

fn read(path: &Path) -> (Vec<Record>, Reader) {
    let mut reader = Reader::open(path).unwrap();
    let records = reader.by_ref().collect::<Result<Vec<_>, _>>().unwrap();
    (records, reader)
}

#[tokio::test]
async fn every_operation_of_a_store_is_in_its_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl.zst");
    let recorder = Recorder::create(&path, header(), Instant::now(), &RecorderOptions::default()).unwrap();
    let store = Observed::new(Arc::new(MemoryStore::new()), recorder.clone());
    let root: Location = "mem://set".parse().unwrap();
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    for i in 0..3u64 {
        let at = root.join(format!("{i}").as_bytes());
        store.put(&at, vec![7u8; 100 * (i as usize + 1)].into(), PutOptions::default()).await.unwrap();
    }
    let requests: Arc<[GetRequest]> = (0..4u32)
        .map(|i| GetRequest {
            sample: Some(i.into()),
            ..GetRequest::whole(root.join(i.to_string().as_bytes()), i)
        })
        .collect();
    let lease = pool.lease(pool.budget().ticket(), 4);
    let options = ReadOptions { stage: "read", epoch: Some(0), ..ReadOptions::default() };
    let results = store.get_many(requests, options, lease).await;
    assert!(results[3].is_err());
    let mut pages = store.list(&root, ListOptions::recursive());
    while futures::StreamExt::next(&mut pages).await.is_some() {}
    drop(pages);

    let recorded = recorder.finish().unwrap();
    assert_eq!((recorded.records, recorded.dropped, recorded.failure), (8, 0, None));
    let (records, reader) = read(&path);
    assert!(reader.is_complete());
    assert_eq!(reader.header(), &header());
    let of = |op| records.iter().filter(|r| r.op == op).collect::<Vec<_>>();
    assert_eq!((of(Action::Put).len(), of(Action::Get).len(), of(Action::List).len()), (3, 4, 1));
    let gets = of(Action::Get);
    assert_eq!(gets[1].bytes, Some(200));
    assert_eq!((gets[1].uri.as_str(), gets[1].sample_id, gets[1].epoch), ("mem://set/1", Some(1), Some(0)));
    assert_eq!(gets[1].stage.as_deref(), Some("read"));
    assert_eq!(gets[3].status, Status::Failed(forebay_io::Kind::NotFound));
    // One batch was asked for at one instant.
    assert!(gets.iter().all(|r| r.t_submit == gets[0].t_submit && r.t_done >= Some(r.t_submit)));
}

#[test]
fn a_trace_goes_on_in_files_that_are_read_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    let options = RecorderOptions { rotate_bytes: Some(64 << 10), queue: 100_000 };
    let origin = Instant::now();
    let recorder = Recorder::create(&path, header(), origin, &options).unwrap();
    let location: Location = "mem://h/key".parse().unwrap();
    for i in 0..6000 {
        let op = op(&location, origin + Duration::from_nanos(i), i);
        recorder.ended(&[op], &[End::Done(Served { bytes: i, ..Served::default() })]);
    }
    let recorded = recorder.finish().unwrap();
    assert!(recorded.files.len() > 5, "{recorded:?}");
    let on_disk: u64 = recorded.files.iter().map(|f| f.metadata().unwrap().len()).sum();
    assert_eq!(on_disk, recorded.bytes);
    let (records, reader) = read(&path);
    assert!(reader.is_complete());
    assert_eq!(
        records.iter().map(|r| r.sample_id.unwrap()).collect::<Vec<_>>(),
        (0..6000).collect::<Vec<_>>()
    );

    std::fs::remove_file(&recorded.files[2]).unwrap();
    let error = Reader::open(&path).unwrap().find_map(Result::err).unwrap();
    assert!(error.to_string().contains("t.2.jsonl"), "{error}");
    let options = RecorderOptions { rotate_bytes: Some(1), ..options };
    let error = Recorder::create(&path, header(), origin, &options).unwrap_err();
    assert!(error.to_string().contains("65536 or more, is 1"), "{error}");
}

#[test]
fn what_does_not_fit_is_counted_and_the_trace_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    let recorder =
        Recorder::create(&path, header(), Instant::now(), &RecorderOptions { queue: 4, rotate_bytes: None })
            .unwrap();
    let location: Location = "mem://h/key".parse().unwrap();
    // One call with more than the queue holds cannot but lose some.
    let ops: Vec<_> = (0..1000).map(|i| op(&location, Instant::now(), i)).collect();
    recorder.ended(&ops, &vec![End::Cancelled; ops.len()]);
    let recorded = recorder.finish().unwrap();
    assert!(recorded.dropped > 0);
    assert_eq!(recorded.records + recorded.dropped, 1000);
    let (records, reader) = read(&path);
    assert_eq!((records.len() as u64, reader.dropped()), (recorded.records, recorded.dropped));
    assert!(!reader.is_complete());
}

#[test]
fn a_full_disk_ends_the_trace_and_not_the_job() {
    // A device that is always full.
    let recorder = Recorder::create(
        Path::new("/dev/full"),
        header(),
        Instant::now(),
        &RecorderOptions { queue: 10_000, rotate_bytes: None },
    )
    .unwrap();
    let location: Location = "mem://h/key".parse().unwrap();
    for i in 0..5000 {
        recorder.ended(&[op(&location, Instant::now(), i)], &[End::Cancelled]);
    }
    let recorded = recorder.finish().unwrap();
    assert!(recorded.failure.as_deref().unwrap().contains("/dev/full"), "{recorded:?}");
    assert_eq!((recorded.records, recorded.dropped), (0, 5000));
}

#[test]
fn a_burst_of_a_thread_at_full_speed_is_kept_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl.zst");
    let origin = Instant::now();
    let recorder = Recorder::create(&path, header(), origin, &RecorderOptions::default()).unwrap();
    let root: Location = "/data/train".parse().unwrap();
    let locations: Vec<_> = (0..32).map(|i| root.join(format!("{i:08}.bin").as_bytes())).collect();
    let served = End::Done(Served { bytes: 4096, ..Served::default() });
    // As many as the default says may wait, whether or not anybody takes them meanwhile.
    for batch in 0..1024 {
        let begun = origin + Duration::from_micros(batch);
        let ops: Vec<_> = locations.iter().zip(0..).map(|(at, i)| op(at, begun, batch * 32 + i)).collect();
        recorder.ended(&ops, &[served; 32]);
    }
    let recorded = recorder.finish().unwrap();
    assert_eq!((recorded.records, recorded.dropped), (32_768, 0));
    let (records, reader) = read(&path);
    assert!(reader.is_complete());
    assert!(records.iter().map(|r| r.sample_id.unwrap()).eq(0..32_768));
}

/// A trace of two records, as its lines.
fn lines(folder: &Path) -> Vec<String> {
    let path = folder.join("good.jsonl");
    let mut writer = Writer::create(&path, &header()).unwrap();
    for t in [1, 2] {
        writer.write(&Record::asked(Action::Get, "mem://h/k", t)).unwrap();
    }
    writer.finish(0, None).unwrap();
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_is_wrong_is_said_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let good = lines(folder.path());
    let with = |i: usize, line: &str| {
        let mut lines = good.clone();
        lines[i] = line.to_owned();
        lines.join("\n") + "\n"
    };
    let cases = [
        (String::new(), 1, "is empty"),
        (with(0, "{}"), 1, "not the header"),
        (with(0, "\u{1}binary"), 1, "not the header"),
        (with(0, r#"{"forebay_trace":2}"#), 1, "version 2"),
        (with(1, r#"{"op":"get","uri":"mem://h/k","t_submit":-1}"#), 2, "not a record"),
        (with(1, r#"{"op":"get","uri":"mem://h/k","t_submit":1,"colour":1}"#), 2, "colour"),
        (with(1, r#"{"op":"fly","uri":"mem://h/k","t_submit":1}"#), 2, "fly"),
        (with(2, r#"{"op":"get","uri":"mem://h/k","t_submit":1,"status":"odd"}"#), 3, "not one of ok"),
        (with(2, ""), 3, "empty"),
        (with(3, r#"{"end":{"records":3,"dropped":0}}"#), 4, "3 records, there are 2"),
        (with(3, r#"{"end":{"records":2,"dropped":0,"next":"../x"}}"#), 4, "not the name of a file"),
        (good[..3].join("\n") + "\n", 4, "it was cut"),
        (good[..2].join("\n") + "\n" + &good[2][..20], 3, "not a record"),
        (good.join("\n") + "\nmore\n", 5, "more after"),
        (with(1, &"x".repeat((1 << 20) + 5)), 2, "longer"),
    ];
    for (i, (text, line, needle)) in cases.into_iter().enumerate() {
        let path = folder.path().join(format!("{i}.jsonl"));
        std::fs::write(&path, text).unwrap();
        let error = match Reader::open(&path) {
            Err(error) => error,
            Ok(reader) => reader.filter_map(Result::err).next().unwrap_or_else(|| panic!("case {i} is fine")),
        };
        let Error::Parse { line: at, .. } = &error else { panic!("case {i}: {error}") };
        assert_eq!(*at, line, "case {i}: {error}");
        assert!(error.to_string().contains(needle), "case {i}: {error}");
    }
}

#[test]
fn damaged_compression_is_an_error_with_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl.zst");
    let mut writer = Writer::create(&path, &header()).unwrap();
    for t in 0..20_000 {
        writer.write(&Record::asked(Action::Get, format!("mem://h/{}", t * 7919 % 20_000), t * 13)).unwrap();
    }
    writer.finish(0, None).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    for bytes in [&whole[..whole.len() / 2], &flipped[..]] {
        std::fs::write(&path, bytes).unwrap();
        let error = Reader::open(&path).unwrap().find_map(Result::err).expect("the damage is found");
        assert!(matches!(error, Error::Parse { line: 2.., .. }), "{error}");
    }
}

#[test]
fn a_part_of_another_version_or_of_another_trace_is_refused_where_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    let mut writer = Writer::create(&path, &header()).unwrap();
    writer.write(&Record::asked(Action::Get, "mem://h/k", 1)).unwrap();
    writer.finish(0, Some("t.1.jsonl".into())).unwrap();
    let second = |edit: fn(&str) -> String| {
        let text = serde_json::to_string(&Header { part: 1, ..header() }).unwrap();
        let text = edit(&text) + "\n{\"end\":{\"records\":0,\"dropped\":0}}\n";
        std::fs::write(folder.path().join("t.1.jsonl"), text).unwrap();
        Reader::open(&path).unwrap().find_map(Result::err)
    };
    assert!(second(str::to_owned).is_none());
    for (edit, needle) in [
        (
            (|text| text.replace("\"forebay_trace\":1", "\"forebay_trace\":2")) as fn(&str) -> String,
            "version 2",
        ),
        (|text| text.replace("\"part\":1", "\"part\":7"), "not part 1"),
        (|text| text.replace("1700000000000000000", "1700000000000000001"), "not part 1"),
    ] {
        let error = second(edit).unwrap();
        assert!(
            matches!(&error, Error::Parse { line: 1, path, .. } if path.ends_with("t.1.jsonl")),
            "{error}"
        );
        assert!(error.to_string().contains(needle), "{error}");
    }
}

#[test]
fn a_clock_that_went_backwards_makes_latencies_of_nothing_and_no_wrong_ones() {
    let backwards =
        Record { t_done: Some(10), t_first: Some(5), ..Record::asked(Action::Get, "mem://h/k", 1000) };
    assert_eq!(backwards.latency(), Some(0));
    let summary = Summary::of([Ok(backwards)].into_iter()).unwrap();
    assert_eq!((summary.latency.max(), summary.span, summary.count()), (0, 0, 1));
}
