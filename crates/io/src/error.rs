//! What went wrong, said so that a caller can act: kind, operation, place, cause, and whether to
//! try again. One type for every store; no dependency's error shows through it.

use crate::Location;
use std::fmt;
use std::time::Duration;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kinds are chosen by what a caller would do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Nothing is stored at the location.
    NotFound,
    /// Something is stored there and the call asked for that not to be so.
    AlreadyExists,
    /// The caller may not do this here.
    Denied,
    /// The object is not the version that the call named, or changed while it was read.
    Precondition,
    /// The range lies outside the object, or the object is larger than what may hold it.
    InvalidRange,
    /// A location, option or value that cannot be honoured.
    InvalidConfig,
    /// The store cannot do this at all.
    Unsupported,
    /// The service asks for fewer requests.
    Throttled,
    /// The service or device failed in a way that may pass.
    Unavailable,
    /// A deadline passed.
    TimedOut,
    /// Bytes are not what they should be.
    Corrupt,
    /// The operation was given up by its caller.
    Cancelled,
}

impl Kind {
    /// Every kind, in a fixed order: an index for counters.
    pub const ALL: [Kind; 12] = [
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::Denied,
        Kind::Precondition,
        Kind::InvalidRange,
        Kind::InvalidConfig,
        Kind::Unsupported,
        Kind::Throttled,
        Kind::Unavailable,
        Kind::TimedOut,
        Kind::Corrupt,
        Kind::Cancelled,
    ];

    /// The name used in reports, JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::NotFound => "not_found",
            Kind::AlreadyExists => "already_exists",
            Kind::Denied => "denied",
            Kind::Precondition => "precondition",
            Kind::InvalidRange => "invalid_range",
            Kind::InvalidConfig => "invalid_config",
            Kind::Unsupported => "unsupported",
            Kind::Throttled => "throttled",
            Kind::Unavailable => "unavailable",
            Kind::TimedOut => "timed_out",
            Kind::Corrupt => "corrupt",
            Kind::Cancelled => "cancelled",
        }
    }

    /// What to do about an error of this kind when nothing more is known.
    pub fn default_retry(self) -> Retry {
        match self {
            Kind::Throttled | Kind::Unavailable | Kind::TimedOut | Kind::Corrupt => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the same call may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will fail again.
    Never,
    /// It may succeed at once: one connection or one answer was broken, which says nothing about load. From
    /// the second failure on after a pause that grows.
    Soon,
    /// It may succeed after a pause that grows.
    Backoff,
    /// The service named the pause.
    After(Duration),
}

/// What was being done. Also the key of every per-operation statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// One-shot read of an object of unknown size, alone or in a batch.
    Get,
    /// Read of a range of an opened object.
    Read,
    /// Opening an object.
    Open,
    /// Asking for an object's size and version.
    Stat,
    /// Listing.
    List,
    /// Writing an object.
    Put,
    /// Removing an object.
    Delete,
    /// Reading options, locations or memory limits: before any store is asked.
    Configure,
}

impl Operation {
    /// Every operation, in a fixed order: an index for counters.
    pub const ALL: [Operation; 8] = [
        Operation::Get,
        Operation::Read,
        Operation::Open,
        Operation::Stat,
        Operation::List,
        Operation::Put,
        Operation::Delete,
        Operation::Configure,
    ];

    /// The name used in reports, JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::Read => "read",
            Operation::Open => "open",
            Operation::Stat => "stat",
            Operation::List => "list",
            Operation::Put => "put",
            Operation::Delete => "delete",
            Operation::Configure => "configure",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error with everything a caller or a person needs to act on it.
///
/// Boxed inside, so that `Result<T>` stays small on the per-sample path.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    retry: Retry,
    operation: Operation,
    location: Option<Location>,
    context: String,
    source: Option<Source>,
    /// Which policy of retries has had its last word on it.
    given_up: Option<usize>,
}

