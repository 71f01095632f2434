//! What a fault store has done so far: a test that injects faults and finds none injected proves nothing.

use forebay_io::Kind;
use std::collections::BTreeMap;

/// Counts of injected faults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FaultCounts {
    /// Errors before anything was done, by kind.
    pub errors: BTreeMap<Kind, u64>,
    /// Reads that left a part of the bytes in the place and failed, and listings that broke off.
    pub short_reads: u64,
    /// Operations that were done and failed all the same.
    pub lost_answers: u64,
    /// Reads that succeeded with one byte changed.
    pub corruptions: u64,
    /// Operations that never end by themselves.
    pub hangs: u64,
    /// Operations that were delayed, whatever became of them.
    pub delays: u64,
}

impl FaultCounts {
    /// All faults that a caller notices as an error.
    pub fn failures(&self) -> u64 {
        self.errors.values().sum::<u64>() + self.short_reads + self.lost_answers
    }
}
