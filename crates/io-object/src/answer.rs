//! What the header of an answer says about an object, and the body behind it.

use crate::{Checksum, Failure, Incoming, version_of};
use forebay_io::{EntryKind, Kind, Meta, Version};
use std::fmt;
use std::ops::Range;
use std::time::SystemTime;

/// Size, version and what else a header tells of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the whole object, whatever range was asked for.
    pub size: u64,
    /// The version, from the `ETag`.
    pub version: Option<Version>,
    /// Last change.
    pub modified: Option<SystemTime>,
    /// A checksum of the bytes of this answer's body.
    pub checksum: Option<Checksum>,
}

impl Head {
    /// The same as a store says it.
    pub fn meta(&self) -> Meta {
        Meta {
            kind: EntryKind::Object,
            size: self.size,
            modified: self.modified,
            version: self.version.clone(),
        }
    }
}

/// The answer to a GET: its header is here, its body is still to come.
pub struct Answer {
    /// The status: 200 or 206.
    pub status: u16,
    /// What the header says.
    pub head: Head,
    /// Which bytes of the object the body holds.
    pub range: Range<u64>,
    /// The body. It ends after `range`, or was cut off.
    pub body: Box<dyn Incoming>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("head", &self.head)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// Reads the header of a successful GET (with its body's range) or HEAD. Names may be in any case.
///
/// # Errors
/// `Corrupt` where a length or range is missing or makes no sense: without them a body that was cut off
/// could not be told from a whole one.
pub fn read_header<'h>(
    status: u16,
    fields: impl IntoIterator<Item = (&'h str, &'h [u8])>,
) -> Result<(Head, Range<u64>), Failure> {
    let wrong = |what: String| Failure::new(Kind::Corrupt, what).with_status(status);
    let mut length = None;
    let mut content_range = None;
    let mut head = Head { size: 0, version: None, modified: None, checksum: None };
    for (name, value) in fields {
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..name.len()) else { continue };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let Ok(value) = std::str::from_utf8(value) else { continue };
        let value = value.trim();
        match &*lower {
            b"content-length" => {
                let parsed = value.parse::<u64>().ok();
                length = Some(parsed.ok_or_else(|| wrong(format!("Content-Length is {value:?}")))?);
            }
            b"content-range" => {
                let parsed = content_range_of(value);
                content_range = Some(parsed.ok_or_else(|| wrong(format!("Content-Range is {value:?}")))?);
            }
            b"etag" => head.version = Some(version_of(value)),
            b"last-modified" => head.modified = httpdate::parse_http_date(value).ok(),
            name => head.checksum = Checksum::best(head.checksum.take(), Checksum::of_field(name, value)),
        }
    }
    let range = match (status, content_range) {
        (206, Some((range, total))) => {
            if length.is_some_and(|length| length != range.end - range.start) {
                let length = length.unwrap_or_default();
                return Err(wrong(format!("Content-Length {length} does not fit Content-Range {range:?}")));
            }
            head.size = total;
            range
        }
        (206, None) => return Err(wrong("an answer of a range without Content-Range".into())),
        (_, _) => {
            let length = length.ok_or_else(|| wrong("an answer without Content-Length".into()))?;
            head.size = length;
            0..length
        }
    };
    if head.size > range.end || range.start > 0 {
        // Services differ in whether a sum in a partial answer is of the part or of the object.
        head.checksum = None;
    }
    Ok((head, range))
}

/// The longest name that is of interest.
const LONGEST: usize = 24;

/// `bytes 0-9/100`: the range and the object's size.
fn content_range_of(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, total) = text.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.trim().parse().ok()?, last.trim().parse().ok()?, total.trim().parse().ok()?);
    let end = last.checked_add(1)?;
    // Azurite answers a range that begins at the end with `bytes N-(N-1)/N`.
    (first <= end && end <= total).then_some((first..end, total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(status: u16, fields: &[(&str, &str)]) -> Result<(Head, Range<u64>), Failure> {
        read_header(status, fields.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn a_whole_object_and_a_range_are_read() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let (head, range) =
            read(200, &[("Content-Length", "7"), ("ETag", "\"e\""), ("Last-Modified", date)]).unwrap();
        assert_eq!((head.size, range), (7, 0..7));
        assert_eq!(head.version, Some(Version::new("e")));
        assert!(head.modified.is_some());
        let (head, range) =
            read(206, &[("content-range", "bytes 5-9/100"), ("content-length", "5")]).unwrap();
        assert_eq!((head.size, range), (100, 5..10));
    }

    #[test]
    fn a_header_that_leaves_the_length_open_is_refused() {
        for (status, fields) in [
            (200, &[][..]),
            (200, &[("content-length", "many")]),
            (206, &[("content-length", "5")]),
            (206, &[("content-range", "bytes 5-9/100"), ("content-length", "6")]),
            (206, &[("content-range", "bytes 9-5/100")]),
            (206, &[("content-range", "bytes 5-9/*")]),
            (206, &[("content-range", "bytes 5-9/7")]),
        ] {
            let failure = read(status, fields).unwrap_err();
            assert_eq!((failure.kind, failure.status), (Kind::Corrupt, Some(status)), "{fields:?}");
        }
    }

    proptest! {
        #[test]
        fn no_content_range_panics_and_what_is_read_is_inside(text in "(bytes )?[0-9*-]{0,20}/?[0-9*]{0,20}") {
            if let Some((range, total)) = content_range_of(&text) {
                prop_assert!(range.start <= range.end && range.end <= total);
            }
        }
    }
}
