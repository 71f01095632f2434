//! A page of `ListObjectsV2`, read after the next one was asked for.

use crate::xml::time_of;
use forebay_io::Kind;
use forebay_io_object::{Each, Failure, ListedEntry, ListedObject, Listing, Piece, Text, Xml, version_of};
use std::borrow::Cow;

/// The document as it came.
pub(crate) struct Page {
    document: Vec<u8>,
    /// Whether times and versions are wanted.
    details: bool,
}

const ROOT: &str = "ListBucketResult";
const NEXT: [&str; 2] = ["<NextContinuationToken>", "</NextContinuationToken>"];

/// An object as far as it was read.
#[derive(Default)]
struct Contents<'d> {
    key: Option<Text<'d>>,
    size: Option<Text<'d>>,
    modified: Option<Text<'d>>,
    etag: Option<Text<'d>>,
}

impl Page {
    pub(crate) fn new(document: Vec<u8>, details: bool) -> Self {
        Page { document, details }
    }

    /// Whether keys are percent-encoded. Said anywhere in the page, also behind the keys; and not believed where a key
    /// has what encoding never leaves, because s3s-fs repeats what it was asked for and encodes nothing.
    fn encoded(&self) -> Result<bool, Failure> {
        let mut xml = Xml::new(&self.document)?;
        let mut said = false;
        while let Some(piece) = xml.next()? {
            let Piece::Leaf { name, text, .. } = piece else { continue };
            match (xml.depth(), xml.parent(), name) {
                (1, _, "EncodingType") => said = text.resolved()?.trim() == "url",
                (2, "Contents", "Key") | (2, "CommonPrefixes", "Prefix") if is_bare(&text.resolved()?) => {
                    return Ok(false);
                }
                _ => {}
            }
        }
        Ok(said)
    }

    fn object<'d>(
        &self,
        contents: &Contents<'d>,
        encoded: &mut Option<bool>,
    ) -> Result<ListedObject<'d>, Failure> {
        let (Some(key), Some(size)) = (contents.key, contents.size) else {
            return Err(Failure::new(Kind::Corrupt, "a listing with an object that has no key or size"));
        };
        let size = size.resolved()?;
        let number = size.trim().parse();
        let size =
            number.map_err(|_| Failure::new(Kind::Corrupt, format!("a listing with the size {size:?}")))?;
        let mut object = ListedObject { key: self.key(key, encoded)?, size, modified: None, version: None };
        if self.details {
            let text = |text: Option<Text<'d>>| text.map(Text::resolved).transpose();
            object.modified = text(contents.modified)?.and_then(|time| time_of(time.trim()));
            object.version = text(contents.etag)?.map(|etag| version_of(&etag));
        }
        Ok(object)
    }

    fn key<'d>(&self, text: Text<'d>, encoded: &mut Option<bool>) -> Result<Cow<'d, str>, Failure> {
        let key = text.resolved()?;
        if !key.contains(['%', '+']) {
            return Ok(key);
        }
        let encoded = match *encoded {
            Some(encoded) => encoded,
            None => *encoded.insert(self.encoded()?),
        };
        if encoded { decoded(&key).map(Cow::Owned) } else { Ok(key) }
    }
}

impl Listing for Page {
    fn glance(&self) -> Option<String> {
        let start = memchr::memmem::find(&self.document, NEXT[0].as_bytes())?;
        let rest = &self.document[start..];
        let len = memchr::memmem::find(rest, NEXT[1].as_bytes())? + NEXT[1].len();
        match Xml::new(&rest[..len]).ok()?.next().ok()?? {
            Piece::Leaf { text, .. } => Some(text.resolved().ok()?.into_owned()),
            Piece::Open { .. } | Piece::Close { .. } => None,
        }
    }

    fn read(self: Box<Self>, each: &mut Each<'_>) -> Result<Option<String>, Failure> {
        let mut xml = Xml::new(&self.document)?;
        let (mut next, mut truncated, mut encoded) = (None, false, None);
        let mut contents = Contents::default();
        while let Some(piece) = xml.next()? {
            match piece {
                Piece::Leaf { name, text, .. } => match (xml.depth(), xml.parent()) {
                    (2, "Contents") => match name {
                        "Key" => contents.key = Some(text),
                        "Size" => contents.size = Some(text),
                        "LastModified" => contents.modified = Some(text),
                        "ETag" => contents.etag = Some(text),
                        _ => {}
                    },
                    (2, "CommonPrefixes") if name == "Prefix" => {
                        each(ListedEntry::Prefix(self.key(text, &mut encoded)?))?;
                    }
                    (1, ROOT) => match name {
                        "NextContinuationToken" => next = Some(text.resolved()?.into_owned()),
                        "IsTruncated" => truncated = text.resolved()?.trim() == "true",
                        _ => {}
                    },
                    (0, _) if name != ROOT => return Err(another(name)),
                    _ => {}
                },
                Piece::Open { name, .. } if xml.depth() == 1 && name != ROOT => return Err(another(name)),
                Piece::Close { name: "Contents" } if xml.depth() == 1 => {
                    let contents = std::mem::take(&mut contents);
                    each(ListedEntry::Object(self.object(&contents, &mut encoded)?))?;
                }
                Piece::Open { .. } | Piece::Close { .. } => {}
            }
        }
        match (truncated, next) {
            (true, None) => {
                Err(Failure::new(Kind::Corrupt, "a listing that is to go on, and does not say where"))
            }
            (false, _) => Ok(None),
            (true, next) => Ok(next),
        }
    }
}

