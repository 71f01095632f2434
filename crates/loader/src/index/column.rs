//! One column while it is written: rows gather until they fill a block.

use super::{Column, ROWS};

/// Where a finished block lies, and its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) crc: u32,
}

impl Block {
    /// Bytes of an entry of the directory.
    pub(super) const BYTES: usize = 16;

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let all = u128::from(self.offset) | u128::from(self.len) << 64 | u128::from(self.crc) << 96;
        all.to_le_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let all = u128::from_le_bytes(bytes);
        Block { offset: all as u64, len: (all >> 64) as u32, crc: (all >> 96) as u32 }
    }
}

/// A column under way.
#[derive(Debug)]
pub(super) struct Writing {
    width: Option<usize>,
    /// Rows of all blocks and of this one.
    pub(super) rows: u64,
    pub(super) blocks: Vec<Block>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

/// A block of rows of variable length may not grow beyond this; `u32` counts it.
const LONGEST_BLOCK: usize = 1 << 31;

impl Writing {
    pub(super) fn new(column: Column) -> Self {
        let width = column.width();
        Writing { width, rows: 0, blocks: Vec::new(), ends: Vec::new(), bytes: Vec::new() }
    }

    /// Adds a row. Whether the block is full now: [`Writing::block`] must be called then.
    pub(super) fn add(&mut self, row: &[u8]) -> Result<bool, String> {
        if self.width.is_some_and(|width| width != row.len()) {
            return Err(format!("a row of {} bytes in a column of {:?}", row.len(), self.width));
        }
        if self.bytes.len() + row.len() > LONGEST_BLOCK {
            return Err(format!("{ROWS} samples need more than {LONGEST_BLOCK} bytes of names or footers"));
        }
        self.bytes.extend_from_slice(row);
        if self.width.is_none() {
            self.ends.push(self.bytes.len() as u32);
        }
        self.rows += 1;
        Ok(self.rows.is_multiple_of(ROWS))
    }

    /// The block of the rows so far; none if there are none. It will lie at `offset`.
    pub(super) fn block(&mut self, offset: u64) -> Option<Vec<u8>> {
        if self.rows == self.blocks.len() as u64 * ROWS {
            return None;
        }
        let ends = std::mem::take(&mut self.ends);
        let rows = std::mem::take(&mut self.bytes);
        let mut block = Vec::with_capacity(ends.len() * 4 + rows.len());
        block.extend(ends.iter().flat_map(|end| end.to_le_bytes()));
        block.extend_from_slice(&rows);
        let crc = crate::checksum::crc32c(&block);
        self.blocks.push(Block { offset, len: block.len() as u32, crc });
        Some(block)
    }
}
