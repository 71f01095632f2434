//! What a collector counts, and what of it a snapshot keeps.

use std::sync::Barrier;

use forebay_metrics::{
    Attempted, Backend, CacheUse, Counter, Ended, Extent, Failure, Happening, MetricsCollector,
    MetricsSnapshot, Operation, Outcome, Report, RunFacts, SnapshotError, names,
};

fn done(operation: Operation, bytes: u64, latency_ns: u64) -> Ended {
    Ended {
        operation,
        backend: Backend::File,
        extent: Extent::Whole,
        outcome: Outcome::Done { bytes, latency_ns, first_byte_ns: None, cache: CacheUse::Default },
    }
}

fn failed(operation: Operation, failure: Failure) -> Ended {
    Ended { operation, backend: Backend::File, extent: Extent::Whole, outcome: Outcome::Failed(failure) }
}

#[test]
fn kinds_of_operation_are_kept_apart_within_one_batch() {
    let collector = MetricsCollector::new();
    collector.started(7);
    collector.ended([
        done(Operation::Get, 100, 10),
        done(Operation::Put, 50, 20),
        done(Operation::Get, 200, 30),
        done(Operation::Get, 0, 30),
        failed(Operation::Stat, Failure::Denied),
        failed(Operation::Get, Failure::Throttled),
        done(Operation::List, 0, 40),
    ]);
    let snapshot = collector.snapshot();
    let get = snapshot.operation(Operation::Get).unwrap();
    assert_eq!((get.ops, get.bytes, get.latency_ns.n(), get.request_bytes.n()), (3, 300, 3, 3));
    assert_eq!(get.failures, [("throttled".to_owned(), 1)].into());
    let put = snapshot.operation(Operation::Put).unwrap();
    assert_eq!((put.ops, put.bytes), (1, 50));
    let stat = snapshot.operation(Operation::Stat).unwrap();
    assert_eq!((stat.ops, stat.latency_ns.n()), (0, 0));
    let list = snapshot.operation(Operation::List).unwrap();
    assert_eq!((list.ops, list.request_bytes.n()), (1, 0), "a listing moves no object's bytes");
    assert!(snapshot.operation(Operation::Delete).is_none());
    for (counter, n) in [
        (Counter::Gets, 3),
        (Counter::Puts, 1),
        (Counter::Stats, 0),
        (Counter::Lists, 1),
        (Counter::BytesRead, 300),
        (Counter::BytesWritten, 50),
        (Counter::Errors, 2),
        (Counter::Throttles, 1),
    ] {
        assert_eq!(snapshot.counter(counter), n, "{counter:?}");
    }
    assert_eq!((snapshot.queue_depth.level, snapshot.queue_depth.peak), (0, 7));
    assert_eq!(snapshot.page_cache.applied, [("default".to_owned(), 3)].into());
}

#[test]
fn reads_of_a_range_are_counted_as_such_both_ways() {
    let collector = MetricsCollector::new();
    collector.started(3);
    collector.ended([
        done(Operation::Read, 10, 1),
        Ended { extent: Extent::Part, ..done(Operation::Get, 10, 1) },
        done(Operation::Get, 10, 1),
    ]);
    let snapshot = collector.snapshot();
    assert_eq!(snapshot.counter(Counter::RangeGets), 2);
    assert_eq!(snapshot.counter(Counter::Gets), 2);
    assert_eq!(snapshot.counter(Counter::BytesRead), 30);
}

#[test]
fn latencies_outside_the_range_are_in_the_clamped_counter() {
    let collector = MetricsCollector::new();
    collector.started(3);
    collector.ended([0, 5, u64::MAX].map(|latency| done(Operation::Get, 1, latency)));
    let snapshot = collector.snapshot();
    assert_eq!(snapshot.counter(Counter::Clamped), 2);
    let latency = &snapshot.operation(Operation::Get).unwrap().latency_ns;
    assert_eq!((latency.min(), latency.max()), (Some(1), Some(3_600_000_000_000)));
}

#[test]
fn eight_threads_in_batches_are_counted_exactly() {
    const BATCHES: u64 = 2_000;
    let collector = MetricsCollector::new();
    let all_alive = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (collector, all_alive) = (&collector, &all_alive);
            scope.spawn(move || {
                all_alive.wait();
                for batch in 0..BATCHES {
                    collector.started(4);
                    collector.ended([
                        done(Operation::Get, 1_000 + thread, 1 + batch),
                        done(Operation::Get, 2_000, 1 + batch),
                        failed(Operation::Get, Failure::TimedOut),
                        Ended { outcome: Outcome::Cancelled, ..failed(Operation::Get, Failure::Other) },
                    ]);
                }
            });
        }
    });
    let snapshot = collector.snapshot();
    assert_eq!(snapshot.counter(Counter::Gets), 8 * BATCHES * 2);
    assert_eq!(snapshot.counter(Counter::Errors), 8 * BATCHES);
    assert_eq!(snapshot.counter(Counter::Cancelled), 8 * BATCHES);
    assert_eq!(
        snapshot.counter(Counter::BytesRead),
        (0..8).map(|thread| BATCHES * (3_000 + thread)).sum::<u64>()
    );
    let get = snapshot.operation(Operation::Get).unwrap();
    assert_eq!(get.latency_ns.n(), get.ops);
    assert_eq!(get.request_bytes.sum(), get.bytes);
    assert_eq!(snapshot.queue_depth.level, 0);
    assert!((4..=32).contains(&snapshot.queue_depth.peak));
}

