//! Uploads under way: S3's parts by number, Azure's blocks by name, until they are put together.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};

/// What makes up one object later.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// By the part's number with leading zeros, or the block's name.
    pub(crate) parts: BTreeMap<String, (HeaderValue, Bytes)>,
    pub(crate) kind: Option<HeaderValue>,
    pub(crate) said: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Default)]
pub(crate) struct Uploads {
    uploads: Mutex<HashMap<String, Upload>>,
}

impl Uploads {
    pub(crate) fn open(&self) -> usize {
        self.uploads.lock().len()
    }

    pub(crate) fn begin(&self, id: String, upload: Upload) {
        self.uploads.lock().insert(id, upload);
    }

    /// Does something with an upload that is under way.
    pub(crate) fn with<R>(&self, id: &str, f: impl FnOnce(&mut Upload) -> R) -> Option<R> {
        self.uploads.lock().get_mut(id).map(f)
    }

    /// The same, beginning it where it is not there.
    pub(crate) fn with_new<R>(&self, id: &str, f: impl FnOnce(&mut Upload) -> R) -> R {
        f(self.uploads.lock().entry(id.to_owned()).or_default())
    }

    pub(crate) fn take(&self, id: &str) -> Option<Upload> {
        self.uploads.lock().remove(id)
    }
}

/// Parts one after another.
pub(crate) fn joined(parts: &[Bytes]) -> Bytes {
    if let [one] = parts {
        return one.clone();
    }
    let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    whole.freeze()
}
