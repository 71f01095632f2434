//! The documents that S3 answers with, and the two that it is sent.

use forebay_io::Kind;
use forebay_io_object::{Failure, Listed, ListedObject, version_of};
use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_xml_entity};
use quick_xml::events::Event;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Calls `leaf` with the names of the two innermost elements and the text of each element that holds only
/// text, and `close` with the name of every other element at its end.
fn walk(
    document: &[u8],
    mut leaf: impl FnMut(&str, &str, &str) -> Result<(), Failure>,
    mut close: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::new(Kind::Corrupt, format!("an answer that is not the XML it should be: {why}"))
    };
    let document = std::str::from_utf8(document).map_err(|error| wrong(&error))?;
    let mut reader = Reader::from_str(document);
    let mut open: Vec<&str> = Vec::new();
    let mut text = String::new();
    let mut is_leaf = false;
    loop {
        let before = reader.buffer_position() as usize;
        match reader.read_event().map_err(|error| wrong(&error))? {
            Event::Start(start) => {
                // The name outlives the event: it is taken from the document.
                let name = document[before..].trim_start_matches('<');
                let name = name.get(..start.name().into_inner().len()).unwrap_or_default();
                open.push(name.rsplit(':').next().unwrap_or(name));
                text.clear();
                is_leaf = true;
            }
            Event::Empty(_) => is_leaf = false,
            Event::Text(part) => text.push_str(&part),
            Event::CData(part) => text.push_str(&part),
            Event::GeneralRef(part) => match part.resolve_char_ref().map_err(|error| wrong(&error))? {
                Some(char) => text.push(char),
                None => text.push_str(resolve_xml_entity(&part).ok_or_else(|| wrong(&"an unknown entity"))?),
            },
            Event::End(_) => {
                let Some(name) = open.pop() else { return Err(wrong(&"an element ends that did not begin")) };
                if is_leaf {
                    leaf(open.last().copied().unwrap_or_default(), name, &text)?;
                } else {
                    close(name)?;
                }
                is_leaf = false;
                text.clear();
            }
            Event::Eof if open.is_empty() => return Ok(()),
            Event::Eof => return Err(wrong(&"it ends in the middle")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// A page of `ListObjectsV2`.
pub(crate) fn listed(document: &[u8]) -> Result<Listed, Failure> {
    let mut page = Listed::default();
    let mut object = None;
    let mut truncated = false;
    let mut encoded = false;
    let objects = std::cell::RefCell::new(Vec::new());
    let current = std::cell::RefCell::new(&mut object);
    let blank = || ListedObject { key: String::new(), size: 0, modified: None, version: None };
    walk(
        document,
        |parent, name, text| {
            match (parent, name) {
                ("Contents", _) => {
                    let mut current = current.borrow_mut();
                    let object = current.get_or_insert_with(blank);
                    match name {
                        "Key" => object.key = text.to_owned(),
                        "Size" => {
                            let size = text.trim().parse().ok();
                            object.size = size.ok_or_else(|| {
                                Failure::new(Kind::Corrupt, format!("a listing with the size {text:?}"))
                            })?;
                        }
                        "ETag" => object.version = Some(version_of(text)),
                        "LastModified" => object.modified = time_of(text.trim()),
                        _ => {}
                    }
                }
                ("CommonPrefixes", "Prefix") => page.prefixes.push(text.to_owned()),
                ("ListBucketResult", "NextContinuationToken") => page.next = Some(text.to_owned()),
                ("ListBucketResult", "IsTruncated") => truncated = text.trim() == "true",
                ("ListBucketResult", "EncodingType") => encoded = text.trim() == "url",
                _ => {}
            }
            Ok(())
        },
        |name| {
            if name == "Contents"
                && let Some(object) = current.borrow_mut().take()
            {
                objects.borrow_mut().push(object);
            }
            Ok(())
        },
    )?;
    page.objects = objects.into_inner();
    if encoded {
        for key in page.objects.iter_mut().map(|object| &mut object.key).chain(&mut page.prefixes) {
            if key.contains(['%', '+']) {
                *key = decoded(key)?;
            }
        }
    }
    match (truncated, &page.next) {
        (true, None) => {
            Err(Failure::new(Kind::Corrupt, "a listing that is to go on, and does not say where"))
        }
        (false, _) => {
            page.next = None;
            Ok(page)
        }
        (true, Some(_)) => Ok(page),
    }
}

/// A key as `encoding-type=url` has it: a blank is a plus sign.
fn decoded(key: &str) -> Result<String, Failure> {
    let plain = key.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&plain).decode_utf8();
    decoded.map(|key| key.into_owned()).map_err(|_| {
        Failure::new(Kind::Corrupt, format!("a listing with the key {key:?}, which is not UTF-8"))
    })
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
    let fraction = match text.get(19..text.len() - 1)?.strip_prefix('.') {
        Some(digits) => format!("0.{digits}").parse::<f64>().ok()?,
        None => 0.0,
    };
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_secs_f64(fraction))
}

/// Code and message of an error; both empty where it is none of S3's.
pub(crate) fn error(document: &[u8]) -> (String, String) {
    let (mut code, mut message) = (String::new(), String::new());
    let read = walk(
        document,
        |parent, name, text| {
            match (parent, name) {
                ("Error", "Code") => text.clone_into(&mut code),
                ("Error", "Message") => text.clone_into(&mut message),
                _ => {}
            }
            Ok(())
        },
        |_| Ok(()),
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
            Ok(())
        },
        |_| Ok(()),
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
            Ok(())
        },
        |name| {
            if name == "Error" {
                errors.push(std::mem::take(&mut *current.borrow_mut()));
            }
            Ok(())
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

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>a</Prefix>
<NextContinuationToken>t+/=</NextContinuationToken><IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>
<Contents><Key>a%2Fb+c%26</Key><LastModified>2009-10-12T17:50:30.250Z</LastModified><ETag>&quot;e&quot;</ETag>
<Size>434234</Size><Owner><ID>x</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>
<Contents><Key>a%0Ab</Key><Size>0</Size></Contents>
<CommonPrefixes><Prefix>a/x%25/</Prefix></CommonPrefixes></ListBucketResult>"#;

    #[test]
    fn a_page_is_read() {
        let page = listed(PAGE.as_bytes()).unwrap();
        let [first, second] = &page.objects[..] else { panic!("{page:?}") };
        assert_eq!((first.key.as_str(), first.size), ("a/b c&", 434_234));
        assert_eq!(first.version, Some(version_of("e")));
        let since = first.modified.unwrap().duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(since, Duration::from_millis(1_255_369_830_250));
        assert_eq!(second.key, "a\nb");
        assert_eq!(page.prefixes, ["a/x%/"]);
        assert_eq!(page.next.as_deref(), Some("t+/="));
    }

    #[test]
    fn a_page_that_is_cut_off_or_leads_nowhere_is_refused() {
        assert_eq!(listed(&PAGE.as_bytes()[..400]).unwrap_err().kind, Kind::Corrupt);
        let nowhere = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
        assert_eq!(listed(nowhere.as_bytes()).unwrap_err().kind, Kind::Corrupt);
    }

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
        fn no_document_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..900) {
            let _ = listed(&bytes);
            let _ = error(&bytes);
            let page = &PAGE.as_bytes()[..cut.min(PAGE.len())];
            let _ = listed(&[page, &bytes].concat());
        }

        #[test]
        fn times_are_those_of_another_calendar(seconds in 0u64..253_402_300_800) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let text = humantime::format_rfc3339_seconds(time).to_string();
            prop_assert_eq!(time_of(&text), Some(time));
        }
    }
}
