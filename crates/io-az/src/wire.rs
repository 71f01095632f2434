//! What the service says and is told in XML: pages of a listing, lists of blocks, errors.

use forebay_io::Kind;
use forebay_io_object::{Failure, Listed, ListedObject, version_of};
use percent_encoding::percent_decode_str;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::borrow::Cow;

/// The largest answer that is read as XML: a page of 5,000 blobs whose names are all as long as may be
/// (1,024 characters of up to 4 bytes, escaped) is below.
pub(crate) const LONGEST: usize = 64 << 20;

/// The code and message of an error. Empty where the body is none of Azure's.
pub(crate) fn error_of(body: &[u8]) -> (String, String) {
    let (mut code, mut message) = (String::new(), String::new());
    // What cannot be read to its end is still good for what came before.
    let _ = walk(body, |path, text| match path {
        ["Error", "Code"] => code.push_str(&text),
        ["Error", "Message"] => message.push_str(&text),
        _ => {}
    });
    // The lines after the first hold the request's id and time.
    message.truncate(message.find('\n').unwrap_or(message.len()));
    (code, message.trim().to_owned())
}

/// The body that puts blocks together, in this order.
pub(crate) fn block_list(blocks: &[String]) -> Vec<u8> {
    let mut xml = String::with_capacity(64 + blocks.len() * 64);
    xml.push_str("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for block in blocks {
        xml.push_str("<Latest>");
        // Base64 needs no escaping.
        xml.push_str(block);
        xml.push_str("</Latest>");
    }
    xml.push_str("</BlockList>");
    xml.into_bytes()
}

