//! Requests that a backend really made, beside the operations that callers asked for.
//!
//! One operation may make none (a cache had it), one, or many: parts of a large object, tries after
//! a failure, pages of a listing, a hedge. Their sizes say what the device or service was really asked
//! for. Not every backend reports them; a summary without them says so by having none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::histogram::summarize;
use crate::histogram_shard::{Burst, HistogramShard};
#[cfg(feature = "hlog")]
use crate::layout::{Digits, Layout};
use crate::operation::{Backend, Failure, Operation};
use crate::recording::Plan;
use crate::summary::{HistogramSummary, MergeError};
use crate::tally::{Tally, Writer};

/// One request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// The kind of operation that it was made for.
    pub operation: Operation,
    /// What was asked.
    pub backend: Backend,
    /// How many bytes it asked for, where that was said in it.
    pub asked: Option<u64>,
    /// Bytes that it moved, also if it failed half way.
    pub bytes: u64,
    /// From its start to its end, in nanoseconds.
    pub latency_ns: u64,
    /// From its start to the first byte, in nanoseconds, where that is known.
    pub first_byte_ns: Option<u64>,
    /// The status of the answer, of protocols that have one.
    pub status: Option<u16>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

/// The requests made for one kind of operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptSummary {
    /// Requests made, failed ones included.
    pub requests: u64,
    /// Bytes that they moved, those of failed requests included.
    pub bytes: u64,
    /// Requests that failed, by kind of error.
    pub failures: BTreeMap<String, u64>,
    /// Requests by the status of their answer (`"206"`); `"other"` outside 100 to 599. Requests without
    /// an answer are in none.
    pub statuses: BTreeMap<String, u64>,
    /// From start to end, of those that did not fail.
    #[serde(rename = "latency_us_hist")]
    pub latency_ns: HistogramSummary,
    /// From start to first byte, where the backend could tell.
    #[serde(rename = "first_byte_us_hist")]
    pub first_byte_ns: HistogramSummary,
    /// Bytes that each asked for, failed ones included; where a request did not say, what it brought if
    /// it did not fail.
    #[serde(rename = "req_bytes_hist")]
    pub request_bytes: HistogramSummary,
}

impl AttemptSummary {
    /// Of no request.
    #[cfg(feature = "hlog")]
    pub(crate) fn nothing() -> AttemptSummary {
        let latency = HistogramSummary::empty(Layout::latency(Digits::THREE));
        AttemptSummary {
            requests: 0,
            bytes: 0,
            failures: BTreeMap::new(),
            statuses: BTreeMap::new(),
            latency_ns: latency.clone(),
            first_byte_ns: latency,
            request_bytes: HistogramSummary::empty(Layout::request_bytes(Digits::THREE)),
        }
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Values that fell outside the range of their histogram.
    pub fn clamped(&self) -> u64 {
        self.latency_ns.clamped() + self.first_byte_ns.clamped() + self.request_bytes.clamped()
    }

    /// Adds another's requests to these; on error some may have been added. Names the field at fault.
    pub(crate) fn merge(&mut self, other: &AttemptSummary) -> Result<(), (&'static str, MergeError)> {
        self.latency_ns.merge(&other.latency_ns).map_err(|e| ("latency_us_hist", e))?;
        self.first_byte_ns.merge(&other.first_byte_ns).map_err(|e| ("first_byte_us_hist", e))?;
        self.request_bytes.merge(&other.request_bytes).map_err(|e| ("req_bytes_hist", e))?;
        self.requests = self.requests.saturating_add(other.requests);
        self.bytes = self.bytes.saturating_add(other.bytes);
        for (ours, theirs) in [(&mut self.failures, &other.failures), (&mut self.statuses, &other.statuses)] {
            for (name, n) in theirs {
                let sum = ours.entry(name.clone()).or_default();
                *sum = sum.saturating_add(*n);
            }
        }
        Ok(())
    }
}

/// Statuses are three digits, and the first is 1 to 5.
const STATUSES: usize = 500;

/// One thread's requests for one kind of operation.
pub(crate) struct AttemptShard {
    requests: Tally,
    bytes: Tally,
    failed: [Tally; Failure::COUNT],
    /// By status less 100; the last is for all others.
    statuses: [Tally; STATUSES + 1],
    latency: HistogramShard,
    first_byte: HistogramShard,
    request_bytes: HistogramShard,
}

impl AttemptShard {
    pub(crate) fn new(latency: &Plan, bytes: &Plan) -> AttemptShard {
        AttemptShard {
            requests: Tally::new(0),
            bytes: Tally::new(0),
            failed: std::array::from_fn(|_| Tally::new(0)),
            statuses: std::array::from_fn(|_| Tally::new(0)),
            latency: HistogramShard::new(latency),
            first_byte: HistogramShard::new(latency),
            request_bytes: HistogramShard::new(bytes),
        }
    }
}

impl AttemptShard {
    /// Puts what waits in lists into buckets.
    pub(crate) fn publish(&self, latency: &Plan, bytes: &Plan, writer: Writer) {
        self.latency.publish(latency, writer);
        self.first_byte.publish(latency, writer);
        self.request_bytes.publish(bytes, writer);
    }
}

/// A stretch of requests that goes to one shard. What it adds to counters is written once, at its end.
pub(crate) struct AttemptRun<'a> {
    backend: Backend,
    operation: Operation,
    shard: &'a AttemptShard,
    requests: u64,
    bytes: u64,
    latency: Burst,
    first_byte: Burst,
    request_bytes: Burst,
}

