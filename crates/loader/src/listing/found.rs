//! A sample as a listing or a manifest names it: all that is known of it without a dataset.

use crate::checksum::Check;
use crate::manifest::Entry;
use forebay_io::{Error, GetRequest, Kind, Location, Operation, Result, Retry};
use std::ops::Range;

/// Where a sample is, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) location: Location,
    range: Option<Range<u64>>,
    /// Of a whole object, where the listing says it.
    size: Option<u64>,
    check: Check,
}

impl Found {
    /// The whole of an object, of which the listing may say the size.
    pub(crate) fn whole(location: Location, size: Option<u64>) -> Self {
        Found { location, range: None, size, check: Check::default() }
    }

    /// What an entry of a manifest names.
    pub(crate) fn of(entry: Entry) -> Self {
        let Entry { location, offset, len, check } = entry;
        // An entry with an offset has a length, and their sum is a number: see `Fields::entry`.
        let range = offset.zip(len).map(|(offset, len)| offset..offset.saturating_add(len));
        Found { location, range, size: None, check }
    }

    /// The request that reads it, as sample `id`, into `slot`.
    pub(crate) fn request(&self, id: u64, slot: u32) -> GetRequest {
        GetRequest {
            range: self.range.clone(),
            size: self.size,
            sample: Some(id),
            ..GetRequest::whole(self.location.clone(), slot)
        }
    }

    /// Whether [`Found::check`] looks at anything.
    pub(crate) fn checks(&self) -> bool {
        self.check != Check::default()
    }

    /// Whether `bytes`, which were read as sample `id`, are what they should be: as `Dataset::check`.
    pub(crate) fn check(&self, id: u64, bytes: &[u8], verify: bool) -> Result<()> {
        self.check.compare(bytes, verify).map_err(|why| {
            let offset = self.range.as_ref().map_or(0, |range| range.start);
            let context = format!("at offset {offset}, sample {id}: {why}");
            Error::new(Kind::Corrupt, Operation::Get, context).at(&self.location).with_retry(Retry::Never)
        })
    }
}
