//! A replay asks for what the trace says, when it says so, within the caps, and reports what it did.

use forebay_io::layer::Observed;
use forebay_io::{Kind, Location, MemoryStore, Operation, PageCacheMode, Store};
use forebay_io_fs::{FsOptions, FsStore};
use forebay_io_testkit::{FaultRates, FaultStore};
use forebay_trace::replay::{
    Mode, Outcome, Plan, Priority, Remap, ReplayOptions, Stop, noise_floor, prepare, replay,
};
use forebay_trace::synth::{Arrivals, Model, Sizes};
use forebay_trace::{Action, Bounds, Clock, Fidelity, Header, Record, Recorder, RecorderOptions, Status};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

struct Scene {
    runtime: Runtime,
    scratch: tempfile::TempDir,
    plan: Plan,
    stores: Box<forebay_trace::replay::Stores>,
}

fn scene(records: Vec<Record>, store: Arc<dyn Store>) -> Scene {
    let scratch = tempfile::tempdir().unwrap();
    let plan = Plan::new(move || Ok(Box::new(records.clone().into_iter().map(Ok))), scratch.path());
    Scene { runtime: runtime(), scratch, plan, stores: Box::new(move |_| Ok(store.clone())) }
}

impl Scene {
    fn prepared(self, remap: &Remap) -> Scene {
        let made = prepare(&self.plan, remap, &*self.stores, 1, false, 4);
        self.runtime.block_on(made).unwrap();
        self
    }

    fn replay(&self, options: &ReplayOptions) -> Fidelity {
        let (stop, handle) = (Stop::default(), self.runtime.handle());
        replay(&self.plan, options, &*self.stores, handle, &stop, |_| {}).unwrap()
    }
}

fn memory(records: Vec<Record>) -> Scene {
    scene(records, Arc::new(MemoryStore::new())).prepared(&Remap::default())
}

/// A store in memory of which every read takes up to 5 ms.
fn slow() -> Arc<dyn Store> {
    let rates = FaultRates { delays: 1.0, longest_delay: Duration::from_millis(5), ..FaultRates::none() };
    let rates = rates.only(&[Operation::Get]);
    Arc::new(FaultStore::new(Arc::new(MemoryStore::new()), rates, 1).unwrap())
}

fn synth(arrivals: Arrivals, operations: u64, prefix: &str) -> Vec<Record> {
    let model = Model {
        arrivals,
        sizes: Sizes::LogNormal { median: 4096.0, sigma: 1.0 },
        objects: 50,
        prefix: prefix.into(),
        operations,
        seed: 5,
    };
    model.records().unwrap().collect()
}

fn open(time_scale: f64) -> ReplayOptions {
    ReplayOptions { mode: Mode::Open { time_scale }, ..ReplayOptions::default() }
}

#[test]
fn an_open_replay_asks_for_exactly_the_trace() {
    let records = synth(Arrivals::Poisson { rate: 2000.0 }, 1000, "mem://h/");
    let bytes: u64 = records.iter().map(|r| r.bytes.unwrap()).sum();
    let fidelity = memory(records).replay(&open(1.0));
    assert!(fidelity.is_exact());
    assert_eq!((fidelity.submitted, fidelity.done, fidelity.bytes), (1000, 1000, bytes));
    assert_eq!((fidelity.submit_error.len(), fidelity.latency_from_intended.len()), (1000, 1000));
    assert_eq!(fidelity.size_distance(), 0.0);
    assert_eq!(
        fidelity.violations(&Bounds {
            failures: Some(0),
            size_distance: Some(0.01),
            exact: true,
            ..Bounds::default()
        }),
        [""; 0]
    );
    // Nothing takes less than a nanosecond, or all the same time.
    assert!(fidelity.latency.max() > 100 && fidelity.submit_error.max() > 100);
    // Nobody's latency is shorter from when it was due than from when it was submitted.
    for q in [0.5, 0.99, 1.0] {
        assert!(fidelity.latency_from_intended.value_at_quantile(q) >= fidelity.latency.value_at_quantile(q));
    }
}

