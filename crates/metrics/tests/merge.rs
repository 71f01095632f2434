//! Merging is exact to the bucket, whoever counted what; and what was merged can be taken apart again.

use forebay_metrics::{
    Attempted, Backend, CacheUse, Counter, Ended, Extent, Failure, Happening, MetricsCollector,
    MetricsSnapshot, Operation, Outcome, SnapshotError,
};
use proptest::prelude::*;

fn operation() -> impl Strategy<Value = Ended> {
    let kinds = prop::sample::select(vec![Operation::Get, Operation::Read, Operation::Put, Operation::List]);
    let cache = prop::sample::select(CacheUse::ALL.to_vec());
    let done = (0u64..=1 << 41, 0u64..=4_000_000_000_000, any::<bool>(), cache).prop_map(
        |(bytes, latency_ns, told, cache)| Outcome::Done {
            bytes,
            latency_ns,
            first_byte_ns: told.then_some(latency_ns / 2),
            cache,
        },
    );
    let outcome = prop_oneof![
        8 => done,
        1 => prop::sample::select(Failure::ALL.to_vec()).prop_map(Outcome::Failed),
        1 => Just(Outcome::Cancelled),
    ];
    let backends = prop::sample::select(Backend::ALL.to_vec());
    (kinds, backends, outcome).prop_map(|(operation, backend, outcome)| Ended {
        operation,
        backend,
        extent: Extent::Part,
        outcome,
    })
}

fn count(collector: &MetricsCollector, operation: Ended) {
    collector.started(1);
    // One backend makes requests for every operation, or for none: else their totals cannot be told.
    let (bytes, latency_ns, first_byte_ns, failure) = match operation.outcome {
        Outcome::Done { bytes, latency_ns, first_byte_ns, .. } => (bytes, latency_ns, first_byte_ns, None),
        Outcome::Failed(failure) => (0, 0, None, Some(failure)),
        Outcome::Cancelled => (0, 0, None, Some(Failure::Cancelled)),
    };
    let (kind, status) = (operation.operation, failure.is_none().then_some(206));
    collector.attempted([Attempted {
        operation: kind,
        backend: operation.backend,
        asked: None,
        bytes,
        latency_ns,
        first_byte_ns,
        status,
        failure,
    }]);
    let backend = operation.backend;
    collector.ended([operation]);
    collector.retried(backend, Failure::Throttled);
    collector.happened(backend, Happening::Hedged);
    collector.downgraded(backend, CacheUse::DirectIO, CacheUse::Default);
}

proptest! {
    // Each case reads nine collectors, and what can go wrong shows with few operations.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn processes_that_share_the_work_count_what_one_would(
        work in prop::collection::vec((operation(), 0usize..4), 0..80),
    ) {
        let (one, several) = (MetricsCollector::new(), [(); 4].map(|()| MetricsCollector::new()));
        for &(operation, whose) in &work {
            count(&one, operation);
            count(&several[whose], operation);
        }
        let mut merged = MetricsSnapshot::default();
        for collector in &several {
            // As they come from other processes.
            merged.merge(&MetricsSnapshot::from_json(&collector.snapshot().to_json()).unwrap()).unwrap();
        }
        prop_assert_eq!(merged, one.snapshot());
    }

    #[test]
    fn backends_together_are_the_whole(work in prop::collection::vec(operation(), 0..80)) {
        let collector = MetricsCollector::new();
        work.iter().for_each(|&operation| count(&collector, operation));
        let snapshot = collector.snapshot();
        for counter in Counter::ALL {
            let each = snapshot.backends.values().map(|backend| backend.counter(*counter));
            prop_assert_eq!(each.sum::<u64>(), snapshot.counter(*counter), "{:?}", counter);
        }
        let mut sum = MetricsSnapshot::default();
        for backend in snapshot.backends.values() {
            let operations = backend.operations.clone();
            sum.merge(&MetricsSnapshot { operations, ..MetricsSnapshot::default() }).unwrap();
        }
        prop_assert_eq!(sum.operations, snapshot.operations);
    }

    #[test]
    fn an_interval_added_to_what_was_before_is_the_whole(
        before in prop::collection::vec(operation(), 0..40),
        after in prop::collection::vec(operation(), 0..40),
    ) {
        let (run, interval) = (MetricsCollector::new(), MetricsCollector::new());
        before.iter().for_each(|&operation| count(&run, operation));
        let earlier = run.snapshot();
        after.iter().for_each(|&operation| {
            count(&run, operation);
            count(&interval, operation);
        });
        let later = run.snapshot();
        let diff = later.diff(&earlier).unwrap();
        prop_assert_eq!(&diff.backend_counters, &interval.snapshot().backend_counters);
        for (name, theirs) in &interval.snapshot().operations {
            let ours = &diff.operations[name];
            prop_assert_eq!(ours.latency_ns.buckets(), theirs.latency_ns.buckets());
            prop_assert_eq!(ours.request_bytes.buckets(), theirs.request_bytes.buckets());
        }
        for (name, theirs) in &interval.snapshot().backends {
            let ours = &diff.backends[name];
            prop_assert_eq!(&ours.counters, &theirs.counters);
            for (operation, theirs) in &theirs.operations {
                prop_assert_eq!(ours.operations[operation].latency_ns.buckets(), theirs.latency_ns.buckets());
            }
        }
        let mut sum = earlier;
        sum.merge(&diff).unwrap();
        prop_assert_eq!(sum.backend_counters, later.backend_counters);
        for (name, whole) in &later.operations {
            prop_assert_eq!(sum.operations[name].latency_ns.buckets(), whole.latency_ns.buckets());
        }
        for (name, whole) in &later.backends {
            prop_assert_eq!(&sum.backends[name].counters, &whole.counters);
        }
    }
}

#[test]
fn a_later_snapshot_is_not_taken_for_an_earlier_one() {
    let collector = MetricsCollector::new();
    let outcome = Outcome::Failed(Failure::Denied);
    let failed = Ended { operation: Operation::Get, backend: Backend::File, extent: Extent::Whole, outcome };
    count(&collector, failed);
    let earlier = collector.snapshot();
    count(&collector, failed);
    let error = earlier.diff(&collector.snapshot()).unwrap_err();
    assert!(matches!(error, SnapshotError::NotEarlier { earlier: 2, later: 1, .. }), "{error}");
}
