//! Snapshots as an interval log of HdrHistogram (`.hlog`, V2 compressed): every bucket of every
//! distribution, for the tools of that family in Java, Python and Rust.
//!
//! Each distribution is one line with a tag such as `operation.get.latency_ns` or
//! `operation.get.req_bytes`. Those without a value
//! are left out. Values keep their unit, nanoseconds or bytes, in the histogram as well as in the column for
//! the maximum. Counters are not in this form.

use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::names::Unit;
use crate::series;
use crate::snapshot::MetricsSnapshot;

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
            let tag = tag(&format!("{}.{}.{}{unit}", series.section, series.name, series.bare()));
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
