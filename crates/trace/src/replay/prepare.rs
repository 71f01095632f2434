//! Makes the objects that a trace reads, of the sizes that it recorded, where a replay will look for them.

use super::{Plan, Remap, Stores};
use crate::error::{Error, Result};
use forebay_io::{Body, Location, PutOptions};
use futures::{StreamExt, stream};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prepared {
    /// Objects that were written.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already, large enough.
    pub present: u64,
}

impl Prepared {
    /// All of it.
    pub fn to_json(&self) -> Value {
        json!({ "objects": self.objects, "bytes": self.bytes, "present": self.present })
    }
}

/// Pieces that a body is made of.
const PIECE: u64 = 1 << 20;

/// Writes every object that the plan reads and that is not there, or is smaller than what is read of it. Content is
/// random, the same for the same name and `seed`. Memory grows with the number of names alone.
///
/// # Errors
/// Those of the trace and of the stores; [`Error::Invalid`] for an object that is there and too small unless
/// `replace`.
pub async fn prepare(
    plan: &Plan,
    remap: &Remap,
    stores: &Stores,
    seed: u64,
    replace: bool,
    concurrency: usize,
) -> Result<Prepared> {
    let mut sizes: BTreeMap<Location, u64> = BTreeMap::new();
    for record in plan.records()? {
        let record = record?;
        if !record.op.is_read() || !record.status.is_ok() {
            continue;
        }
        let end = record.offset.unwrap_or(0).saturating_add(record.size().unwrap_or(0));
        let size = sizes.entry(remap.apply(&record.uri.parse()?)).or_default();
        *size = (*size).max(end);
    }
    let made = stream::iter(sizes)
        .map(|(location, size)| async move { make(&location, size, stores, seed, replace).await })
        .buffer_unordered(concurrency.max(1));
    futures::pin_mut!(made);
    let mut prepared = Prepared::default();
    while let Some(one) = made.next().await {
        match one? {
            Some(bytes) => {
                prepared.objects += 1;
                prepared.bytes += bytes;
            }
            None => prepared.present += 1,
        }
    }
    Ok(prepared)
}

async fn make(
    location: &Location,
    size: u64,
    stores: &Stores,
    seed: u64,
    replace: bool,
) -> Result<Option<u64>> {
    let store = stores(location)?;
    match store.stat(location).await {
        Ok(meta) if meta.size >= size => return Ok(None),
        Ok(meta) if !replace => {
            return Err(Error::Invalid(format!(
                "{location} is there with {} bytes, the trace reads {size} of it; map it elsewhere, or allow to replace it",
                meta.size
            )));
        }
        Ok(_) => {}
        Err(error) if error.kind() == forebay_io::Kind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let hash = blake3::keyed_hash(&seed_key(seed), location.to_string().as_bytes());
    store.put(location, content(size, *hash.as_bytes()), PutOptions::default()).await?;
    Ok(Some(size))
}

/// A body of `size` random bytes, made piece by piece.
pub(super) fn content(size: u64, key: [u8; 32]) -> Body {
    Body::replayable(
        move || {
            let mut random = ChaCha8Rng::from_seed(key);
            let mut left = size;
            stream::iter(std::iter::from_fn(move || {
                let len = left.min(PIECE);
                left -= len;
                (len > 0).then(|| {
                    let mut piece = vec![0; len as usize];
                    random.fill(&mut piece[..]);
                    Ok(piece.into())
                })
            }))
            .boxed()
        },
        Some(size),
    )
}

fn seed_key(seed: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key
}
