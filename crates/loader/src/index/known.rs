//! What an older index still knows: the shards that are the same as they were. Their rows are copied, and nobody
//! reads the shards again; but those with damage, whose reader may know better now, are.

use super::{Column, Index};
use crate::damage;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// The shards of an index, by the digests of what they were.
pub(crate) struct Known<'a> {
    index: Option<&'a Index>,
    shards: HashMap<[u8; 16], Place>,
}

/// Where a shard's rows are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its row of the strides.
    pub(crate) number: u64,
    /// Its rows of the samples, checks and extras.
    pub(crate) samples: Range<u64>,
}

/// The numbers of the shards with damage.
fn damaged(index: &Index) -> Result<HashSet<u64>, String> {
    let shard = |row| {
        let row = index.bytes(Column::Damage, row)?;
        let (shard, _) = damage::Place::from_bytes(&row).ok_or("a row of damage that is none")?;
        Ok(u64::from(shard))
    };
    (0..index.rows(Column::Damage)).map(shard).collect()
}

impl<'a> Known<'a> {
    /// Those of `index`, or none.
    ///
    /// # Errors
    /// If its columns do not fit together.
    pub(crate) fn of(index: Option<&'a Index>) -> Result<Self, String> {
        let mut shards = HashMap::new();
        let mut begin = 0;
        let damaged = index.map_or(Ok(HashSet::new()), damaged)?;
        for number in 0..index.map_or(0, |index| index.rows(Column::Shards)) {
            let Some(index) = index else { break };
            let (digest, end) = index.shard(number)?;
            if end < begin || end > index.rows(Column::Samples) {
                return Err(format!("shard {number} ends at sample {end}"));
            }
            if !damaged.contains(&number) {
                shards.insert(digest, Place { number, samples: begin..end });
            }
            begin = end;
        }
        Ok(Known { index, shards })
    }

    pub(crate) fn has(&self, digest: &[u8; 16]) -> bool {
        self.shards.contains_key(digest)
    }

    /// The index, and where the shard is in it, if it is.
    pub(crate) fn find(&self, digest: &[u8; 16]) -> Option<(&'a Index, Place)> {
        Some((self.index?, self.shards.get(digest)?.clone()))
    }
}
