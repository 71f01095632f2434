//! What one backend did: the series of a snapshot that are kept apart by file, direct, s3, az and memory.
//!
//! They are what all backends did together, taken apart: each operation is in exactly one of them. Counters that
//! are not of operations or requests (retries, hedges, throttling, connections) are told by layers around backends
//! and are kept over all of them only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diff::{diff_operations, subtract};
use crate::names::Counter;
use crate::operation::Operation;
use crate::snapshot::{OperationSummary, SnapshotError, add_up, merge_operations};

/// One backend's part of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendSummary {
    /// Those of `backend_counters` that can be told of a backend; see [`Counter::is_per_backend`]. `requests` and
    /// `failed_requests` are without retries where the backend reports no requests.
    pub counters: BTreeMap<String, u64>,
    /// By [`Operation`] name, those that ended or made a request at least once.
    pub operations: BTreeMap<String, OperationSummary>,
}

impl BackendSummary {
    /// A counter's value; none for one that is kept over all backends only.
    pub fn counter(&self, counter: Counter) -> Option<u64> {
        counter.is_per_backend().then(|| self.counters.get(counter.definition().name).copied().unwrap_or(0))
    }

    /// One kind of operation, if it ever ended.
    pub fn operation(&self, operation: Operation) -> Option<&OperationSummary> {
        self.operations.get(operation.name())
    }

    pub(crate) fn merge(&mut self, other: &BackendSummary, name: &str) -> Result<(), SnapshotError> {
        merge_operations(&mut self.operations, &other.operations, &format!("backends.{name}.operations"))?;
        add_up(&mut self.counters, &other.counters);
        Ok(())
    }

    pub(crate) fn diff(&self, earlier: &BackendSummary, name: &str) -> Result<BackendSummary, SnapshotError> {
        let place = format!("backends.{name}");
        let mut counters = subtract(&self.counters, &earlier.counters, &format!("{place}.counters"))?;
        for name in self.counters.keys() {
            counters.entry(name.clone()).or_default();
        }
        let place = format!("{place}.operations");
        Ok(BackendSummary {
            counters,
            operations: diff_operations(&self.operations, &earlier.operations, &place)?,
        })
    }
}

/// What counters say of some operations, beyond the operations themselves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reads {
    pub(crate) range_gets: u64,
    /// Those for which a page-cache mode other than the default was applied.
    pub(crate) hints: u64,
}

/// Requests over all kinds of operation, as [`Counter::Requests`] and its neighbours define them.
#[derive(Default)]
struct Requests {
    made: u64,
    failed: u64,
    bytes: u64,
}

impl Requests {
    fn of(operations: &BTreeMap<String, OperationSummary>, retries: u64) -> Requests {
        let mut totals = Requests::default();
        for operation in operations.values() {
            let (made, failed, bytes) = match &operation.attempts {
                Some(attempts) => (attempts.requests, attempts.failed(), attempts.bytes),
                None => {
                    let failed = operation.failures.values().sum::<u64>();
                    (operation.ops + failed + operation.cancelled, failed, operation.bytes)
                }
            };
            totals.made += made;
            totals.failed += failed;
            totals.bytes += bytes;
        }
        // Reported requests have the repeated ones among them.
        if operations.values().all(|operation| operation.attempts.is_none()) {
            totals.made += retries;
            totals.failed += retries;
        }
        totals
    }
}

/// The counter of these operations, if it is one that operations and requests alone tell.
pub(crate) fn told(
    counter: Counter,
    operations: &BTreeMap<String, OperationSummary>,
    reads: Reads,
    retries: u64,
) -> Option<u64> {
    let ops = |operation: Operation| operations.get(operation.name()).map_or(0, |o| o.ops);
    let bytes = |operation: Operation| operations.get(operation.name()).map_or(0, |o| o.bytes);
    let requests = || Requests::of(operations, retries);
    Some(match counter {
        Counter::Gets => ops(Operation::Get),
        Counter::RangeGets => reads.range_gets,
        Counter::Lists => ops(Operation::List),
        Counter::Puts => ops(Operation::Put),
        Counter::Stats => ops(Operation::Stat),
        Counter::Opens => ops(Operation::Open),
        Counter::Deletes => ops(Operation::Delete),
        Counter::CacheHintsApplied => reads.hints,
        Counter::BytesRead => bytes(Operation::Get) + bytes(Operation::Read),
        Counter::BytesWritten => bytes(Operation::Put),
        Counter::Requests => requests().made,
        Counter::FailedRequests => requests().failed,
        Counter::Bytes => requests().bytes,
        Counter::Errors => operations.values().map(|o| o.failures.values().sum::<u64>()).sum(),
        Counter::Cancelled => operations.values().map(|o| o.cancelled).sum(),
        Counter::Clamped => operations.values().map(OperationSummary::clamped).sum(),
        _ => return None,
    })
}

impl Counter {
    /// Whether it is also kept for each backend by itself: what operations and requests tell. The others are told by
    /// the layers around backends.
    pub fn is_per_backend(self) -> bool {
        told(self, &BTreeMap::new(), Reads::default(), 0).is_some()
    }
}
