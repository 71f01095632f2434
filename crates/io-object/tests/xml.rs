//! The reader of XML against a general one, on documents of every shape, and on what is none.

use forebay_io::Kind;
use forebay_io_object::{Piece, Xml};
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

/// What both readers are to find: elements that hold others begin and end, all others have a text.
#[derive(Debug, PartialEq)]
enum Found {
    Open(String),
    Leaf(String, String),
    Close(String),
}

fn ours(document: &[u8]) -> Result<Vec<Found>, Kind> {
    let mut xml = Xml::new(document).map_err(|failure| failure.kind)?;
    let mut found = Vec::new();
    while let Some(piece) = xml.next().map_err(|failure| failure.kind)? {
        found.push(match piece {
            Piece::Open { name, .. } => Found::Open(name.into()),
            Piece::Leaf { name, text, .. } => {
                let text = text.resolved().map_err(|failure| failure.kind)?;
                Found::Leaf(name.into(), text.into())
            }
            Piece::Close { name } => Found::Close(name.into()),
        });
    }
    Ok(found)
}

/// The same by way of quick-xml; none where it refuses.
fn theirs(document: &[u8]) -> Option<Vec<Found>> {
    let document = std::str::from_utf8(document).ok()?;
    let mut reader = Reader::from_str(document);
    let mut found = Vec::new();
    // Where each open element is among those found, and its text so far.
    let mut open: Vec<(usize, String, bool)> = Vec::new();
    let name = |bytes: &str| bytes.rsplit(':').next().unwrap_or_default().to_owned();
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) => {
                open.iter_mut().for_each(|(_, _, holds)| *holds = true);
                open.push((found.len(), String::new(), false));
                found.push(Found::Open(name(tag.name().into_inner())));
            }
            Event::Empty(tag) => {
                open.iter_mut().for_each(|(_, _, holds)| *holds = true);
                found.push(Found::Leaf(name(tag.name().into_inner()), String::new()));
            }
            Event::End(tag) => {
                let (at, text, holds) = open.pop()?;
                let name = name(tag.name().into_inner());
                match holds {
                    true => found.push(Found::Close(name)),
                    false => found[at] = Found::Leaf(name, text),
                }
            }
            Event::Text(part) => open.last_mut().into_iter().for_each(|open| open.1.push_str(&part)),
            Event::CData(part) => open.last_mut().into_iter().for_each(|open| open.1.push_str(&part)),
            Event::GeneralRef(part) => match part.resolve_char_ref().ok()? {
                Some(char) => open.last_mut()?.1.push(char),
                None => open.last_mut()?.1.push_str(resolve_xml_entity(&part)?),
            },
            Event::Eof => return open.is_empty().then_some(found),
            _ => {}
        }
    }
}

/// Text as a writer may put it: escaped in one of the ways there are, with what is to be passed over in it.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9 /é\t\n]{1,8}",
        1 => Just("&amp;".to_owned()),
        1 => Just("&lt;&gt;&quot;&apos;".to_owned()),
        1 => (1_u32..0xd800).prop_map(|code| format!("&#{code};")),
        1 => (0xe000_u32..0x11_0000).prop_map(|code| format!("&#x{code:x};")),
        1 => Just("<![CDATA[a<b>&amp;]]]]>".to_owned()),
        1 => Just("<!-- <Key>no</Key> -->".to_owned()),
        1 => Just("<?pi <Key>?>".to_owned()),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn element() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["Key", "K", "ns:Key", "Contents", "a-b.c_1", "ключ"]);
    let attributes =
        prop::sample::select(vec!["", " ", " xmlns=\"http://x/\"", " a='>' b=\"/>\"", "\n x=\"</Key>\" "]);
    let leaf = (name.clone(), attributes.clone(), text(), any::<bool>()).prop_map(
        |(name, attributes, text, blank)| match text.is_empty() {
            true => format!("<{name}{attributes}/>"),
            false => format!("<{name}{attributes}>{text}</{name}{}>", if blank { " " } else { "" }),
        },
    );
    leaf.prop_recursive(4, 40, 5, move |inner| {
        let between = prop::sample::select(vec!["", "\n  ", "text", "<!-- c -->", "<![CDATA[<x>]]>"]);
        let parts = prop::collection::vec((between, inner), 0..5);
        (name.clone(), attributes.clone(), parts).prop_map(|(name, attributes, parts)| {
            let inside: String = parts.iter().flat_map(|(between, inner)| [*between, inner]).collect();
            format!("<{name}{attributes}>{inside}</{name}>")
        })
    })
}