/// A page of a listing.
///
/// # Errors
/// `Corrupt`, to be tried again, where it is no page or was cut off.
pub(crate) fn page_of(body: &[u8]) -> Result<Listed, Failure> {
    let mut page = Listed::default();
    let mut blob = Blob::default();
    let mut open = false;
    let mut whole = false;
    walk_events(body, |path, seen| {
        match (path, seen) {
            (["EnumerationResults"], Seen::End) => whole = true,
            (["EnumerationResults", "NextMarker"], Seen::Text(text)) if !text.is_empty() => {
                page.next.get_or_insert_default().push_str(&text);
            }
            (["EnumerationResults", "Blobs", "Blob" | "BlobPrefix"], Seen::Begin(_)) => {
                blob = Blob::default();
                open = true;
            }
            (["EnumerationResults", "Blobs", "Blob" | "BlobPrefix", "Name"], Seen::Begin(encoded)) => {
                blob.encoded = encoded;
            }
            (["EnumerationResults", "Blobs", "Blob" | "BlobPrefix", "Name"], Seen::Text(text)) => {
                blob.name.push_str(&text);
            }
            (["EnumerationResults", "Blobs", "Blob", "Properties", property], Seen::Text(text)) => {
                blob.set(property, &text)?;
            }
            (["EnumerationResults", "Blobs", kind @ ("Blob" | "BlobPrefix")], Seen::End) if open => {
                open = false;
                let name = blob.take_name()?;
                if *kind == "BlobPrefix" {
                    page.prefixes.push(name);
                } else if !blob.directory {
                    let size = blob.size.ok_or_else(|| strange("a blob without Content-Length"))?;
                    let Blob { modified, version, .. } = std::mem::take(&mut blob);
                    page.objects.push(ListedObject { key: name, size, modified, version });
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    if !whole {
        return Err(strange("it ends before its end"));
    }
    Ok(page)
}

/// One blob of a page, as far as it was read.
#[derive(Default)]
struct Blob {
    name: String,
    encoded: bool,
    size: Option<u64>,
    modified: Option<std::time::SystemTime>,
    version: Option<forebay_io::Version>,
    /// Accounts with a hierarchical namespace list directories among the blobs.
    directory: bool,
}

impl Blob {
    fn set(&mut self, property: &str, text: &str) -> Result<(), Failure> {
        match property {
            "Content-Length" => {
                let size = text.parse().map_err(|_| strange(&format!("Content-Length is {text:?}")))?;
                self.size = Some(size);
            }
            "Last-Modified" => self.modified = httpdate::parse_http_date(text).ok(),
            "Etag" => self.version = Some(version_of(text)),
            "ResourceType" => self.directory = text == "directory",
            _ => {}
        }
        Ok(())
    }

    fn take_name(&mut self) -> Result<String, Failure> {
        let name = std::mem::take(&mut self.name);
        if !self.encoded {
            return Ok(name);
        }
        // Names with characters that XML cannot hold.
        let decoded = percent_decode_str(&name).decode_utf8().map(Cow::into_owned);
        decoded.map_err(|_| strange("an encoded name is not UTF-8"))
    }
}

fn strange(what: &str) -> Failure {
    Failure::new(Kind::Corrupt, format!("a page of the listing makes no sense: {what}"))
}

/// What a walk through a document meets, at the path of element names given beside it.
enum Seen<'a> {
    /// An element begins; whether it is marked `Encoded="true"`.
    Begin(bool),
    /// Text, perhaps not all of the element's.
    Text(Cow<'a, str>),
    End,
}

/// How deep answers go; more is none of Azure's.
const DEEPEST: usize = 16;

/// Every piece of text with the path that it stands at.
fn walk(body: &[u8], mut seen: impl FnMut(&[&str], Cow<'_, str>)) -> Result<(), Failure> {
    walk_events(body, |path, event| {
        if let Seen::Text(text) = event {
            seen(path, text);
        }
        Ok(())
    })
}

fn walk_events(
    body: &[u8],
    mut seen: impl FnMut(&[&str], Seen<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // Azure's answers may begin with a byte order mark.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|_| strange("it is not UTF-8"))?;
    let mut reader = Reader::from_str(text);
    let mut path: Vec<&'static str> = Vec::with_capacity(DEEPEST);
    let broken = |error: &dyn std::error::Error| strange(&error.to_string());
    loop {
        match reader.read_event().map_err(|e| broken(&e))? {
            Event::Start(tag) => {
                if path.len() == DEEPEST {
                    return Err(strange("it is nested too deeply"));
                }
                let encoded = tag
                    .attributes()
                    .flatten()
                    .any(|a| a.key.as_ref() == "Encoded" && a.value.as_ref() == "true");
                path.push(name_of(tag.name().as_ref()));
                seen(&path, Seen::Begin(encoded))?;
            }
            Event::Empty(tag) => {
                path.push(name_of(tag.name().as_ref()));
                seen(&path, Seen::Begin(false))?;
                seen(&path, Seen::End)?;
                path.pop();
            }
            Event::End(_) => {
                seen(&path, Seen::End)?;
                path.pop();
            }
            Event::Text(piece) => seen(&path, Seen::Text(piece.into_inner()))?,
            Event::CData(piece) => seen(&path, Seen::Text(piece.into_inner()))?,
            Event::GeneralRef(name) => {
                let whole = format!("&{};", &*name);
                let piece = quick_xml::escape::unescape(&whole).map_err(|e| broken(&e))?;
                seen(&path, Seen::Text(piece))?;
            }
            Event::Eof => return Ok(()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// The names that mean something here; all others are alike.
fn name_of(tag: &str) -> &'static str {
    const NAMES: [&str; 14] = [
        "EnumerationResults",
        "NextMarker",
        "Blobs",
        "Blob",
        "BlobPrefix",
        "Name",
        "Properties",
        "Content-Length",
        "Last-Modified",
        "Etag",
        "ResourceType",
        "Error",
        "Code",
        "Message",
    ];
    NAMES.into_iter().find(|name| *name == tag).unwrap_or("")
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

    fn read(text: &str) -> Result<Listed, Failure> {
        page_of(text.as_bytes())
    }

    #[test]
    fn a_page_is_read_with_its_details_and_without_directories() {
        let page = read(PAGE).unwrap();
        let keys: Vec<_> = page.objects.iter().map(|object| (object.key.as_str(), object.size)).collect();
        assert_eq!(keys, [("p/a & b", 7), ("p/\u{fffe}", 0)]);
        assert_eq!(page.objects[0].version, Some(version_of("0x8D")));
        assert!(page.objects[0].modified.is_some());
        assert_eq!((&page.prefixes[..], page.next.as_deref()), (&["p/d/".to_owned()][..], Some("2!88!x--")));
    }

    #[test]
    fn the_last_page_has_no_next() {
        for marker in ["<NextMarker/>", "<NextMarker></NextMarker>", ""] {
            let text = format!("<EnumerationResults><Blobs/>{marker}</EnumerationResults>");
            assert_eq!(read(&text).unwrap().next, None, "{marker}");
        }
    }

    #[test]
    fn errors_are_read_without_their_further_lines() {
        let text = "<?xml version=\"1.0\"?><Error><Code>BlobNotFound</Code><Message>The specified blob does not \
                    exist.\nRequestId:1\nTime:2</Message></Error>";
        assert_eq!(
            error_of(text.as_bytes()),
            ("BlobNotFound".into(), "The specified blob does not exist.".into())
        );
        assert_eq!(error_of(b"<html>gateway"), (String::new(), String::new()));
    }

    #[test]
    fn blocks_keep_their_order() {
        let xml = String::from_utf8(block_list(&["YQ==".to_owned(), "Yg==".to_owned()])).unwrap();
        assert!(xml.ends_with("<BlockList><Latest>YQ==</Latest><Latest>Yg==</Latest></BlockList>"), "{xml}");
    }

    proptest! {
        #[test]
        fn a_page_that_was_cut_off_is_never_taken_for_a_whole_one(at in 0usize..PAGE.len()) {
            let cut = &PAGE.as_bytes()[..at];
            prop_assert_eq!(page_of(cut).unwrap_err().kind, Kind::Corrupt);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..PAGE.len()) {
            let mut page = PAGE.as_bytes().to_vec();
            page.splice(at..at, bytes.iter().copied());
            let _ = page_of(&page);
            let _ = error_of(&bytes);
        }
    }
}
