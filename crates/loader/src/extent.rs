//! Where the bytes of a sample are.

use std::ops::Range;

/// In which object of the dataset a sample lies, and where in it. Extents of the same object are neighbours
/// that one request may serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The number of the object, from 0, in the order of the dataset.
    pub object: u64,
    /// Which bytes of it; none for the whole, whose size is not known before it is read.
    pub range: Option<Range<u64>>,
}
