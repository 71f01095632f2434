//! What the command takes from its surroundings for the stores: environment and clock, read here and nowhere
//! below.

use forebay_io_open::Surroundings;
use std::time::SystemTime;

/// Environment and clock of this process. Variables that are not text are as if unset.
pub(crate) fn surroundings() -> Surroundings {
    let text = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    let of_use = text.filter(|(key, _)| Surroundings::reads(key));
    Surroundings::new(of_use, SystemTime::now)
}
