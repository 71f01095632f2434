//! Streams for a trace that has none: operations that did not overlap are put one after the other.

use crate::Record;
use crate::error::Result;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Gives each record without a stream the lane that has been free for the shortest time when it is asked for, or a new
/// one: as few lanes as the trace had operations in flight at most (the greedy colouring of an interval
/// graph). Records must come in the order in which they were asked for.
pub struct Lanes<I> {
    records: I,
    /// When lanes in use become free.
    busy: BinaryHeap<Reverse<(u64, u64)>>,
    /// Free lanes, the one that became free last on top.
    free: Vec<u64>,
    lanes: u64,
}

impl<I> Lanes<I> {
    /// Lanes for `records`.
    pub fn new(records: I) -> Self {
        Lanes { records, busy: BinaryHeap::new(), free: Vec::new(), lanes: 0 }
    }

    fn lane(&mut self, record: &Record) -> u64 {
        while let Some(Reverse((done, lane))) = self.busy.peek().copied() {
            if done > record.t_submit {
                break;
            }
            self.busy.pop();
            self.free.push(lane);
        }
        let lane = self.free.pop().unwrap_or_else(|| {
            self.lanes += 1;
            self.lanes - 1
        });
        self.busy.push(Reverse((record.t_done.unwrap_or(record.t_submit), lane)));
        lane
    }
}

impl<I: Iterator<Item = Result<Record>>> Iterator for Lanes<I> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut next = self.records.next()?;
        if let Ok(record) = &mut next
            && record.stream.is_none()
        {
            // Far from the numbers that recordings give: some of its operations may have streams.
            record.stream = Some(u64::MAX - self.lane(record));
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn no_two_operations_of_a_lane_overlap(spans in proptest::collection::vec((0u64..100, 0u64..20), 1..80)) {
            let mut spans = spans;
            spans.sort_unstable();
            let records = spans.iter().map(|&(submit, took)| {
                Ok(Record { t_done: Some(submit + took), ..Record::asked(Action::Get, "mem://h/k", submit) })
            });
            let mut free: HashMap<u64, u64> = HashMap::new();
            for record in Lanes::new(records) {
                let record = record.unwrap();
                let last = free.insert(record.stream.unwrap(), record.t_done.unwrap());
                prop_assert!(last.is_none_or(|last| last <= record.t_submit));
            }
            let most = (0..200).map(|t| spans.iter().filter(|(s, took)| *s <= t && t < s + took).count()).max().unwrap();
            // Operations that took no time need a lane too.
            prop_assert!(free.len() <= most.max(1) + 1);
        }
    }
}
