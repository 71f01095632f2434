//! One operation of a replay: asked of its store, into memory that is thrown away.

use super::prepare::content;
use super::targets::Objects;
use crate::multiset::Multiset;
use crate::{Action, Record};
use forebay_io::Operation::{Get, Read};
use forebay_io::{
    Access, Error, GetRequest, Kind, ListOptions, Location, Pool, PutOptions, ReadOptions, Store, Through,
};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use std::ops::Range;
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
    /// What the store was asked for; nothing if it was not.
    pub(super) asked: Multiset,
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
            let mut asked = None;
            let result = self.perform(pool.as_ref(), &mut asked).await;
            let at = Instant::now();
            Ended {
                pool,
                size,
                stream: self.record.stream,
                recorded_end,
                due,
                submitted,
                at,
                read: self.record.op.is_read(),
                recorded_failure: !self.record.status.is_ok(),
                asked: asked.map(|asked| asked.multiset(self.record.op)).unwrap_or_default(),
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
            epoch: self.record.epoch,
            attempt: 0,
        }
    }

    /// Asks the store. `asked` is what it was handed, from the moment it was.
    async fn perform(&self, pool: Option<&Pool>, asked: &mut Option<Asked>) -> forebay_io::Result<u64> {
        let record = &self.record;
        // A trace has both or none; what has one of them alone is asked for as a whole, and shows as not exact.
        let range = record.offset.zip(record.len).map(|(offset, len)| offset..offset.saturating_add(len));
        match (record.op, pool) {
            (Action::Get, Some(pool)) => {
                self.check_size(pool)?;
                let request = GetRequest { range, ..GetRequest::whole(self.location.clone(), 0) };
                let lease = pool.lease(pool.budget().ticket(), 1);
                *asked = Some(Asked { location: request.location.clone(), range: request.range.clone() });
                Ok(self.store.get(request, self.options(), lease).await?.bytes)
            }
            (Action::Read, Some(pool)) => {
                self.check_size(pool)?;
                let object = match self.objects.get(&self.location) {
                    Some(object) => object,
                    None => self.open().await?,
                };
                let bytes = range.clone().unwrap_or(0..object.meta().size);
                let buf = pool.buffer(bytes.end - bytes.start).await?;
                let read = bytes.start..bytes.start + buf.len() as u64;
                *asked = Some(Asked { range: range.map(|_| read), ..self.whole() });
                let (_, served) = object.read_into(bytes.start, buf).await;
                Ok(served?.bytes)
            }
            (Action::Open, _) => {
                *asked = Some(self.whole());
                self.open().await.map(|_| 0)
            }
            (Action::Stat, _) => {
                *asked = Some(self.whole());
                self.store.stat(&self.location).await.map(|_| 0)
            }
            (Action::List, _) => {
                *asked = Some(self.whole());
                let mut pages = self.store.list(&self.location, ListOptions::recursive());
                while let Some(page) = pages.next().await {
                    page?;
                }
                Ok(0)
            }
            (Action::Put, _) => {
                // Whole objects are all that stores can be asked to write.
                *asked = Some(self.whole());
                let body = content(record.size().unwrap_or(0), [0; 32]);
                self.store.put(&self.location, body, PutOptions::default()).await.map(|meta| meta.size)
            }
            (Action::Delete, _) => {
                *asked = Some(self.whole());
                self.store.delete(&self.location).await.map(|()| 0)
            }
            (Action::Get | Action::Read, None) => unreachable!("reads are given memory"),
        }
    }

    /// Refuses what may not be in flight even alone: no store is asked for it.
    fn check_size(&self, pool: &Pool) -> forebay_io::Result<()> {
        let (size, cap) = (self.record.size().unwrap_or(0), pool.budget().cap());
        if size <= cap {
            return Ok(());
        }
        let context = format!("{size} bytes are more than max_bytes_in_flight={cap} allows; raise it");
        let operation = if self.record.op == Action::Get { Get } else { Read };
        Err(Error::new(Kind::InvalidRange, operation, context).at(&self.location))
    }

    fn whole(&self) -> Asked {
        Asked { location: self.location.clone(), range: None }
    }

    async fn open(&self) -> forebay_io::Result<Arc<dyn forebay_io::Object>> {
        let object = self.store.open(&self.location, self.options()).await?;
        self.objects.insert(self.location.clone(), object.clone());
        Ok(object)
    }
}

/// What a store was handed.
struct Asked {
    location: Location,
    range: Option<Range<u64>>,
}

impl Asked {
    fn multiset(&self, op: Action) -> Multiset {
        let len = |range: &Range<u64>| range.end - range.start;
        let (offset, len) = (self.range.as_ref().map(|range| range.start), self.range.as_ref().map(len));
        Multiset::of(op, &self.location.to_string(), offset, len)
    }
}
