//! What a listing was, as far as it was gone through: how many entries, and a digest of them. A state that
//! has it tells when the same listing says something else later.

use crate::fingerprint::hex;
use crate::manifest::Entry;
use forebay_io::Location;

/// A count of entries and the digest of so many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) entries: u64,
    /// Empty for that of nothing.
    pub(crate) digest: String,
}

/// The digest of the entries so far.
#[derive(Default)]
pub(crate) struct Running {
    digest: blake3::Hasher,
    /// What the digest has not been fed yet: a call for each name would cost more than the digest.
    piece: Vec<u8>,
    entries: u64,
}

impl Running {
    /// Small, because what is left of it is fed anew for each mark.
    const FULL: usize = 1 << 12;

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// An object of a listing, with the size and the version that it says.
    pub(crate) fn object(&mut self, key: &[u8], size: Option<u64>, version: Option<&str>) {
        self.part(key);
        self.piece.extend(size.unwrap_or(u64::MAX).to_le_bytes());
        self.part(version.unwrap_or_default().as_bytes());
        self.next();
    }

    /// An entry of a manifest.
    pub(crate) fn entry(&mut self, entry: &Entry) {
        self.location(&entry.location);
        self.piece.extend(entry.offset.unwrap_or(u64::MAX).to_le_bytes());
        self.piece.extend(entry.len.unwrap_or(u64::MAX).to_le_bytes());
        self.part(&entry.check.to_bytes());
        self.next();
    }

    fn location(&mut self, location: &Location) {
        self.part(location.scheme().as_bytes());
        self.part(location.host().unwrap_or_default().as_bytes());
        self.part(location.path_bytes());
    }

    fn part(&mut self, part: &[u8]) {
        self.piece.extend((part.len() as u64).to_le_bytes());
        self.piece.extend(part);
    }

    fn next(&mut self) {
        self.entries += 1;
        if self.piece.len() >= Self::FULL {
            self.digest.update(&self.piece);
            self.piece.clear();
        }
    }

    /// What there was so far.
    pub(crate) fn mark(&self) -> Mark {
        if self.entries == 0 {
            return Mark::default();
        }
        let mut digest = self.digest.clone();
        digest.update(&self.piece);
        // Sixteen bytes are enough to tell any two listings apart by accident.
        Mark { entries: self.entries, digest: hex(&digest.finalize().as_bytes()[..16]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(keys: &[&str]) -> Mark {
        let mut running = Running::default();
        keys.iter().for_each(|key| running.object(key.as_bytes(), Some(1), None));
        running.mark()
    }

    #[test]
    fn marks_tell_listings_apart() {
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!((of(&[]).entries, of(&["a"]).entries), (0, 1));
        let objects =
            [(None, None), (Some(1), None), (Some(2), None), (Some(1), Some("e")), (Some(1), Some("f"))];
        let marks: std::collections::BTreeSet<_> = objects
            .map(|(size, version)| {
                let mut running = Running::default();
                running.object(b"a", size, version);
                running.mark().digest
            })
            .into();
        assert_eq!(marks.len(), 5, "an object that was replaced is another one");
    }

    #[test]
    fn a_mark_does_not_depend_on_the_marks_before() {
        let mut running = Running::default();
        for i in 0..3000 {
            running.object(format!("sample-{i}").as_bytes(), Some(1), None);
            running.mark();
        }
        let keys: Vec<_> = (0..3000).map(|i| format!("sample-{i}")).collect();
        assert_eq!(running.mark(), of(&keys.iter().map(String::as_str).collect::<Vec<_>>()));
    }
}
