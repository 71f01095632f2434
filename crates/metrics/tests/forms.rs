//! The JSON schema and the text report, held against files that a change has to be seen in.

use std::time::Duration;

use forebay_metrics::{
    Attempted, Backend, CacheUse, Digits, Ended, Extent, Failure, Happening, HistogramSummary, Layout,
    MetricsCollector, MetricsSnapshot, Operation, Outcome, PerformanceHistogram, QueueRole, QueueStats,
    Report, RunFacts, StageStats,
};

fn get(bytes: u64, latency_ns: u64) -> Ended {
    Ended {
        operation: Operation::Get,
        backend: Backend::File,
        extent: Extent::Whole,
        outcome: Outcome::Done { bytes, latency_ns, first_byte_ns: None, cache: CacheUse::DontNeed },
    }
}

fn waits(values: impl IntoIterator<Item = u64>) -> HistogramSummary {
    let histogram = PerformanceHistogram::new(Layout::wait(Digits::THREE));
    histogram.record_all(values);
    histogram.summary()
}

fn services(values: impl IntoIterator<Item = u64>) -> HistogramSummary {
    let histogram = PerformanceHistogram::new(Layout::latency(Digits::THREE));
    histogram.record_all(values);
    histogram.summary()
}

/// Small enough to read in full.
fn small() -> MetricsSnapshot {
    let collector = MetricsCollector::new();
    collector.started(4);
    collector.ended([
        get(0, 900),
        get(65_536, 12_000),
        Ended { outcome: Outcome::Failed(Failure::NotFound), ..get(0, 0) },
        Ended {
            operation: Operation::Read,
            backend: Backend::File,
            extent: Extent::Part,
            outcome: Outcome::Done {
                bytes: 4_096,
                latency_ns: 5_000,
                first_byte_ns: Some(4_000),
                cache: CacheUse::FadviseRandom,
            },
        },
    ]);
    collector.retried(Backend::File, Failure::Unavailable);
    collector.downgraded(Backend::File, CacheUse::DirectIO, CacheUse::DontNeed);
    collector.inflight_bytes().set_cap(1 << 20);
    collector.inflight_bytes().add(69_632);
    let mut snapshot = collector.snapshot();
    snapshot.stages.push(StageStats {
        name: "read".into(),
        concurrency: 2,
        tasks: 3,
        failures: 1,
        service_ns: services([12_000, 15_000]),
        pool_wait_ns: waits([0, 100]),
        blocked_ns: waits([]),
    });
    snapshot.queues.push(QueueStats {
        name: "batches".into(),
        role: QueueRole::Sink,
        capacity: 2,
        items: 2,
        measured_ns: 1_000_000,
        empty_ns: 250_000,
        depth_ns: 1_500_000,
        max_depth: 2,
        get_wait_ns: waits([0, 250_000]),
        put_wait_ns: waits([]),
    });
    snapshot
}

/// A run as it would be in earnest.
fn large() -> (MetricsSnapshot, RunFacts) {
    let collector = MetricsCollector::new();
    collector.inflight_bytes().set_cap(64 << 20);
    collector.inflight_bytes().reached(50 << 20);
    let mut bytes = 0;
    let mut batch = Vec::new();
    for i in 0..20_000u64 {
        let size = match i % 100 {
            0 => 0,
            1..=59 => 64 << 10,
            60..=94 => (4 << 10) + i,
            _ => 1 << 20,
        };
        bytes += size;
        let slow = if i % 5_000 == 4_999 { 40_000_000 } else { 0 };
        batch.push(get(size, 4_000 + size / 10 + (i * 7_919) % 3_000 + slow));
        if batch.len() == 32 || i == 19_999 {
            collector.started(batch.len() as u64);
            collector.ended(batch.drain(..));
        }
    }
    collector.started(4);
    collector.ended([
        Ended {
            operation: Operation::List,
            backend: Backend::File,
            extent: Extent::Whole,
            outcome: Outcome::Done {
                bytes: 0,
                latency_ns: 18_000_000,
                first_byte_ns: Some(90_000),
                cache: CacheUse::NotApplicable,
            },
        },
        Ended { outcome: Outcome::Failed(Failure::TimedOut), ..get(0, 0) },
        Ended { outcome: Outcome::Failed(Failure::TimedOut), ..get(0, 0) },
        Ended { outcome: Outcome::Cancelled, ..get(0, 0) },
    ]);
    for _ in 0..12 {
        collector.retried(Backend::File, Failure::Throttled);
        collector.downgraded(Backend::File, CacheUse::DirectIO, CacheUse::DontNeed);
    }
    let mut snapshot = collector.snapshot();
    snapshot.stages = vec![
        StageStats {
            name: "sampler".into(),
            concurrency: 1,
            tasks: 625,
            failures: 0,
            service_ns: services((0..625).map(|i| 900 + i)),
            pool_wait_ns: waits([0; 625]),
            blocked_ns: waits((0..625).map(|i| i * 2_000)),
        },
        StageStats {
            name: "read-batches-of-32".into(),
            concurrency: 2,
            tasks: 625,
            failures: 2,
            service_ns: services((0..625).map(|i| 1_000_000 + i * 500)),
            pool_wait_ns: waits((0..625).map(|i| i * 10)),
            blocked_ns: waits([0; 625]),
        },
    ];
    snapshot.queues = vec![
        QueueStats {
            name: "plans".into(),
            role: QueueRole::Inner,
            capacity: 4,
            items: 625,
            measured_ns: 1_250_000_000,
            empty_ns: 20_000_000,
            depth_ns: 4_700_000_000,
            max_depth: 4,
            get_wait_ns: waits((0..625).map(|i| i / 10)),
            put_wait_ns: waits((0..625).map(|i| i * 2_000)),
        },
        QueueStats {
            name: "batches".into(),
            role: QueueRole::Sink,
            capacity: 8,
            items: 625,
            measured_ns: 1_250_000_000,
            empty_ns: 150_000_000,
            depth_ns: 2_600_000_000,
            max_depth: 8,
            get_wait_ns: waits((0..625).map(|i| if i % 8 == 0 { 1_500_000 + i } else { 0 })),
            put_wait_ns: waits([0; 625]),
        },
    ];
    let facts = RunFacts {
        cpu_user: Some(Duration::from_millis(420)),
        cpu_system: Some(Duration::from_millis(1_130)),
        samples: 20_000,
        batches: 625,
        bytes,
        epochs: 2,
        max_bytes_in_flight: Some(64 << 20),
        page_cache_requested: Some("direct_io".into()),
        ..RunFacts::new(Duration::from_millis(1_250))
    };
    (snapshot, facts)
}

