//! The verb for callers who want one object and no ceremony.

use crate::{Block, GetRequest, Location, Pool, ReadOptions, Result, Store};
use std::ops::Range;

/// Reads one object, or a range of it, into a block of its own (slot 0).
///
/// # Errors
/// As [`Store::get`]; `InvalidRange` if it does not fit in the pool's budget.
pub async fn read(
    store: &dyn Store,
    location: &Location,
    range: Option<Range<u64>>,
    options: ReadOptions,
    pool: &Pool,
) -> Result<Block> {
    let lease = pool.lease(pool.budget().ticket(), 1);
    let request = GetRequest { range, ..GetRequest::whole(location.clone(), 0) };
    store.get(request, options, lease.clone()).await?;
    lease.finish()
}
