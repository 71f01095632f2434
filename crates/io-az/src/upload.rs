//! Names of uploads and of their blocks.
//!
//! Blocks that are not yet part of a blob share one space of names a blob: two writers that used the same
//! names would mix their bytes. So each upload has a name that no other has.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Hands out names. The standard library seeds each with random bits of the operating system, which tell
/// processes and machines apart; a count tells the uploads of one apart.
#[derive(Debug, Default)]
pub(crate) struct UploadIds {
    seed: RandomState,
    count: AtomicU64,
}

impl UploadIds {
    pub(crate) fn next(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut hasher = self.seed.build_hasher();
        hasher.write_u8(0);
        let ours = hasher.finish();
        format!("{ours:016x}{count:08x}")
    }
}

/// The name of a block, in base64 as the service wants it. All of one blob are equally long.
pub(crate) fn block_id(upload: &str, number: u32) -> String {
    BASE64_STANDARD.encode(block_name(upload, number))
}

/// The same before base64.
pub(crate) fn block_name(upload: &str, number: u32) -> String {
    format!("{upload}-{number:06}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_uploads_have_the_same_name() {
        let (one, other) = (UploadIds::default(), UploadIds::default());
        let names: BTreeSet<_> = (0..100).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(names.len(), 200);
    }

    #[test]
    fn blocks_of_an_upload_have_names_of_one_length() {
        let upload = UploadIds::default().next();
        let lengths: BTreeSet<_> = [1, 9, 10, 49_999, 50_000].map(|n| block_id(&upload, n).len()).into();
        assert_eq!(lengths.len(), 1);
        assert!(lengths.first().is_some_and(|len| *len <= 88), "at most 64 bytes before base64");
    }
}