#[test]
fn times_are_scaled_and_nothing_is_submitted_early() {
    let records: Vec<_> = (0..20).map(|i| Record::asked(Action::Get, "mem://h/k", i * 20_000_000)).collect();
    let scene = memory(records);
    for (scale, at_least) in [(0.25, 95), (1.5, 570)] {
        let fidelity = scene.replay(&open(scale));
        assert!(fidelity.elapsed >= Duration::from_millis(at_least), "{scale}: {:?}", fidelity.elapsed);
        assert_eq!(fidelity.done, 20);
        // By construction; a replay that ran ahead of its clock would show here.
        assert!(fidelity.gaps.max() >= fidelity.intended_gaps.min() / 2);
    }
}

#[test]
fn only_the_window_is_replayed_and_an_earlier_run_can_be_gone_on_with() {
    let records: Vec<_> =
        (0..100u64).map(|i| Record::asked(Action::Get, format!("mem://h/{i}"), i * 1_000_000)).collect();
    let scene = memory(records);
    let window = ReplayOptions {
        from: Duration::from_millis(20),
        until: Some(Duration::from_millis(50)),
        ..open(0.1)
    };
    assert_eq!(scene.replay(&window).done, 30);
    let rest = ReplayOptions { skip: 25, ..window.clone() };
    assert_eq!(scene.replay(&rest).done, 5);
    let twice = ReplayOptions { loops: 2, ..window };
    assert_eq!(scene.replay(&twice).done, 60);
}

#[test]
fn a_closed_replay_keeps_its_concurrency_and_no_more() {
    let records = synth(Arrivals::Poisson { rate: 0.5 }, 300, "mem://h/");
    let scene = scene(records, slow()).prepared(&Remap::default());
    let options = ReplayOptions { mode: Mode::Closed { concurrency: 7 }, ..ReplayOptions::default() };
    let fidelity = scene.replay(&options);
    assert_eq!((fidelity.done, fidelity.capped), (300, 0));
    assert_eq!(fidelity.peak_in_flight, 7);
    assert!(fidelity.is_exact());
    // The trace lasts ten minutes; nothing waited for its times.
    assert!(fidelity.elapsed < Duration::from_secs(60));
    assert!(fidelity.submit_error.is_empty());
}

#[test]
fn a_cap_is_kept_and_its_violation_counted() {
    // A hundred operations due at once, of 1000 bytes each.
    let records: Vec<_> = (0..100u64)
        .map(|i| Record { bytes: Some(1000), ..Record::asked(Action::Get, format!("mem://h/{i}"), 0) })
        .collect();
    let scene = scene(records, slow()).prepared(&Remap::default());
    let options = ReplayOptions { max_bytes_in_flight: 5000, ..open(1.0) };
    let fidelity = scene.replay(&options);
    assert_eq!(fidelity.done, 100);
    // All that were due together but the first few, of which some may have ended before the cap was reached.
    assert_eq!(fidelity.peak_bytes_in_flight, 5000);
    assert!((50..=95).contains(&fidelity.capped), "{fidelity:?}");
    let few = scene.replay(&ReplayOptions { max_in_flight: 3, ..open(1.0) });
    assert_eq!(few.peak_in_flight, 3);
    assert!((50..=97).contains(&few.capped), "{few:?}");
    let bounds = Bounds { capped: Some(40), ..Bounds::default() };
    let violations = few.violations(&bounds);
    assert!(violations.len() == 1 && violations[0].contains("that a cap delayed"), "{violations:?}");
    let free = scene.replay(&open(1.0));
    assert_eq!((free.capped, free.violations(&bounds)), (0, Vec::new()));
}