impl<'a> AttemptRun<'a> {
    pub(crate) fn new(backend: Backend, operation: Operation, shard: &'a AttemptShard) -> AttemptRun<'a> {
        AttemptRun {
            backend,
            operation,
            shard,
            requests: 0,
            bytes: 0,
            latency: Burst::default(),
            first_byte: Burst::default(),
            request_bytes: Burst::default(),
        }
    }

    #[inline]
    pub(crate) fn is_of(&self, backend: Backend, operation: Operation) -> bool {
        self.operation == operation && self.backend == backend
    }

    /// One more of its requests is over.
    #[inline]
    pub(crate) fn record(&mut self, attempt: &Attempted, latency: &Plan, bytes: &Plan, writer: Writer) {
        let shard = self.shard;
        self.requests += 1;
        self.bytes += attempt.bytes;
        match attempt.failure {
            Some(failure) => shard.failed[failure as usize].add(1, writer),
            None => self.latency.record(&shard.latency, latency, attempt.latency_ns, writer),
        }
        if let Some(status) = attempt.status {
            let index = usize::from(status).checked_sub(100).filter(|&i| i < STATUSES).unwrap_or(STATUSES);
            shard.statuses[index].add(1, writer);
        }
        if let Some(first_byte_ns) = attempt.first_byte_ns {
            self.first_byte.record(&shard.first_byte, latency, first_byte_ns, writer);
        }
        let brought = || attempt.failure.is_none().then_some(attempt.bytes);
        if attempt.operation.moves_bytes()
            && let Some(size) = attempt.asked.or_else(brought)
        {
            self.request_bytes.record(&shard.request_bytes, bytes, size, writer);
        }
    }

    pub(crate) fn write(self, latency: &Plan, bytes: &Plan, writer: Writer) {
        let AttemptRun { shard, .. } = self;
        shard.requests.add(self.requests, writer);
        shard.bytes.add(self.bytes, writer);
        self.latency.write(&shard.latency, latency, writer);
        self.first_byte.write(&shard.first_byte, latency, writer);
        self.request_bytes.write(&shard.request_bytes, bytes, writer);
    }
}

/// All threads' requests for one kind of operation; `None` if none was reported.
pub(crate) fn summary(shards: &[&AttemptShard], latency: &Plan, bytes: &Plan) -> Option<AttemptSummary> {
    if shards.is_empty() {
        return None;
    }
    let sum = |tally: &dyn Fn(&AttemptShard) -> u64| shards.iter().map(|s| tally(s)).sum::<u64>();
    let some = |(_, n): &(String, u64)| *n > 0;
    Some(AttemptSummary {
        requests: sum(&|s| s.requests.get()),
        bytes: sum(&|s| s.bytes.get()),
        failures: Failure::ALL
            .iter()
            .map(|&f| (f.name().to_owned(), sum(&|s| s.failed[f as usize].get())))
            .filter(some)
            .collect(),
        statuses: (0..=STATUSES)
            .map(|i| {
                let name = if i < STATUSES { (i + 100).to_string() } else { "other".to_owned() };
                (name, sum(&|s| s.statuses[i].get()))
            })
            .filter(some)
            .collect(),
        latency_ns: summarize(latency, shards.iter().map(|s| &s.latency)),
        first_byte_ns: summarize(latency, shards.iter().map(|s| &s.first_byte)),
        request_bytes: summarize(bytes, shards.iter().map(|s| &s.request_bytes)),
    })
}
