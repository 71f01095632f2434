//! Replays on services that check signatures: exactly what the trace asked for, wherever its locations are mapped.

use forebay_io::Location;
use forebay_io_open::{StoreOptions, Surroundings, open};
use forebay_io_testkit::servers::{Azurite, S3Server};
use forebay_trace::replay::{Plan, Prepared, Remap, ReplayOptions, Stop, Stores, prepare, replay};
use forebay_trace::{Action, Bounds, Fidelity, Record};
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;

const OBJECTS: u64 = 24;
const ROUNDS: u64 = 4;

/// Reads of every object, whole and in part, some of them more than once, from folders `a` and `b`.
fn records() -> Vec<Record> {
    let one = |i: u64| {
        let object = i % OBJECTS;
        let uri =
            format!("file:///recorded/{}/{object:02}", if object.is_multiple_of(3) { "a" } else { "b" });
        let (round, at) = (i / OBJECTS, i * 5_000_000);
        let size = 2000 + object * 100;
        match round {
            0 => Record { bytes: Some(size), ..Record::asked(Action::Get, uri, at) },
            _ => Record {
                offset: Some(round * 100),
                len: Some(500 + object),
                ..Record::asked(Action::Get, uri, at)
            },
        }
    };
    (0..OBJECTS * ROUNDS).map(one).collect()
}