fn attempt(asked: Option<u64>, bytes: u64, status: Option<u16>, failure: Option<Failure>) -> Attempted {
    Attempted {
        operation: Operation::Get,
        backend: Backend::File,
        asked,
        bytes,
        latency_ns: 50,
        first_byte_ns: (bytes > 0).then_some(20),
        status,
        failure,
    }
}

#[test]
fn requests_are_counted_beside_operations() {
    let collector = MetricsCollector::new();
    collector.started(2);
    collector.attempted([
        attempt(Some(64), 64, Some(206), None),
        attempt(Some(64), 10, Some(206), Some(Failure::Unavailable)),
        attempt(None, 0, Some(503), Some(Failure::Throttled)),
        attempt(None, 40, Some(200), None),
        attempt(None, 0, None, Some(Failure::Unavailable)),
        attempt(None, 0, Some(999), Some(Failure::Corrupt)),
    ]);
    collector.retried(Backend::File, Failure::Throttled);
    collector.ended([done(Operation::Get, 104, 90), done(Operation::Stat, 0, 5)]);
    let snapshot = collector.snapshot();
    let get = snapshot.operation(Operation::Get).unwrap();
    assert_eq!((get.ops, get.bytes, get.request_bytes.max()), (1, 104, Some(104)));
    let made = get.attempts.as_ref().unwrap();
    assert_eq!((made.requests, made.bytes, made.failed()), (6, 114, 4));
    let statuses: Vec<_> = made.statuses.iter().map(|(s, n)| (s.as_str(), *n)).collect();
    assert_eq!(statuses, [("200", 1), ("206", 2), ("503", 1), ("other", 1)]);
    assert_eq!((made.latency_ns.n(), made.first_byte_ns.n()), (2, 3));
    assert_eq!(made.request_bytes.buckets(), [(40, 1), (64, 2)], "what was asked, or what came");
    for (counter, n) in [
        (Counter::Requests, 6 + 1),
        (Counter::FailedRequests, 4),
        (Counter::Bytes, 114),
        (Counter::BytesRead, 104),
        (Counter::Gets, 1),
        (Counter::Retries, 1),
    ] {
        assert_eq!(snapshot.counter(counter), n, "{counter:?}");
    }
}

#[test]
fn an_operation_counts_as_one_request_where_none_are_reported() {
    let collector = MetricsCollector::new();
    collector.started(3);
    collector.retried(Backend::File, Failure::Unavailable);
    collector.retried(Backend::File, Failure::Unavailable);
    collector.ended([
        done(Operation::Get, 10, 1),
        failed(Operation::Get, Failure::Unavailable),
        Ended { outcome: Outcome::Cancelled, ..failed(Operation::Stat, Failure::Other) },
    ]);
    let snapshot = collector.snapshot();
    assert_eq!(snapshot.counter(Counter::Requests), 5);
    assert_eq!(snapshot.counter(Counter::FailedRequests), 3);
    assert_eq!(snapshot.counter(Counter::Bytes), 10);
}

#[test]
fn every_happening_has_a_counter_of_its_name() {
    let collector = MetricsCollector::new();
    for (i, happening) in Happening::ALL.iter().enumerate() {
        (0..=i).for_each(|_| collector.happened(Backend::File, *happening));
    }
    let snapshot = collector.snapshot();
    for (i, happening) in Happening::ALL.iter().enumerate() {
        assert_eq!(snapshot.backend_counters.get(happening.name()), Some(&(i as u64 + 1)), "{happening}");
    }
}

#[test]
fn collectors_know_nothing_of_each_other() {
    let collectors: Vec<_> = (0..20).map(|_| MetricsCollector::new()).collect();
    for (n, collector) in collectors.iter().enumerate() {
        collector.started(n as u64);
        collector.ended((0..n).map(|_| done(Operation::Get, 1, 1)));
    }
    for (n, collector) in collectors.iter().enumerate() {
        assert_eq!(collector.snapshot().counter(Counter::Gets), n as u64);
    }
}

#[test]
fn every_counter_of_a_snapshot_is_in_the_registry_and_the_reverse() {
    let snapshot = MetricsCollector::new().snapshot();
    assert_eq!(snapshot.backend_counters.len(), Counter::ALL.len() - 1, "nobody told of connections");
    assert!(!snapshot.backend_counters.contains_key("connections"));
    for name in snapshot.backend_counters.keys() {
        assert!(names::definition(name).is_some(), "{name}");
    }
    let json: serde_json::Value = serde_json::from_str(&snapshot.to_json()).unwrap();
    for other in names::OTHERS {
        assert!(json.get(other.name).is_some(), "{}", other.name);
    }
    for of_the_cache in names::PAGE_CACHE {
        assert!(json["page_cache"].get(of_the_cache.name).is_some(), "{}", of_the_cache.name);
    }
}

