//! Writing: one request for what is small, parts side by side for what is not.
//!
//! The object exists when the last request has succeeded, and not before. An upload that fails is taken back before
//! the error is told, and one that is dropped by a task of its own, so that no parts stay behind that somebody pays
//! for. Whoever ends the program waits for those tasks, with `Uploads`.

use crate::backend::Shared;
use crate::part::Again;
use crate::uploads::Open;
use crate::{Facts, Failure, Payload, Stored};
use bytes::Bytes;
use forebay_io::{Body, EntryKind, Error, Kind, Location, Meta, Operation, PutMode, PutOptions, Result};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryFutureExt, TryStreamExt, future};
use std::sync::Arc;
use tokio::runtime::Handle;

/// Parts of one upload that are sent side by side. Each holds its bytes in memory until it is there, so
/// one put takes this many parts (32 MiB by default); four hide the latency of one.
const SIDE_BY_SIDE: usize = 4;

/// Writes an object.
pub(crate) async fn put(
    shared: &Arc<Shared>,
    location: &Location,
    body: Body,
    options: PutOptions,
) -> Result<Meta> {
    let key = shared.key(Operation::Put, location)?;
    let facts = shared.client.facts();
    if options.mode == PutMode::Create && !facts.conditional_put {
        let context = format!("the client {} cannot put only where nothing is; overwrite", facts.client);
        return Err(Error::new(Kind::Unsupported, Operation::Put, context).at(location));
    }
    let size = PartSize::new(shared, &facts, body.len());
    let mut parts = Parts::new(body, location.clone());
    let first = parts.next(size.of(1)).await?;
    let (stored, size) = if parts.done && first.len() <= facts.max_put {
        let len = first.len();
        let request = shared.client.put(key, first, options.mode);
        let stored = shared.call(Operation::Put, location, len, request).await;
        (stored.map_err(|failure| failure.into_error(Operation::Put, location))?, len)
    } else {
        in_parts(shared, location, key, first, parts, size, options.mode).await?
    };
    Ok(Meta { kind: EntryKind::Object, size, modified: stored.modified, version: stored.version })
}

/// Writes an object of which `first` is the first part and `parts` are the others.
async fn in_parts(
    shared: &Arc<Shared>,
    location: &Location,
    key: &str,
    first: Payload,
    parts: Parts,
    size: PartSize,
    mode: PutMode,
) -> Result<(Stored, u64)> {
    let mut upload = Upload::begin(shared, location, key)
        .await
        .map_err(|failure| failure.into_error(Operation::Put, location))?;
    let written = upload.write(first, parts, size, mode).await;
    if written.is_err() {
        upload.take_back().await;
    }
    written
}

/// An upload in parts that was begun. Dropping it before it is finished takes it back.
struct Upload {
    shared: Arc<Shared>,
    location: Location,
    key: String,
    /// As the service named it, and that it counts as open. None when there is nothing to take back.
    begun: Option<(String, Open)>,
    /// Where a task can take it back, wherever it is dropped.
    runtime: Handle,
}

