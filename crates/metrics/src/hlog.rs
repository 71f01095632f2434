//! Snapshots as an interval log of HdrHistogram (`.hlog`, V2 compressed): every bucket of every
//! distribution, for the tools of that family in Java, Python and Rust.
//!
//! Each distribution is one line with a tag such as `operation.get.latency_ns` or
//! `operation.get.req_bytes`, of one backend alone `backend_operation.s3.get.latency_ns`. Those without a value are left
//! out. Values keep their unit, nanoseconds or bytes, in the histogram as well as in the column for the maximum.
//! Counters are not in this form.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use crate::attempts::AttemptSummary;
use crate::layout::{Digits, Layout};
use crate::names::Unit;
use crate::series;
use crate::snapshot::{MetricsSnapshot, OperationSummary};
use crate::summary::HistogramSummary;

/// When what a snapshot counts happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Its beginning, since 1970-01-01 in UTC. The log keeps milliseconds.
    pub begin: Duration,
    /// How long it was.
    pub length: Duration,
}

/// The log of these snapshots, in the order given: for intervals, each with what happened in it alone
/// (see [`MetricsSnapshot::diff`]).
pub fn log<'a>(intervals: impl IntoIterator<Item = (Interval, &'a MetricsSnapshot)>) -> String {
    let mut text = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    // The header that readers in other languages look for.
    let comments =
        "[Histogram log format version 1.3]\nForebay; values are nanoseconds or bytes, as the tag says";
    let mut header = IntervalLogWriterBuilder::new();
    header.add_comment(comments);
    let mut writer = header.begin_log_with(&mut text, &mut serializer).expect("memory takes every byte");
    for (interval, snapshot) in intervals {
        for series in series::of(snapshot) {
            if series.summary.n() == 0 {
                continue;
            }
            let unit = match series.summary.layout().unit() {
                Unit::Nanoseconds => "_ns",
                // The name has it.
                _ => "",
            };
            let of = series.backend.map_or(String::new(), |backend| format!("{backend}."));
            let tag = tag(&format!("{}.{of}{}.{}{unit}", series.section, series.name, series.bare()));
            writer
                .write_histogram(&series.summary.to_hdr(), interval.begin, interval.length, Tag::new(&tag))
                .expect("every layout has a V2 form, and memory takes every byte");
        }
    }
    String::from_utf8(text).expect("tags are UTF-8, the rest is ASCII")
}

/// With `_` for what a tag may not have in it.
fn tag(name: &str) -> String {
    name.replace([',', ' ', '\r', '\n'], "_")
}

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
#[error("interval {interval}: {reason}")]
pub struct LogError {
    /// Which line that holds an interval, from 1.
    pub interval: usize,
    /// Why it cannot be read.
    pub reason: String,
}

/// Reads what [`log`] wrote: snapshots of intervals, in the order of time, with what such a log holds of
/// operations. Their counts and buckets are those that were written, minimum and maximum are the bounds of the
/// first and the last bucket, and sums are taken from the middles of buckets. Operations that failed, other counters
/// and levels are not in a log; stages, queues and other tags are passed over.
///
/// # Errors
/// For a line that is not of this form, or a histogram of values beyond those of the metric.
pub fn read(text: &str) -> Result<Vec<(Interval, MetricsSnapshot)>, LogError> {
    let mut intervals: Vec<(Interval, MetricsSnapshot)> = Vec::new();
    let mut deserializer = Deserializer::new();
    let mut at = 0;
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        at += 1;
        let wrong = |reason: &str| LogError { interval: at, reason: reason.to_owned() };
        let LogEntry::Interval(line) = entry.map_err(|_| wrong("not a line of an interval log"))? else {
            at -= 1;
            continue;
        };
        let tag = line.tag().map_or("", |tag| tag.as_str());
        let parts = tag.split_once('.').and_then(|(section, rest)| {
            let (name, metric) = rest.rsplit_once('.')?;
            Some((section, name, metric))
        });
        let Some((section @ ("operation" | "attempt"), name, metric)) = parts else { continue };
        let bytes =
            STANDARD.decode(line.encoded_histogram()).map_err(|_| wrong("its histogram is not base64"))?;
        let hdr: hdrhistogram::Histogram<u64> = deserializer
            .deserialize(&mut &bytes[..])
            .map_err(|error| wrong(&format!("its histogram cannot be read: {error}")))?;
        let summary = summary(metric, &hdr).ok_or_else(|| wrong("its values or digits are out of range"))?;
        let interval = Interval { begin: line.start_timestamp(), length: line.duration() };
        let found = intervals.iter().rposition(|(other, _)| *other == interval);
        let place = found.unwrap_or_else(|| {
            intervals.push((interval, MetricsSnapshot::default()));
            intervals.len() - 1
        });
        let snapshot = &mut intervals[place].1;
        let operation = snapshot.operations.entry(name.to_owned()).or_insert_with(OperationSummary::nothing);
        let kept = match (section, metric) {
            ("operation", "latency_ns") => &mut operation.latency_ns,
            ("operation", "first_byte_ns") => &mut operation.first_byte_ns,
            ("operation", "req_bytes") => &mut operation.request_bytes,
            (_, metric) => {
                let attempts = operation.attempts.get_or_insert_with(AttemptSummary::nothing);
                match metric {
                    "latency_ns" => &mut attempts.latency_ns,
                    "first_byte_ns" => &mut attempts.first_byte_ns,
                    "req_bytes" => &mut attempts.request_bytes,
                    _ => continue,
                }
            }
        };
        if kept.n() == 0 {
            *kept = summary;
        } else {
            kept.merge(&summary).map_err(|error| wrong(&error.to_string()))?;
        }
    }
    for operation in intervals.iter_mut().flat_map(|(_, snapshot)| snapshot.operations.values_mut()) {
        operation.ops = operation.latency_ns.n();
        operation.bytes = operation.request_bytes.sum();
        if let Some(attempts) = &mut operation.attempts {
            attempts.requests = attempts.request_bytes.n().max(attempts.latency_ns.n());
            attempts.bytes = attempts.request_bytes.sum();
        }
    }
    intervals.sort_by_key(|(interval, _)| interval.begin);
    Ok(intervals)
}

/// None where the metric cannot have these values.
fn summary(metric: &str, hdr: &hdrhistogram::Histogram<u64>) -> Option<HistogramSummary> {
    let digits = Digits::new(hdr.sigfig()).ok()?;
    let layout = match metric {
        "req_bytes" => Layout::request_bytes(digits),
        _ => Layout::latency(digits),
    };
    let mut buckets: Vec<(u64, u64)> = Vec::new();
    let mut sum = 0u64;
    for step in hdr.iter_recorded() {
        let (value, n) = (step.value_iterated_to(), step.count_since_last_iteration());
        if value < layout.lowest() || hdr.lowest_equivalent(value) > layout.highest() {
            return None;
        }
        let low = layout.low_of(layout.index_of(layout.clamp(value)));
        sum = sum.saturating_add(hdr.median_equivalent(value).saturating_mul(n));
        buckets.push((low, n));
    }
    buckets.iter().try_fold(0u64, |sum, bucket| sum.checked_add(bucket.1))?;
    Some(HistogramSummary::from_parts(layout, buckets, sum, 0, u64::MAX, 0))
}
