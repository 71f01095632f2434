//! The bytes of one shard, as a scanner asks for them: through a window that moves forward, or jumps.

use crate::damage::Place;
use crate::shard::Shard;
use forebay_io::{Block, Error, GetRequest, Kind, Location, Operation, Pool, ReadOptions, Result, Store};
use memchr::memchr;
use std::sync::{Mutex, PoisonError};

/// How much is read at a time. Long enough that a disk or a service works at full speed, short enough that
/// jumping from header to header over large samples reads little for nothing.
const WINDOW: u64 = 1 << 20;

/// No header, name or line may be longer: a damaged length must not ask for all memory.
pub(crate) const LONGEST: u64 = 64 << 20;

/// What compressed files begin with.
const COMPRESSIONS: [(&[u8], &str); 4] = [
    (&[0x1f, 0x8b], "gzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (b"BZh", "bzip2"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
];

/// The stage that reads of shards while they are indexed are counted under.
const STAGE: &str = "index";

/// Random access to a shard through one window.
pub(crate) struct ShardBytes<'a> {
    store: &'a dyn Store,
    shard: &'a Shard,
    pool: &'a Pool,
    window: Option<Block>,
    start: u64,
    /// What [`ShardBytes::corrupt`] said last.
    damage: Mutex<Option<Place>>,
}

impl<'a> ShardBytes<'a> {
    pub(crate) fn new(store: &'a dyn Store, shard: &'a Shard, pool: &'a Pool) -> Self {
        ShardBytes { store, shard, pool, window: None, start: 0, damage: Mutex::default() }
    }

    /// Bytes of the whole shard.
    pub(crate) fn size(&self) -> u64 {
        self.shard.size
    }

    pub(crate) fn location(&self) -> &Location {
        &self.shard.location
    }

    fn loaded(&self) -> &[u8] {
        self.window.as_ref().map_or(&[], Block::as_slice)
    }

    /// `len` bytes at `offset`. `what` they are is said if the shard ends before.
    ///
    /// # Errors
    /// As [`Store::get`]; `Corrupt` if they are not all there, or more than any shard needs in one piece.
    pub(crate) async fn bytes(&mut self, offset: u64, len: u64, what: &str) -> Result<&[u8]> {
        let end = offset.checked_add(len).filter(|&end| end <= self.size());
        let Some(end) = end else {
            let there = self.size().saturating_sub(offset);
            return Err(self.corrupt(offset, format!("expected {what} of {len} bytes, {there} are left")));
        };
        if len > LONGEST {
            return Err(self.corrupt(offset, format!("{what} of {len} bytes; at most {LONGEST} are taken")));
        }
        let loaded = self.loaded().len() as u64;
        if offset < self.start || end > self.start + loaded {
            self.load(offset, len.max(WINDOW)).await?;
        }
        let start = (offset - self.start) as usize;
        Ok(&self.loaded()[start..start + len as usize])
    }

    /// Refuses a shard that is compressed as a whole: no `what` of it can be read alone.
    ///
    /// # Errors
    /// As [`Store::get`]; `Unsupported` naming the compression.
    pub(crate) async fn refuse_compressed(&mut self, what: &str) -> Result<()> {
        let first = self.bytes(0, self.size().min(8), "the beginning").await?;
        let packed = COMPRESSIONS.iter().find(|(magic, _)| first.starts_with(magic));
        match packed {
            None => Ok(()),
            Some((_, name)) => Err(self.unsupported(format!(
                "it is compressed with {name}: no {what} of it can be read alone; decompress it"
            ))),
        }
    }

    /// Where the next `byte` at or after `offset` is; none if there is none up to the end.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub(crate) async fn find(&mut self, byte: u8, mut offset: u64) -> Result<Option<u64>> {
        while offset < self.size() {
            if offset < self.start || offset >= self.start + self.loaded().len() as u64 {
                self.load(offset, WINDOW).await?;
            }
            let rest = &self.loaded()[(offset - self.start) as usize..];
            if let Some(at) = memchr(byte, rest) {
                return Ok(Some(offset + at as u64));
            }
            offset += rest.len() as u64;
        }
        Ok(None)
    }

    async fn load(&mut self, offset: u64, len: u64) -> Result<()> {
        let range = offset..(offset + len).min(self.size());
        self.window = None;
        let lease = self.pool.lease(self.pool.budget().ticket(), 1);
        let request = GetRequest {
            range: Some(range.clone()),
            if_version: self.shard.version.clone(),
            ..GetRequest::whole(self.shard.location.clone(), 0)
        };
        let options = ReadOptions { stage: STAGE, ..ReadOptions::default() };
        self.store.get(request, options, lease.clone()).await?;
        let block = lease.finish()?;
        // It is ours now: what other shards read must not wait for when we move on.
        block.take();
        if block.slot(0).map_or(0, <[u8]>::len) as u64 != range.end - range.start {
            return Err(self.corrupt(offset, "the store answered with fewer bytes than were asked for"));
        }
        self.start = range.start;
        self.window = Some(block);
        Ok(())
    }

    /// The shard is not what its format says at `offset`.
    pub(crate) fn corrupt(&self, offset: u64, what: impl std::fmt::Display) -> Error {
        let place = Place { offset, reason: what.to_string() };
        let error = place.clone().of(&self.shard.location).error();
        *self.damage.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        error
    }

    /// The damage that was told of last, if any was since this was asked.
    pub(crate) fn take_damage(&mut self) -> Option<Place> {
        self.damage.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The shard is in order but cannot be read sample by sample.
    pub(crate) fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::new(Kind::Unsupported, Operation::Get, what).at(&self.shard.location)
    }
}
