//! One operation of a replay: asked of its store, into memory that is thrown away.

use super::prepare::content;
use super::targets::Objects;
use crate::{Action, Record};
use forebay_io::{Access, GetRequest, ListOptions, Location, Pool, PutOptions, ReadOptions, Store, Through};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An operation that is over.
pub(super) struct Ended {
    pub(super) pool: Option<Pool>,
    pub(super) size: u64,
    pub(super) stream: Option<u64>,
    /// When it ended in the trace's time.
    pub(super) recorded_end: Duration,
    pub(super) due: Option<Instant>,
    pub(super) submitted: Instant,
    pub(super) at: Instant,
    pub(super) read: bool,
    pub(super) recorded_failure: bool,
    /// Bytes that arrived.
    pub(super) result: forebay_io::Result<u64>,
}

/// What one operation needs to be done.
pub(super) struct Operation {
    pub(super) store: Arc<dyn Store>,
    pub(super) objects: Arc<Objects>,
    pub(super) location: Location,
    pub(super) record: Record,
    pub(super) page_cache: forebay_io::PageCacheMode,
}

impl Operation {
    /// What is to be polled right after `submitted`.
    pub(super) fn run(
        self,
        pool: Option<Pool>,
        size: u64,
        due: Option<Instant>,
        submitted: Instant,
        recorded_end: Duration,
    ) -> BoxFuture<'static, Ended> {
        async move {
            let result = self.perform(pool.as_ref()).await;
            Ended {
                pool,
                size,
                stream: self.record.stream,
                recorded_end,
                due,
                submitted,
                at: Instant::now(),
                read: self.record.op.is_read(),
                recorded_failure: !self.record.status.is_ok(),
                result,
            }
        }
        .boxed()
    }

    fn options(&self) -> ReadOptions {
        ReadOptions {
            access: Access::Random,
            page_cache: self.page_cache,
            through: Through::Calls,
            target_request_bytes: None,
            stage: "replay",
            stream: self.record.stream,
            attempt: 0,
        }
    }

    async fn perform(&self, pool: Option<&Pool>) -> forebay_io::Result<u64> {
        let record = &self.record;
        let range = match (record.offset, record.len) {
            (Some(offset), Some(len)) => Some(offset..offset.saturating_add(len)),
            _ => None,
        };
        match (record.op, pool) {
            (Action::Get, Some(pool)) => {
                let request = GetRequest { range, ..GetRequest::whole(self.location.clone(), 0) };
                let lease = pool.lease(pool.budget().ticket(), 1);
                Ok(self.store.get(request, self.options(), lease).await?.bytes)
            }
            (Action::Read, Some(pool)) => {
                let object = match self.objects.get(&self.location) {
                    Some(object) => object,
                    None => self.open().await?,
                };
                let range = range.unwrap_or(0..object.meta().size);
                let buf = pool.buffer(range.end - range.start).await?;
                let (_, served) = object.read_into(range.start, buf).await;
                Ok(served?.bytes)
            }
            (Action::Open, _) => self.open().await.map(|_| 0),
            (Action::Stat, _) => self.store.stat(&self.location).await.map(|_| 0),
            (Action::List, _) => {
                let mut pages = self.store.list(&self.location, ListOptions::recursive());
                while let Some(page) = pages.next().await {
                    page?;
                }
                Ok(0)
            }
            (Action::Put, _) => {
                let body = content(record.size().unwrap_or(0), [0; 32]);
                self.store.put(&self.location, body, PutOptions::default()).await.map(|meta| meta.size)
            }
            (Action::Delete, _) => self.store.delete(&self.location).await.map(|()| 0),
            (Action::Get | Action::Read, None) => unreachable!("reads are given memory"),
        }
    }

    async fn open(&self) -> forebay_io::Result<Arc<dyn forebay_io::Object>> {
        let object = self.store.open(&self.location, self.options()).await?;
        self.objects.insert(self.location.clone(), object.clone());
        Ok(object)
    }
}
