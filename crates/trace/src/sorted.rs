//! A trace in the order in which its operations were asked for, in bounded memory. A trace is written in
//! the order in which they ended, and an operation may end long after others that began later: so runs are
//! sorted in memory, the runs but the last put aside on disk, and merged.

use crate::error::{Error, Result};
use crate::{Header, Reader, Record, Writer};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

/// Records that are sorted in memory at a time: some hundred MiB with long names.
pub const RUN: usize = 500_000;

/// Records by `t_submit`; equal ones as they stood.
pub struct Sorted {
    runs: Vec<Run>,
    /// The next record of each run, the earliest on top.
    heads: BinaryHeap<Reverse<Head>>,
    /// Holds the runs that are on disk.
    _folder: Option<tempfile::TempDir>,
}

enum Run {
    Memory(std::vec::IntoIter<Record>),
    Disk(Reader),
}

impl Run {
    fn next(&mut self) -> Option<Result<Record>> {
        match self {
            Run::Memory(records) => records.next().map(Ok),
            Run::Disk(reader) => reader.next(),
        }
    }
}

struct Head {
    key: (u64, usize),
    record: Record,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl Sorted {
    /// Reads all of `records`. What does not fit into a run of `run` records goes to files in `scratch`, which
    /// are gone when this is dropped.
    ///
    /// # Errors
    /// The first error of `records`, and those of the files.
    pub fn new(records: impl Iterator<Item = Result<Record>>, scratch: &Path, run: usize) -> Result<Sorted> {
        let run = run.max(1);
        let mut sorted = Sorted { runs: Vec::new(), heads: BinaryHeap::new(), _folder: None };
        let mut current = Vec::new();
        for record in records {
            if current.len() == run {
                sorted.put_aside(std::mem::take(&mut current), scratch)?;
            }
            current.push(record?);
        }
        current.sort_by_key(|record| record.t_submit);
        sorted.runs.push(Run::Memory(current.into_iter()));
        for index in 0..sorted.runs.len() {
            sorted.advance(index)?;
        }
        Ok(sorted)
    }

    fn put_aside(&mut self, mut records: Vec<Record>, scratch: &Path) -> Result<()> {
        records.sort_by_key(|record| record.t_submit);
        if self._folder.is_none() {
            self._folder = Some(tempfile::tempdir_in(scratch).map_err(Error::file(scratch))?);
        }
        let folder = self._folder.as_ref().map_or(scratch, |folder| folder.path());
        let path = folder.join(format!("{}.jsonl.zst", self.runs.len()));
        let clock = crate::Clock { realtime_ns: 0, monotonic_ns: None };
        let mut writer = Writer::create(&path, &Header::new("run", "", clock))?;
        records.iter().try_for_each(|record| writer.write(record))?;
        writer.finish(0, None)?;
        self.runs.push(Run::Disk(Reader::open(&path)?));
        Ok(())
    }

    fn advance(&mut self, index: usize) -> Result<()> {
        if let Some(record) = self.runs[index].next() {
            let record = record?;
            self.heads.push(Reverse(Head { key: (record.t_submit, index), record }));
        }
        Ok(())
    }
}

impl Iterator for Sorted {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse(head) = self.heads.pop()?;
        if let Err(error) = self.advance(head.key.1) {
            self.heads.clear();
            return Some(Err(error));
        }
        Some(Ok(head.record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_trace_comes_sorted_and_whole(times in proptest::collection::vec(0u64..50, 0..60), run in 1usize..12) {
            let records: Vec<_> = times
                .iter()
                .enumerate()
                .map(|(i, &t)| Record { sample_id: Some(i as u64), ..Record::asked(Action::Get, "mem://h/k", t) })
                .collect();
            let scratch = tempfile::tempdir().unwrap();
            let sorted = Sorted::new(records.iter().cloned().map(Ok), scratch.path(), run).unwrap();
            let sorted: Vec<_> = sorted.map(Result::unwrap).collect();
            let mut expected = records;
            expected.sort_by_key(|record| record.t_submit);
            prop_assert_eq!(sorted, expected);
            prop_assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        }
    }
}