impl Upload {
    /// Begins one, in a task: if the caller goes away while the service is naming it, it is taken back all the same.
    async fn begin(shared: &Arc<Shared>, location: &Location, key: &str) -> Result<Self, Failure> {
        let (shared, location, key) = (shared.clone(), location.clone(), key.to_owned());
        let (runtime, open) = (Handle::current(), shared.uploads.open());
        let begin = runtime.clone().spawn(async move {
            let name = shared.call(Operation::Put, &location, 0, shared.client.begin_upload(&key)).await?;
            Ok(Upload { shared, location, key, begun: Some((name, open)), runtime })
        });
        begin.await.unwrap_or_else(|lost| match lost.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Failure::new(Kind::Cancelled, "the program ends")),
        })
    }

    /// Sends all there is, and finishes.
    async fn write(
        &mut self,
        first: Payload,
        parts: Parts,
        size: PartSize,
        mode: PutMode,
    ) -> Result<(Stored, u64)> {
        let most = self.shared.client.facts().max_parts;
        let sent: Vec<(u32, u64, String)> = {
            let upload = &*self;
            stream::once(future::ready(Ok((1, first))))
                .chain(parts.stream(size, most))
                .map_ok(|(number, payload)| async move {
                    let len = payload.len();
                    Ok((number, len, upload.part(number, payload).await?))
                })
                .try_buffer_unordered(SIDE_BY_SIDE)
                .try_collect()
                .await?
        };
        let len = sent.iter().map(|(_, len, _)| len).sum();
        let mut names = vec![String::new(); sent.len()];
        sent.into_iter().for_each(|(number, _, name)| names[number as usize - 1] = name);
        let stored = self.finish(&names, mode).await;
        Ok((stored.map_err(|failure| failure.into_error(Operation::Put, &self.location))?, len))
    }

    fn name(&self) -> &str {
        self.begun.as_ref().map_or("", |(name, _)| name)
    }

    /// Sends a part, as often as it is tried: a part that came twice is kept once.
    async fn part(&self, number: u32, payload: Payload) -> Result<String> {
        let send = || {
            let named = move |failure: Failure| failure.context(format_args!("part {number}"));
            self.send(number, payload.clone()).map_err(named)
        };
        self.shared.part(Operation::Put, &self.location, Again::Alone, send).await
    }

    async fn send(&self, number: u32, payload: Payload) -> Result<String, Failure> {
        let len = payload.len();
        let request = self.shared.client.put_part(&self.key, self.name(), number, payload);
        self.shared.call(Operation::Put, &self.location, len, request).await
    }

    async fn finish(&mut self, names: &[String], mode: PutMode) -> Result<Stored, Failure> {
        let request = self.shared.client.finish_upload(&self.key, self.name(), names, mode);
        let stored = self.shared.call(Operation::Put, &self.location, 0, request).await?;
        self.begun = None;
        Ok(stored)
    }

    /// Takes it back. Whoever does not wait for it has it done by the task that dropping it starts.
    async fn take_back(&mut self) {
        if let Some((name, _)) = &self.begun {
            abort(&self.shared, &self.location, &self.key, name).await;
            self.begun = None;
        }
    }
}

async fn abort(shared: &Shared, location: &Location, key: &str, name: &str) {
    // If this fails too, the bucket's own rule for uploads that were left is what remains.
    let _ = shared.call(Operation::Put, location, 0, shared.client.abort_upload(key, name)).await;
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some((name, open)) = self.begun.take() else { return };
        let (shared, location, key) =
            (self.shared.clone(), self.location.clone(), std::mem::take(&mut self.key));
        self.runtime.spawn(async move {
            abort(&shared, &location, &key, &name).await;
            drop(open);
        });
    }
}

/// How large the parts of an upload are.
#[derive(Clone, Copy)]
struct PartSize {
    base: u64,
    known: bool,
}

impl PartSize {
    fn new(shared: &Shared, facts: &Facts, len: Option<u64>) -> Self {
        let asked = shared.options.upload_part_bytes.get().max(facts.min_part);
        let needed = len.map_or(0, |len| len.div_ceil(u64::from(facts.max_parts)));
        PartSize { base: asked.max(needed), known: len.is_some() }
    }

    /// Of a body of unknown length the parts grow, so that it cannot run out of numbers: twice as large
    /// after each thousand.
    fn of(self, number: u32) -> u64 {
        let doublings = if self.known { 0 } else { (number - 1) / 1000 };
        self.base.saturating_mul(1 << doublings.min(20))
    }
}

/// A body, cut into parts.
struct Parts {
    chunks: BoxStream<'static, Result<Bytes>>,
    location: Location,
    promised: Option<u64>,
    /// Came already, and belongs to the next part.
    rest: Bytes,
    seen: u64,
    done: bool,
}

