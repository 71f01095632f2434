//! Keys that are lent for a time need the feature `object-store`; this stands in its place.

use crate::S3Options;
use crate::credentials::Source;
use forebay_io::{Error, Result};
use forebay_io_object::Surroundings;

/// Says what is missing.
pub(crate) fn source(
    _: &S3Options,
    token: Option<&str>,
    _: &str,
    _: &str,
    _: &Surroundings,
) -> Result<Source> {
    let what = if token.is_some() { "a web identity" } else { "what the machine lends" };
    Err(Error::invalid(format!(
        "no credentials: {what} is not built in (feature object-store); give access_key_id and \
         secret_access_key, a profile, or anonymous=true"
    )))
}
