//! What sampling and lists change, and what they must not; and operations that a program names itself.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_metrics::{
    Backend, CacheUse, Counter, Digits, Ended, Extent, Layout, MetricsCollector, MetricsSnapshot, NameError,
    Operation, Outcome, PerformanceHistogram, Preset, RecordingError, RecordingOptions, Report, RunFacts,
};
use proptest::prelude::*;

fn options(sampling_rate: f64, batch_size: u32) -> RecordingOptions {
    RecordingOptions { sampling_rate, batch_size, ..Preset::Training.options() }
}

fn get(i: u64) -> Ended {
    let (bytes, latency_ns) = (i % 5_000, 1_000 + i * 7_919 % 100_000);
    let outcome = Outcome::Done { bytes, latency_ns, first_byte_ns: None, cache: CacheUse::Default };
    Ended { operation: Operation::Get, backend: Backend::File, extent: Extent::Whole, outcome }
}

#[test]
fn rates_and_batches_that_cannot_be_are_refused_by_name() {
    for rate in [0.0, -0.1, 1.01, f64::NAN, f64::INFINITY] {
        let error = MetricsCollector::with_options(options(rate, 1)).unwrap_err();
        assert!(matches!(error, RecordingError::SamplingRate(_)), "{error}");
        assert!(error.to_string().starts_with("sampling_rate is "), "{error}");
    }
    for size in [0, RecordingOptions::MAX_BATCH_SIZE + 1] {
        let error = PerformanceHistogram::with_options(Layout::latency, options(1.0, size)).unwrap_err();
        assert_eq!(error.to_string(), format!("batch_size is {size}: it must be from 1 to 4096"));
    }
}

#[test]
fn sampling_leaves_counters_exact_and_says_of_how_many_its_percentiles_are() {
    const N: u64 = 100_000;
    let (whole, part) = (MetricsCollector::new(), MetricsCollector::with_options(options(0.1, 1)).unwrap());
    for collector in [&whole, &part] {
        for first in (0..N).step_by(100) {
            collector.started(100);
            collector.ended((first..first + 100).map(get));
        }
    }
    let (whole, part) = (whole.snapshot(), part.snapshot());
    assert_eq!(whole.backend_counters, part.backend_counters);
    let (all, some) = (whole.operation(Operation::Get).unwrap(), part.operation(Operation::Get).unwrap());
    assert_eq!((some.ops, some.bytes), (all.ops, all.bytes));
    let latency = &some.latency_ns;
    assert_eq!(latency.offered(), N);
    assert!((9_500..=10_500).contains(&latency.n()), "{}", latency.n());
    let truth = all.latency_ns.percentile(0.99).unwrap();
    let (low, high) = latency.percentile_interval(0.99).unwrap();
    assert!(low <= truth && truth <= high && low < high, "{low} <= {truth} <= {high}");

    let json: serde_json::Value = serde_json::from_str(&part.to_json()).unwrap();
    let written = &json["operations"]["get"]["latency_us_hist"];
    assert_eq!((&written["of"], &written["n"]), (&N.into(), &latency.n().into()));
    assert_eq!(written["confidence_95"]["p99"][0], low as f64 / 1e3);
    assert!(json["operations"]["get"]["first_byte_us_hist"]["confidence_95"].is_null());
    assert_eq!(MetricsSnapshot::from_json(&part.to_json()).unwrap(), part);
    let text = Report::new(&part, &RunFacts::default()).to_string();
    assert!(text.contains("of 100,000 operations") && text.contains("95 % confidence"), "{text}");
    assert!(!Report::new(&whole, &RunFacts::default()).to_string().contains("Sampled"));
}

