//! A snapshot as Prometheus text, with real buckets.
//!
//! Counters and levels go through the recorder of `metrics-exporter-prometheus`, without its listener.
//! Distributions are written with that crate's formatting straight from the buckets of the snapshot: a
//! recorder would want every value once more, and would know their sum only roughly.
//!
//! Bounds are `2^k - 1` of the unit recorded (nanoseconds, written in seconds, or bytes), because buckets
//! never straddle a power of two: so each cumulative count is exact. An object of exactly 64 KiB is thus in
//! the bucket `le="131071"`. The bounds are the same for every snapshot of one version.

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::formatting::{write_help_line, write_metric_line, write_type_line};
use metrics_exporter_prometheus::{LabelSet, PrometheusBuilder, PrometheusRecorder};

use crate::names::{self, Unit};
use crate::series::{self, Series};
use crate::snapshot::MetricsSnapshot;
use crate::summary::HistogramSummary;

/// The media type to serve the text with.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The media type of the OpenMetrics form.
pub const OPENMETRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of durations: 2^k - 1 nanoseconds, from 1 µs to over an hour.
const DURATIONS: std::ops::RangeInclusive<u32> = 10..=42;
/// Bounds of sizes: 2^k - 1 bytes, from an empty object to below 1 TiB.
const SIZES: std::ops::RangeInclusive<u32> = 9..=40;

