//! The bytes of an index: in memory, or left in their file.

use bytes::Bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that are read at random and do not change.
#[derive(Debug)]
pub(crate) enum Image {
    Memory(Bytes),
    /// A file that is replaced, never written to, and its length.
    File(File, u64),
}

impl Image {
    /// Bytes in all.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Image::Memory(bytes) => bytes.len() as u64,
            Image::File(_, len) => *len,
        }
    }

    /// Bytes in this process's own memory.
    pub(crate) fn resident(&self) -> usize {
        match self {
            Image::Memory(bytes) => bytes.len(),
            Image::File(..) => 0,
        }
    }

    /// The byte at `offset`, if it is there and in this process's own memory.
    pub(crate) fn peek(&self, offset: u64) -> Option<u8> {
        match self {
            Image::Memory(bytes) => bytes.get(usize::try_from(offset).ok()?).copied(),
            Image::File(..) => None,
        }
    }

    /// Fills `out` from `offset`.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), String> {
        match self {
            Image::Memory(bytes) => {
                let found = usize::try_from(offset)
                    .ok()
                    .and_then(|start| bytes.get(start..start.checked_add(out.len())?));
                out.copy_from_slice(found.ok_or_else(|| beyond(offset, out.len(), self.len()))?);
                Ok(())
            }
            Image::File(file, len) => file.read_exact_at(out, offset).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => beyond(offset, out.len(), *len),
                _ => format!("{} bytes at {offset} cannot be read: {error}", out.len()),
            }),
        }
    }
}

fn beyond(offset: u64, len: usize, size: u64) -> String {
    format!("{len} bytes at {offset} lie beyond its {size} bytes")
}