#[test]
fn values_of_different_rates_or_digits_are_not_put_beside_each_other() {
    let counted = |options| {
        let collector = MetricsCollector::with_options(options).unwrap();
        collector.started(1_000);
        collector.ended((0..1_000).map(get));
        collector.snapshot()
    };
    let (whole, part) = (counted(options(1.0, 1)), counted(options(0.25, 1)));
    for (ours, theirs, named) in [(&whole, &part, "rate 1 and 0.25"), (&part, &whole, "rate 0.25 and 1")] {
        let mut merged = ours.clone();
        let error = merged.merge(theirs).unwrap_err().to_string();
        assert!(error.contains("operations.get.latency_us_hist") && error.contains(named), "{error}");
        assert_eq!(merged, *ours, "nothing is changed on error");
        assert!(ours.diff(theirs).is_err());
    }
    let finer = counted(Preset::Inference.options());
    let error = whole.clone().merge(&finer).unwrap_err().to_string();
    assert!(error.contains("3 digits") && error.contains("4 digits"), "{error}");

    let read = MetricsSnapshot::from_json(&part.to_json()).unwrap();
    let mut twice = MetricsSnapshot::default();
    twice.merge(&read).unwrap();
    twice.merge(&part).unwrap();
    let latency = &twice.operation(Operation::Get).unwrap().latency_ns;
    assert_eq!((latency.offered(), latency.sampling_rate()), (2_000, 0.25));
    assert_eq!(
        twice.diff(&part).unwrap().operation(Operation::Get).unwrap().latency_ns.sampling_rate(),
        0.25
    );
}

#[test]
fn what_is_asked_for_in_words_is_what_is_kept() {
    let asked = RecordingOptions::asked;
    assert_eq!(asked(None, None, None, None), Ok(RecordingOptions::default()));
    for preset in Preset::ALL {
        assert_eq!(asked(Some(preset.name()), None, None, None), Ok(preset.options()));
    }
    let all = asked(Some("inference"), Some(2), Some(0.5), Some(64)).unwrap();
    assert_eq!((all.digits.get(), all.sampling_rate, all.batch_size), (2, 0.5, 64));
    for (wrong, named) in [
        (asked(Some("fast"), None, None, None), "preset \"fast\""),
        (asked(None, Some(6), None, None), "significant_digits is 6"),
        (asked(None, None, Some(0.0), None), "sampling_rate is 0"),
        (asked(None, None, None, Some(0)), "batch_size is 0"),
    ] {
        assert!(wrong.unwrap_err().to_string().starts_with(named));
    }
}

#[test]
fn values_out_of_range_are_counted_also_where_sampling_leaves_them_out() {
    let histogram = PerformanceHistogram::with_options(Layout::latency, options(0.01, 1)).unwrap();
    histogram.record_all([0; 1_000]);
    let summary = histogram.summary();
    assert_eq!((summary.clamped(), summary.offered()), (1_000, 1_000));
    assert!(summary.n() < 100);
}

proptest! {
    #[test]
    fn a_list_changes_nothing_that_is_read(
        values in prop::collection::vec(any::<u64>().prop_map(|v| v >> (v % 64)), 0..500),
        batch in 1u32..200,
    ) {
        let listed = PerformanceHistogram::with_options(Layout::latency, options(1.0, batch)).unwrap();
        let at_once = PerformanceHistogram::new(Layout::latency(Digits::THREE));
        for &value in &values {
            listed.record(value);
            at_once.record(value);
        }
        let waiting = if batch == 1 { 0 } else { values.len() as u64 % u64::from(batch) };
        prop_assert_eq!(listed.waiting(), waiting);
        prop_assert_eq!(listed.summary(), at_once.summary());
        listed.flush();
        prop_assert_eq!(listed.waiting(), 0);
        prop_assert_eq!(listed.summary(), at_once.summary());
    }
}

#[test]
fn a_reader_never_sees_a_value_twice_or_loses_one_while_lists_are_put_into_buckets() {
    const N: u64 = 100_000;
    let histogram = PerformanceHistogram::with_options(Layout::request_bytes, options(1.0, 16)).unwrap();
    let (both, ended) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            both.wait();
            (0..N).for_each(|_| histogram.record(1));
            ended.store(true, Ordering::Release);
        });
        both.wait();
        let mut last = 0;
        while !ended.load(Ordering::Acquire) {
            let summary = histogram.summary();
            assert!(summary.n() >= last && summary.n() <= N);
            last = summary.n();
        }
    });
    assert_eq!(
        (histogram.summary().n(), histogram.summary().sum()),
        (N, N),
        "of a thread that has ended, too"
    );
}