fn document() -> impl Strategy<Value = String> {
    let before = prop::sample::select(vec![
        "",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        "<!-- c --> ",
        "<!DOCTYPE r>",
    ]);
    let behind = prop::sample::select(vec!["", "\n", "<!-- end -->"]);
    (before, element(), behind).prop_map(|(before, element, behind)| format!("{before}{element}{behind}"))
}

proptest! {
    #[test]
    fn documents_are_read_as_a_general_reader_reads_them(document in document()) {
        let expected = theirs(document.as_bytes());
        prop_assert!(expected.is_some(), "{}", document);
        prop_assert_eq!(ours(document.as_bytes()).ok(), expected, "{}", document);
    }

    #[test]
    fn a_document_that_is_cut_off_is_refused(document in document(), part in 0.0_f64..1.0) {
        let end = document.rfind('>').unwrap();
        let root_end = document.trim_end_matches("<!-- end -->").trim_end().len().min(end);
        let cut = document.as_bytes().get(..(root_end as f64 * part) as usize).unwrap();
        prop_assert_eq!(ours(cut), Err(Kind::Corrupt));
    }

    #[test]
    fn what_is_damaged_is_refused_or_read_alike(
        document in document(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(b"<>/!?&;\"'- ".to_vec())],
    ) {
        let mut damaged = document.into_bytes();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        if let (Ok(found), Some(expected)) = (ours(&damaged), theirs(&damaged)) {
            prop_assert_eq!(found, expected, "{}", String::from_utf8_lossy(&damaged));
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"<>/!?[]-&;a\"".to_vec())], 0..200)) {
        let _ = ours(&bytes);
    }
}

#[test]
fn attributes_and_places_are_told() {
    let text =
        b"\xef\xbb\xbf<s:Page xmlns:s=\"x\"><Blob><Name Encoded=\"true\"> a&#x20;b </Name></Blob></s:Page>";
    let mut xml = Xml::new(text).unwrap();
    let open = |name, attributes| Some(Piece::Open { name, attributes });
    assert_eq!(xml.next().unwrap(), open("Page", "xmlns:s=\"x\""));
    assert_eq!(xml.next().unwrap(), open("Blob", ""));
    let Some(Piece::Leaf { name, attributes, text }) = xml.next().unwrap() else { panic!("no leaf") };
    assert_eq!((name, attributes, &*text.resolved().unwrap()), ("Name", "Encoded=\"true\"", " a b "));
    assert_eq!((xml.parent(), xml.depth()), ("Blob", 2));
    assert_eq!(xml.next().unwrap(), Some(Piece::Close { name: "Blob" }));
    assert_eq!((xml.parent(), xml.depth()), ("Page", 1));
    xml.next().unwrap();
    assert_eq!(xml.next().unwrap(), None);
}

#[test]
fn what_is_no_document_is_refused() {
    for text in [
        "",
        "   ",
        "hello",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a/>text",
        "</a>",
        "<a>&nope;</a>",
        "<a>&#0;</a>",
        "<a>&#xd800;</a>",
        "<a>&#+1;</a>",
        "<a>&amp</a>",
        "<a b='></a>",
        "<a><!-- </a>",
        "<![CDATA[x]]><a/>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
        "<a></a b></a>",
        "<a></ab>",
    ] {
        assert_eq!(ours(text.as_bytes()), Err(Kind::Corrupt), "{text}");
    }
    let deep = "<a>".repeat(100) + "x" + &"</a>".repeat(100);
    assert_eq!(ours(deep.as_bytes()), Err(Kind::Corrupt));
    assert_eq!(ours(b"<a>\xff</a>"), Err(Kind::Corrupt));
}
