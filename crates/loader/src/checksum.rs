//! What the bytes of a sample can be checked against: a length, a checksum, or both.

use crc_fast::CrcAlgorithm;
use forebay_io::{Error, Result};
use sha2::Digest;

/// CRC-32C (Castagnoli), as TFRecord and many stores use it.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The kinds of checksum that manifests may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Crc32c,
    Crc32,
    Sha256,
    Blake3,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Crc32c, Kind::Crc32, Kind::Sha256, Kind::Blake3];

    fn name(self) -> &'static str {
        match self {
            Kind::Crc32c => "crc32c",
            Kind::Crc32 => "crc32",
            Kind::Sha256 => "sha256",
            Kind::Blake3 => "blake3",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Kind::Crc32c | Kind::Crc32 => 4,
            Kind::Sha256 | Kind::Blake3 => 32,
        }
    }

    /// The checksum, most significant byte first, as people write it.
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Kind::Crc32c => crc32c(bytes).to_be_bytes().to_vec(),
            Kind::Crc32 => {
                (crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32).to_be_bytes().to_vec()
            }
            Kind::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            Kind::Blake3 => blake3::hash(bytes).as_bytes().to_vec(),
        }
    }
}

/// What a sample must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Check {
    /// Its length, where the read itself does not fix it.
    pub(crate) len: Option<u64>,
    pub(crate) sum: Option<(Kind, Vec<u8>)>,
}

impl Check {
    /// Nothing but a CRC-32C.
    pub(crate) fn crc32c(sum: u32) -> Self {
        Check { len: None, sum: Some((Kind::Crc32c, sum.to_be_bytes().to_vec())) }
    }

    /// Reads a checksum as it stands in a manifest: `crc32c:1a2b3c4d`, `blake3:…`.
    ///
    /// # Errors
    /// `InvalidConfig` naming the text and the valid forms.
    pub(crate) fn parse_sum(text: &str) -> Result<(Kind, Vec<u8>)> {
        let bad = || {
            let forms = Kind::ALL.map(|kind| format!("{}:<{} hex digits>", kind.name(), kind.bytes() * 2));
            Error::invalid(format!("{text:?} is not a checksum; write {}", forms.join(", ")))
        };
        let (name, digits) = text.split_once(':').ok_or_else(bad)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(bad)?;
        Ok((kind, unhex(digits).filter(|sum| sum.len() == kind.bytes()).ok_or_else(bad)?))
    }

    /// As a row of an index.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut row = Vec::new();
        if self.len.is_some() || self.sum.is_some() {
            let kind = self.sum.as_ref().map_or(0, |(kind, _)| *kind as u8 + 1);
            row.push(kind | if self.len.is_some() { 0x80 } else { 0 });
            row.extend(self.len.iter().flat_map(|len| len.to_le_bytes()));
            row.extend(self.sum.iter().flat_map(|(_, sum)| sum));
        }
        row
    }

    /// From a row of an index; none if it is not one.
    pub(crate) fn from_bytes(row: &[u8]) -> Option<Self> {
        let Some((&tag, mut rest)) = row.split_first() else { return Some(Check::default()) };
        let mut check = Check::default();
        if tag & 0x80 != 0 {
            let (len, after) = rest.split_first_chunk()?;
            check.len = Some(u64::from_le_bytes(*len));
            rest = after;
        }
        if let Some(number) = (tag & 0x7f).checked_sub(1) {
            let kind = *Kind::ALL.get(usize::from(number))?;
            check.sum = Some((kind, rest.to_vec()));
            rest = rest.get(kind.bytes()..)?;
        }
        rest.is_empty().then_some(check)
    }

    /// Whether the bytes are what they must be; else what was expected and what was found. The checksum is
    /// only looked at if `verify`.
    pub(crate) fn compare(&self, bytes: &[u8], verify: bool) -> Result<(), String> {
        if let Some(len) = self.len
            && len != bytes.len() as u64
        {
            return Err(format!("expected {len} bytes, found {}", bytes.len()));
        }
        if let Some((kind, expected)) = self.sum.as_ref().filter(|_| verify) {
            let found = kind.of(bytes);
            if found != *expected {
                let (name, expected, found) = (kind.name(), hex(expected), hex(&found));
                return Err(format!("expected {name} {expected}, found {found}"));
            }
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |&byte: &u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = digits.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(&pair[0])? << 4 | digit(&pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksums_are_those_that_everybody_computes() {
        for text in [
            "crc32c:e3069283",
            "crc32:cbf43926",
            "sha256:15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
        ] {
            let check = Check { len: Some(9), sum: Some(Check::parse_sum(text).unwrap()) };
            check.compare(b"123456789", true).unwrap();
            let wrong = check.compare(b"12345678X", true).unwrap_err();
            assert!(wrong.contains(text.split_once(':').unwrap().1), "{wrong}");
            check.compare(b"12345678X", false).unwrap();
            assert_eq!(check.compare(b"1", false).unwrap_err(), "expected 9 bytes, found 1");
        }
    }

    #[test]
    fn what_is_no_checksum_is_refused_with_the_forms() {
        for text in ["", "md5:00", "crc32c:123", "crc32c:1234567g", "blake3:00", "crc32c"] {
            let error = Check::parse_sum(text).unwrap_err().to_string();
            assert!(error.contains("crc32c:<8 hex digits>"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn rows_are_read_back(len in proptest::option::of(any::<u64>()), kind in 0usize..5, bytes in any::<[u8; 8]>()) {
            let sum = Kind::ALL.get(kind).map(|kind| (*kind, kind.of(&bytes)));
            let check = Check { len, sum };
            prop_assert_eq!(Check::from_bytes(&check.to_bytes()), Some(check));
        }

        #[test]
        fn any_row_is_read_or_refused(row in proptest::collection::vec(any::<u8>(), 0..50)) {
            if let Some(check) = Check::from_bytes(&row) {
                prop_assert_eq!(check.to_bytes().len() <= row.len(), true);
            }
        }
    }
}
