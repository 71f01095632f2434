//! Some samples in one contiguous, 64-byte-aligned buffer, where they were read.

use forebay_io::{Block, Error, Result};
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;

/// A batch. Its buffer may hold padding between samples (each begins at a multiple of 64 bytes; the
/// padding is zero), so samples are found by [`Batch::span`]. Samples whose size is a multiple of 64
/// lie dense.
pub struct Batch {
    block: Block,
    ids: Box<[u64]>,
    epoch: u64,
    index: u64,
}

impl Batch {
    /// Binds a finished block, in which every slot has bytes, to the ids of its samples.
    pub(crate) fn new(block: Block, ids: Box<[u64]>, epoch: u64, index: u64) -> Result<Self> {
        if let Some(slot) = (0..ids.len()).find(|&slot| block.span(slot).is_none()) {
            let context = format!("the store reported sample {} as read but placed nothing", ids[slot]);
            return Err(Error::new(forebay_io::Kind::Corrupt, forebay_io::Operation::Get, context));
        }
        Ok(Batch { block, ids, epoch, index })
    }

    /// How many samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none; never so for a batch that a loader delivered.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The ids of the samples in the dataset, in the order of the batch.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// The bytes of sample `i`.
    ///
    /// # Panics
    /// If `i` is not below [`Batch::len`].
    pub fn sample(&self, i: usize) -> &[u8] {
        &self.as_slice()[self.span(i)]
    }

    /// Where sample `i` is in the buffer.
    ///
    /// # Panics
    /// If `i` is not below [`Batch::len`].
    pub fn span(&self, i: usize) -> Range<usize> {
        self.block.span(i).expect("checked when the batch was made")
    }

    /// The whole buffer, padding included. Its address is a multiple of 64.
    pub fn as_slice(&self) -> &[u8] {
        self.block.as_slice()
    }

    /// Where the buffer begins; see [`Block::as_ptr`].
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.block.as_ptr()
    }

    /// Bytes of all samples, padding not counted.
    pub fn sample_bytes(&self) -> u64 {
        (0..self.len()).map(|i| self.span(i).len() as u64).sum()
    }

    /// The epoch it belongs to.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Which batch it is in the order of the epoch since it was started here, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Takes the bytes out of the budget: they are the consumer's now.
    pub(crate) fn delivered(&self) {
        self.block.take();
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("epoch", &self.epoch)
            .field("index", &self.index)
            .field("samples", &self.len())
            .field("bytes", &self.as_slice().len())
            .finish()
    }
}
