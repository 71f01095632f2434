//! The first line of a trace and the last one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// The version of the format that this crate writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// The first line: where, when and by what the trace was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The version of the format, and what tells a trace from any other JSON.
    pub forebay_trace: u32,
    /// What made it, with its version.
    pub engine: String,
    /// On which machine.
    pub host: String,
    /// Both clocks at the instant from which all times count.
    pub clock: Clock,
    /// The options it ran under, as the engine spells them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// Which part this is of a trace in several files, from 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub part: u32,
}

fn is_first(part: &u32) -> bool {
    *part == 0
}

/// Both clocks at the instant from which a trace counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    pub realtime_ns: u64,
    /// The reading of the machine's monotonic clock, in nanoseconds, where it is known: traces of one
    /// machine and boot can be laid side by side by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monotonic_ns: Option<u64>,
}

impl Clock {
    /// Both clocks as they are now. The time since 1970 is read by the caller: this crate looks at no clock of the day.
    pub fn now(since_1970: Duration) -> Clock {
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let monotonic = i128::from(monotonic.tv_sec) * 1_000_000_000 + i128::from(monotonic.tv_nsec);
        Clock {
            realtime_ns: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX),
            monotonic_ns: u64::try_from(monotonic).ok(),
        }
    }
}

impl Header {
    /// A header of this format's version.
    pub fn new(engine: impl Into<String>, host: impl Into<String>, clock: Clock) -> Self {
        Header {
            forebay_trace: VERSION,
            engine: engine.into(),
            host: host.into(),
            clock,
            options: Map::new(),
            part: 0,
        }
    }
}

/// The last line of a file: what is in it, and whether anything is missing. A file without one was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Records in this file.
    pub records: u64,
    /// Operations that happened and are not in the trace, up to here and over all its parts.
    pub dropped: u64,
    /// The file that goes on where this one ends, beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How the last line is told from a record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndLine {
    pub(crate) end: End,
}