#[test]
fn merged_snapshots_are_those_of_one_collector() {
    let (a, b, both) = (MetricsCollector::new(), MetricsCollector::new(), MetricsCollector::new());
    for (collector, operations) in [
        (&a, vec![done(Operation::Get, 10, 100), failed(Operation::Get, Failure::Corrupt)]),
        (&b, vec![done(Operation::Get, 20, 300), done(Operation::Put, 5, 7)]),
    ] {
        for each in [collector, &both] {
            each.started(operations.len() as u64);
            each.ended(operations.iter().copied());
            each.retried(Backend::File, Failure::Throttled);
            each.downgraded(Backend::File, CacheUse::DirectIO, CacheUse::Default);
            each.attempted(operations.iter().map(|_| attempt(Some(9), 9, Some(206), None)));
            each.inflight_bytes().set_cap(64);
            each.inflight_bytes().reached(operations.len() as u64 * 10);
        }
    }
    let mut merged = a.snapshot();
    merged.merge(&b.snapshot()).unwrap();
    assert_eq!(merged, both.snapshot());
}

#[test]
fn snapshots_of_other_precision_do_not_merge_and_nothing_changes() {
    let (three, two) =
        (MetricsCollector::new(), MetricsCollector::with_digits(forebay_metrics::Digits::new(2).unwrap()));
    for collector in [&three, &two] {
        collector.started(1);
        collector.ended([done(Operation::Get, 1, 1)]);
    }
    let mut snapshot = three.snapshot();
    let error = snapshot.merge(&two.snapshot()).unwrap_err();
    assert!(error.to_string().starts_with("operations.get.latency_us_hist: histograms of"), "{error}");
    assert_eq!(snapshot, three.snapshot());
}

#[test]
fn other_schemas_and_other_texts_are_refused_by_name() {
    let json = MetricsSnapshot::default().to_json();
    let older = json.replace("\"schema_version\":2", "\"schema_version\":1");
    match MetricsSnapshot::from_json(&older) {
        Err(error @ SnapshotError::Version { found: 1 }) => {
            assert_eq!(
                error.to_string(),
                "metrics snapshot of schema version 1: this version reads version 2"
            );
        }
        other => panic!("{other:?}"),
    }
    for text in ["", "[]", "{}", "{\"schema_version\":2}", &json[..json.len() - 1]] {
        let error = MetricsSnapshot::from_json(text).unwrap_err();
        assert!(error.to_string().starts_with("not a metrics snapshot: "), "{error}");
    }
}

#[test]
fn connections_are_counted_only_where_somebody_tells_of_them() {
    let (tells, silent) = (MetricsCollector::new(), MetricsCollector::new());
    tells.happened(Backend::File, Happening::Connected);
    let mut snapshot = silent.snapshot();
    assert!(!snapshot.to_json().contains("connections"));
    snapshot.merge(&tells.snapshot()).unwrap();
    assert_eq!(snapshot.counter(Counter::Connections), 1);
    let interval = tells.snapshot().diff(&tells.snapshot()).unwrap();
    assert_eq!(interval.backend_counters.get("connections"), Some(&0), "counted, and none was opened");
}

#[test]
fn what_was_in_the_page_cache_adds_up_and_is_never_made_up() {
    let collector = MetricsCollector::new();
    assert_eq!(collector.snapshot().page_cache.hit_ratio(), None);
    collector.cached(2, 0, 0, 8_192);
    assert_eq!(collector.snapshot().page_cache.hit_ratio(), None, "unknown is not a miss");
    collector.cached(3, 3_000, 1_000, 0);
    let mut snapshot = collector.snapshot();
    assert_eq!(snapshot.page_cache.hit_ratio(), Some(0.75));
    snapshot.merge(&collector.snapshot()).unwrap();
    let cache = &snapshot.page_cache;
    assert_eq!((cache.hit, cache.miss, cache.unknown, cache.reads_sampled), (6_000, 2_000, 16_384, 10));
    let text = Report::new(&snapshot, &RunFacts::default()).to_string();
    assert!(
        text.contains("75.0 % of 7.81 KiB was in it before") && text.contains("did not tell of 16.0 KiB"),
        "{text}"
    );
    for (form, wanted) in [
        (snapshot.to_csv(), "page_cache,,hit,total,,,bytes,6000"),
        #[cfg(feature = "prometheus")]
        (snapshot.to_prometheus(), "forebay_page_cache_bytes_total{state=\"unknown\"} 16384"),
        (
            snapshot.to_json(),
            "\"page_cache\":{\"hit\":6000,\"miss\":2000,\"unknown\":16384,\"reads_sampled\":10",
        ),
    ] {
        assert!(form.contains(wanted), "{wanted}");
    }
    assert_eq!(snapshot.diff(&collector.snapshot()).unwrap().page_cache, collector.snapshot().page_cache);
}
