//! What a client of an object service implements, and nothing more: one HTTP request a call, one
//! answer. Parts, pins, limits, deadlines, observation and retries are outside it.

use crate::{Answer, Failure, Head, Listing, if_match, version_of};
use bytes::Bytes;
use forebay_io::{PutMode, Version};
use futures::future::BoxFuture;
use std::fmt;
use std::ops::Range;
use std::time::SystemTime;

/// What a client answers.
pub type Answered<'a, T> = BoxFuture<'a, Result<T, Failure>>;

/// One bucket or container of a service. Keys are those of the service: whole, without a leading slash.
///
/// Each call makes one request (a client that must log in first may make more, but never repeats one that
/// failed), and no call waits longer than the service takes to answer: the deadlines of
/// [`HttpOptions`](crate::HttpOptions) other than the one for connecting are kept by the caller, who drops
/// the future.
pub trait Client: Send + Sync + fmt::Debug {
    /// What the service and this client can do.
    fn facts(&self) -> Facts;

    /// Size and version.
    fn head<'a>(&'a self, key: &'a str) -> Answered<'a, Head>;

    /// Bytes. The answer comes with the header; its body is read by the caller.
    ///
    /// # Errors
    /// `InvalidRange` for a range that the service refuses (416), `Precondition` for a pin that does not
    /// hold (412). A service that ignores either is found out by the caller.
    fn get<'a>(&'a self, key: &'a str, ask: Ask<'a>) -> Answered<'a, Answer>;

    /// One page of keys, in the order of their bytes.
    fn list<'a>(&'a self, ask: ListAsk<'a>) -> Answered<'a, Box<dyn Listing>>;

    /// Writes an object in one request.
    ///
    /// # Errors
    /// `AlreadyExists` if it is there and `mode` forbids that; `Unsupported` if the mode cannot be had.
    fn put<'a>(&'a self, key: &'a str, payload: Payload, mode: PutMode) -> Answered<'a, Stored>;

    /// Begins an upload in parts and names it.
    fn begin_upload<'a>(&'a self, key: &'a str) -> Answered<'a, String>;

    /// Sends one part; `number` counts from 1. The answer names it for [`Client::finish_upload`].
    fn put_part<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        number: u32,
        payload: Payload,
    ) -> Answered<'a, String>;

    /// Puts the parts together, in the order of their numbers: only now does the object exist.
    fn finish_upload<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        parts: &'a [String],
        mode: PutMode,
    ) -> Answered<'a, Stored>;

    /// Forgets the parts.
    fn abort_upload<'a>(&'a self, key: &'a str, upload: &'a str) -> Answered<'a, ()>;

    /// Removes an object. What is not there is `NotFound` where the service says so.
    fn delete<'a>(&'a self, key: &'a str) -> Answered<'a, ()>;

    /// Removes at most [`Facts::delete_batch`] objects in one request; `answer[i]` belongs to `keys[i]`.
    fn delete_many<'a>(&'a self, keys: &'a [String]) -> Answered<'a, Vec<Result<(), Failure>>>;
}

/// What a service can do, and this client of it, as data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The client's name, for errors and reports.
    pub client: &'static str,
    /// Whether [`PutMode::Create`] is kept by the service.
    pub conditional_put: bool,
    /// Whether deleting what is not there is reported.
    pub delete_reports_missing: bool,
    /// The most keys of [`Client::delete_many`]; 1 where there is no such request.
    pub delete_batch: usize,
    /// The least bytes of a part of an upload that is not its last.
    pub min_part: u64,
    /// The most parts of an upload.
    pub max_parts: u32,
    /// The most bytes of [`Client::put`].
    pub max_put: u64,
}

/// What is asked of an object.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// Which bytes, never an empty range; the end may be beyond the object's. None for all.
    pub range: Option<&'a Range<u64>>,
    /// Only if it still is this version.
    pub if_match: Option<&'a Version>,
    /// Whether the service should say a checksum of the bytes, where it must be asked.
    pub checksum: bool,
}

impl Ask<'_> {
    /// The fields of a request that say it, with names in lower case: none, one or both.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let range = self.range.map(|range| {
            let last = range.end.saturating_sub(1);
            ("range", format!("bytes={}-{last}", range.start))
        });
        let pin = self.if_match.map(|version| ("if-match", if_match(version)));
        range.into_iter().chain(pin).collect()
    }
}

/// What is asked of a listing.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListAsk<'a> {
    /// Keys that begin with this.
    pub prefix: &'a str,
    /// Keys that go on after a further slash are folded into one prefix that ends with it.
    pub one_level: bool,
    /// Where the page before ended: what [`Listing::read`] answered.
    pub token: Option<&'a str>,
    /// At most this many; the service may give fewer.
    pub limit: Option<u32>,
    /// Whether times and versions are wanted.
    pub details: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// The version, if the service said it.
    pub version: Option<Version>,
    /// Last change, if the service said it.
    pub modified: Option<SystemTime>,
}

impl Stored {
    /// What a service said of which only the `ETag` counts.
    pub fn tagged(etag: Option<&str>) -> Self {
        Stored { version: etag.map(version_of), modified: None }
    }
}

/// Bytes to be sent, in the pieces in which they came. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    chunks: Vec<Bytes>,
    len: u64,
}

impl Payload {
    /// Adds a piece.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len += chunk.len() as u64;
            self.chunks.push(chunk);
        }
    }

    /// How many bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, none of them empty.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// All in one piece: a copy if there are several.
    pub fn into_bytes(mut self) -> Bytes {
        match self.chunks.len() {
            0 => Bytes::new(),
            1 => self.chunks.remove(0),
            _ => self.chunks.concat().into(),
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        let mut payload = Payload::default();
        payload.push(bytes);
        payload
    }
}
