//! Where a bucket is: endpoint, how the bucket is addressed, region, and whose requests they are.

use crate::credentials::Source;
use forebay_io_object::Endpoint;
use forebay_io_object::{Network, Surroundings};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What the options, the environment and a profile come to.
#[derive(Debug)]
pub(crate) struct Service {
    /// With the bucket in front of its host, where it is addressed so.
    pub(crate) endpoint: Endpoint,
    pub(crate) bucket: String,
    pub(crate) style: Style,
    pub(crate) region: String,
    pub(crate) source: Source,
    pub(crate) around: Surroundings,
    pub(crate) network: Network,
}

/// Where the bucket's name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Path,
    Virtual,
}

/// What stands as it is in a path, and in the value of a query.
const PATH: &AsciiSet = &VALUE.remove(b'/');
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Service {
    /// The path of a key, or of the bucket, as it is sent.
    pub(crate) fn path(&self, key: &str) -> String {
        let base = self.endpoint.path();
        let key = utf8_percent_encode(key, PATH);
        match self.style {
            Style::Path => format!("{base}/{}/{key}", utf8_percent_encode(&self.bucket, VALUE)),
            Style::Virtual => format!("{base}/{key}"),
        }
    }
}

/// The value of a query's parameter as it is sent.
pub(crate) fn value(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, VALUE)
}