#[test]
fn json_schema() {
    let snapshot = small();
    let json = snapshot.to_json();
    assert_eq!(MetricsSnapshot::from_json(&json).unwrap(), snapshot);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    insta::assert_snapshot!("json_schema", serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn csv_schema() {
    let csv = small().to_csv();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some(forebay_metrics::csv::HEADER));
    assert!(lines.all(|line| line.split(',').count() == 9), "no name here needs quotes");
    insta::assert_snapshot!("csv_schema", csv);
}

#[test]
fn report_of_a_run() {
    let (snapshot, facts) = large();
    let text = Report::new(&snapshot, &facts).to_string();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    assert!(!text.contains('\x1b'));
    insta::assert_snapshot!("report_of_a_run", text);
}

/// Objects of 4 MiB read in parts of 1 MiB from a service that is not well.
fn from_a_service() -> MetricsSnapshot {
    let collector = MetricsCollector::new();
    let part = Attempted {
        operation: Operation::Get,
        backend: Backend::S3,
        asked: Some(1 << 20),
        bytes: 1 << 20,
        latency_ns: 9_000_000,
        first_byte_ns: Some(4_000_000),
        status: Some(206),
        failure: None,
    };
    for i in 0..50 {
        collector.started(1);
        collector.attempted([part; 4]);
        if i % 10 == 0 {
            let throttled = Some(Failure::Throttled);
            collector.attempted([Attempted { bytes: 0, status: Some(503), failure: throttled, ..part }]);
            collector.retried(Backend::S3, Failure::Throttled);
        }
        collector.ended([Ended { backend: Backend::S3, ..get(4 << 20, 11_000_000) }]);
    }
    // And what it was copied from, or is checked against.
    collector.started(2);
    collector.ended([get(4 << 10, 12_000), get(4 << 10, 13_000)]);
    let reset = Attempted { bytes: 70_000, status: None, failure: Some(Failure::Unavailable), ..part };
    collector.attempted([reset]);
    collector.retried(Backend::S3, Failure::Unavailable);
    for happening in Happening::ALL {
        collector.happened(Backend::S3, *happening);
    }
    collector.concurrency_limit().add(32);
    collector.concurrency_limit().sub(20);
    collector.snapshot()
}

#[test]
fn report_of_a_service_tells_requests_from_operations() {
    let facts = RunFacts { samples: 50, bytes: 200 << 20, ..RunFacts::new(Duration::from_secs(2)) };
    let text = Report::new(&from_a_service(), &facts).to_string();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    insta::assert_snapshot!("report_of_a_service", text);
}

#[test]
fn requests_survive_json_and_their_absence_does() {
    let snapshot = from_a_service();
    let json = snapshot.to_json();
    assert!(json.contains(r#""statuses":{"206":200,"503":5}"#), "{json}");
    assert_eq!(MetricsSnapshot::from_json(&json).unwrap(), snapshot);
    assert!(!small().to_json().contains("attempts"));
}

#[test]
fn report_of_nothing_makes_nothing_up() {
    let text = Report::new(&MetricsSnapshot::default(), &RunFacts::default()).to_string();
    assert_eq!(text, "Loaded        0 samples, 0 B in 0 ns\n");
}

#[test]
fn report_of_few_values_shows_no_percentiles() {
    let snapshot = small();
    let text = Report::new(&snapshot, &RunFacts::new(Duration::from_millis(1))).to_string();
    insta::assert_snapshot!("report_of_few_values", text);
}

#[test]
fn colours_change_nothing_but_colours() {
    let (snapshot, facts) = large();
    let plain = Report::new(&snapshot, &facts).to_string();
    let coloured = Report::new(&snapshot, &facts).coloured(true).to_string();
    assert_ne!(plain, coloured);
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        stripped.push_str(before);
        rest = after.split_once('m').expect("every colour code ends in m").1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
}

#[test]
fn facts_survive_json() {
    let (_, facts) = large();
    let json = serde_json::to_string(&facts).unwrap();
    assert!(json.contains("\"elapsed_s\":1.25") && json.contains("\"cpu_user_s\":0.42"), "{json}");
    assert_eq!(serde_json::from_str::<RunFacts>(&json).unwrap(), facts);
}
