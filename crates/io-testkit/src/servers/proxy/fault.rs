//! What can go wrong between a client and a server that speak HTTP.

use std::time::Duration;

/// A point in the body of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum At {
    /// After so many bytes. A body that is no longer is left alone.
    Byte(u64),
    /// After this share of its bytes, from 0 to 1; one byte less than all at most.
    Share(f64),
}

impl At {
    /// The offset in a body of `len` bytes; none where there is no such point before its end.
    pub(crate) fn offset(self, len: usize) -> Option<usize> {
        let last = len.checked_sub(1)?;
        match self {
            At::Byte(byte) => usize::try_from(byte).ok().filter(|byte| *byte <= last),
            At::Share(share) => Some(((len as f64 * share) as usize).min(last)),
        }
    }
}

/// How a body that breaks off says how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length` names all of it.
    Length,
    /// It ends where the connection is closed: HTTP alone cannot tell that it broke off.
    Close,
    /// In chunks, of which the last is missing.
    Chunked,
}

/// One thing to go wrong with one answer, or, for [`Refuse`](HttpFault::Refuse), with one connection.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpFault {
    /// The connection is reset as soon as it is there, before any request.
    Refuse,
    /// The connection is reset (RST) inside the body. What was sent before may be lost with it.
    Reset(At),
    /// The body ends early and the connection is closed in order (FIN).
    Truncate(At, Framing),
    /// The server is not asked; this is the answer instead.
    Status {
        /// The status code.
        status: u16,
        /// The error's code in its body; `None` for what the service says with this status, such as
        /// `SlowDown` (S3) and `ServerBusy` (Azure) with 503.
        code: Option<&'static str>,
        /// `Retry-After`, in whole seconds.
        retry_after: Option<Duration>,
    },
    /// `Content-Length` is off by this much; all of the body is sent and the connection closed.
    WrongLength(i64),
    /// One bit of the body is another.
    FlipByte,
    /// Nothing comes for this long, or until [`release`](super::FaultProxy::release); then all goes on. Before
    /// the head for `None`, else inside the body. A client that hangs up ends it.
    Stall(Option<At>, Duration),
    /// The body comes in pieces of so many bytes, with a pause after each.
    Trickle {
        /// Bytes a piece.
        piece: usize,
        /// The pause.
        every: Duration,
    },
    /// The credentials have expired, as the service says it: 400 `ExpiredToken` (S3), 403
    /// `AuthenticationFailed` (Azure).
    Expired,
    /// The object has been replaced meanwhile: 412 for a request with `If-Match`, else another ETag and
    /// another content of the same length.
    Replaced,
}

impl HttpFault {
    /// 503, as the service says that it is asked too much.
    pub fn slow_down() -> Self {
        HttpFault::Status { status: 503, code: None, retry_after: None }
    }

    /// 500, as the service says that it failed.
    pub fn internal_error() -> Self {
        HttpFault::Status { status: 500, code: None, retry_after: None }
    }

    /// 429 with `Retry-After`.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        HttpFault::Status { status: 429, code: None, retry_after: Some(retry_after) }
    }

    /// What it is counted as.
    pub fn name(&self) -> String {
        let name = match self {
            HttpFault::Refuse => "refuse",
            HttpFault::Reset(_) => "reset",
            HttpFault::Truncate(_, Framing::Length) => "truncate length",
            HttpFault::Truncate(_, Framing::Close) => "truncate close",
            HttpFault::Truncate(_, Framing::Chunked) => "truncate chunked",
            HttpFault::Status { status, .. } => return format!("status {status}"),
            HttpFault::WrongLength(_) => "wrong length",
            HttpFault::FlipByte => "flip byte",
            HttpFault::Stall(None, _) => "stall before",
            HttpFault::Stall(Some(_), _) => "stall inside",
            HttpFault::Trickle { .. } => "trickle",
            HttpFault::Expired => "expired",
            HttpFault::Replaced => "replaced",
        };
        name.to_owned()
    }

    /// Why it cannot be given, if it cannot.
    pub(crate) fn refused(&self) -> Option<String> {
        let share = match self {
            HttpFault::Reset(at) | HttpFault::Truncate(at, _) | HttpFault::Stall(Some(at), _) => match at {
                At::Share(share) => *share,
                At::Byte(_) => 0.0,
            },
            HttpFault::Trickle { piece: 0, .. } => {
                return Some("trickle: pieces of 0 bytes never end".into());
            }
            HttpFault::WrongLength(0) => return Some("wrong length: off by 0 is right".into()),
            HttpFault::Status { status, .. } if !(200..600).contains(status) => {
                return Some(format!("status {status}: must be from 200 to 599"));
            }
            _ => 0.0,
        };
        let outside = !(0.0..=1.0).contains(&share);
        outside.then(|| format!("{}: a share must be from 0 to 1, is {share}", self.name()))
    }
}
