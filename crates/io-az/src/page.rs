//! A page of `List Blobs`, read after the next one was asked for.

use forebay_io::Kind;
use forebay_io_object::{Each, Failure, ListedEntry, ListedObject, Listing, Piece, Text, Xml, version_of};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The document as it came.
pub(crate) struct Page {
    document: Vec<u8>,
    /// Whether times and versions are wanted.
    details: bool,
}

const ROOT: &str = "EnumerationResults";
const NEXT: [&str; 2] = ["<NextMarker>", "</NextMarker>"];

/// One blob or prefix, as far as it was read.
#[derive(Default)]
struct Blob<'d> {
    name: Option<Text<'d>>,
    /// Whether the name has characters that XML cannot hold, and is percent-encoded therefore.
    encoded: bool,
    size: Option<Text<'d>>,
    modified: Option<Text<'d>>,
    etag: Option<Text<'d>>,
    /// Accounts with a hierarchical namespace list directories among the blobs.
    directory: bool,
}

impl Page {
    pub(crate) fn new(document: Vec<u8>, details: bool) -> Self {
        Page { document, details }
    }
}

impl<'d> Blob<'d> {
    fn set(&mut self, property: &str, text: Text<'d>) -> Result<(), Failure> {
        match property {
            "Content-Length" => self.size = Some(text),
            "Last-Modified" => self.modified = Some(text),
            "Etag" => self.etag = Some(text),
            "ResourceType" => self.directory = text.resolved()? == "directory",
            _ => {}
        }
        Ok(())
    }

    fn name(&self) -> Result<Cow<'d, str>, Failure> {
        let name = self.name.ok_or_else(|| strange("a blob without a name"))?.resolved()?;
        if !self.encoded {
            return Ok(name);
        }
        let decoded = percent_decode_str(&name).decode_utf8().map(Cow::into_owned);
        decoded.map(Cow::Owned).map_err(|_| strange("an encoded name is not UTF-8"))
    }

    fn object(&self, details: bool) -> Result<ListedObject<'d>, Failure> {
        let size = self.size.ok_or_else(|| strange("a blob without Content-Length"))?.resolved()?;
        let size = size.parse().map_err(|_| strange(&format!("Content-Length is {size:?}")))?;
        let mut object = ListedObject { key: self.name()?, size, modified: None, version: None };
        if details {
            let text = |text: Option<Text<'d>>| text.map(Text::resolved).transpose();
            object.modified = text(self.modified)?.and_then(|time| httpdate::parse_http_date(&time).ok());
            object.version = text(self.etag)?.map(|etag| version_of(&etag));
        }
        Ok(object)
    }
}

impl Listing for Page {
    fn glance(&self) -> Option<String> {
        let start = memchr::memmem::rfind(&self.document, NEXT[0].as_bytes())?;
        let rest = &self.document[start..];
        let len = memchr::memmem::find(rest, NEXT[1].as_bytes())? + NEXT[1].len();
        match Xml::new(&rest[..len]).ok()?.next().ok()?? {
            Piece::Leaf { text, .. } => {
                text.resolved().ok().filter(|next| !next.is_empty()).map(Cow::into_owned)
            }
            Piece::Open { .. } | Piece::Close { .. } => None,
        }
    }

    fn read(self: Box<Self>, each: &mut Each<'_>) -> Result<Option<String>, Failure> {
        let mut xml = Xml::new(&self.document)?;
        let mut next = None;
        let mut blob = Blob::default();
        while let Some(piece) = xml.next()? {
            match piece {
                Piece::Leaf { name, attributes, text } => match (xml.depth(), xml.parent(), name) {
                    (3, "Blob" | "BlobPrefix", "Name") => {
                        blob.name = Some(text);
                        blob.encoded = attributes == "Encoded=\"true\"" || attributes == "Encoded='true'";
                    }
                    (4, "Properties", property) => blob.set(property, text)?,
                    (1, ROOT, "NextMarker") => {
                        next = Some(text.resolved()?.into_owned()).filter(|next| !next.is_empty());
                    }
                    (0, _, name) if name != ROOT => return Err(another(name)),
                    _ => {}
                },
                Piece::Open { name, .. } if xml.depth() == 1 && name != ROOT => return Err(another(name)),
                Piece::Close { name: "Blob" } if xml.depth() == 2 => {
                    let blob = std::mem::take(&mut blob);
                    if !blob.directory {
                        each(ListedEntry::Object(blob.object(self.details)?))?;
                    }
                }
                Piece::Close { name: "BlobPrefix" } if xml.depth() == 2 => {
                    each(ListedEntry::Prefix(std::mem::take(&mut blob).name()?))?;
                }
                Piece::Open { .. } | Piece::Close { .. } => {}
            }
        }
        Ok(next)
    }
}