impl MetricsSnapshot {
    /// The text form, names beginning with `forebay_`, the same for the same snapshot. Durations are in
    /// seconds, as is usual there. See [`crate::prometheus`] for the bounds of buckets.
    pub fn to_prometheus(&self) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        for (name, &n) in &self.backend_counters {
            let means = names::definition(name).map_or("", |definition| definition.means);
            counter(&recorder, &format!("forebay_{name}_total"), &[], means, n);
        }
        self.levels(&recorder);
        self.operations(&recorder);
        self.backends(&recorder);
        self.pipeline(&recorder);
        let mut text = sorted(&recorder.handle().render());
        let mut last = String::new();
        for series in series::of(self) {
            let name = metric_name(&series);
            if name != last {
                let means = names::definition(series.metric).map_or("", |definition| definition.means);
                write_help_line(&mut text, &name, None, None, means);
                write_type_line(&mut text, &name, None, None, "histogram");
            }
            histogram(&mut text, &name, &series);
            last = name;
        }
        text
    }

    /// The same in the form of [OpenMetrics 1.0](https://prometheus.io/docs/specs/om/open_metrics_spec/), for collectors that read it
    /// strictly: families of counters are named without `_total`, and the text says where it ends.
    pub fn to_openmetrics(&self) -> String {
        let mut text = String::new();
        for line in self.to_prometheus().lines() {
            match line.strip_prefix("# ").and_then(|rest| rest.split_once("_total ")) {
                // A help text may have the word, too: the name is the second word of its line.
                Some((named, rest)) if named.split(' ').count() == 2 => {
                    text.extend(["# ", named, " ", rest, "\n"]);
                }
                _ => text.extend([line, "\n"]),
            }
        }
        text.push_str("# EOF\n");
        text
    }

    fn levels(&self, recorder: &PrometheusRecorder) {
        for (name, level) in [
            ("max_qd", Some(self.queue_depth.peak)),
            ("queue_depth", Some(self.queue_depth.level)),
            ("peak_inflight", Some(self.inflight_bytes.peak)),
            ("inflight_bytes", Some(self.inflight_bytes.level)),
            ("inflight_cap", self.inflight_bytes.cap),
            ("memory", self.shared_bytes.cap.map(|_| self.shared_bytes.level)),
            ("concurrency_limit", Some(self.concurrency_limit.level)),
        ] {
            let Some(level) = level else { continue };
            let means = names::definition(name).map_or("", |definition| definition.means);
            gauge(recorder, &format!("forebay_{name}"), &[], means, level as f64);
        }
        if let Some(cap) = self.shared_bytes.cap {
            let (peak, means) =
                (self.shared_bytes.peak, "The highest that the memory of all loaders has been.");
            gauge(recorder, "forebay_memory_peak", &[], means, peak as f64);
            let means = "What the memory of all loaders is never to exceed.";
            gauge(recorder, "forebay_memory_cap", &[], means, cap as f64);
        }
        let (peak, means) = (self.concurrency_limit.peak, "The highest that the limit has been.");
        gauge(recorder, "forebay_concurrency_limit_peak", &[], means, peak as f64);
    }

    fn operations(&self, recorder: &PrometheusRecorder) {
        for (name, operation) in &self.operations {
            let of = [("operation", &**name)];
            let done = "Operations that did what was asked.";
            counter(recorder, "forebay_operations_total", &of, done, operation.ops);
            let moved = "Bytes moved by operations that did what was asked.";
            counter(recorder, "forebay_operation_bytes_total", &of, moved, operation.bytes);
            for (kind, &n) in &operation.failures {
                let of = [("operation", &**name), ("kind", &**kind)];
                counter(recorder, "forebay_operation_failures_total", &of, "Operations that failed.", n);
            }
            for (status, &n) in operation.attempts.iter().flat_map(|attempts| &attempts.statuses) {
                let of = [("operation", &**name), ("status", &**status)];
                counter(
                    recorder,
                    "forebay_attempts_total",
                    &of,
                    "Requests by the status of their answer.",
                    n,
                );
            }
        }
        let cache = &self.page_cache;
        for (state, n) in [("hit", cache.hit), ("miss", cache.miss), ("unknown", cache.unknown)] {
            let means = "Bytes in the page cache just before they were read, of the reads before which the store looked.";
            counter(recorder, "forebay_page_cache_bytes_total", &[("state", state)], means, n);
        }
        let means = "Reads before which the store looked into the page cache.";
        counter(recorder, "forebay_page_cache_reads_sampled_total", &[], means, cache.reads_sampled);
        for (mode, &n) in &cache.applied {
            let means = "Served reads by the page-cache mode that was applied to them.";
            counter(recorder, "forebay_page_cache_applied_total", &[("mode", mode)], means, n);
        }
    }

    /// Under names of their own: sums over a metric's labels count each operation once.
    fn backends(&self, recorder: &PrometheusRecorder) {
        for (backend, summary) in &self.backends {
            for (name, &n) in &summary.counters {
                let means = names::definition(name).map_or("", |definition| definition.means);
                counter(
                    recorder,
                    &format!("forebay_backend_{name}_total"),
                    &[("backend", backend)],
                    means,
                    n,
                );
            }
            for (name, operation) in &summary.operations {
                let of = [("backend", &**backend), ("operation", &**name)];
                let done = "Operations that did what was asked.";
                counter(recorder, "forebay_backend_operations_total", &of, done, operation.ops);
                let moved = "Bytes moved by operations that did what was asked.";
                counter(recorder, "forebay_backend_operation_bytes_total", &of, moved, operation.bytes);
                for (kind, &n) in &operation.failures {
                    let [backend, operation] = of;
                    let of = [backend, operation, ("kind", &**kind)];
                    let failed = "Operations that failed.";
                    counter(recorder, "forebay_backend_operation_failures_total", &of, failed, n);
                }
            }
        }
    }

    fn pipeline(&self, recorder: &PrometheusRecorder) {
        let means = |name| names::definition(name).map_or("", |definition| definition.means);
        for stage in &self.stages {
            let of = [("stage", &*stage.name)];
            counter(recorder, "forebay_stage_tasks_total", &of, means("tasks"), stage.tasks);
            counter(recorder, "forebay_stage_failures_total", &of, means("failures"), stage.failures);
        }
        for queue in &self.queues {
            let of = [("queue", &*queue.name)];
            counter(recorder, "forebay_queue_items_total", &of, means("items"), queue.items);
            if let Some(readiness) = queue.data_readiness() {
                let means = "The part of the time in which a get would not have had to wait.";
                gauge(recorder, "forebay_queue_data_readiness", &of, means, readiness);
            }
        }
    }
}

