//! TFRecord: `length (8) | masked CRC-32C of it (4) | payload | masked CRC-32C of that (4)`, again and again
//! (TensorFlow, `core/lib/io/record_writer.h`). A sample is a payload.
//!
//! The length's checksum is checked while the shard is indexed: a wrong length would lose the way. The
//! payload's is kept with the sample and checked when it is read, if that is asked for.

use super::found::{Finds, Found};
use super::shard_bytes::ShardBytes;
use crate::checksum::{Check, crc32c};
use forebay_io::Result;

const HEADER: u64 = 12;
const FOOTER: u64 = 4;

/// The mask that keeps a CRC of bytes that hold CRCs from looking right by accident.
const MASK: u32 = 0xa282_ead8;

fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(MASK)
}

fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(MASK).rotate_left(15)
}

/// Finds every record.
pub(crate) async fn scan(shard: &mut ShardBytes<'_>, finds: &mut Finds) -> Result<()> {
    let mut at = 0;
    // What is no record and looks like a compressed file is one; a length may begin with the same bytes by chance.
    let mut compressed = Some(shard.refuse_compressed("record").await);
    while at < shard.size() {
        let header = shard.bytes(at, HEADER, "the length of a record").await?;
        let len = u64::from_le_bytes(header[..8].try_into().expect("8 bytes"));
        let found = u32::from_le_bytes(header[8..].try_into().expect("4 bytes"));
        let expected = mask(crc32c(&header[..8]));
        if let Some(compressed) = compressed.take()
            && found != expected
        {
            compressed?;
        }
        if found != expected {
            let packed = match (at, &header[..2]) {
                (0, [0x78, _]) => "; it may be compressed with zlib, which cannot be read record by record",
                _ => "",
            };
            return Err(shard.corrupt(
                at,
                format!(
                    "expected the masked CRC-32C {expected:08x} of a record's length, found {found:08x}{packed}"
                ),
            ));
        }
        let begin = at + HEADER;
        let Some(end) = begin.checked_add(len).filter(|end| end.saturating_add(FOOTER) <= shard.size())
        else {
            let left = shard.size() - begin;
            return Err(shard.corrupt(
                at,
                format!("expected a record of {len} bytes and its checksum, {left} bytes are left"),
            ));
        };
        let footer = shard.bytes(end, FOOTER, "the checksum of a record").await?;
        let sum = unmask(u32::from_le_bytes(footer.try_into().expect("4 bytes")));
        finds.push(Found { range: begin..end, check: Some(Check::crc32c(sum)), ..Found::default() }).await?;
        at = end + FOOTER;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_mask_is_that_of_tensorflow() {
        // The length of a record of 5 bytes and its checksum, as TensorFlow writes them.
        assert_eq!(mask(crc32c(&5u64.to_le_bytes())), u32::from_le_bytes([0xea, 0xb2, 0x04, 0x3e]));
    }

    proptest! {
        #[test]
        fn unmasking_undoes_masking(crc: u32) {
            prop_assert_eq!(unmask(mask(crc)), crc);
        }
    }
}
