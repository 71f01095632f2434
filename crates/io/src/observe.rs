//! How metrics and traces see what a store does, without being a store.
//!
//! Every operation is announced once and ended exactly once, also when its future is dropped.
//! Calls come in slices so that a batch of reads costs one call, one flush and one lock at most.

use crate::{CacheUse, Kind, Location, Operation, Served};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One operation, as its caller asked for it.
#[derive(Debug, Clone)]
pub struct Op<'a> {
    /// What is done.
    pub operation: Operation,
    /// On which object.
    pub location: &'a Location,
    /// Which bytes, if not all.
    pub range: Option<Range<u64>>,
    /// The caller's number for the sample, if it has one.
    pub sample: Option<u64>,
    /// Who asks: a stage's name, or "".
    pub stage: &'static str,
    /// Which of those who ask side by side: see [`ReadOptions::stream`](crate::ReadOptions::stream).
    pub stream: Option<u64>,
    /// In which pass over the data: see [`ReadOptions::epoch`](crate::ReadOptions::epoch).
    pub epoch: Option<u64>,
    /// Which try; 0 is the first.
    pub attempt: u32,
    /// When it was asked for: the same instant when it is announced and when it ends. The members of
    /// a batch share one reading of the clock.
    pub begun: Instant,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It did what was asked. For operations that move no bytes, `bytes` is 0. `elapsed` is always
    /// filled in: by the store where it measured the object alone, else by the observer's wrapper.
    Done(Served),
    /// It failed.
    Failed(Kind),
    /// Its caller went away.
    Cancelled,
}

/// One request that a backend really made: a try over HTTP, a submission to a ring, a `pread` of a
/// part. An operation makes none, one or many; only the backend sees them, so a backend that can make
/// more than one for an operation is handed an observer when it is built.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// The operation it belongs to.
    pub operation: Operation,
    /// On which object.
    pub location: &'a Location,
    /// Which bytes it asked for, if not all.
    pub range: Option<Range<u64>>,
    /// Bytes that it moved, also of one that failed half way.
    pub bytes: u64,
    /// From its start to its end.
    pub elapsed: Duration,
    /// From its start to the first byte, where that can be told.
    pub first_byte: Option<Duration>,
    /// The status of the answer, of protocols that have one.
    pub status: Option<u16>,
    /// Why it failed, if it did.
    pub failed: Option<Kind>,
}

/// Something worth counting that is not an operation's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An attempt failed with this kind and will be made again.
    Retried(Kind),
    /// An attempt failed with this kind and will not be made again, because the retry budget is spent.
    RetryWithheld(Kind),
    /// A second request was sent because the first was slow.
    Hedged,
    /// The second request of a hedged pair was the one that answered.
    HedgeWon,
    /// A slow read was not sent a second time, or the second was given up, because there was no memory for it.
    HedgeDenied,
    /// A circuit breaker opened: an endpoint kept failing and is left alone for a while.
    BreakerOpened,
    /// A circuit breaker is open and refused an operation at once.
    BreakerRefused,
    /// An operation failed at one endpoint and is taken to another.
    FailedOver,
    /// The operations that may be in flight at one endpoint changed. `from` is 0 when the limit comes
    /// into being, `to` is 0 when it goes.
    ConcurrencyLimit {
        /// As it was.
        from: u32,
        /// As it is now.
        to: u32,
    },
    /// A backend opened a connection to a service. Not told by clients of others, who do not say.
    Connected,
    /// Just before these reads a store looked for what of their bytes is in the page cache.
    PageCache {
        /// Reads that were looked at. Not all are: it costs a system call.
        reads: u64,
        /// Bytes that were in it.
        hit: u64,
        /// Bytes that were not.
        miss: u64,
        /// Bytes of which the kernel cannot tell, or not to this user.
        unknown: u64,
    },
    /// Files, or stretches of them, were read through a mapping.
    Mapped {
        /// Mappings that were made.
        made: u64,
        /// Those of which the kernel was told how their pages would be wanted.
        advised: u64,
    },
    /// Memory that is read into again and again could not be registered with a ring: it is looked up anew for each read.
    Unregistered {
        /// Of how many bytes; 0 if the ring takes none at all.
        bytes: u64,
    },
    /// A policy could not be obeyed and the next best was used.
    Downgraded {
        /// What was asked for, or found impossible before.
        from: CacheUse,
        /// What was used.
        to: CacheUse,
    },
}

/// Sees operations. Implementations must be quick and must not block: they run on the read path.
pub trait Observe: Send + Sync {
    /// These operations begin now.
    fn started(&self, ops: &[Op<'_>]);

    /// These operations ended; `ends[i]` belongs to `ops[i]`. Called exactly once for each one
    /// that was started.
    fn ended(&self, ops: &[Op<'_>], ends: &[End]);

    /// A backend made these requests, which are over.
    fn attempted(&self, attempts: &[Attempt<'_>]);

    /// Something worth counting happened, in a store of this scheme. Layers and clients of services do not know
    /// whose they are and say none; [`OfScheme`] says it for them.
    fn noted(&self, scheme: Option<&str>, event: Event);
}

/// Sees nothing: for callers that do not measure.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observe for Unobserved {
    fn started(&self, _: &[Op<'_>]) {}
    fn ended(&self, _: &[Op<'_>], _: &[End]) {}
    fn attempted(&self, _: &[Attempt<'_>]) {}
    fn noted(&self, _: Option<&str>, _: Event) {}
}

/// What the layers of one store tell, with the scheme of what they stand around.
#[derive(Clone)]
pub struct OfScheme {
    scheme: Box<str>,
    observer: Arc<dyn Observe>,
}

impl OfScheme {
    /// Passes everything on to `observer`.
    pub fn new(scheme: &str, observer: Arc<dyn Observe>) -> Self {
        OfScheme { scheme: scheme.into(), observer }
    }
}

impl Observe for OfScheme {
    fn started(&self, ops: &[Op<'_>]) {
        self.observer.started(ops);
    }

    fn ended(&self, ops: &[Op<'_>], ends: &[End]) {
        self.observer.ended(ops, ends);
    }

    fn attempted(&self, attempts: &[Attempt<'_>]) {
        self.observer.attempted(attempts);
    }

    fn noted(&self, scheme: Option<&str>, event: Event) {
        self.observer.noted(scheme.or(Some(&*self.scheme)), event);
    }
}

impl fmt::Debug for OfScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfScheme").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}