#[test]
fn exact_is_what_the_store_itself_saw() {
    let records = synth(Arrivals::Poisson { rate: 5000.0 }, 200, "mem://h/");
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let scene = scene(records.clone(), store.clone()).prepared(&Remap::default());
    let what = |record: &Record| (record.op, record.uri.clone(), record.offset, record.len);
    let mut seen: Vec<_> = asked(&scene, &open(1.0), store).values().flatten().map(what).collect();
    let mut planned: Vec<_> = records.iter().map(what).collect();
    seen.sort();
    planned.sort();
    assert_eq!(seen, planned);
    let fidelity = scene.replay(&open(1.0));
    assert_eq!((fidelity.is_exact(), fidelity.asked(), fidelity.planned), (true, 200, 200));
}

#[test]
fn a_replay_that_asks_for_less_or_for_something_else_is_not_exact() {
    // Above the cap even alone: the store is never asked.
    let large = |i: u64| Record { bytes: Some(2000), ..Record::asked(Action::Get, "mem://h/k", i) };
    let small = Record { bytes: Some(10), ..Record::asked(Action::Get, "mem://h/s", 9) };
    let scene = memory([(0..5).map(large).collect(), vec![small]].concat());
    let fidelity = scene.replay(&ReplayOptions { max_bytes_in_flight: 1024, ..open(1.0) });
    assert!(!fidelity.is_exact(), "{fidelity:?}");
    assert_eq!((fidelity.asked(), fidelity.planned, fidelity.submitted, fidelity.done), (1, 6, 6, 1));
    assert!(fidelity.first_failure.as_deref().unwrap().contains("max_bytes_in_flight=1024"), "{fidelity:?}");

    // What was left over.
    let records: Vec<_> =
        (0..100u64).map(|i| Record::asked(Action::Get, "mem://h/k", i * 3_600_000_000_000)).collect();
    let scene = memory(records);
    let stop = Stop::default();
    let fidelity =
        replay(&scene.plan, &open(1.0), &*scene.stores, scene.runtime.handle(), &stop, |_| stop.stop())
            .unwrap();
    assert_eq!((fidelity.is_exact(), fidelity.asked(), fidelity.planned), (false, 1, 100));
    let rest = scene.replay(&ReplayOptions { skip: 98, loops: 2, ..open(1e-12) });
    assert_eq!((rest.is_exact(), rest.planned), (true, 102));

    // One bound of a range, which no store can be asked for.
    let half = Record { offset: Some(1), ..Record::asked(Action::Get, "mem://h/k", 0) };
    let scene = memory(vec![half, Record { bytes: Some(10), ..Record::asked(Action::Get, "mem://h/k", 1) }]);
    let fidelity = scene.replay(&open(1.0));
    assert_eq!((fidelity.is_exact(), fidelity.asked(), fidelity.planned, fidelity.done), (false, 2, 2, 2));
}

#[test]
fn what_is_in_flight_can_be_given_up_and_nothing_else_is_measured_then() {
    let hours = Duration::from_secs(3600 * 24 * 365);
    let rates = FaultRates { delays: 1.0, longest_delay: hours, ..FaultRates::none() };
    let rates = rates.only(&[Operation::Get]);
    let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::new(MemoryStore::new()), rates, 1).unwrap());
    let records = (0..20u64).map(|i| Record::asked(Action::Get, "mem://h/k", i)).collect();
    let scene = scene(records, store).prepared(&Remap::default());
    for mode in [Mode::Open { time_scale: 1.0 }, Mode::Dependency { time_scale: 1.0 }] {
        let stop = Stop::default();
        let options = ReplayOptions { mode, ..ReplayOptions::default() };
        let fidelity =
            replay(&scene.plan, &options, &*scene.stores, scene.runtime.handle(), &stop, |_| stop.give_up())
                .unwrap();
        assert!(fidelity.stopped && fidelity.given_up == fidelity.submitted - fidelity.done, "{fidelity:?}");
        let outcome = Outcome::of(fidelity, &options, None, &Bounds::default());
        assert!(outcome.floor.is_none());
        assert_eq!(outcome.position, outcome.fidelity.submitted);
    }
}

