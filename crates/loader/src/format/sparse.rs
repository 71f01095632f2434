//! A reader over parts of an object: for parsers that want `Read` and `Seek` and need little of it.
//!
//! A read of what is not there fails and is remembered. Whoever drives the parser fetches that part and
//! begins again.

use super::shard_bytes::ShardBytes;
use forebay_io::Result;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes of each part, at multiples of it.
const PART: u64 = 64 << 10;

/// More parts than this are no table of contents.
const MOST: usize = 1024;

/// See the module's words.
pub(crate) struct Sparse {
    size: u64,
    position: u64,
    parts: BTreeMap<u64, Vec<u8>>,
    wanted: Option<u64>,
}

impl Sparse {
    pub(crate) fn new(size: u64) -> Self {
        Sparse { size, position: 0, parts: BTreeMap::new(), wanted: None }
    }

    /// The part that the last parse lacked, if it lacked one.
    pub(crate) fn wanted(&mut self) -> Option<u64> {
        self.position = 0;
        self.wanted.take()
    }

    /// Fetches a part.
    pub(crate) async fn fill(&mut self, shard: &mut ShardBytes<'_>, part: u64) -> Result<()> {
        let start = part * PART;
        if self.parts.len() >= MOST {
            return Err(shard.corrupt(start, "the table of contents is larger than 64 MiB"));
        }
        let len = PART.min(self.size - start);
        let bytes = shard.bytes(start, len, "a part").await?.to_vec();
        self.parts.insert(part, bytes);
        Ok(())
    }
}

impl Read for Sparse {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || out.is_empty() {
            return Ok(0);
        }
        let part = self.position / PART;
        let Some(bytes) = self.parts.get(&part) else {
            self.wanted = Some(part);
            return Err(io::Error::other("a part that is still to come"));
        };
        let rest = &bytes[(self.position % PART) as usize..];
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        self.position += len as u64;
        Ok(len)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