#[test]
fn a_collector_with_lists_counts_what_one_without_does() {
    let (listed, at_once) =
        (MetricsCollector::with_options(options(1.0, 64)).unwrap(), MetricsCollector::new());
    for collector in [&listed, &at_once] {
        collector.started(1_000);
        collector.ended((0..1_000).map(get));
        collector.record_operation("decode", Duration::from_micros(5), None).unwrap();
    }
    assert_eq!(listed.snapshot(), at_once.snapshot());
    listed.flush();
    assert_eq!(listed.snapshot(), at_once.snapshot());
}

#[test]
fn operations_of_any_name_have_series_of_their_own() {
    let collector = MetricsCollector::new();
    for us in 1..=200 {
        collector.record_operation("augment.crop", Duration::from_micros(us), Some(us)).unwrap();
    }
    collector.record_operation("get", Duration::from_micros(9), Some(70)).unwrap();
    let latency = collector.latency_summary("augment.crop").unwrap();
    assert_eq!((latency.n(), latency.min(), latency.max()), (200, Some(1_000), Some(200_000)));
    assert!(latency.percentile(0.99).is_some());
    assert!(collector.latency_summary("never").is_none());
    assert!(collector.report().contains("augment.crop"), "{}", collector.report());
    let snapshot = collector.snapshot();
    assert_eq!((snapshot.counter(Counter::Gets), snapshot.counter(Counter::BytesRead)), (1, 70));
    assert_eq!(snapshot.queue_depth.level, 0);
    let named = &snapshot.operations["augment.crop"];
    assert_eq!((named.ops, named.bytes, named.request_bytes.n()), (200, 200 * 201 / 2, 200));
    let mut twice = snapshot.clone();
    twice.merge(&snapshot).unwrap();
    assert_eq!(twice.operations["augment.crop"].latency_ns.n(), 400);

    // Out of range, of no backend, and told all the same.
    assert_eq!(snapshot.counter(Counter::Clamped), 0);
    collector.record_operation("augment.crop", Duration::from_secs(1_000_000), None).unwrap();
    assert_eq!(collector.snapshot().counter(Counter::Clamped), 1);
    assert!(collector.report().contains("clamped"), "{}", collector.report());
}

#[test]
fn names_that_are_none_and_too_many_are_refused() {
    let collector = MetricsCollector::new();
    let record = |name: &str| collector.record_operation(name, Duration::ZERO, None);
    for name in ["", "Two Words", "a,b", &"x".repeat(65), "größe"] {
        assert_eq!(record(name), Err(NameError::Spelling(name.to_owned())));
    }
    for i in 0..1_000 {
        record(&format!("kind-{i}")).unwrap();
    }
    assert!(matches!(record("one-more"), Err(NameError::TooMany(_))));
    record("kind-7").unwrap();
    assert_eq!(collector.snapshot().operations["kind-7"].ops, 2);
}

#[test]
fn every_preset_takes_a_byte_to_a_tebibyte_and_a_nanosecond_to_an_hour() {
    for preset in Preset::ALL {
        let collector = MetricsCollector::with_options(preset.options()).unwrap();
        for (bytes, latency_ns) in [(1, 1), (1 << 40, 3_600_000_000_000)] {
            let outcome = Outcome::Done { bytes, latency_ns, first_byte_ns: None, cache: CacheUse::Default };
            collector.started(1);
            collector.ended([Ended {
                operation: Operation::Get,
                backend: Backend::File,
                extent: Extent::Whole,
                outcome,
            }]);
        }
        let snapshot = collector.snapshot();
        let get = snapshot.operation(Operation::Get).unwrap();
        assert_eq!(get.clamped(), 0, "{}", preset.name());
        assert_eq!((get.latency_ns.min(), get.latency_ns.max()), (Some(1), Some(3_600_000_000_000)));
        assert_eq!((get.request_bytes.min(), get.request_bytes.max()), (Some(1), Some(1 << 40)));
    }
}

#[test]
fn memory_is_what_the_documentation_says() {
    let [three, four, two] = Preset::ALL.map(|preset| Layout::latency(preset.digits()).page_len());
    assert_eq!((four / three, three / two), (16, 8));
}
