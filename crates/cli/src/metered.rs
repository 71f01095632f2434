//! A body that is hashed and counted while it is sent, and starts afresh when it is sent again.

use crate::tally::Tally;
use bytes::Bytes;
use forebay_io::{Body, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use std::sync::{Arc, Mutex, PoisonError};

/// What was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    attempt: Mutex<Attempt>,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Attempt {
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Sent {
    /// The checksum of what was sent last.
    pub(crate) fn hash(&self) -> blake3::Hash {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner).hasher.finalize()
    }

    /// Another attempt begins: what an earlier one sent no longer counts.
    fn begin(&self) {
        let mut attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        self.tally.take_back_bytes(attempt.bytes);
        *attempt = Attempt::default();
    }

    fn add(&self, chunk: &[u8]) {
        let mut attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        attempt.hasher.update(chunk);
        attempt.bytes += chunk.len() as u64;
        self.tally.add_bytes(chunk.len() as u64);
    }
}

/// A body of `size` bytes that `make` begins anew for each attempt to send it.
pub(crate) fn metered(
    make: impl Fn() -> BoxStream<'static, Result<Bytes>> + Send + Sync + 'static,
    size: u64,
    tally: &Arc<Tally>,
) -> (Body, Arc<Sent>) {
    let sent = Arc::new(Sent { attempt: Mutex::default(), tally: tally.clone() });
    let watched = sent.clone();
    let body = Body::replayable(
        move || {
            watched.begin();
            let watched = watched.clone();
            make().inspect_ok(move |chunk| watched.add(chunk)).boxed()
        },
        Some(size),
    );
    (body, sent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    #[tokio::test]
    async fn the_attempt_that_counts_is_the_last() {
        let tally = Arc::new(Tally::new("sent", ["file", "files"]));
        let chunks = || stream::iter([Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))]).boxed();
        let (body, sent) = metered(chunks, 3, &tally);
        let again = body.again().unwrap();
        drop(body.into_chunks().next().await);
        assert_eq!(tally.bytes(), 2);
        assert_eq!(again.into_chunks().count().await, 2);
        assert_eq!((tally.bytes(), sent.hash()), (3, blake3::hash(b"abc")));
    }
}
