//! A shard: one object that holds many samples, and what it was when it was looked at.

use forebay_io::{EntryKind, Error, Kind, ListOptions, Location, Operation, Result, Store, Version};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};

/// One object of a dataset whose samples lie inside objects.
#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub(crate) location: Location,
    /// How long the key beneath the dataset's root is: the tail of the location's path.
    key_len: usize,
    /// Bytes.
    pub(crate) size: u64,
    /// Reads are pinned to it: a shard that changed since it was looked at is an error, not other samples.
    pub(crate) version: Option<Version>,
    /// The last change in nanoseconds since 1970, for stores without versions.
    modified: Option<i128>,
}

/// How many objects are asked for their size and version at the same time, where the listing does not say them.
const STATS_AT_ONCE: usize = 32;

impl Shard {
    /// The key beneath the root; empty if the root is the shard.
    pub(crate) fn key(&self) -> &[u8] {
        let path = self.location.path_bytes();
        &path[path.len() - self.key_len..]
    }

    /// The same shard, with its whole path for a key: of a dataset that has no root.
    pub(crate) fn named_by_itself(self) -> Self {
        Shard { key_len: self.location.path_bytes().len(), ..self }
    }

    /// What tells whether it is still the same: name, size, and version or time.
    pub(crate) fn identity(&self) -> String {
        let version = self.version.as_ref().map(Version::as_str);
        format!("{} {} {version:?} {:?}\n", self.location, self.size, self.modified)
    }

    /// A digest of that, short enough to be kept for each.
    pub(crate) fn digest(&self) -> [u8; 16] {
        let mut first = [0; 16];
        first.copy_from_slice(&blake3::hash(self.identity().as_bytes()).as_bytes()[..16]);
        first
    }

    /// What is there now, under the key `key` of `root`.
    ///
    /// # Errors
    /// As [`Store::stat`].
    pub(crate) async fn look(store: &dyn Store, root: &Location, key: &[u8]) -> Result<Self> {
        let location = root.join(key);
        let meta = store.stat(&location).await?;
        if meta.kind == EntryKind::Directory {
            let context = "a directory is no shard; name the objects in it";
            return Err(Error::new(Kind::InvalidConfig, Operation::Stat, context).at(&location));
        }
        Ok(Shard::new(location, key.len(), &meta))
    }

    fn new(location: Location, key_len: usize, meta: &forebay_io::Meta) -> Self {
        let modified = meta.modified.map(|time| match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => after.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        });
        Shard { location, key_len, size: meta.size, version: meta.version.clone(), modified }
    }

    /// Every object beneath `root` that `options` want, in bytewise order of keys.
    ///
    /// # Errors
    /// As [`Store::list`] and [`Store::stat`].
    pub(crate) async fn list(store: &dyn Store, root: &Location, options: ListOptions) -> Result<Vec<Self>> {
        // Where a listing does not say the version, the object itself may.
        let versions = store.capability().versions;
        let mut pages = store.list(root, ListOptions { details: true, ..options });
        let mut found = Vec::new();
        let mut bare = Vec::new();
        while let Some(page) = pages.next().await {
            for entry in page?.iter().filter(|entry| entry.kind == EntryKind::Object) {
                match entry.meta {
                    Some(meta) if meta.version.is_some() || !versions => {
                        found.push(Shard::new(entry.location(), entry.key.len(), meta))
                    }
                    _ => bare.push(entry.key.to_vec()),
                }
            }
        }
        // Boxed one by one: what a closure over borrowed keys makes is not `Send` in the compiler's eyes.
        let looks: Vec<BoxFuture<'_, _>> =
            bare.iter().map(|key| Shard::look(store, root, key).boxed()).collect();
        let mut stats = stream::iter(looks).buffer_unordered(STATS_AT_ONCE);
        while let Some(shard) = stats.next().await {
            found.push(shard?);
        }
        drop(stats);
        found.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        Ok(found)
    }
}