fn another(root: &str) -> Failure {
    Failure::new(Kind::Corrupt, format!("a page of a listing that is a {root:?}"))
}

/// Whether a key has a byte that every encoding escapes.
fn is_bare(key: &str) -> bool {
    key.bytes()
        .any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'&' | b'<' | b'>' | b'"' | b'?' | b'#'))
}

/// A key as `encoding-type=url` has it: a blank is a plus sign.
fn decoded(key: &str) -> Result<String, Failure> {
    let plain = key.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&plain).decode_utf8();
    decoded.map(|key| key.into_owned()).map_err(|_| {
        Failure::new(Kind::Corrupt, format!("a listing with the key {key:?}, which is not UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_io_object::Listed;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>a</Prefix>
<NextContinuationToken>t+/=&amp;</NextContinuationToken><IsTruncated>true</IsTruncated>
<Contents><Key>a%2Fb+c%26</Key><LastModified>2009-10-12T17:50:30.250Z</LastModified><ETag>&quot;e&quot;</ETag>
<Size>434234</Size><Owner><ID>x</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>
<Contents><Key>a%0Ab</Key><Size> 0 </Size></Contents><EncodingType>url</EncodingType>
<CommonPrefixes><Prefix>a/x%25/</Prefix></CommonPrefixes></ListBucketResult>"#;

    fn read(document: &[u8], details: bool) -> Result<(Vec<ListedEntry<'static>>, Option<String>), Failure> {
        let Listed { entries, next } = Listed::of(Box::new(Page::new(document.to_vec(), details)))?;
        Ok((entries, next))
    }

    #[test]
    fn a_page_is_read() {
        let (entries, next) = read(PAGE.as_bytes(), true).unwrap();
        let modified = Some(UNIX_EPOCH + Duration::from_millis(1_255_369_830_250));
        let version = Some(version_of("e"));
        let first = ListedObject { key: "a/b c&".into(), size: 434_234, modified, version };
        let second = ListedObject { key: "a\nb".into(), size: 0, modified: None, version: None };
        let expected = [
            ListedEntry::Object(first.clone()),
            ListedEntry::Object(second),
            ListedEntry::Prefix("a/x%/".into()),
        ];
        assert_eq!(entries, expected);
        assert_eq!(next.as_deref(), Some("t+/=&"));
        let (names, _) = read(PAGE.as_bytes(), false).unwrap();
        assert_eq!(names[0], ListedEntry::Object(ListedObject { modified: None, version: None, ..first }));
    }

    #[test]
    fn where_the_next_page_begins_is_seen_at_a_glance() {
        let glance = |text: &str| Page::new(text.into(), false).glance();
        assert_eq!(glance(PAGE).as_deref(), Some("t+/=&"));
        assert_eq!(glance("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"), None);
        assert_eq!(glance("<NextContinuationToken>"), None);
    }

    #[test]
    fn keys_that_are_not_encoded_are_left_alone() {
        let text = "<ListBucketResult><Contents><Key>a+%41</Key><Size>1</Size></Contents></ListBucketResult>";
        let (entries, next) = read(text.as_bytes(), false).unwrap();
        assert!(matches!(&entries[..], [ListedEntry::Object(object)] if object.key == "a+%41"));
        assert_eq!(next, None);
    }

    #[test]
    fn a_page_that_says_that_it_is_encoded_and_is_not_is_found_out() {
        for (bare, other) in
            [("a b", "a+%41"), ("a&amp;b", "%41/"), ("é", "+"), ("#", "100%25"), ("a?", "a%2Fb")]
        {
            for keys in [[bare, other], [other, bare]] {
                let [one, two] = keys;
                let text = format!(
                    "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>{one}</Key><Size>1</Size>\
                     </Contents><CommonPrefixes><Prefix>{two}</Prefix></CommonPrefixes></ListBucketResult>"
                );
                let (entries, _) = read(text.as_bytes(), false).unwrap();
                let found: Vec<_> = entries
                    .iter()
                    .map(|entry| match entry {
                        ListedEntry::Object(object) => object.key.as_ref(),
                        ListedEntry::Prefix(prefix) => prefix.as_ref(),
                    })
                    .collect();
                assert_eq!(found, keys.map(|key| key.replace("&amp;", "&")));
            }
        }
    }

    #[test]
    fn a_page_that_is_cut_off_or_leads_nowhere_or_is_none_is_refused() {
        assert_eq!(read(&PAGE.as_bytes()[..400], true).unwrap_err().kind, Kind::Corrupt);
        for text in [
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
            "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
            "<html><body>hello</body></html>",
            "<Error/>",
        ] {
            assert_eq!(read(text.as_bytes(), true).unwrap_err().kind, Kind::Corrupt, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_page_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..900) {
            let page = &PAGE.as_bytes()[..cut.min(PAGE.len())];
            for document in [bytes.clone(), [page, &bytes].concat()] {
                let _ = Page::new(document.clone(), true).glance();
                let _ = read(&document, true);
            }
        }
    }
}
