//! The file: a JSON object with a list of events, written one by one.
//!
//! Written as the document "Trace Event Format" (Duca and Sinclair, Google) has it: slices are complete events
//! (`X`), names of tracks metadata (`M`), levels counters (`C`), what has no length an instant (`i`). Times are
//! microseconds, here with three decimals.

use super::lanes::Lanes;
use crate::error::Result;
use crate::output::Output;
use crate::{Action, Header, Record};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

/// To which of the timeline's two parts something belongs. Each is a process in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Track {
    /// What stores were asked.
    Operations,
    /// What stages of a pipeline did.
    Stages,
}

impl Track {
    const ALL: [Track; 2] = [Track::Operations, Track::Stages];

    fn pid(self) -> u32 {
        match self {
            Track::Operations => 1,
            Track::Stages => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Track::Operations => "operations",
            Track::Stages => "stages",
        }
    }
}

/// Something that took time. Times are nanoseconds since the timeline began.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice<'a> {
    /// Where it belongs.
    pub track: Track,
    /// Slices of one group are drawn in lanes beside each other: the kind of operation, the stage.
    pub group: &'a str,
    /// What is written on it.
    pub name: &'a str,
    /// When it began.
    pub begin: u64,
    /// When it ended.
    pub end: u64,
    /// What is shown when it is chosen.
    pub details: Map<String, Value>,
}

/// A file of this format that is being written.
pub struct Timeline {
    out: Output,
    begun: bool,
    groups: HashMap<(Track, String), Lanes>,
    /// By group and lane; unique in the file, because readers do not tell tracks of two processes apart.
    tracks: HashMap<(Track, String, u32), u32>,
    line: Vec<u8>,
}

impl Timeline {
    /// Begins a file, compressed if its name ends in `.zst` (Perfetto wants it plain, or gzipped).
    ///
    /// # Errors
    /// Those of the file.
    pub fn create(path: &Path, header: &Header) -> Result<Timeline> {
        let mut out = Output::create(path)?;
        let about = json!({
            "engine": header.engine,
            "host": header.host,
            "clock": header.clock,
            "options": header.options,
        });
        out.write(
            format!("{{\"displayTimeUnit\":\"ns\",\"otherData\":{about},\"traceEvents\":[\n").as_bytes(),
        )?;
        let mut timeline =
            Timeline { out, begun: false, groups: HashMap::new(), tracks: HashMap::new(), line: Vec::new() };
        for track in Track::ALL {
            let pid = track.pid();
            timeline.event(&json!({
                "ph": "M", "name": "process_name", "pid": pid, "args": {"name": track.name()},
            }))?;
            timeline.event(&json!({
                "ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid},
            }))?;
        }
        Ok(timeline)
    }

    /// Adds a slice. Slices should come in the order in which they began, or in that in which they ended.
    ///
    /// # Errors
    /// Those of the file.
    pub fn slice(&mut self, slice: &Slice<'_>) -> Result<()> {
        let tid = self.lane(slice.track, slice.group, slice.begin, slice.end)?;
        self.complete(slice.track, tid, slice.name, (slice.begin, slice.end), &slice.details)
    }

    /// Adds an operation: a slice in the lanes of its kind, within it the wait for the first byte where that is
    /// known, and an instant where nobody knows when it ended.
    ///
    /// # Errors
    /// Those of the file.
    pub fn operation(&mut self, record: &Record) -> Result<()> {
        let (track, group, begin) = (Track::Operations, record.op.name(), record.t_submit);
        let details = details(record);
        let Some(end) = record.t_done else {
            let tid = self.lane(track, group, begin, begin)?;
            return self.event(&json!({
                "ph": "i", "s": "t", "name": format!("{group} asked"), "cat": track.name(),
                "ts": micros(begin), "pid": track.pid(), "tid": tid, "args": details,
            }));
        };
        let end = end.max(begin);
        let tid = self.lane(track, group, begin, end)?;
        let name = match record.status.is_ok() {
            true => group.to_owned(),
            false => format!("{group} ({})", record.status.name()),
        };
        self.complete(track, tid, &name, (begin, end), &details)?;
        match record.t_first {
            Some(first) if first > begin && first <= end => {
                self.complete(track, tid, "first byte", (begin, first), &Map::new())
            }
            _ => Ok(()),
        }
    }

    /// A level from this time on.
    ///
    /// # Errors
    /// Those of the file.
    pub fn level(&mut self, track: Track, name: &str, at: u64, level: u64) -> Result<()> {
        self.event(&json!({
            "ph": "C", "name": name, "ts": micros(at), "pid": track.pid(), "args": {"value": level},
        }))
    }

    /// Ends the file. Without this it lacks its closing brackets, which readers of this format forgive.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(mut self) -> Result<()> {
        self.out.write(b"\n]}\n")?;
        self.out.finish()
    }

    /// The track that a slice of this group goes to.
    fn lane(&mut self, track: Track, group: &str, begin: u64, end: u64) -> Result<u32> {
        let key = (track, group.to_owned());
        let (lane, new) = self.groups.entry(key).or_default().take(begin, end);
        let next = u32::try_from(self.tracks.len()).unwrap_or(u32::MAX - 1) + 1;
        let tid = *self.tracks.entry((track, group.to_owned(), lane)).or_insert(next);
        if new {
            let pid = track.pid();
            let rank = Action::ALL.iter().position(|action| action.name() == group).unwrap_or(0);
            let place = rank * 1_000_000 + lane as usize;
            self.event(&json!({
                "ph": "M", "name": "thread_name", "pid": pid, "tid": tid,
                "args": {"name": format!("{group} {lane}")},
            }))?;
            self.event(&json!({
                "ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": place},
            }))?;
        }
        Ok(tid)
    }

    fn complete(
        &mut self,
        track: Track,
        tid: u32,
        name: &str,
        (begin, end): (u64, u64),
        details: &Map<String, Value>,
    ) -> Result<()> {
        self.event(&json!({
            "ph": "X", "name": name, "cat": track.name(), "ts": micros(begin),
            "dur": micros(end.saturating_sub(begin)), "pid": track.pid(), "tid": tid, "args": details,
        }))
    }

    fn event(&mut self, event: &Value) -> Result<()> {
        self.line.clear();
        if std::mem::replace(&mut self.begun, true) {
            self.line.extend_from_slice(b",\n");
        }
        serde_json::to_writer(&mut self.line, event).expect("an event has text keys and finite numbers");
        self.out.write(&self.line)
    }
}

/// Nanoseconds as microseconds. Exact for 104 days, which is when 2^53 nanoseconds are over.
fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

fn details(record: &Record) -> Map<String, Value> {
    let mut details = Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            details.insert(name.to_owned(), value);
        }
    };
    add("uri", Some(record.uri.clone().into()));
    add("offset", record.offset.map(Value::from));
    add("len", record.len.map(Value::from));
    add("bytes", record.bytes.map(Value::from));
    add("status", Some(record.status.name().into()));
    add("attempt", (record.attempt > 0).then(|| record.attempt.into()));
    add("stage", record.stage.clone().map(Value::from));
    add("stream", record.stream.map(Value::from));
    add("epoch", record.epoch.map(Value::from));
    add("sample_id", record.sample_id.map(Value::from));
    add("due_us", record.t_intended.map(|due| micros(due).into()));
    details
}
