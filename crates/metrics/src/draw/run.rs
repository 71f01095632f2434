//! A run as it is drawn: what it did in all, and slice by slice of its time.

use std::time::Duration;

use crate::snapshot::{MetricsSnapshot, SnapshotError};

/// One run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What it is called in a legend.
    pub name: String,
    /// What it did in all.
    pub whole: MetricsSnapshot,
    /// What it did when, one slice after the other; empty where nobody wrote that down.
    pub slices: Vec<Slice>,
}

/// A part of a run's time, and what happened in it alone.
#[derive(Clone, Debug)]
pub struct Slice {
    /// When it began, since the run did.
    pub begin: Duration,
    /// When it ended, since the run began.
    pub end: Duration,
    /// What was counted in it (see [`MetricsSnapshot::diff`]); levels are those at its end.
    pub happened: MetricsSnapshot,
}

impl Slice {
    /// Slices between readings of one run, each of which has everything before it in it: when it was taken,
    /// since the run began, and what it said. Readings that took no time are passed over.
    ///
    /// # Errors
    /// As [`MetricsSnapshot::diff`], for readings that are not of one run in the order of time.
    pub fn between<'a>(
        readings: impl IntoIterator<Item = (Duration, &'a MetricsSnapshot)>,
    ) -> Result<Vec<Slice>, SnapshotError> {
        let nothing = MetricsSnapshot::default();
        let (mut begin, mut before) = (Duration::ZERO, &nothing);
        let mut slices = Vec::new();
        for (end, reading) in readings {
            if end > begin {
                slices.push(Slice { begin, end, happened: reading.diff(before)? });
                (begin, before) = (end, reading);
            }
        }
        Ok(slices)
    }

    /// Slices of processes that ran side by side, as those of one run: cut anew at equal steps as long as the
    /// longest of them, each slice given to the step in which its middle lies. Levels do not add up, because a step may
    /// have several readings of one process, and because peaks and caps are those of one: they are the highest of any.
    ///
    /// # Errors
    /// As [`MetricsSnapshot::merge`].
    pub fn join(ours: &[Slice], theirs: &[Slice]) -> Result<Vec<Slice>, SnapshotError> {
        let all = || ours.iter().chain(theirs);
        let Some(step) = all().map(Slice::length).max().filter(|step| !step.is_zero()) else {
            return Ok(Vec::new());
        };
        let mut joined: Vec<Slice> = Vec::new();
        let mut sorted: Vec<&Slice> = all().collect();
        sorted.sort_by_key(|slice| slice.begin + slice.length() / 2);
        for slice in sorted {
            let at = (slice.begin + slice.length() / 2).as_nanos() / step.as_nanos();
            let begin = Duration::from_nanos_u128(at * step.as_nanos());
            match joined.last_mut().filter(|last| last.begin == begin) {
                Some(last) => {
                    let before = last.happened.clone();
                    last.happened.merge(&slice.happened)?;
                    last.happened.inflight_bytes =
                        before.inflight_bytes.highest(slice.happened.inflight_bytes);
                    last.happened.shared_bytes = before.shared_bytes.highest(slice.happened.shared_bytes);
                    last.happened.queue_depth = before.queue_depth.highest(slice.happened.queue_depth);
                    last.happened.concurrency_limit =
                        before.concurrency_limit.highest(slice.happened.concurrency_limit);
                }
                None => joined.push(Slice { begin, end: begin + step, happened: slice.happened.clone() }),
            }
        }
        Ok(joined)
    }

    /// How long it was.
    pub fn length(&self) -> Duration {
        self.end.saturating_sub(self.begin)
    }
}
