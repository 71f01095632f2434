//! Where the samples of a batch are looked up: in a dataset, or among those that a listing just named.

use crate::Dataset;
use crate::listing::Found;
use forebay_io::{Error, GetRequest, Kind, Location, Operation, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module's words.
#[derive(Clone)]
pub(crate) enum Samples {
    Dataset(Arc<Dataset>),
    /// Those of one batch, by id.
    Found {
        found: Arc<BTreeMap<u64, Found>>,
        root: Location,
        verify: bool,
    },
}

impl Samples {
    /// As [`Dataset::look_at`].
    pub(crate) fn look_at(&self, ids: &[u64]) {
        if let Samples::Dataset(dataset) = self {
            dataset.look_at(ids);
        }
    }

    /// As [`Dataset::request`].
    pub(crate) fn request(&self, id: u64, slot: u32) -> Result<GetRequest> {
        match self {
            Samples::Dataset(dataset) => dataset.request(id, slot),
            Samples::Found { found, root, .. } => match found.get(&id) {
                Some(found) => Ok(found.request(id, slot)),
                None => {
                    let context = format!("sample {id} is not of this batch");
                    Err(Error::new(Kind::InvalidRange, Operation::Get, context).at(root))
                }
            },
        }
    }

    /// As [`Dataset::checks`].
    pub(crate) fn checks(&self) -> bool {
        match self {
            Samples::Dataset(dataset) => dataset.checks(),
            Samples::Found { found, .. } => found.values().any(Found::checks),
        }
    }

    /// As [`Dataset::check`].
    pub(crate) fn check(&self, id: u64, bytes: &[u8]) -> Result<()> {
        match self {
            Samples::Dataset(dataset) => dataset.check(id, bytes),
            Samples::Found { found, verify, .. } => {
                found.get(&id).map_or(Ok(()), |found| found.check(id, bytes, *verify))
            }
        }
    }

    /// How many there are to choose from; none where nobody knows.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Samples::Dataset(dataset) => Some(dataset.len()),
            Samples::Found { .. } => None,
        }
    }
}
