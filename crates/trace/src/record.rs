//! One operation, as a trace keeps it.

use forebay_io::{Kind, Operation};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// One operation. Times are nanoseconds since the trace began ([`Header`](crate::Header) says when
/// that was by the clock on the wall).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What was done.
    pub op: Action,
    /// On which object; without credentials.
    pub uri: String,
    /// Where the bytes begin. None: the whole object was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How many bytes were asked for; there with `offset`, and only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
    /// When it was asked for.
    pub t_submit: u64,
    /// When its first byte came, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_first: Option<u64>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_done: Option<u64>,
    /// Bytes that it moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Status::is_ok")]
    pub status: Status,
    /// Which try; 0 is the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// Who asked: the name of a stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Who asked, of several that asked side by side (a worker, a thread, a connection): what a stream asks for may
    /// have waited for whatever of it had ended by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<u64>,
    /// Which pass over the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The caller's number for the sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_id: Option<u64>,
    /// When it should have been asked for, where it was due by a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_intended: Option<u64>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Record {
    /// A read of which nothing but the asking is known.
    pub fn asked(op: Action, uri: impl Into<String>, t_submit: u64) -> Self {
        Record {
            op,
            uri: uri.into(),
            offset: None,
            len: None,
            t_submit,
            t_first: None,
            t_done: None,
            bytes: None,
            status: Status::Ok,
            attempt: 0,
            stage: None,
            stream: None,
            epoch: None,
            sample_id: None,
            t_intended: None,
        }
    }

    /// How long it took, if it is known to have ended.
    pub fn latency(&self) -> Option<u64> {
        Some(self.t_done?.saturating_sub(self.t_submit))
    }

    /// The bytes it is about: those it moved, else those it asked for.
    pub fn size(&self) -> Option<u64> {
        self.bytes.or(self.len)
    }
}

/// What was done. The words are those of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// One-shot read.
    Get,
    /// Read of a range of an opened object.
    Read,
    /// Opening an object.
    Open,
    /// Asking for size and version.
    Stat,
    /// Listing.
    List,
    /// Writing.
    Put,
    /// Removing.
    Delete,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 7] =
        [Action::Get, Action::Read, Action::Open, Action::Stat, Action::List, Action::Put, Action::Delete];

    /// The word in a trace.
    pub fn name(self) -> &'static str {
        match self {
            Action::Get => "get",
            Action::Read => "read",
            Action::Open => "open",
            Action::Stat => "stat",
            Action::List => "list",
            Action::Put => "put",
            Action::Delete => "delete",
        }
    }

    /// Whether it moves an object's bytes to the reader.
    pub fn is_read(self) -> bool {
        matches!(self, Action::Get | Action::Read)
    }

    /// The action of a store's operation; none for what is no operation on a store.
    pub fn of(operation: Operation) -> Option<Action> {
        match operation {
            Operation::Get => Some(Action::Get),
            Operation::Read => Some(Action::Read),
            Operation::Open => Some(Action::Open),
            Operation::Stat => Some(Action::Stat),
            Operation::List => Some(Action::List),
            Operation::Put => Some(Action::Put),
            Operation::Delete => Some(Action::Delete),
            Operation::Configure => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How an operation ended: `ok`, `cancelled`, or the kind of its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// It did what was asked.
    #[default]
    Ok,
    /// It failed with this kind.
    Failed(Kind),
    /// It failed, and the trace it comes from does not say how.
    Error,
}

impl Status {
    /// Whether it did what was asked.
    pub fn is_ok(&self) -> bool {
        *self == Status::Ok
    }

    /// The word in a trace.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed(kind) => kind.name(),
            Status::Error => "error",
        }
    }

    /// The status of a word.
    pub fn parse(word: &str) -> Option<Status> {
        match word {
            "ok" => Some(Status::Ok),
            "error" => Some(Status::Error),
            _ => Kind::ALL.into_iter().find(|kind| kind.name() == word).map(Status::Failed),
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Status::parse(&word).ok_or_else(|| {
            let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            serde::de::Error::custom(format!("status {word:?} is not one of ok, error, {}", kinds.join(", ")))
        })
    }
}
