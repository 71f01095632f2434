//! Some samples in one contiguous, 64-byte-aligned buffer, where they were read.

use crate::listing::{Mark, Origin};
use crate::mend::Mended;
use crate::quarantine::Loss;
use forebay_io::{Block, Error, Location, Result};
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;

/// A batch. Its buffer may hold padding between samples (each begins at a multiple of 64 bytes; the
/// padding, and what is left of a sample that was skipped, is zero), so samples are found by [`Batch::span`]. Samples whose size is a multiple of 64
/// lie dense.
pub struct Batch {
    block: Block,
    ids: Box<[u64]>,
    /// The slot of each sample, where some of the block hold none.
    slots: Option<Box<[u32]>>,
    losses: Vec<Loss>,
    epoch: u64,
    index: u64,
    /// Where it came from, if that was a listing under way.
    streamed: Option<Origin>,
}

impl Batch {
    /// Binds a finished block, in which every slot has bytes, to the ids of its samples.
    pub(crate) fn new(block: Block, ids: Box<[u64]>, epoch: u64, index: u64) -> Result<Self> {
        if let Some(slot) = (0..ids.len()).find(|&slot| block.span(slot).is_none()) {
            return Err(nothing_placed(ids[slot]));
        }
        Ok(Batch { block, ids, slots: None, losses: Vec::new(), epoch, index, streamed: None })
    }

    /// As [`Batch::new`], without the samples that were lost.
    pub(crate) fn mended(block: Block, mended: Mended, epoch: u64, index: u64) -> Result<Self> {
        let Mended { ids, slots, losses } = mended;
        if slots.len() == ids.len() {
            return Ok(Batch { losses, ..Batch::new(block, ids, epoch, index)? });
        }
        let ids: Box<[u64]> = slots.iter().map(|&slot| ids[slot as usize]).collect();
        if let Some(i) = (0..ids.len()).find(|&i| block.span(slots[i] as usize).is_none()) {
            return Err(nothing_placed(ids[i]));
        }
        Ok(Batch { block, ids, slots: Some(slots.into()), losses, epoch, index, streamed: None })
    }

    /// The same batch, of a listing that is under way.
    pub(crate) fn streamed(self, origin: Origin) -> Self {
        Batch { streamed: Some(origin), ..self }
    }

    /// What of a listing had come with it, and whether it is the last.
    pub(crate) fn mark(&self) -> Option<(&Mark, bool)> {
        self.streamed.as_ref().map(|origin| (&origin.mark, origin.last))
    }

    /// Where sample `i` was read from, with `loading_mode=streaming`; none else: the dataset knows it
    /// ([`Dataset::location`](crate::Dataset::location)).
    pub fn location(&self, i: usize) -> Option<&Location> {
        let found = &self.streamed.as_ref()?.found;
        Some(&found.get(self.ids.get(i)?)?.location)
    }

    /// The samples that were lost on its way. Only the first call gets them.
    pub(crate) fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }

    /// How many samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none; never so for a batch that a loader delivered.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The ids of the samples in the dataset, in the order of the batch; with `loading_mode=streaming`
    /// their places in the listing.
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

    /// Which of the samples that were asked for sample `i` is: others were skipped before it.
    pub(crate) fn slot(&self, i: usize) -> usize {
        self.slots.as_ref().map_or(i, |slots| slots[i] as usize)
    }

    /// Where sample `i` is in the buffer.
    ///
    /// # Panics
    /// If `i` is not below [`Batch::len`].
    pub fn span(&self, i: usize) -> Range<usize> {
        let slot = self.slot(i);
        self.block.span(slot).expect("checked when the batch was made")
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

fn nothing_placed(sample: u64) -> Error {
    let context = format!("the store reported sample {sample} as read but placed nothing");
    Error::new(forebay_io::Kind::Corrupt, forebay_io::Operation::Get, context)
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
