//! Single objects read whole, in part and many together, each call into memory of its own.

use forebay_io::{
    Block, Budget, Error, GetRequest, Kind, Location, Operation, Pool, ReadOptions, Result, SLOT_ALIGN,
    Store, read,
};
use std::ops::Range;
use std::sync::Arc;

/// Addresses set aside for objects whose size is not known before. They cost nothing until used, and
/// larger objects are read at their true size after a second look.
const FIRST_TRY: u64 = 1 << 30;

/// A pool for one call: its memory goes back to the system with the last view of what was read.
fn pool(bytes: u64) -> Result<Pool> {
    Ok(Pool::new(Budget::new(bytes.max(1).checked_next_multiple_of(SLOT_ALIGN as u64).unwrap_or(bytes))?))
}

pub(crate) async fn whole(store: &dyn Store, location: &Location) -> Result<Block> {
    let options = ReadOptions::default;
    match read(store, location, None, options(), &pool(FIRST_TRY)?).await {
        // A whole object can only be refused for its size.
        Err(error) if error.kind() == Kind::InvalidRange => {
            let size = store.stat(location).await?.size;
            if size <= FIRST_TRY {
                return Err(error);
            }
            read(store, location, None, options(), &pool(size)?).await
        }
        result => result,
    }
}

pub(crate) async fn part(store: &dyn Store, location: &Location, range: Range<u64>) -> Result<Block> {
    let length = range.end - range.start;
    if length > Budget::MAX {
        let context = format!("{length} bytes are more than the {} that one read may have", Budget::MAX);
        return Err(Error::new(Kind::InvalidRange, Operation::Get, context).at(location));
    }
    read(store, location, Some(range), ReadOptions::default(), &pool(length)?).await
}

pub(crate) type Found = Result<(Arc<Block>, usize)>;

pub(crate) async fn many(store: &dyn Store, locations: &[Location]) -> Result<Vec<Found>> {
    let pool = pool(FIRST_TRY)?;
    let lease = pool.lease(pool.budget().ticket(), locations.len() as u32);
    let requests: Arc<[GetRequest]> =
        (0u32..).zip(locations).map(|(slot, location)| GetRequest::whole(location.clone(), slot)).collect();
    let results = store.get_many(requests, ReadOptions::default(), lease.clone()).await;
    let block = Arc::new(lease.finish()?);
    let mut found = Vec::with_capacity(locations.len());
    for (slot, (result, location)) in results.into_iter().zip(locations).enumerate() {
        found.push(match result {
            Ok(_) => Ok((block.clone(), slot)),
            // It did not fit beside the others.
            Err(error) if error.kind() == Kind::InvalidRange => {
                whole(store, location).await.map(|alone| (Arc::new(alone), 0))
            }
            Err(error) => Err(error),
        });
    }
    Ok(found)
}