/// A replay of [`records`], after the objects were made where `rules` lead.
struct Replayed {
    prepared: Prepared,
    again: Prepared,
    fidelity: Fidelity,
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Opens stores with an environment such as the services' own tools read.
fn stores(environment: &[(&str, String)]) -> Box<Stores> {
    #[allow(clippy::disallowed_methods)]
    let around = Surroundings::new(
        environment.iter().map(|(key, value)| ((*key).to_owned(), value.clone())),
        SystemTime::now,
    );
    let options = StoreOptions::default().with_surroundings(around);
    Box::new(move |location| open(location, &options))
}

fn on_s3(server: &S3Server) -> Box<Stores> {
    stores(&[
        ("AWS_ENDPOINT_URL", server.endpoint()),
        ("AWS_REGION", S3Server::REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY.to_owned()),
    ])
}

fn replayed(stores: &Stores, rules: &[String]) -> Replayed {
    let scratch = tempfile::tempdir().unwrap();
    let plan = Plan::new(|| Ok(Box::new(records().into_iter().map(Ok))), scratch.path());
    let runtime = runtime();
    let remap = Remap(rules.iter().map(|rule| rule.parse().unwrap()).collect());
    let make = || runtime.block_on(prepare(&plan, &remap, stores, 1, false, 4)).unwrap();
    let (prepared, again) = (make(), make());
    let options = ReplayOptions { remap: remap.clone(), ..ReplayOptions::default() };
    let fidelity = replay(&plan, &options, stores, runtime.handle(), &Stop::default(), |_| {}).unwrap();
    Replayed { prepared, again, fidelity }
}

impl Replayed {
    /// What holds on every service.
    fn is_true_to_the_trace(&self) {
        let (fidelity, records) = (&self.fidelity, records());
        let operations = records.len() as u64;
        let bytes = records.iter().filter_map(Record::size).sum();
        assert!(fidelity.is_exact(), "{fidelity:?}");
        assert_eq!((fidelity.submitted, fidelity.done, fidelity.bytes), (operations, operations, bytes));
        assert_eq!((fidelity.new_failures(), fidelity.capped, fidelity.size_distance()), (0, 0, 0.0));
        let bounds = Bounds { failures: Some(0), size_distance: Some(0.01), ..Bounds::default() };
        assert_eq!(fidelity.violations(&bounds), [""; 0]);
        // The report has each latency, from the intended time and from the submission.
        let report = fidelity.to_json();
        assert_eq!(report["exact"], true);
        for (name, histogram) in [
            ("submit_error", &fidelity.submit_error),
            ("latency", &fidelity.latency),
            ("latency from intended", &fidelity.latency_from_intended),
        ] {
            assert_eq!(histogram.len(), operations, "{name}");
        }
        for q in [0.5, 0.99, 1.0] {
            let intended = fidelity.latency_from_intended.value_at_quantile(q);
            assert!(intended >= fidelity.latency.value_at_quantile(q));
        }
        // Nothing was submitted before it was due.
        let last = Duration::from_nanos(records.last().unwrap().t_submit);
        assert!(fidelity.elapsed >= last, "{:?}", fidelity.elapsed);
        // The first preparation made what the trace reads, the second had nothing to do.
        let sizes: u64 = (0..OBJECTS).map(|object| 2000 + object * 100).sum();
        assert_eq!(self.prepared, Prepared { objects: OBJECTS, bytes: sizes, present: 0 });
        assert_eq!(self.again, Prepared { objects: 0, bytes: 0, present: OBJECTS });
    }
}

/// Which of the objects lie beneath `place`.
fn objects(stores: &Stores, place: &str) -> Vec<u64> {
    let place: Location = place.parse().unwrap();
    let store = stores(&place).unwrap();
    let runtime = runtime();
    let there = |object: &u64| {
        ["a", "b"].iter().any(|folder| {
            let location = place.join(format!("{folder}/{object:02}").as_bytes());
            runtime.block_on(store.stat(&location)).is_ok()
        })
    };
    (0..OBJECTS).filter(there).collect()
}

#[test]
fn files_are_replayed_exactly_on_s3() {
    let server = S3Server::start().unwrap();
    let stores = on_s3(&server);
    let to = format!("s3://{}/replayed", server.bucket());
    let replayed = replayed(&*stores, &[format!("file:///recorded={to}")]);
    replayed.is_true_to_the_trace();
    assert_eq!(objects(&*stores, &to).len() as u64, OBJECTS);
}

#[test]
fn many_places_are_replayed_in_one_bucket() {
    let server = S3Server::start().unwrap();
    let stores = on_s3(&server);
    let to = format!("s3://{}/both/a", server.bucket());
    let rules = ["a", "b"].map(|from| format!("file:///recorded/{from}={to}"));
    let replayed = replayed(&*stores, &rules);
    replayed.is_true_to_the_trace();
    // All in one folder.
    assert_eq!(objects(&*stores, &format!("s3://{}/both", server.bucket())).len() as u64, OBJECTS);
}

#[test]
fn one_place_is_spread_over_many_buckets() {
    let server = S3Server::start().unwrap();
    let stores = on_s3(&server);
    let places = [server.bucket().to_owned(), server.new_bucket().unwrap(), server.new_bucket().unwrap()]
        .map(|bucket| format!("s3://{bucket}/part"));
    let replayed = replayed(&*stores, &[format!("file:///recorded={}", places.join("|"))]);
    replayed.is_true_to_the_trace();
    // Each object is in one of them, and each of them has some.
    let mut all = Vec::new();
    for place in &places {
        let some = objects(&*stores, place);
        assert!(!some.is_empty(), "nothing in {place}");
        all.extend(some);
    }
    all.sort_unstable();
    assert_eq!(all, (0..OBJECTS).collect::<Vec<_>>());
}

#[test]
fn files_are_replayed_exactly_on_azure() {
    let azurite = Azurite::shared().unwrap();
    let stores = stores(&[("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string())]);
    let to = format!("az://{}/replayed", azurite.new_container().unwrap());
    let replayed = replayed(&*stores, &[format!("file:///recorded={to}")]);
    replayed.is_true_to_the_trace();
    assert_eq!(objects(&*stores, &to).len() as u64, OBJECTS);
}

#[test]
fn one_place_is_spread_over_many_containers_of_azure() {
    let azurite = Azurite::shared().unwrap();
    let stores = stores(&[("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string())]);
    let places = [0, 1].map(|_| format!("az://{}/part", azurite.new_container().unwrap()));
    let replayed = replayed(&*stores, &[format!("file:///recorded={}", places.join("|"))]);
    replayed.is_true_to_the_trace();
    let some = places.each_ref().map(|place| objects(&*stores, place).len() as u64);
    assert!(some[0] > 0 && some[1] > 0 && some[0] + some[1] == OBJECTS, "{some:?}");
}
