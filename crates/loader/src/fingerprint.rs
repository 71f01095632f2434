//! A digest of what the ids of a dataset mean.

/// Feeds a digest in larger pieces: a call for each name would cost more than the digest itself.
#[derive(Default)]
pub(crate) struct Fingerprint {
    digest: blake3::Hasher,
    piece: Vec<u8>,
}

impl Fingerprint {
    const FULL: usize = 1 << 16;

    pub(crate) fn add(&mut self, part: &[u8]) {
        self.piece.extend_from_slice(part);
        if self.piece.len() >= Self::FULL {
            self.digest.update(&self.piece);
            self.piece.clear();
        }
    }

    /// Sixteen bytes are enough to tell any two datasets apart by accident.
    pub(crate) fn finish(mut self) -> [u8; 16] {
        self.digest.update(&self.piece);
        let mut first = [0; 16];
        first.copy_from_slice(&self.digest.finalize().as_bytes()[..16]);
        first
    }
}

/// As people and states write it.
pub(crate) fn hex(fingerprint: &[u8]) -> String {
    fingerprint.iter().map(|byte| format!("{byte:02x}")).collect()
}
