//! `aws-chunked` bodies: how AWS's SDKs send what they sign or sum up while it streams. Signatures and
//! trailers are left aside, the data are what is kept.

use bytes::{Bytes, BytesMut};

/// The data of a body in chunks of `SIZE[;chunk-signature=…]\r\n DATA \r\n`; `None` if it is malformed.
pub(crate) fn decode(body: &[u8]) -> Option<Bytes> {
    let mut data = BytesMut::with_capacity(body.len());
    let mut rest = body;
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(data.freeze());
        }
        data.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_signatures_and_trailers_dropped() {
        let body =
            b"5;chunk-signature=ab\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:AAAA==\r\n\r\n";
        assert_eq!(decode(body).unwrap(), "hello world");
        assert_eq!(decode(b"0\r\n\r\n").unwrap(), "");
        assert_eq!(decode(b"5\r\nhell"), None);
        assert_eq!(decode(b"hello"), None);
    }
}
