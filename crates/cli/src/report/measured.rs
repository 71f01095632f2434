//! What a file of metrics holds: the facts of the run, what it did in all, and what it did when.

use super::pace::Pace;
use crate::failure::{Failure, Result};
use forebay_io::Kind;
use forebay_metrics::draw::Slice;
use forebay_metrics::{MetricsSnapshot, RunFacts, hlog};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// What a file holds, or several that are merged.
pub(super) struct Measured {
    /// None in a bare snapshot.
    pub(super) facts: Option<RunFacts>,
    pub(super) snapshot: MetricsSnapshot,
    /// More than one where the file was written with `--metrics-interval`.
    pub(super) slices: Vec<Slice>,
    /// How fast it went in each interval; none where there are no intervals, or several files.
    pub(super) paces: Vec<Pace>,
    /// Whether the last line says that the run went on after it: it was cut off, or still runs.
    pub(super) unfinished: bool,
}

impl Measured {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                std::io::ErrorKind::PermissionDenied => Kind::Denied,
                std::io::ErrorKind::InvalidData => Kind::Corrupt,
                _ => Kind::Unavailable,
            };
            Failure::refused(kind, format!("cannot read metrics from {shown}: {error}"))
        })?;
        let corrupt = |why: String| Failure::refused(Kind::Corrupt, format!("{shown}: {why}"));
        match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("hlog") => Measured::of_log(&text).map_err(corrupt),
            Some("csv" | "prom" | "om") => Err(corrupt(
                "a report is made from .json or .hlog; .csv, .prom and .om are for other programs".to_owned(),
            )),
            _ => Measured::of_json(&text).map_err(corrupt),
        }
    }

    fn of_log(text: &str) -> Result<Self, String> {
        let intervals = hlog::read(text).map_err(|error| error.to_string())?;
        let Some((first, _)) = intervals.first() else {
            return Err("no interval of an operation, such as --metrics-out FILE.hlog writes".to_owned());
        };
        let start = first.begin;
        let mut all = MetricsSnapshot::default();
        let mut slices = Vec::new();
        for (interval, happened) in intervals {
            all.merge(&happened).map_err(|error| error.to_string())?;
            let begin = interval.begin.saturating_sub(start);
            slices.push(Slice { begin, end: begin + interval.length, happened });
        }
        Ok(Measured { facts: None, snapshot: all, slices, paces: Vec::new(), unfinished: false })
    }

    fn of_json(text: &str) -> Result<Self, String> {
        let mut readings: Vec<(Option<RunFacts>, MetricsSnapshot)> = Vec::new();
        let mut ended = None;
        for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
            let mut value = value.map_err(|error| format!("not JSON: {error}"))?;
            if value.get("metrics").is_none() && value.get("schema_version").is_none() {
                continue;
            }
            ended = value.get("ended").and_then(Value::as_bool);
            let facts = match value.get_mut("facts").map(Value::take) {
                None | Some(Value::Null) => None,
                Some(facts) => {
                    Some(serde_json::from_value(facts).map_err(|error| format!("facts: {error}"))?)
                }
            };
            let snapshot = value.get_mut("metrics").map(Value::take).unwrap_or(value);
            let snapshot =
                MetricsSnapshot::from_json(&snapshot.to_string()).map_err(|error| error.to_string())?;
            readings.push((facts, snapshot));
        }
        // A line of which nobody knows when it was written cannot be put into time.
        let timed: Option<Vec<(Duration, &MetricsSnapshot)>> =
            readings.iter().map(|(facts, snapshot)| Some((facts.as_ref()?.elapsed, snapshot))).collect();
        let slices = match timed {
            Some(timed) if timed.len() > 1 => Slice::between(timed).map_err(|error| error.to_string())?,
            _ => Vec::new(),
        };
        let paces = Pace::between(readings.iter().filter_map(|(facts, _)| facts.as_ref()));
        let Some((facts, snapshot)) = readings.pop() else {
            return Err("no line has metrics, such as --metrics-out FILE.json writes".to_owned());
        };
        Ok(Measured { facts, snapshot, slices, paces, unfinished: ended == Some(false) })
    }

    /// Adds those of a process that ran at the same time.
    pub(super) fn merge(&mut self, other: Measured, path: &Path) -> Result<()> {
        let refused = |error: forebay_metrics::SnapshotError| {
            Failure::refused(Kind::Corrupt, format!("{}: {error}", path.display()))
        };
        self.snapshot.merge(&other.snapshot).map_err(refused)?;
        self.slices = Slice::join(&self.slices, &other.slices).map_err(refused)?;
        // Intervals of different processes begin at different moments.
        self.paces.clear();
        self.unfinished |= other.unfinished;
        self.facts = match (self.facts.take(), other.facts) {
            (Some(mut ours), Some(theirs)) => {
                ours.merge(&theirs);
                Some(ours)
            }
            // Part of it would pass for the whole.
            _ => None,
        };
        Ok(())
    }
}
