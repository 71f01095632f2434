//! An index that was opened: every block was checked once, and rows are read one by one.

use super::column::Block;
use super::{About, Column, Image, MAGIC, ROWS, Row, TRAILER, VERSION};
use crate::checksum::crc32c;

/// A readable index. Errors are texts: whoever opened it knows where it is.
#[derive(Debug)]
pub(crate) struct Index {
    image: Image,
    columns: Vec<Blocks>,
    about: About,
}

#[derive(Debug, Default)]
struct Blocks {
    rows: u64,
    blocks: Vec<Block>,
}

/// Reads numbers off the front of a slice.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or("its directory is cut short")?;
        self.0 = rest;
        Ok(*first)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_le_bytes)
    }
}

impl Index {
    /// Opens an index and checks all of it.
    pub(crate) fn open(image: Image) -> Result<Self, String> {
        let size = image.len();
        let body = size.checked_sub(TRAILER as u64).ok_or_else(|| format!("{size} bytes are no index"))?;
        let mut trailer = [0; TRAILER];
        image.read(body, &mut trailer)?;
        let (fields, end) = trailer.split_at(TRAILER - 16);
        let mut end = Numbers(end);
        let (crc, version) = (u32::from_le_bytes(end.take()?), u32::from_le_bytes(end.take()?));
        if end.0 != MAGIC {
            return Err("it does not end as an index does".to_owned());
        }
        if version != VERSION {
            return Err(format!("it has version {version}; this reader knows version {VERSION}"));
        }
        if crc != crc32c(fields) {
            return Err("the checksum of its trailer is wrong".to_owned());
        }
        let mut fields = Numbers(fields);
        let (position, len, meta) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let mut about = About { source: fields.take()?, fingerprint: fields.take()?, meta: Vec::new() };
        let directory_crc = u32::from_le_bytes(fields.take()?);
        if position.checked_add(len) != Some(body) || meta > len {
            return Err("its trailer does not fit its length".to_owned());
        }
        let mut directory = vec![0; len as usize];
        image.read(position, &mut directory)?;
        if crc32c(&directory) != directory_crc {
            return Err("the checksum of its directory is wrong".to_owned());
        }
        let (blocks, meta) = directory.split_at((len - meta) as usize);
        about.meta = meta.to_vec();
        let mut numbers = Numbers(blocks);
        let mut columns = Vec::new();
        for column in Column::ALL {
            columns.push(Blocks::read(column, &mut numbers, position)?);
        }
        if !numbers.0.is_empty() {
            return Err("its directory is longer than its columns".to_owned());
        }
        let index = Index { image, columns, about };
        index.check_blocks(position)?;
        Ok(index)
    }

    /// Every byte before the directory is the beginning or in exactly one block with the right checksum.
    fn check_blocks(&self, end: u64) -> Result<(), String> {
        let mut blocks: Vec<_> = self.columns.iter().flat_map(|column| &column.blocks).collect();
        blocks.sort_unstable_by_key(|block| block.offset);
        let mut magic = [0; MAGIC.len()];
        self.image.read(0, &mut magic)?;
        let mut next = MAGIC.len() as u64;
        let mut bytes = Vec::new();
        for block in blocks {
            if block.offset != next {
                return Err(format!("a block begins at {} where {next} was expected", block.offset));
            }
            next += u64::from(block.len);
            bytes.resize(block.len as usize, 0);
            self.image.read(block.offset, &mut bytes)?;
            if crc32c(&bytes) != block.crc {
                return Err(format!("the checksum of its block at {} is wrong", block.offset));
            }
        }
        if magic != MAGIC || next != end {
            return Err("its blocks do not fill it".to_owned());
        }
        Ok(())
    }

    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    /// How many rows a column has.
    pub(crate) fn rows(&self, column: Column) -> u64 {
        self.columns[column as usize].rows
    }

    /// Bytes in this process's own memory.
    pub(crate) fn memory(&self) -> usize {
        let blocks = |column: &Blocks| column.blocks.capacity() * size_of::<Block>();
        self.image.resident() + self.columns.iter().map(blocks).sum::<usize>()
    }

    /// A row of the samples.
    pub(crate) fn sample(&self, row: u64) -> Result<Row, String> {
        self.fixed(Column::Samples, row).map(Row::from_bytes)
    }