fn another(root: &str) -> Failure {
    strange(&format!("it is a {root:?}"))
}

fn strange(what: &str) -> Failure {
    Failure::new(Kind::Corrupt, format!("a page of the listing makes no sense: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\
        <EnumerationResults ServiceEndpoint=\"http://x/\" ContainerName=\"c\"><Prefix>p/</Prefix><Blobs>\
        <Blob><Name>p/a &amp; b</Name><Properties><Last-Modified>Sun, 06 Nov 1994 08:49:37 GMT</Last-Modified>\
        <Etag>0x8D</Etag><Content-Length>7</Content-Length></Properties><OrMetadata /></Blob>\
        <Blob><Name Encoded=\"true\">p/%EF%BF%BE</Name><Properties><Content-Length>0</Content-Length></Properties></Blob>\
        <Blob><Name>p/d</Name><Properties><ResourceType>directory</ResourceType></Properties></Blob>\
        <BlobPrefix><Name>p/d/</Name></BlobPrefix></Blobs><NextMarker>2!88!x--</NextMarker></EnumerationResults>";

    /// Keys and sizes, prefixes, and where the next page begins.
    type Read = (Vec<(String, u64)>, Vec<String>, Option<String>);

    fn read(text: &[u8]) -> Result<Read, Failure> {
        let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
        let next = Box::new(Page::new(text.to_vec(), true)).read(&mut |entry| {
            match entry {
                ListedEntry::Object(object) => objects.push((object.key.into_owned(), object.size)),
                ListedEntry::Prefix(prefix) => prefixes.push(prefix.into_owned()),
            }
            Ok(())
        })?;
        Ok((objects, prefixes, next))
    }

    #[test]
    fn a_page_is_read_without_directories() {
        let (objects, prefixes, next) = read(PAGE.as_bytes()).unwrap();
        assert_eq!(objects, [("p/a & b".into(), 7), ("p/\u{fffe}".into(), 0)]);
        assert_eq!((&prefixes[..], next.as_deref()), (&["p/d/".to_owned()][..], Some("2!88!x--")));
        assert_eq!(Page::new(PAGE.into(), false).glance(), next);
    }

    #[test]
    fn times_and_versions_are_read_where_they_are_wanted() {
        for details in [true, false] {
            let mut first = None;
            let page = Box::new(Page::new(PAGE.into(), details));
            let read = page.read(&mut |entry| {
                if let (ListedEntry::Object(object), None) = (entry, &first) {
                    first = Some((object.modified.is_some(), object.version));
                }
                Ok(())
            });
            read.unwrap();
            assert_eq!(first, Some((details, details.then(|| version_of("0x8D")))));
        }
    }

    #[test]
    fn the_last_page_has_no_next() {
        for marker in ["<NextMarker/>", "<NextMarker></NextMarker>", "<NextMarker />", ""] {
            let text = format!("<EnumerationResults><Blobs/>{marker}</EnumerationResults>");
            assert_eq!(read(text.as_bytes()).unwrap().2, None, "{marker}");
            assert_eq!(Page::new(text.into(), false).glance(), None, "{marker}");
        }
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for text in ["<html><body/></html>", "<Error/>", "<EnumerationResults><Blobs><Blob/></Blobs>"] {
            assert_eq!(read(text.as_bytes()).unwrap_err().kind, Kind::Corrupt, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_page_that_was_cut_off_is_never_taken_for_a_whole_one(at in 0usize..PAGE.len()) {
            prop_assert_eq!(read(&PAGE.as_bytes()[..at]).unwrap_err().kind, Kind::Corrupt);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..PAGE.len()) {
            let mut page = PAGE.as_bytes().to_vec();
            page.splice(at..at, bytes.iter().copied());
            let _ = Page::new(page.clone(), true).glance();
            let _ = read(&page);
        }
    }
}
