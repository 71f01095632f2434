//! What tells one dataset from another: the same ids mean the same samples where it is equal.

use super::{Dataset, Objects};
use crate::fingerprint::{Fingerprint, hex};
use forebay_io::{ListOptions, Store};

impl Dataset {
    /// A digest of what the ids mean: two datasets with the same fingerprint give the same id to the
    /// same sample. Of listed objects the names in their order, with the sizes and the ETags that the listing says; of
    /// shards their names, sizes and ETags, where the samples lie, and the checksums that a format has of them; of a
    /// manifest its entries, with their lengths and checksums. Contents are not looked at: a file has no ETag, so one
    /// that was rewritten at the same size (of listed files, which have no size either, at any) is not told from the
    /// one before. Its times are no part of it: each machine may have a copy. Computed when first asked for.
    pub fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| {
            let mut print = Fingerprint::default();
            if let Objects::Listed(keys) = &self.objects {
                for (key, size) in keys.iter() {
                    print.add(&(key.len() as u16).to_le_bytes());
                    print.add(key);
                    print.add(&size.unwrap_or(u64::MAX).to_le_bytes());
                }
                print.add(&keys.versions().to_bytes());
            }
            hex(&print.finish())
        })
    }
}

/// With versions where they come with the names: a fingerprint has them.
pub(crate) fn with_versions(store: &dyn Store, options: ListOptions) -> ListOptions {
    ListOptions { details: options.details || store.capability().details_with_names, ..options }
}
