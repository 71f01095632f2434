//! What a caller says beside the location, and what a read says when it is done.

use crate::{Access, CacheUse, Location, PageCacheMode, Result, Through, Version};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Options of a read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// A hint that may be ignored.
    pub access: Access,
    /// A policy that is obeyed or refused.
    pub page_cache: PageCacheMode,
    /// Which way is taken; refused where there is no such way, and a mapping beside `target_request_bytes`, because
    /// page faults are no requests of a size.
    pub through: Through,
    /// Requests of about this many bytes (a block more or less): what is larger is read in parts of
    /// this size, each a request of its own to the device or service. Members of a batch that are
    /// [`neighbours`](crate::neighbours) are read as one by a store that
    /// [coalesces](crate::Capability::coalesces). `None`: as the store finds best.
    pub target_request_bytes: Option<NonZeroU64>,
    /// Who reads, for traces: the stage's name.
    pub stage: &'static str,
    /// Which of several that read side by side this is, for traces: what a worker asks for next waits for what it asked
    /// for before. None where nobody waits like that.
    pub stream: Option<u64>,
    /// Which pass over the data this belongs to, for traces. None where there are no passes.
    pub epoch: Option<u64>,
    /// Which try this is; 0 is the first. Set by the retry wrapper.
    pub attempt: u32,
}

/// One member of a batched read.
#[derive(Debug, Clone)]
pub struct GetRequest {
    /// The object.
    pub location: Location,
    /// A byte range, or the whole object. A range must lie inside the object.
    pub range: Option<Range<u64>>,
    /// How large the whole object was when it was last seen, if that is known (a listing says it): a store that
    /// pays for a request asks for memory before it makes one that there is no room for. An object that is of
    /// another size now is read as it is; one that has grown is `Precondition` where the place has no more room.
    /// Of no meaning beside a range.
    pub size: Option<u64>,
    /// Only if the object still is this version.
    pub if_version: Option<Version>,
    /// Which slot of the [`Place`](crate::Place) the bytes go to. Unique within a batch.
    pub slot: u32,
    /// The caller's own number for it, for traces.
    pub sample: Option<u64>,
}

impl GetRequest {
    /// The whole object at `location` into slot `slot`.
    pub fn whole(location: Location, slot: u32) -> Self {
        GetRequest { location, range: None, size: None, if_version: None, slot, sample: None }
    }
}

/// What one read really did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Served {
    /// Bytes placed.
    pub bytes: u64,
    /// Time spent on this object alone: in a batch, without the time spent on its neighbours.
    pub elapsed: Duration,
    /// From start to the first byte, where the store can tell.
    pub first_byte: Option<Duration>,
    /// What was really done to the page cache.
    pub cache: CacheUse,
}

/// Whether a put may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PutMode {
    /// Replace what is there, atomically.
    #[default]
    Overwrite,
    /// Fail with `AlreadyExists` if something is there.
    Create,
}

/// Options of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PutOptions {
    /// Whether to replace.
    pub mode: PutMode,
    /// Return only when the bytes and the name survive a power cut (`fsync` of file and directory).
    /// Stores that are durable by nature need do nothing.
    pub durable: bool,
}

/// The bytes of a put, in one piece or as they come.
///
/// A body that yields an error fails the put, and nothing becomes visible.
pub struct Body {
    chunks: Chunks,
    len: Option<u64>,
}

/// Makes the same chunks again for another attempt.
type Make = Arc<dyn Fn() -> BoxStream<'static, Result<Bytes>> + Send + Sync>;

enum Chunks {
    Once(BoxStream<'static, Result<Bytes>>),
    Replayable(Make),
}

impl Body {
    /// A body from a stream of chunks, which can be sent once. `len` is its whole length, if known:
    /// it is checked.
    pub fn stream(chunks: BoxStream<'static, Result<Bytes>>, len: Option<u64>) -> Self {
        Body { chunks: Chunks::Once(chunks), len }
    }

    /// A body that can be sent again: `make` begins the same bytes anew each time it is called.
    /// Only such a body lets a failed put be tried again; one from bytes in memory is one.
    pub fn replayable(
        make: impl Fn() -> BoxStream<'static, Result<Bytes>> + Send + Sync + 'static,
        len: Option<u64>,
    ) -> Self {
        Body { chunks: Chunks::Replayable(Arc::new(make)), len }
    }

    /// The whole length, if known before.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether the body is known to be empty.
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }

    /// The same body once more, if it can be sent more than once.
    pub fn again(&self) -> Option<Body> {
        match &self.chunks {
            Chunks::Once(_) => None,
            Chunks::Replayable(make) => {
                Some(Body { chunks: Chunks::Replayable(make.clone()), len: self.len })
            }
        }
    }

    /// The same bytes through `wrap`, which may watch, pace or recut them but not change how many
    /// there are. What could be sent again still can.
    #[must_use]
    pub fn map_chunks(
        self,
        wrap: impl Fn(BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>>
        + Send
        + Sync
        + 'static,
    ) -> Body {
        let chunks = match self.chunks {
            Chunks::Once(chunks) => Chunks::Once(wrap(chunks)),
            Chunks::Replayable(make) => Chunks::Replayable(Arc::new(move || wrap(make()))),
        };
        Body { chunks, len: self.len }
    }

    /// The chunks.
    pub fn into_chunks(self) -> BoxStream<'static, Result<Bytes>> {
        match self.chunks {
            Chunks::Once(chunks) => chunks,
            Chunks::Replayable(make) => make(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let len = bytes.len() as u64;
        Body::replayable(
            move || {
                let bytes = bytes.clone();
                stream::once(async move { Ok(bytes) }).boxed()
            },
            Some(len),
        )
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        Bytes::copy_from_slice(bytes).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replayable = matches!(self.chunks, Chunks::Replayable(_));
        f.debug_struct("Body").field("len", &self.len).field("replayable", &replayable).finish()
    }
}