#[test]
fn what_a_mode_cannot_obey_is_refused_and_what_was_not_measured_exceeds_its_bound() {
    for (mode, needle) in [
        (Mode::named("open", None, Some(4)), "concurrency"),
        (Mode::named("dependency", Some(1.0), Some(4)), "concurrency"),
        (Mode::named("closed", Some(3.0), None), "time_scale"),
        (Mode::named("sideways", None, None), "open, closed or dependency"),
    ] {
        let error = mode.unwrap_err().to_string();
        assert!(error.contains(needle), "{error}");
    }
    let none = Bounds::default();
    let on_times = [
        Bounds { submit_error_p99: Some(Duration::from_nanos(1)), ..none },
        Bounds { drift_ppm: Some(1.0), ..none },
        Bounds { gap_distance: Some(0.01), ..none },
        Bounds { envelope_deviation: Some(0.1), ..none },
        Bounds { capped: Some(0), ..none },
    ];
    let nothing = memory(Vec::new()).replay(&open(1.0));
    for bounds in on_times {
        assert!(bounds.validate(Mode::Open { time_scale: 1.0 }).is_ok());
        let error = bounds.validate(Mode::Closed { concurrency: 1 }).unwrap_err();
        assert!(error.to_string().contains("closed goes at the store's pace"), "{error}");
        let violations = nothing.violations(&bounds);
        assert!(violations.len() == 1 && violations[0].contains("could not be measured"), "{violations:?}");
    }
    let anywhere = [
        Bounds { failures: Some(0), ..none },
        Bounds { size_distance: Some(1.0), ..none },
        Bounds { latency_distance: Some(1.0), ..none },
        Bounds { exact: true, ..none },
    ];
    for bounds in anywhere {
        assert!(bounds.validate(Mode::Closed { concurrency: 1 }).is_ok());
        assert_eq!(nothing.violations(&bounds).len(), 1);
    }
    for bounds in [Bounds { gap_distance: Some(2.0), ..none }, Bounds { size_distance: Some(1.1), ..none }] {
        let error = bounds.validate(Mode::Open { time_scale: 1.0 }).unwrap_err().to_string();
        assert!(error.contains("from 0 to 1"), "{error}");
    }
}

#[test]
fn a_page_cache_policy_that_a_store_cannot_obey_is_refused_before_anything_is_replayed() {
    let scene = memory(vec![Record::asked(Action::Get, "mem://h/k", 0)]);
    let options = ReplayOptions { page_cache: PageCacheMode::DirectIO, ..open(1.0) };
    let stop = Stop::default();
    let error =
        replay(&scene.plan, &options, &*scene.stores, scene.runtime.handle(), &stop, |_| {}).unwrap_err();
    assert!(error.to_string().contains("page_cache_mode=direct_io"), "{error}");
}

#[test]
fn streams_wait_for_themselves_and_keep_their_think_time() {
    // Two streams; in the trace each read took 1 ms, then thought for 5 ms.
    let records: Vec<_> = (0..20u64)
        .flat_map(|i| {
            [0, 1].map(|stream| Record {
                t_done: Some(i * 6_000_000 + 1_000_000),
                stream: Some(stream),
                ..Record::asked(Action::Get, format!("mem://h/{stream}"), i * 6_000_000)
            })
        })
        .collect();
    let scene = memory(records);
    let options = ReplayOptions { mode: Mode::Dependency { time_scale: 1.0 }, ..ReplayOptions::default() };
    let fidelity = scene.replay(&options);
    assert_eq!((fidelity.done, fidelity.starved), (40, 0));
    assert!(fidelity.is_exact() && fidelity.peak_in_flight <= 2);
    // 19 think times of 5 ms, with reads that take next to nothing.
    assert!(fidelity.elapsed >= Duration::from_millis(95), "{:?}", fidelity.elapsed);
}

