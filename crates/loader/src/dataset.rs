//! What there is to load: samples with ids, in bytewise order of their names.

use crate::key_table::{KeyTable, KeyTableBuilder};
use forebay_io::{Error, Kind, ListOptions, Location, Operation, Result, Store};
use futures::StreamExt;
use std::fmt;
use std::sync::OnceLock;

/// A list of samples beneath one location. Ids are `0..len`, and the same on every machine that
/// sees the same names.
pub struct Dataset {
    root: Location,
    keys: KeyTable,
    fingerprint: OnceLock<String>,
}

impl Dataset {
    /// Lists everything beneath `root` that `options` want; one object, one sample. Directories are
    /// gone through if `options.recursive`, and are no samples.
    ///
    /// # Errors
    /// As [`Store::list`]; `NotFound` if there is no sample.
    pub async fn list(store: &dyn Store, root: &Location, options: ListOptions) -> Result<Self> {
        let glob = options.glob.as_ref().map(|glob| glob.pattern().to_owned());
        let recursive = options.recursive;
        let mut pages = store.list(root, options);
        let mut keys = KeyTableBuilder::default();
        while let Some(page) = pages.next().await {
            keys.add(&page?)?;
        }
        let keys = keys.finish();
        if keys.is_empty() {
            let context = match glob {
                Some(glob) => format!("nothing to load: no name beneath it matches the glob {glob:?}"),
                None if recursive => "nothing to load: it holds no files".to_owned(),
                None => "nothing to load: it holds no files itself (subdirectories were not looked into)"
                    .to_owned(),
            };
            return Err(Error::new(Kind::NotFound, Operation::List, context).at(root));
        }
        Ok(Dataset { root: root.clone(), keys, fingerprint: OnceLock::new() })
    }

    /// What was listed.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// How many samples.
    pub fn len(&self) -> u64 {
        self.keys.len() as u64
    }

    /// Whether there is none; never so for a dataset that was listed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key of sample `id` beneath the root. Empty if the root itself is the one sample.
    pub fn key(&self, id: u64) -> Option<&[u8]> {
        self.keys.get(id)
    }

    /// Where sample `id` is.
    pub fn location(&self, id: u64) -> Option<Location> {
        Some(self.root.join(self.keys.get(id)?))
    }

    /// A digest of the names in their order: two datasets with the same fingerprint give the same
    /// id to the same name. Contents are not looked at. Computed when first asked for.
    pub fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| {
            let mut digest = blake3::Hasher::new();
            // In larger pieces: a call for each name would cost more than the digest itself.
            let mut piece = Vec::with_capacity(1 << 16);
            for key in self.keys.iter() {
                piece.extend_from_slice(&(key.len() as u16).to_le_bytes());
                piece.extend_from_slice(key);
                if piece.len() >= (1 << 16) - (1 << 12) {
                    digest.update(&piece);
                    piece.clear();
                }
            }
            digest.update(&piece);
            digest.finalize().to_hex()[..32].to_owned()
        })
    }

    /// Resident bytes of the list of samples.
    pub fn memory(&self) -> usize {
        self.keys.memory()
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset").field("root", &self.root).field("len", &self.len()).finish()
    }
}
