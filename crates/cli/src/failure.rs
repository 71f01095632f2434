//! Why a command could not do what it was asked, as text for people and as JSON for programs.

use crate::exit::Exit;
use forebay_io::{Error, Kind};
use serde_json::{Value, json};
use std::{fmt, io};

/// Result of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// What ends a command early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A store, a location or an option said no.
    Store(Error),
    /// The command itself said no.
    Refused { exit: Exit, kind: Kind, message: String },
    /// Whoever read our output has had enough: the silent end of `forebay cat x | head -1`.
    PipeClosed,
}

impl Failure {
    /// Wrong usage that the parser of the command line could not see.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure::Refused { exit: Exit::Usage, kind: Kind::InvalidConfig, message: message.into() }
    }

    /// Something else that is not as it should be.
    pub(crate) fn refused(kind: Kind, message: impl Into<String>) -> Self {
        Failure::Refused { exit: Exit::of(kind), kind, message: message.into() }
    }

    /// Writing to standard output or standard error failed.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::PipeClosed,
            _ => Failure::refused(Kind::Unavailable, format!("cannot write to standard output: {error}")),
        }
    }

    /// How the process should end.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Failure::Store(error) => Exit::of(error.kind()),
            Failure::Refused { exit, .. } => *exit,
            Failure::PipeClosed => Exit::Done,
        }
    }

    /// Whether there is anything to print.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Failure::PipeClosed)
    }

    /// The JSON form: `{"error": {kind, operation, location, message, exit_code}}`. What is not known
    /// is null.
    pub(crate) fn to_json(&self) -> Value {
        let (kind, operation, location) = match self {
            Failure::Store(error) => (
                error.kind().name(),
                Some(error.operation().name()),
                error.location().map(|location| location.to_string()),
            ),
            Failure::Refused { kind, .. } => (kind.name(), None, None),
            Failure::PipeClosed => ("pipe_closed", None, None),
        };
        json!({ "error": {
            "kind": kind,
            "operation": operation,
            "location": location,
            "message": self.to_string(),
            "exit_code": self.exit().code(),
        } })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Store(error) => error.fmt(f),
            Failure::Refused { message, .. } => f.write_str(message),
            Failure::PipeClosed => f.write_str("the reader of the output closed it"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Store(error)
    }
}