impl Error {
    /// A new error. `context` says what was found and what would be valid, without the location.
    pub fn new(kind: Kind, operation: Operation, context: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            retry: kind.default_retry(),
            operation,
            location: None,
            context: context.into(),
            source: None,
            given_up: None,
        }))
    }

    /// An option, location or value that cannot be honoured.
    pub fn invalid(context: impl Into<String>) -> Self {
        Error::new(Kind::InvalidConfig, Operation::Configure, context)
    }

    /// Maps an operating-system error by what a caller would do about it.
    pub fn from_os(operation: Operation, source: std::io::Error) -> Self {
        use rustix::io::Errno;
        use std::io::ErrorKind as E;
        let kind = match source.kind() {
            E::NotFound | E::NotADirectory => Kind::NotFound,
            E::AlreadyExists => Kind::AlreadyExists,
            E::PermissionDenied | E::ReadOnlyFilesystem => Kind::Denied,
            E::TimedOut => Kind::TimedOut,
            E::Unsupported => Kind::Unsupported,
            E::IsADirectory | E::InvalidFilename => Kind::InvalidConfig,
            _ => match source.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::NAMETOOLONG | Errno::LOOP | Errno::INVAL) => Kind::InvalidConfig,
                Some(Errno::OPNOTSUPP) => Kind::Unsupported,
                _ => Kind::Unavailable,
            },
        };
        // Out of descriptors passes when others are closed; a device error may or may not.
        let context = match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::MFILE) => "out of file descriptors (raise `ulimit -n`)".to_owned(),
            Some(Errno::NOSPC) => "no space left on the device".to_owned(),
            _ => String::new(),
        };
        Error::new(kind, operation, context).with_source(source)
    }

    /// Names the object concerned.
    #[must_use]
    pub fn at(mut self, location: &Location) -> Self {
        self.0.location = Some(location.clone());
        self
    }

    /// Sets whether to try again, where the kind's own answer is wrong.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds words in front of what is already said.
    #[must_use]
    pub fn context(mut self, words: impl fmt::Display) -> Self {
        self.0.context = if self.0.context.is_empty() {
            words.to_string()
        } else {
            format!("{words}: {}", self.0.context)
        };
        self
    }

    /// What a caller would do about it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The object concerned, if one is.
    pub fn location(&self) -> Option<&Location> {
        self.0.location.as_ref()
    }

    /// A copy that can be handed to several waiters. The cause is kept as text.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Error(Box::new(Inner {
            kind: self.0.kind,
            retry: self.0.retry,
            operation: self.0.operation,
            location: self.0.location.clone(),
            context: self.0.context.clone(),
            source: self.0.source.as_ref().map(|s| s.to_string().into()),
            given_up: self.0.given_up,
        }))
    }

    /// Notes that a policy of retries has given this up, so that it does not begin again further out.
    pub(crate) fn given_up_by(mut self, policy: usize) -> Self {
        self.0.given_up = Some(policy);
        self
    }

    /// Which one has.
    pub(crate) fn given_up(&self) -> Option<usize> {
        self.0.given_up
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, operation, location, context, source, .. } = &*self.0;
        match (operation, location) {
            (Operation::Configure, None) => {}
            (Operation::Configure, Some(location)) => write!(f, "{location}: ")?,
            (_, None) => write!(f, "{operation}: ")?,
            (_, Some(location)) => write!(f, "{operation} {location}: ")?,
        }
        match (context.is_empty(), source) {
            (false, Some(source)) => write!(f, "{context}: {source}"),
            (false, None) => f.write_str(context),
            (true, Some(source)) => write!(f, "{source}"),
            (true, None) => write!(f, "{kind}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}, {:?}: {self})", self.0.kind, self.0.retry)
    }
}

impl std::error::Error for Error {
    // The text of the cause is part of `Display`, so the chain goes on below it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().and_then(|s| s.source())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_operation_place_and_cause_once() {
        let location: Location = "file:///data/a%20b".parse().unwrap();
        let os = std::io::Error::from_raw_os_error(2);
        let error = Error::from_os(Operation::Get, os).at(&location);
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(error.to_string(), "get file:///data/a%20b: No such file or directory (os error 2)");
    }

    #[test]
    fn context_is_put_in_front() {
        let error = Error::invalid("must be 1 or more, is 0").context("batch_size");
        assert_eq!(error.to_string(), "batch_size: must be 1 or more, is 0");
        assert_eq!(error.retry(), Retry::Never);
    }
}
