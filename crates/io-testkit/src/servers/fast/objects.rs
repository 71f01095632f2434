//! The objects: buckets of sorted keys, each object one version that is replaced whole.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One version of an object.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) content: Bytes,
    /// Quoted, as it is sent.
    pub(crate) etag: HeaderValue,
    /// Its content type.
    pub(crate) kind: HeaderValue,
    /// What the writer said of it: headers to be given back with it.
    pub(crate) said: Vec<(HeaderName, HeaderValue)>,
}

/// A bucket or container.
pub(crate) type Bucket = RwLock<BTreeMap<Box<str>, Arc<Held>>>;

#[derive(Debug, Default)]
pub(crate) struct Objects {
    buckets: RwLock<HashMap<String, Arc<Bucket>>>,
    versions: AtomicU64,
}

impl Objects {
    pub(crate) fn bucket(&self, name: &str) -> Option<Arc<Bucket>> {
        self.buckets.read().get(name).cloned()
    }

    /// The bucket of this name, made if it is missing.
    pub(crate) fn make_bucket(&self, name: &str) -> Arc<Bucket> {
        if let Some(bucket) = self.bucket(name) {
            return bucket;
        }
        self.buckets.write().entry(name.to_owned()).or_default().clone()
    }

    pub(crate) fn remove_bucket(&self, name: &str) {
        self.buckets.write().remove(name);
    }

    pub(crate) fn put(
        &self,
        bucket: &Bucket,
        key: &str,
        content: Bytes,
        said: Vec<(HeaderName, HeaderValue)>,
    ) {
        let held = self.version(content, None, said);
        bucket.write().insert(key.into(), held);
    }

    /// A new version, not yet anybody's. Its ETag is no digest of its content, which clients must not
    /// count on either; equal contents written twice are two versions.
    pub(crate) fn version(
        &self,
        content: Bytes,
        kind: Option<HeaderValue>,
        said: Vec<(HeaderName, HeaderValue)>,
    ) -> Arc<Held> {
        let number = self.versions.fetch_add(1, Ordering::Relaxed);
        let etag = HeaderValue::from_str(&format!("\"{number:032x}\"")).expect("hexadecimal digits");
        let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
        Arc::new(Held { content, etag, kind, said })
    }
}
