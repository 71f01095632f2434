//! What one backend did: the series of a snapshot that are kept apart by file, direct, s3, az and memory.
//!
//! They are what all backends did together, taken apart: each operation is in exactly one of them, and so is what
//! layers around them did about trouble. What is told without saying of whom is `other`'s.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::collector::Told;
use crate::diff::{diff_operations, subtract};
use crate::names::Counter;
use crate::operation::{Happening, Operation};
use crate::snapshot::{OperationSummary, SnapshotError, add_up, merge_operations};

/// One backend's part of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendSummary {
    /// Those of `backend_counters`, of this backend alone.
    pub counters: BTreeMap<String, u64>,
    /// By [`Operation`] name, those that ended or made a request at least once.
    pub operations: BTreeMap<String, OperationSummary>,
}

impl BackendSummary {
    /// A counter's value.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(counter.definition().name).copied().unwrap_or(0)
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
    fn of(operations: &BTreeMap<String, OperationSummary>, told: &Told, reported: bool) -> Requests {
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
        // Reported requests have the repeated ones among them. Retries of nobody's operations are somebody's.
        let reports = |operation: &OperationSummary| operation.attempts.is_some();
        if !(if operations.is_empty() { reported } else { operations.values().any(reports) }) {
            let retries = told.retries.load(Ordering::Relaxed);
            totals.made += retries;
            totals.failed += retries;
        }
        totals
    }
}

/// A counter of one backend; `reported` says whether any of them reports its requests.
pub(crate) fn count(
    counter: Counter,
    operations: &BTreeMap<String, OperationSummary>,
    reads: Reads,
    told: &Told,
    reported: bool,
) -> u64 {
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let happened = |happening: Happening| load(&told.happenings[happening as usize]);
    let ops = |operation: Operation| operations.get(operation.name()).map_or(0, |o| o.ops);
    let bytes = |operation: Operation| operations.get(operation.name()).map_or(0, |o| o.bytes);
    let requests = || Requests::of(operations, told, reported);
    match counter {
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
        Counter::Retries => load(&told.retries),
        Counter::Throttles => load(&told.throttles),
        Counter::Downgrades => load(&told.downgrades),
        Counter::RetriesWithheld => happened(Happening::RetryWithheld),
        Counter::Hedges => happened(Happening::Hedged),
        Counter::HedgesWon => happened(Happening::HedgeWon),
        Counter::HedgesDenied => happened(Happening::HedgeDenied),
        Counter::BreakerOpens => happened(Happening::BreakerOpened),
        Counter::BreakerRefusals => happened(Happening::BreakerRefused),
        Counter::Failovers => happened(Happening::FailedOver),
        Counter::ConcurrencyCuts => happened(Happening::ConcurrencyCut),
        Counter::Connections => happened(Happening::Connected),
        Counter::Mappings => happened(Happening::Mapped),
        Counter::MappingsAdvised => happened(Happening::MappingAdvised),
        Counter::Unregistered => happened(Happening::Unregistered),
    }
}
