//! Samples of equal size, one after another: a few numbers a shard say where each one is.

use std::ops::Range;

/// The evenly spaced samples of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stride {
    /// Where the first sample begins.
    pub(crate) offset: u64,
    /// Bytes of each sample.
    pub(crate) bytes: u64,
    /// How many.
    pub(crate) count: u64,
}

/// The samples of all shards, numbered through.
#[derive(Debug, Default)]
pub(crate) struct Strides {
    /// One for each shard; `firsts[i]` is the id of its first sample.
    strides: Vec<Stride>,
    firsts: Vec<u64>,
    len: u64,
}

impl Strides {
    /// Those of `strides`, one for each shard.
    pub(crate) fn new(strides: Vec<Stride>) -> Self {
        let mut len = 0u64;
        let mut firsts = Vec::with_capacity(strides.len());
        for stride in &strides {
            firsts.push(len);
            len += stride.count;
        }
        Strides { strides, firsts, len }
    }

    /// How many samples.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The shard of sample `id` and the bytes of it.
    pub(crate) fn get(&self, id: u64) -> Option<(u64, Range<u64>)> {
        if id >= self.len {
            return None;
        }
        // The last shard whose first sample is not beyond; shards without samples come before it.
        let shard = self.firsts.partition_point(|&first| first <= id) - 1;
        let stride = self.strides[shard];
        let start = stride.offset + (id - self.firsts[shard]) * stride.bytes;
        Some((shard as u64, start..start + stride.bytes))
    }

    /// Bytes of the longest sample.
    pub(crate) fn largest(&self) -> u64 {
        self.strides.iter().filter(|stride| stride.count > 0).map(|stride| stride.bytes).max().unwrap_or(0)
    }

    /// Resident bytes.
    pub(crate) fn memory(&self) -> usize {
        self.strides.capacity() * size_of::<Stride>() + self.firsts.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn samples_are_numbered_through_all_shards(
            shards in proptest::collection::vec((0u64..100, 0u64..9, 0u64..5), 0..12),
        ) {
            let strides: Vec<_> =
                shards.iter().map(|&(offset, bytes, count)| Stride { offset, bytes, count }).collect();
            let all = Strides::new(strides.clone());
            let mut expected = Vec::new();
            for (shard, s) in strides.iter().enumerate() {
                expected.extend((0..s.count).map(|i| {
                    let start = s.offset + i * s.bytes;
                    (shard as u64, start..start + s.bytes)
                }));
            }
            prop_assert_eq!(all.len(), expected.len() as u64);
            let found: Vec<_> = (0..all.len()).filter_map(|id| all.get(id)).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(all.get(all.len()), None);
        }
    }
}