const METADATA: Metadata<'static> = Metadata::new("forebay", Level::INFO, None);

fn key(name: &str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<_> = labels.iter().map(|&(key, value)| Label::new(key, value.to_owned())).collect();
    Key::from_parts(name.to_owned(), labels)
}

fn counter(
    recorder: &PrometheusRecorder,
    name: &str,
    labels: &[(&'static str, &str)],
    means: &'static str,
    n: u64,
) {
    recorder.describe_counter(name.to_owned().into(), None, means.into());
    recorder.register_counter(&key(name, labels), &METADATA).absolute(n);
}

fn gauge(
    recorder: &PrometheusRecorder,
    name: &str,
    labels: &[(&'static str, &str)],
    means: &'static str,
    level: f64,
) {
    recorder.describe_gauge(name.to_owned().into(), None, means.into());
    recorder.register_gauge(&key(name, labels), &METADATA).set(level);
}

/// `forebay_operation_latency_seconds`, `forebay_queue_get_wait_seconds`, `forebay_attempt_req_bytes`.
fn metric_name(series: &Series<'_>) -> String {
    let unit = if in_seconds(series) { "_seconds" } else { "" };
    format!("forebay_{}_{}{unit}", series.section, series.bare())
}

fn histogram(text: &mut String, name: &str, series: &Series<'_>) {
    let labels = match series.backend {
        None => key("", &[(series.section, series.name)]),
        Some(backend) => key("", &[("backend", backend), ("operation", series.name)]),
    };
    let labels = LabelSet::from_key_and_global(&labels, &Default::default());
    let summary = series.summary;
    let in_seconds = in_seconds(series);
    let (bounds, scale) = if in_seconds { (DURATIONS, 1e9) } else { (SIZES, 1.0) };
    let zero = if in_seconds { None } else { Some(0) };
    for bound in zero.into_iter().chain(bounds.map(|bits| (1u64 << bits) - 1)) {
        let le = Some(("le", bound as f64 / scale));
        write_metric_line(text, name, Some("bucket"), &labels, le, up_to(summary, bound), None);
    }
    write_metric_line(text, name, Some("bucket"), &labels, Some(("le", "+Inf")), summary.n(), None);
    let sum = summary.sum() as f64 / scale;
    write_metric_line(text, name, Some("sum"), &labels, None::<(&'static str, f64)>, sum, None);
    write_metric_line(text, name, Some("count"), &labels, None::<(&'static str, f64)>, summary.n(), None);
}

fn in_seconds(series: &Series<'_>) -> bool {
    series.summary.layout().unit() == Unit::Nanoseconds
}

/// Values of at most `bound`, which is one less than a power of two.
fn up_to(summary: &HistogramSummary, bound: u64) -> u64 {
    let below = summary.buckets().partition_point(|&(low, _)| low <= bound);
    summary.buckets()[..below].iter().map(|&(_, count)| count).fold(0, u64::saturating_add)
}

/// The recorder writes in the order of its hash tables, which differs from run to run.
fn sorted(text: &str) -> String {
    let mut blocks: Vec<Vec<&str>> = text
        .split("\n\n")
        .map(|block| block.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>())
        .filter(|lines| !lines.is_empty())
        .collect();
    for block in &mut blocks {
        // The first two say what it is.
        let values = block.iter().position(|line| !line.starts_with('#')).unwrap_or(block.len());
        block[values..].sort_unstable();
    }
    blocks.sort_unstable_by_key(|block| block.last().copied());
    blocks.concat().into_iter().flat_map(|line| [line, "\n"]).collect()
}
