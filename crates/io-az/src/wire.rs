//! What else the service says and is told in XML: lists of blocks, errors.

use forebay_io_object::{Piece, Xml};

/// The largest answer that is read as XML: a page of 5,000 blobs whose names are all as long as may be
/// (1,024 characters of up to 4 bytes, escaped) is below.
pub(crate) const LONGEST: usize = 64 << 20;

/// The code and message of an error. Empty where the body is none of Azure's.
pub(crate) fn error_of(body: &[u8]) -> (String, String) {
    let (mut code, mut message) = (String::new(), String::new());
    // What cannot be read to its end is still good for what came before.
    if let Ok(mut xml) = Xml::new(body) {
        while let Ok(Some(piece)) = xml.next() {
            let Piece::Leaf { name, text, .. } = piece else { continue };
            let (Ok(text), 1, "Error") = (text.resolved(), xml.depth(), xml.parent()) else { continue };
            match name {
                "Code" => code = text.into_owned(),
                "Message" => message = text.into_owned(),
                _ => {}
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = error_of(&bytes);
        }
    }
}
