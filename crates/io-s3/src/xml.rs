//! The short documents that S3 answers with, and the two that it is sent.

use forebay_io_object::{Failure, Piece, Xml};
use quick_xml::escape::escape;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Calls `leaf` with the names of the two innermost elements and the text of each element that holds only
/// text, and `close` with the name of every other element at its end.
fn walk(
    document: &[u8],
    mut leaf: impl FnMut(&str, &str, &str),
    mut close: impl FnMut(&str),
) -> Result<(), Failure> {
    let mut xml = Xml::new(document)?;
    while let Some(piece) = xml.next()? {
        match piece {
            Piece::Leaf { name, text, .. } => leaf(xml.parent(), name, &text.resolved()?),
            Piece::Close { name } => close(name),
            Piece::Open { .. } => {}
        }
    }
    Ok(())
}

/// `2009-10-12T17:50:30.000Z`.
pub(crate) fn time_of(text: &str) -> Option<SystemTime> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1970..10_000).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || !text.ends_with('Z')
    {
        return None;
    }
    // H. Hinnant, *chrono-Compatible Low-Level Date Algorithms*, `days_from_civil`, of years after 0.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    // Nanoseconds: digits that are missing are zeros, those beyond are dropped.
    let fraction = match text.get(19..text.len() - 1)? {
        "" => 0,
        fraction => {
            let digits = fraction.strip_prefix('.')?.as_bytes();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            (0..9).fold(0, |sum, at| sum * 10 + digits.get(at).map_or(0, |digit| u32::from(digit - b'0')))
        }
    };
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(UNIX_EPOCH + Duration::new(seconds, fraction))
}

/// Code and message of an error; both empty where it is none of S3's.
pub(crate) fn error(document: &[u8]) -> (String, String) {
    let (mut code, mut message) = (String::new(), String::new());
    let read = walk(
        document,
        |parent, name, text| match (parent, name) {
            ("Error", "Code") => text.clone_into(&mut code),
            ("Error", "Message") => text.clone_into(&mut message),
            _ => {}
        },
        |_| (),
    );
    // What is no XML (a proxy's page) is not shown: it may be anything.
    if read.is_err() { (String::new(), String::new()) } else { (code, message) }
}

/// The text of one element directly beneath the root.
pub(crate) fn text_of(document: &[u8], root: &str, element: &str) -> Result<Option<String>, Failure> {
    let mut found = None;
    walk(
        document,
        |parent, name, text| {
            if parent == root && name == element {
                found = Some(text.to_owned());
            }
        },
        |_| (),
    )?;
    Ok(found)
}

/// Keys that could not be deleted, with code and message.
pub(crate) fn delete_errors(document: &[u8]) -> Result<Vec<(String, String, String)>, Failure> {
    let mut errors = Vec::new();
    let current = std::cell::RefCell::new((String::new(), String::new(), String::new()));
    walk(
        document,
        |parent, name, text| {
            let mut current = current.borrow_mut();
            match (parent, name) {
                ("Error", "Key") => text.clone_into(&mut current.0),
                ("Error", "Code") => text.clone_into(&mut current.1),
                ("Error", "Message") => text.clone_into(&mut current.2),
                _ => {}
            }
        },
        |name| {
            if name == "Error" {
                errors.push(std::mem::take(&mut *current.borrow_mut()));
            }
        },
    )?;
    Ok(errors)
}

/// The document that deletes many.
pub(crate) fn delete(keys: &[String]) -> String {
    let mut text = String::from("<Delete><Quiet>true</Quiet>");
    for key in keys {
        let _ = write!(text, "<Object><Key>{}</Key></Object>", escape(key.as_str()));
    }
    text.push_str("</Delete>");
    text
}

/// The document that puts the parts of an upload together.
pub(crate) fn complete(parts: &[String]) -> String {
    let mut text = String::from("<CompleteMultipartUpload>");
    for (etag, number) in parts.iter().zip(1..) {
        let etag = escape(etag.as_str());
        let _ = write!(text, "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    text.push_str("</CompleteMultipartUpload>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_are_read_and_other_texts_are_not() {
        let text = b"<Error><Code>SlowDown</Code><Message>a &lt; b</Message><Key>k</Key></Error>";
        assert_eq!(error(text), ("SlowDown".into(), "a < b".into()));
        assert_eq!(error(b"<html>oops"), Default::default());
        assert_eq!(error(b""), Default::default());
        let deleted = b"<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>";
        assert_eq!(delete_errors(deleted).unwrap(), [("k".into(), "AccessDenied".into(), "no".into())]);
    }

    #[test]
    fn keys_are_escaped() {
        assert!(delete(&["a&<b>\"'".into()]).contains("a&amp;&lt;b&gt;&quot;&apos;"));
        assert!(complete(&["\"e\"".into()]).contains("<PartNumber>1</PartNumber><ETag>&quot;e&quot;"));
    }

    proptest! {
        #[test]
        fn no_document_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = error(&bytes);
            let _ = delete_errors(&bytes);
            let _ = text_of(&bytes, "a", "b");
        }

        #[test]
        fn no_time_panics(text in "\\PC{0,30}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\PC{0,5}") {
            let _ = time_of(&text);
        }

        #[test]
        fn times_are_those_of_another_calendar(seconds in 0u64..253_402_300_800, nanos in 0u32..1_000_000_000) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let text = humantime::format_rfc3339_seconds(time).to_string();
            prop_assert_eq!(time_of(&text), Some(time));
            let time = UNIX_EPOCH + Duration::new(seconds, nanos);
            let text = humantime::format_rfc3339_nanos(time).to_string();
            prop_assert_eq!(time_of(&text), Some(time));
        }
    }
}