impl Parts {
    fn new(body: Body, location: Location) -> Self {
        let promised = body.len();
        Parts { chunks: body.into_chunks(), location, promised, rest: Bytes::new(), seen: 0, done: false }
    }

    /// The next `size` bytes, or those that are left. `done` says whether the body has ended.
    async fn next(&mut self, size: u64) -> Result<Payload> {
        let mut part = Payload::default();
        loop {
            if self.rest.is_empty() {
                match self.chunks.next().await {
                    Some(chunk) => {
                        self.rest = chunk.map_err(|error| error.context("the body failed"))?;
                        self.seen += self.rest.len() as u64;
                        if self.promised.is_some_and(|promised| self.seen > promised) {
                            return Err(self.wrong_length());
                        }
                        continue;
                    }
                    None => {
                        self.done = true;
                        if self.promised.is_some_and(|promised| self.seen < promised) {
                            return Err(self.wrong_length());
                        }
                        return Ok(part);
                    }
                }
            }
            // Only when there is more: a body of exactly one part is not an upload in two.
            if part.len() >= size {
                return Ok(part);
            }
            let room = usize::try_from(size - part.len()).unwrap_or(usize::MAX);
            part.push(self.rest.split_to(room.min(self.rest.len())));
        }
    }

    /// All that are left, numbered from 2 on; `most` is the largest number there may be.
    fn stream(self, size: PartSize, most: u32) -> BoxStream<'static, Result<(u32, Payload)>> {
        stream::try_unfold((self, 2), move |(mut parts, number)| async move {
            if parts.done {
                return Ok(None);
            }
            if number > most {
                let context = format!("more than {most} parts; raise upload_part_bytes");
                return Err(Error::new(Kind::InvalidConfig, Operation::Put, context).at(&parts.location));
            }
            let payload = parts.next(size.of(number)).await?;
            Ok(Some(((number, payload), (parts, number + 1))))
        })
        .boxed()
    }

    fn wrong_length(&self) -> Error {
        let (seen, promised) = (self.seen, self.promised.unwrap_or_default());
        let context = format!("the body has {seen} bytes, {promised} were promised");
        Error::new(Kind::Corrupt, Operation::Put, context).at(&self.location)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every byte is in exactly one part, in order; every part but the last is as large as asked.
        #[test]
        fn parts_are_the_body_cut(lens in prop::collection::vec(0usize..50, 0..20), size in 1u64..60) {
            let mut byte = 0u8;
            let chunks: Vec<Bytes> = lens
                .iter()
                .map(|len| (0..*len).map(|_| { byte = byte.wrapping_add(1); byte }).collect())
                .collect();
            let whole = chunks.concat();
            let body = Body::stream(stream::iter(chunks.into_iter().map(Ok)).boxed(), Some(whole.len() as u64));
            let mut parts = Parts::new(body, "s3://b/k".parse().unwrap());
            let mut found = Vec::new();
            while !parts.done {
                let part = futures::executor::block_on(parts.next(size)).unwrap();
                prop_assert!(parts.done || part.len() == size);
                prop_assert!(!part.is_empty() || whole.is_empty());
                found.extend_from_slice(&part.into_bytes());
            }
            prop_assert_eq!(found, whole);
        }

        #[test]
        fn numbers_never_run_out(len in 0u64..5 << 40) {
            let facts = Facts {
                client: "", conditional_put: true, delete_reports_missing: false, delete_batch: 1,
                min_part: 5 << 20, max_parts: 10_000, max_put: 5 << 30,
            };
            let known = PartSize { base: (8u64 << 20).max(len.div_ceil(10_000)), known: true };
            prop_assert!(len.div_ceil(known.of(1)) <= u64::from(facts.max_parts));
            let unknown = PartSize { base: 8 << 20, known: false };
            let room: u64 = (1..=facts.max_parts).map(|number| unknown.of(number)).sum();
            prop_assert!(room >= 5 << 40);
        }
    }
}