#[test]
fn failures_are_counted_and_those_of_the_recording_told_apart() {
    let missing = |status| Record { status, ..Record::asked(Action::Get, "mem://h/none", 0) };
    let records = vec![
        missing(Status::Failed(Kind::NotFound)),
        missing(Status::Ok),
        Record::asked(Action::Put, "mem://h/p", 1),
    ];
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let fidelity = scene(records, store).replay(&open(1.0));
    assert_eq!(fidelity.failures.get("not_found"), Some(&2));
    assert_eq!((fidelity.new_failures(), fidelity.failed_as_recorded), (1, 1));
    assert!(fidelity.first_failure.as_deref().unwrap().contains("mem://h/none"), "{fidelity:?}");
    assert_eq!(fidelity.left_out.get(&Action::Put), Some(&1));
    assert_eq!(fidelity.violations(&Bounds { failures: Some(0), ..Bounds::default() }).len(), 1);
    assert!(fidelity.is_failure());
}

#[test]
fn what_was_not_asked_for_and_latencies_that_are_others_can_be_bounded() {
    // Recorded as if each had taken an hour, and one too large to be asked for here.
    let read = |len, i| Record {
        len: Some(len),
        offset: Some(0),
        t_done: Some(3_600_000_000_000),
        bytes: Some(len),
        ..Record::asked(Action::Read, "mem://h/k", i)
    };
    let scene = memory((0..20).map(|i| read(if i == 7 { 9_000 } else { 1_000 }, i)).collect());
    let options = ReplayOptions { max_bytes_in_flight: 4096, ..open(1.0) };
    let fidelity = scene.replay(&options);
    let of = |bounds: Bounds| fidelity.violations(&bounds);
    let exact = of(Bounds { exact: true, ..Bounds::default() });
    assert!(exact.len() == 1 && exact[0].contains("19 of 20"), "{exact:?}");
    let apart = of(Bounds { latency_distance: Some(0.5), ..Bounds::default() });
    assert!(apart.len() == 1 && apart[0].contains("the distance of latencies is 1.000"), "{apart:?}");
    assert!(of(Bounds { latency_distance: Some(1.0), ..Bounds::default() }).is_empty());
}

#[test]
fn locations_are_mapped_and_prepared_in_their_new_place() {
    let folder = tempfile::tempdir().unwrap();
    let root = Location::from_path(folder.path()).unwrap();
    let ranges = |i: u64| Record {
        offset: Some(i * 100),
        len: Some(50),
        ..Record::asked(Action::Read, format!("s3://bucket/train/{}", i % 3), i * 100_000)
    };
    let remap = Remap(vec![format!("s3://bucket={root}").parse().unwrap()]);
    let store: Arc<dyn Store> = Arc::new(FsStore::new(FsOptions::default()).unwrap());
    let scene = scene((0..30).map(ranges).collect(), store).prepared(&remap);
    assert_eq!(std::fs::metadata(folder.path().join("train/2")).unwrap().len(), 29 * 100 + 50);
    let fidelity = scene.replay(&ReplayOptions { remap: remap.clone(), ..open(1.0) });
    assert_eq!((fidelity.done, fidelity.bytes, fidelity.new_failures()), (30, 1500, 0));
    assert!(fidelity.is_exact());

    // What is there and large enough stays; what is too small is not overwritten unasked.
    std::fs::write(folder.path().join("train/2"), b"small").unwrap();
    let refused =
        scene.runtime.block_on(prepare(&scene.plan, &remap, &*scene.stores, 1, false, 1)).unwrap_err();
    assert!(refused.to_string().contains("5 bytes"), "{refused}");
    let again = scene.runtime.block_on(prepare(&scene.plan, &remap, &*scene.stores, 1, true, 1)).unwrap();
    assert_eq!((again.objects, again.present), (1, 2));
}

