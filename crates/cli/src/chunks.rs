//! An object of any size as a stream of leased buffers, in order, in bounded memory.

use forebay_io::{Budget, Buf, Object, Pool, Result};
use futures::{Stream, StreamExt, stream};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of one read. Large enough that a request to an object store is worth its round trip and
/// that a disk streams; small enough that a handful in flight cost little memory.
pub(crate) const CHUNK: u64 = 4 << 20;

/// Reads that are under way while the consumer works on a chunk: with them, one object of a service comes at
/// the speed of several connections.
const AHEAD: usize = 4;

/// Memory for `streams` streams of chunks at full speed: what is read ahead, and the one in use.
pub(crate) fn pool(streams: usize) -> Result<Pool> {
    Ok(Pool::new(Budget::new(CHUNK * (AHEAD as u64 + 1) * streams.max(1) as u64)?))
}

/// The bytes of a range, chunk by chunk. Chunks are no larger than a quarter of the pool, so that any
/// pool serves any object.
pub(crate) fn chunks(
    object: Arc<dyn Object>,
    range: Range<u64>,
    pool: &Pool,
) -> impl Stream<Item = Result<Buf>> + Send + 'static {
    let pool = pool.clone();
    // Slots are padded to their alignment, hence the rounding down.
    let step = (pool.budget().cap() / 4 / 64 * 64).clamp(1, CHUNK);
    stream::iter((range.start..range.end).step_by(step as usize))
        .map(move |offset| {
            let len = step.min(range.end - offset);
            let (object, pool) = (object.clone(), pool.clone());
            async move {
                let buf = pool.buffer(len).await?;
                let (buf, served) = object.read_into(offset, buf).await;
                served.map(|_| buf)
            }
        })
        .buffered(AHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_io::{Location, MemoryStore, PutOptions, ReadOptions, Store};
    use futures::TryStreamExt;

    async fn read_back(bytes: &[u8], range: Range<u64>, cap: u64) -> Vec<u8> {
        let store = MemoryStore::new();
        let location: Location = "mem://h/object".parse().unwrap();
        store.put(&location, bytes.into(), PutOptions::default()).await.unwrap();
        let object = store.open(&location, ReadOptions::default()).await.unwrap();
        let pool = Pool::new(Budget::new(cap).unwrap());
        let mut all = Vec::new();
        let mut stream = Box::pin(chunks(object, range, &pool));
        while let Some(chunk) = stream.try_next().await.unwrap() {
            all.extend_from_slice(&chunk);
        }
        drop(stream);
        assert_eq!(pool.budget().used(), 0);
        all
    }

    #[tokio::test]
    async fn any_range_through_any_pool() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 17).map(|i| (i % 251) as u8).collect();
        let all = bytes.len() as u64;
        for cap in [1 << 14, 1 << 18, 64 << 20] {
            assert_eq!(read_back(&bytes, 0..all, cap).await, bytes);
            assert_eq!(read_back(&bytes, 5..all - 1, cap).await, bytes[5..bytes.len() - 1]);
            assert!(read_back(&bytes, 7..7, cap).await.is_empty());
        }
    }
}
