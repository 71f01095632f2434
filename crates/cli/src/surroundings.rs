//! What the command takes from its surroundings for the stores: environment and clock, read here and nowhere
//! below.

use forebay_io_open::Surroundings;
use std::time::SystemTime;

/// The prefixes of variables that stores look at.
const OF_USE: [&str; 4] = ["AWS_", "AZURE_", "IDENTITY_", "HOME"];

/// Environment and clock of this process. Variables that are not text are as if unset.
pub(crate) fn surroundings() -> Surroundings {
    let text = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    let of_use = text.filter(|(key, _)| OF_USE.iter().any(|prefix| key.starts_with(prefix)));
    Surroundings::new(of_use, SystemTime::now)
}