#[test]
fn a_replay_can_be_stopped_and_says_where_it_was() {
    let records: Vec<_> =
        (0..1000u64).map(|i| Record::asked(Action::Get, "mem://h/k", i * 10_000_000)).collect();
    let scene = memory(records);
    let stop = Stop::default();
    let mut position = 0;
    let fidelity =
        replay(&scene.plan, &open(1.0), &*scene.stores, scene.runtime.handle(), &stop, |progress| {
            position = progress.position;
            if progress.position >= 20 {
                stop.stop();
            }
        })
        .unwrap();
    assert!(fidelity.stopped && (20..500).contains(&fidelity.submitted), "{fidelity:?}");
    assert_eq!(position, fidelity.submitted);
    assert_eq!(scene.replay(&ReplayOptions { skip: position, ..open(0.0001) }).submitted, 1000 - position);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let scene = memory(vec![Record::asked(Action::Get, "mem://h/k", 0)]);
    let stop = Stop::default();
    for (options, needle) in [
        (open(0.0), "time_scale"),
        (open(f64::NAN), "time_scale"),
        (ReplayOptions { loops: 0, ..open(1.0) }, "loops"),
        (ReplayOptions { mode: Mode::Closed { concurrency: 0 }, ..open(1.0) }, "concurrency"),
        (
            ReplayOptions { from: Duration::from_secs(2), until: Some(Duration::from_secs(1)), ..open(1.0) },
            "stop after it starts",
        ),
        (ReplayOptions { from: Duration::from_secs(5), ..open(1.0) }, "no operation from 5s on"),
        (ReplayOptions { skip: 2, ..open(1.0) }, "there are 1"),
    ] {
        let error =
            replay(&scene.plan, &options, &*scene.stores, scene.runtime.handle(), &stop, |_| {}).unwrap_err();
        assert!(error.to_string().contains(needle), "{error}");
    }
    assert!(Path::new(scene.scratch.path()).exists());
}

#[test]
fn a_trace_that_breaks_off_is_an_error_of_the_replay() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("cut.jsonl");
    std::fs::write(&path, "{\"forebay_trace\":1,\"engine\":\"e\",\"host\":\"h\",\"clock\":{\"realtime_ns\":1}}\n{\"op\":\"get\",\"uri\":\"mem://h/k\",\"t_submit\":1}\n").unwrap();
    let plan = Plan::of_file(&path, scratch.path());
    let runtime = runtime();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let error =
        replay(&plan, &open(1.0), &move |_| Ok(store.clone()), runtime.handle(), &Stop::default(), |_| {})
            .unwrap_err();
    assert!(error.to_string().contains("it was cut"), "{error}");
}

#[test]
fn the_noise_floor_is_measured_by_waiting() {
    let floor = noise_floor(Duration::from_millis(1), Duration::from_millis(50), Priority::Fair).unwrap();
    assert_eq!(floor.lateness.len(), 50);
}

/// Operations of one stream: batches of two that overlap, each begun `think` after the batch before had ended.
fn stream(number: u64, batches: u64, took: u64, think: u64) -> Vec<Record> {
    let batch = |i: u64| {
        let submit = i * (took + think);
        [took / 2, took].map(|took| Record {
            t_done: Some(submit + took),
            stream: Some(number),
            sample_id: Some(i),
            ..Record::asked(Action::Get, format!("mem://h/{number}"), submit)
        })
    };
    (0..batches).flat_map(batch).collect()
}

/// What a replay asked for, by stream, in the order of asking.
fn asked(scene: &Scene, options: &ReplayOptions, store: Arc<dyn Store>) -> HashMap<u64, Vec<Record>> {
    let path = scene.scratch.path().join("again.jsonl");
    let header = Header::new("test", "", Clock { realtime_ns: 0, monotonic_ns: None });
    let recorder = Recorder::create(&path, header, Instant::now(), &RecorderOptions::default()).unwrap();
    let store: Arc<dyn Store> = Arc::new(Observed::new(store, recorder.clone()));
    let stores = move |_: &Location| Ok(store.clone());
    replay(&scene.plan, options, &stores, scene.runtime.handle(), &Stop::default(), |_| {}).unwrap();
    assert_eq!(recorder.finish().unwrap().dropped, 0);
    let mut streams: HashMap<u64, Vec<Record>> = HashMap::new();
    for record in Plan::of_file(&path, scene.scratch.path()).records().unwrap() {
        let record = record.unwrap();
        streams.entry(record.stream.unwrap_or(0)).or_default().push(record);
    }
    streams
}

