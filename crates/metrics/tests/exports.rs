//! What leaves in the formats of others is what they read.
#![cfg(all(feature = "prometheus", feature = "hlog"))]

use std::time::Duration;

use forebay_metrics::hlog::{self, Interval};
use forebay_metrics::{
    Backend, CacheUse, Ended, Extent, MetricsCollector, MetricsSnapshot, Operation, Outcome,
};
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

fn collected(values: impl Iterator<Item = (u64, u64)>) -> MetricsSnapshot {
    let collector = MetricsCollector::new();
    for (bytes, latency_ns) in values {
        let outcome = Outcome::Done { bytes, latency_ns, first_byte_ns: None, cache: CacheUse::Default };
        collector.started(1);
        collector.ended([Ended {
            operation: Operation::Get,
            backend: Backend::File,
            extent: Extent::Whole,
            outcome,
        }]);
    }
    collector.snapshot()
}

fn value(text: &str, line: &str) -> Option<String> {
    text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ').map(str::to_owned))
}

#[test]
fn prometheus_buckets_are_exact_and_cumulative() {
    let sizes = [0, 1, 511, 512, 65_535, 65_536, 65_537, 1 << 20];
    let snapshot = collected(sizes.iter().map(|&size| (size, 1_000 + size)));
    let text = snapshot.to_prometheus();
    let bucket = |le: &str| {
        let line = format!("forebay_operation_req_bytes_bucket{{operation=\"get\",le=\"{le}\"}}");
        value(&text, &line).unwrap_or_else(|| panic!("no {line} in\n{text}"))
    };
    assert_eq!(
        [bucket("0"), bucket("511"), bucket("65535"), bucket("131071"), bucket("+Inf")],
        ["1", "3", "5", "7", "8"]
    );
    let of_get = "{operation=\"get\"}";
    let sum = sizes.iter().sum::<u64>().to_string();
    assert_eq!(value(&text, &format!("forebay_operation_req_bytes_sum{of_get}")), Some(sum.clone()));
    assert_eq!(value(&text, "forebay_bytes_read_total"), Some(sum));
    assert_eq!(value(&text, &format!("forebay_operation_latency_seconds_count{of_get}")), Some("8".into()));
    let of_files = "{backend=\"file\",operation=\"get\"}";
    let count = value(&text, &format!("forebay_backend_operation_latency_seconds_count{of_files}"));
    assert_eq!(count, Some("8".into()));
    assert_eq!(value(&text, "forebay_backend_gets_total{backend=\"file\"}"), Some("8".into()));
    assert_eq!(text, snapshot.to_prometheus(), "the same each time");
    assert!(!text.contains("quantile"), "buckets, not summaries");
}

#[test]
fn interval_logs_are_read_back_exactly() {
    let snapshots = [
        collected((0..5_000).map(|i| (i % 70_000, 900 + i * i))),
        collected([(0, 1), (1 << 40, 3_600_000_000_000)].into_iter()),
    ];
    let interval = |begin| Interval { begin: Duration::from_secs(begin), length: Duration::from_secs(10) };
    let log = hlog::log(snapshots.iter().enumerate().map(|(i, s)| (interval(1_000 + 10 * i as u64), s)));
    let mut read = Vec::new();
    for entry in IntervalLogIterator::new(log.as_bytes()) {
        let LogEntry::Interval(line) = entry.unwrap() else { panic!("only intervals and comments") };
        let bytes =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, line.encoded_histogram());
        let histogram: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.unwrap().as_slice()).unwrap();
        read.push((line.tag().unwrap().as_str().to_owned(), line.start_timestamp().as_secs(), histogram));
    }
    assert_eq!(read.len(), 8, "over all backends and of one: {log}");
    for (i, snapshot) in snapshots.iter().enumerate() {
        let get = snapshot.operation(Operation::Get).unwrap();
        for (tag, summary) in [("latency_ns", &get.latency_ns), ("req_bytes", &get.request_bytes)] {
            let begin = 1_000 + 10 * i as u64;
            for tag in [format!("operation.get.{tag}"), format!("backend_operation.file.get.{tag}")] {
                let (.., found) = read.iter().find(|(t, b, _)| (t, *b) == (&tag, begin)).unwrap();
                assert_eq!(*found, summary.to_hdr(), "{tag}");
            }
        }
    }
}

#[test]
fn a_log_is_read_back_bucket_by_bucket() {
    let first = collected((0..500).map(|i| (i * 1_000, 10_000 + i * 777)));
    let second = collected((0..20).map(|i| (0, 1 + i)));
    let at = |s| Interval { begin: Duration::from_secs(s), length: Duration::from_secs(10) };
    let log = hlog::log([(at(1_763_718_000), &first), (at(1_763_718_010), &second)]);
    let read = hlog::read(&log).unwrap();
    assert_eq!(read.len(), 2);
    for ((interval, read), (wrote, s)) in read.iter().zip([(&first, 0), (&second, 10)]) {
        assert_eq!(*interval, at(1_763_718_000 + s));
        let (read, wrote) = (&read.operations["get"], &wrote.operations["get"]);
        assert_eq!(read.ops, wrote.ops);
        assert_eq!(read.latency_ns.buckets(), wrote.latency_ns.buckets());
        assert_eq!(read.request_bytes.buckets(), wrote.request_bytes.buckets());
        assert_eq!(read.latency_ns.percentile(0.9), wrote.latency_ns.percentile(0.9));
    }
    for (wrong, needle) in
        [("x\n", "interval 1"), ("Tag=operation.get.latency_ns,1.000,2.000,3.000,AAAA\n", "cannot be read")]
    {
        let error = hlog::read(wrong).unwrap_err().to_string();
        assert!(error.contains(needle), "{error}");
    }
}