    /// Both ends of a row of the samples in one byte, if it is in this process's own memory. (A row need not lie in one
    /// line of a cache.)
    pub(crate) fn peek(&self, row: u64) -> Option<u8> {
        let (block, inside, _) = self.find(Column::Samples, row).ok()?;
        let width = Column::Samples.width()? as u64;
        let first = block.offset + inside * width;
        Some(self.image.peek(first)? ^ self.image.peek(first + width - 1)?)
    }

    /// A row of the strides.
    pub(crate) fn stride(&self, row: u64) -> Result<[u64; 3], String> {
        let bytes: [u8; 24] = self.fixed(Column::Strides, row)?;
        let mut numbers = Numbers(&bytes);
        Ok([numbers.u64()?, numbers.u64()?, numbers.u64()?])
    }

    /// A row of the shards: what the shard was, and how many samples there are up to its end.
    pub(crate) fn shard(&self, row: u64) -> Result<([u8; 16], u64), String> {
        let bytes: [u8; 24] = self.fixed(Column::Shards, row)?;
        let mut numbers = Numbers(&bytes);
        Ok((numbers.take()?, numbers.u64()?))
    }

    fn fixed<const N: usize>(&self, column: Column, row: u64) -> Result<[u8; N], String> {
        let (block, inside, _) = self.find(column, row)?;
        let mut bytes = [0; N];
        self.image.read(block.offset + inside * N as u64, &mut bytes)?;
        Ok(bytes)
    }

    /// A row of a column whose rows differ in length.
    pub(crate) fn bytes(&self, column: Column, row: u64) -> Result<Vec<u8>, String> {
        if column.width().is_some() {
            return Err(format!("{column:?} has rows of fixed length"));
        }
        let (block, inside, rows) = self.find(column, row)?;
        let mut ends = [0; 8];
        let (start, end) = if inside == 0 {
            self.image.read(block.offset, &mut ends[4..])?;
            (0, &ends[4..])
        } else {
            self.image.read(block.offset + (inside - 1) * 4, &mut ends)?;
            (u32::from_le_bytes([ends[0], ends[1], ends[2], ends[3]]), &ends[4..])
        };
        let end = u32::from_le_bytes([end[0], end[1], end[2], end[3]]);
        // Both were written by us and are under a checksum; a forged file may still say anything.
        let len = end.checked_sub(start).filter(|_| u64::from(end) + rows * 4 <= u64::from(block.len));
        let len = len.ok_or_else(|| format!("row {row} of {column:?} lies outside its block"))?;
        let mut bytes = vec![0; len as usize];
        self.image.read(block.offset + rows * 4 + u64::from(start), &mut bytes)?;
        Ok(bytes)
    }

    /// The block of a row, which of its rows it is, and how many it has.
    fn find(&self, column: Column, row: u64) -> Result<(Block, u64, u64), String> {
        let found = &self.columns[column as usize];
        if row >= found.rows {
            return Err(format!("row {row} of the {} of {column:?}", found.rows));
        }
        let number = row / ROWS;
        Ok((found.blocks[number as usize], row % ROWS, ROWS.min(found.rows - number * ROWS)))
    }
}

impl Blocks {
    fn read(column: Column, numbers: &mut Numbers<'_>, end: u64) -> Result<Self, String> {
        let (rows, count) = (numbers.u64()?, numbers.u64()?);
        if count != rows.div_ceil(ROWS) || count > (numbers.0.len() / Block::BYTES) as u64 {
            return Err(format!("{rows} rows of {column:?} cannot be in {count} blocks"));
        }
        let mut blocks = Vec::with_capacity(count as usize);
        for number in 0..count {
            let block = Block::from_bytes(numbers.take()?);
            let inside = ROWS.min(rows - number * ROWS);
            let len = u64::from(block.len);
            let fits = match column.width() {
                Some(width) => len == inside * width as u64,
                None => len >= inside * 4,
            };
            if !fits || block.offset.checked_add(len).is_none_or(|to| to > end) {
                return Err(format!("block {number} of {column:?} makes no sense"));
            }
            blocks.push(block);
        }
        Ok(Blocks { rows, blocks })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::index::writer::trailer;

    /// A file whose checksums are right, around any directory.
    pub(in crate::index) fn forged(directory: &[u8], numbers: &[u64]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend([5; 64]);
        let position = file.len() as u64;
        let mut all: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        all.extend_from_slice(directory);
        file.extend_from_slice(&all);
        let meta = numbers.first().copied().unwrap_or(0) as usize % 8;
        file.extend(trailer(position, &all, &About { meta: vec![0; meta], ..About::default() }));
        file
    }
}