#[test]
fn streams_that_were_interleaved_keep_their_own_pace_and_think_time() {
    const MS: u64 = 1_000_000;
    // One took 20 ms a batch when it was recorded, the other 1 ms.
    let mut records = [stream(1, 10, 20 * MS, 4 * MS), stream(2, 30, MS, 3 * MS)].concat();
    records.sort_by_key(|record| record.t_submit);
    let store = slow();
    let scene = scene(records, store.clone()).prepared(&Remap::default());
    let options = ReplayOptions { mode: Mode::Dependency { time_scale: 1.0 }, ..ReplayOptions::default() };
    let streams = asked(&scene, &options, store);
    for (number, batches, think) in [(1, 10, 4 * MS), (2, 30, 3 * MS)] {
        let stream = &streams[&number];
        assert_eq!(stream.len(), 2 * batches);
        for pair in stream.chunks(2).collect::<Vec<_>>().windows(2) {
            let [before, after] = pair else { unreachable!("windows of two") };
            let ended = before.iter().filter_map(|record| record.t_done).max().unwrap();
            // Both of a batch wait for both of the batch before, and then think.
            assert!(
                after.iter().all(|record| record.t_submit >= ended + think),
                "{after:?} after {before:?}"
            );
        }
        // The members of a batch do not wait for each other: somewhere they overlapped, with reads of up to 5 ms.
        assert!(stream.chunks(2).any(|batch| batch[1].t_submit < batch[0].t_done.unwrap()));
    }
}

#[test]
fn operations_without_a_stream_do_not_wait_for_those_with_one() {
    let with = stream(0, 1, 600_000_000_000, 0);
    let without =
        Record { t_done: Some(700_000_000_001), ..Record::asked(Action::Get, "mem://h/0", 600_000_000_001) };
    let scene = memory([with, vec![without]].concat());
    let options = ReplayOptions { mode: Mode::Dependency { time_scale: 1e-6 }, ..ReplayOptions::default() };
    let fidelity = scene.replay(&options);
    assert_eq!((fidelity.done, fidelity.starved), (3, 0));
    // Due by the trace's clock: nothing of its stream was before it.
    assert!(fidelity.elapsed >= Duration::from_micros(600), "{:?}", fidelity.elapsed);
}

#[test]
fn an_earlier_run_is_gone_on_with_at_once_and_the_rest_keeps_its_pace() {
    let records: Vec<_> =
        (0..100u64).map(|i| Record::asked(Action::Get, "mem://h/k", i * 3_600_000_000_000)).collect();
    let scene = memory(records);
    let mut told = None;
    // An hour between operations, as 1 ms.
    let options = ReplayOptions { skip: 95, loops: 1, ..open(1.0 / 3.6e6) };
    let fidelity =
        replay(&scene.plan, &options, &*scene.stores, scene.runtime.handle(), &Stop::default(), |progress| {
            told = Some(*progress);
        })
        .unwrap();
    let told = told.unwrap();
    assert_eq!((fidelity.submitted, told.position, told.total), (5, 100, 100));
    assert_eq!((told.left, told.trace_time), (Some(Duration::ZERO), Duration::from_secs(4 * 3600)));
    assert!(fidelity.elapsed >= Duration::from_millis(4));
    // Due 0 to 4 ms after the beginning, and not 95 to 99.
    assert_eq!(fidelity.intended_gaps.max() / 100_000, 10);
}

#[test]
fn times_that_no_clock_can_hold_are_an_error() {
    let late = Record { t_done: Some(u64::MAX), ..Record::asked(Action::Get, "mem://h/k", u64::MAX - 1) };
    let scene = memory(vec![Record::asked(Action::Get, "mem://h/k", 0), late]);
    for mode in [Mode::Open { time_scale: 1e300 }, Mode::Dependency { time_scale: 1e300 }] {
        let options = ReplayOptions { mode, loops: u32::MAX, look_ahead: 100, ..ReplayOptions::default() };
        let stop = Stop::default();
        let error =
            replay(&scene.plan, &options, &*scene.stores, scene.runtime.handle(), &stop, |_| {}).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
