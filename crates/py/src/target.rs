//! What a call on single objects is aimed at: places, each with the store that it is in.

use crate::process;
use crate::settings::Settings;
use forebay_io::{Location, Store};
use pyo3::prelude::*;
use std::sync::Arc;

/// The options of a store, as they were given.
pub(crate) type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// A store and what is asked of it.
pub(crate) type Group = (Arc<dyn Store>, Vec<Location>);

/// The place and its store.
pub(crate) fn at(uri: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<(Location, Arc<dyn Store>)> {
    let mut settings = Settings::given(options)?;
    let location = settings.locate(uri)?;
    let store = process::current()?.store(uri.py(), &location, &settings)?;
    Ok((location, store))
}

/// One submission for each store, in the order given, every store open before the first is asked.
pub(crate) fn groups(uris: &Bound<'_, PyAny>, options: Given<'_, '_>) -> PyResult<Vec<Group>> {
    let process = process::current()?;
    let mut settings = Settings::given(options)?;
    let locations = uris.try_iter()?.map(|uri| settings.locate(&uri?)).collect::<PyResult<Vec<_>>>()?;
    locations
        .chunk_by(|a, b| (a.scheme(), a.host()) == (b.scheme(), b.host()))
        .map(|group| Ok((process.store(uris.py(), &group[0], &settings)?, group.to_vec())))
        .collect()
}
