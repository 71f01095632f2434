//! An opened object: a key, and the version that every read of it is pinned to.

use crate::backend::Shared;
use crate::read::{Read, served};
use forebay_io::{Buf, Location, Meta, Object, Operation, ReadOptions, Result, Served};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

pub(crate) struct ObjectOpened {
    shared: Arc<Shared>,
    location: Location,
    meta: Meta,
    stretch: Option<NonZeroU64>,
}

impl ObjectOpened {
    pub(crate) fn new(shared: Arc<Shared>, location: Location, meta: Meta, options: &ReadOptions) -> Self {
        let stretch = options.target_request_bytes.or(shared.options.request_bytes);
        ObjectOpened { shared, location, meta, stretch }
    }

    async fn fill(&self, offset: u64, buf: &mut Buf) -> Result<Served> {
        let operation = Operation::Read;
        let begin = Instant::now();
        let key = self.shared.key(operation, &self.location)?;
        let read =
            Read { shared: &self.shared, operation, location: &self.location, key, stretch: self.stretch };
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.meta.size);
        if end.is_none() {
            let range = offset..offset.saturating_add(buf.len() as u64);
            return Err(read.outside(&range, Some(self.meta.size)));
        }
        let (version, size) = (self.meta.version.as_ref(), self.meta.size);
        if self.stretch.is_some_and(|stretch| buf.len() as u64 > stretch.get()) {
            read.stretches(offset, buf, version, size).await?;
        } else if !buf.is_empty() {
            let filled = read.stretch(offset, buf, version, size).await;
            filled.map_err(|failure| read.fail(failure))?;
        }
        Ok(served(buf.len() as u64, begin, None))
    }
}

impl Object for ObjectOpened {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn read_into<'a>(&'a self, offset: u64, mut buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move {
            let result = self.fill(offset, &mut buf).await;
            (buf, result)
        }
        .boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Vec<(Buf, Result<Served>)>> {
        let reads = ranges.into_iter().map(|(offset, mut buf)| async move {
            let result = self.fill(offset, &mut buf).await;
            (buf, result)
        });
        join_all(reads.collect::<Vec<_>>()).boxed()
    }
}

impl fmt::Debug for ObjectOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectOpened")
            .field("location", &self.location)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}
