//! What a loader loads from: a dataset, whose samples are known, or a listing that goes on meanwhile.

use crate::{Dataset, Listing, LoaderOptions, LoadingMode, listing};
use forebay_io::{Error, Location, Result};
use std::sync::Arc;

/// See the module's words.
#[derive(Debug, Clone)]
pub enum Source {
    /// Samples that are known, with ids.
    Dataset(Arc<Dataset>),
    /// Samples that are found while they are loaded: with `loading_mode=streaming`.
    Listing(Arc<Listing>),
}

impl Source {
    /// What was, or is to be, listed.
    pub fn root(&self) -> &Location {
        match self {
            Source::Dataset(dataset) => dataset.root(),
            Source::Listing(listing) => listing.root(),
        }
    }

    /// Refuses options that are not for such a source.
    ///
    /// # Errors
    /// `InvalidConfig` naming the option and what to use.
    pub(crate) fn honours(&self, options: &LoaderOptions) -> Result<()> {
        match (self, options.loading_mode) {
            (Source::Dataset(_), LoadingMode::Streaming) => Err(Error::invalid(
                "loading_mode=streaming loads while it lists, and a dataset is listed already: give the location \
                 in its place, or use ordered or completion",
            )),
            (Source::Dataset(_), _) => Ok(()),
            (Source::Listing(_), LoadingMode::Streaming) => listing::honours(options),
            (Source::Listing(_), mode) => Err(Error::invalid(format!(
                "loading_mode={mode} needs a dataset, whose listing is complete; a listing is loaded with streaming"
            ))),
        }
    }
}

impl From<Arc<Dataset>> for Source {
    fn from(dataset: Arc<Dataset>) -> Self {
        Source::Dataset(dataset)
    }
}

impl From<Arc<Listing>> for Source {
    fn from(listing: Arc<Listing>) -> Self {
        Source::Listing(listing)
    }
}
