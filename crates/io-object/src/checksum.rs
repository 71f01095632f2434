//! Checksums that services send with bytes, and which of them are worth computing.

use crate::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use forebay_io::{Error, Kind};
use md5::{Digest, Md5};
use std::fmt;
use std::str::FromStr;

/// A checksum of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// CRC-32C (Castagnoli), `x-amz-checksum-crc32c`.
    Crc32c(u32),
    /// CRC-32 (ISO-HDLC), `x-amz-checksum-crc32`.
    Crc32(u32),
    /// CRC-64/NVME, `x-amz-checksum-crc64nvme`.
    Crc64(u64),
    /// MD5, `Content-MD5`.
    Md5([u8; 16]),
}

/// Which checksums of the service are compared with the bytes that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// None: only lengths are checked.
    Off,
    /// Those that cost next to nothing: CRC-32, CRC-32C and CRC-64 run at tens of GiB a second.
    #[default]
    Cheap,
    /// MD5 too, which costs many times what the read itself does (an estimate: 1.5 CPU seconds a GiB).
    All,
}

impl Verify {
    /// The spelling of each.
    pub const ALL: [(&'static str, Verify); 3] =
        [("off", Verify::Off), ("cheap", Verify::Cheap), ("all", Verify::All)];
}

impl FromStr for Verify {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Verify::ALL.into_iter().find(|(name, _)| *name == text);
        let valid = "off, cheap (CRC-32, CRC-32C, CRC-64) or all (MD5 too)";
        found.map(|(_, verify)| verify).ok_or_else(|| Error::invalid(format!("{text:?} is not {valid}")))
    }
}

impl Checksum {
    /// The checksum in a field of a header, whose name is in lower case. None for other fields, and for
    /// sums over the sums of parts, which say nothing about the bytes without knowing the parts.
    pub fn of_field(name: &[u8], value: &str) -> Option<Self> {
        fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
            STANDARD.decode(text).ok()?.try_into().ok()
        }
        Some(match name {
            b"x-amz-checksum-crc32c" => Checksum::Crc32c(u32::from_be_bytes(bytes(value)?)),
            b"x-amz-checksum-crc32" => Checksum::Crc32(u32::from_be_bytes(bytes(value)?)),
            b"x-amz-checksum-crc64nvme" => Checksum::Crc64(u64::from_be_bytes(bytes(value)?)),
            b"content-md5" => Checksum::Md5(bytes(value)?),
            _ => return None,
        })
    }

    /// The cheaper of two.
    pub fn best(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let rank = |sum: &Option<Self>| match sum {
            Some(Checksum::Md5(_)) => 1,
            Some(_) => 0,
            None => 2,
        };
        if rank(&other) < rank(&one) { other } else { one }
    }

    /// Compares with the bytes that came, if `verify` asks for this one.
    ///
    /// # Errors
    /// `Corrupt`, to be tried again, if they differ.
    pub fn check(&self, verify: Verify, bytes: &[u8]) -> Result<(), Failure> {
        let crc = |algorithm, expected: u64| crc_fast::checksum(algorithm, bytes) == expected;
        let (name, equal) = match (self, verify) {
            (_, Verify::Off) | (Checksum::Md5(_), Verify::Cheap) => return Ok(()),
            (Checksum::Crc32c(sum), _) => ("CRC-32C", crc(CrcAlgorithm::Crc32Iscsi, u64::from(*sum))),
            (Checksum::Crc32(sum), _) => ("CRC-32", crc(CrcAlgorithm::Crc32IsoHdlc, u64::from(*sum))),
            (Checksum::Crc64(sum), _) => ("CRC-64", crc(CrcAlgorithm::Crc64Nvme, *sum)),
            (Checksum::Md5(sum), _) => ("MD5", Md5::digest(bytes)[..] == sum[..]),
        };
        if equal {
            return Ok(());
        }
        let said =
            format!("the {name} of the {} bytes that came is not the one the service sent", bytes.len());
        Err(Failure::new(Kind::Corrupt, said))
    }
}

impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Verify::ALL.iter().find(|(_, verify)| verify == self).map(|(name, _)| *name);
        f.write_str(name.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Check values of the CRC catalogue and of RFC 1321, of "123456789".
    const NINE: &[u8] = b"123456789";

    fn field(name: &str, sum: &[u8]) -> Checksum {
        Checksum::of_field(name.as_bytes(), &STANDARD.encode(sum)).unwrap()
    }

    #[test]
    fn the_catalogues_check_values_hold() {
        for sum in [
            field("x-amz-checksum-crc32c", &0xe306_9283_u32.to_be_bytes()),
            field("x-amz-checksum-crc32", &0xcbf4_3926_u32.to_be_bytes()),
            field("x-amz-checksum-crc64nvme", &0xae8b_1486_0a79_9888_u64.to_be_bytes()),
            field("content-md5", &0x25f9_e794_323b_4538_85f5_181f_1b62_4d0b_u128.to_be_bytes()),
        ] {
            sum.check(Verify::All, NINE).unwrap();
            let failure = sum.check(Verify::All, b"123456788").unwrap_err();
            assert_eq!(failure.kind, Kind::Corrupt);
            sum.check(Verify::Off, b"123456788").unwrap();
        }
    }

    #[test]
    fn sums_of_sums_are_not_taken_for_sums_of_bytes() {
        assert_eq!(Checksum::of_field(b"x-amz-checksum-crc32c", "AAAAAA==-3"), None);
        assert_eq!(Checksum::of_field(b"x-amz-checksum-crc32c", "not base64"), None);
        let md5 = field("content-md5", &[0; 16]);
        let crc = field("x-amz-checksum-crc32", &[0; 4]);
        assert_eq!(Checksum::best(Some(md5.clone()), Some(crc.clone())), Some(crc.clone()));
        assert_eq!(Checksum::best(Some(crc.clone()), Some(md5.clone())), Some(crc));
        md5.check(Verify::Cheap, NINE).unwrap();
    }
}
