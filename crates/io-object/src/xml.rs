//! A reader of the XML that object services answer with: elements, and those that hold only text as one piece.
//!
//! A page of a listing has some eight small elements a key. A general reader gives each as three events of its own
//! and looks for the end of every one twice; this one finds an element's text and end in one step, and allocates
//! nothing where the text has no entities. It reads documents in UTF-8, with comments, CDATA, processing instructions,
//! namespaces (names are given without their prefix) and the five entities and character references of XML 1.0
//! (W3C, *Extensible Markup Language 1.0*, sections 2 to 4). It is no validator: names and attributes may hold
//! characters that the standard forbids. What a document type declares is not read, so entities of its own are errors.

use crate::Failure;
use forebay_io::Kind;
use std::borrow::Cow;

/// How deep elements may lie in each other. Answers of services go a third of it.
const DEEPEST: usize = 32;

/// One piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'d> {
    /// An element begins that holds more than text.
    Open {
        /// Its name without a prefix.
        name: &'d str,
        /// What stands behind its name.
        attributes: &'d str,
    },
    /// A whole element that holds text or nothing.
    Leaf {
        /// Its name without a prefix.
        name: &'d str,
        /// What stands behind its name.
        attributes: &'d str,
        /// What it holds.
        text: Text<'d>,
    },
    /// An element ends that was [`Open`](Piece::Open).
    Close {
        /// Its name without a prefix.
        name: &'d str,
    },
}

/// What an element holds that holds no other: text, with comments and their like in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'d>(&'d str);

impl<'d> Text<'d> {
    /// The text as it stands there, blanks and line ends too, with its entities resolved.
    ///
    /// # Errors
    /// `Corrupt` for an entity that is not known.
    pub fn resolved(self) -> Result<Cow<'d, str>, Failure> {
        let Text(raw) = self;
        let Some(first) = memchr::memchr2(b'&', b'<', raw.as_bytes()) else { return Ok(Cow::Borrowed(raw)) };
        let mut plain = String::with_capacity(raw.len());
        let mut at = first;
        plain.push_str(&raw[..first]);
        while let Some(&mark) = raw.as_bytes().get(at) {
            let end = match mark {
                b'<' => {
                    let (text, end) = beside(raw, at)?;
                    plain.push_str(text);
                    end
                }
                _ => {
                    let behind = &raw[at + 1..];
                    let len = memchr::memchr(b';', behind.as_bytes());
                    let len = len.ok_or_else(|| wrong("an entity has no end"))?;
                    let unknown = || wrong(&format!("the entity {:?} is unknown", shortened(&behind[..len])));
                    plain.push(character(&behind[..len]).ok_or_else(unknown)?);
                    at + 1 + len + 1
                }
            };
            let next =
                memchr::memchr2(b'&', b'<', &raw.as_bytes()[end..]).map_or(raw.len(), |next| end + next);
            plain.push_str(&raw[end..next]);
            at = next;
        }
        Ok(Cow::Owned(plain))
    }
}

/// The name of an element.
#[derive(Debug, Clone, Copy)]
struct Name<'d> {
    whole: &'d str,
    /// Without its prefix.
    local: &'d str,
}

/// Reads a document from its beginning.
#[derive(Debug)]
pub struct Xml<'d> {
    text: &'d str,
    at: usize,
    /// The elements that are open.
    open: Vec<Name<'d>>,
    root_seen: bool,
}

impl<'d> Xml<'d> {
    /// The reader of a document, which may begin with a byte order mark.
    ///
    /// # Errors
    /// `Corrupt` if it is not UTF-8.
    pub fn new(document: &'d [u8]) -> Result<Self, Failure> {
        let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
        let text = std::str::from_utf8(document).map_err(|_| wrong("it is not UTF-8"))?;
        Ok(Xml { text, at: 0, open: Vec::with_capacity(DEEPEST), root_seen: false })
    }

    /// The name, without its prefix, of the element that holds the piece given last; empty for the root.
    /// (For a [`Close`](Piece::Close) and a [`Leaf`](Piece::Leaf) what is around it; for an
    /// [`Open`](Piece::Open) itself.)
    pub fn parent(&self) -> &'d str {
        self.open.last().map_or("", |name| name.local)
    }

    /// How many elements are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// The next piece; none at the end of the document. Text beside elements is passed over.
    ///
    /// # Errors
    /// `Corrupt` where it is not XML or ends in the middle, also for an entity that is not known.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Piece<'d>>, Failure> {
        loop {
            let bytes = self.text.as_bytes();
            // Services that write no blanks between elements are the usual ones.
            let found = match bytes.get(self.at) {
                Some(b'<') => Some(0),
                _ => memchr::memchr(b'<', &bytes[self.at..]),
            };
            let Some(found) = found else {
                return self.end();
            };
            let mark = self.at + found;
            if found > 0 && self.open.is_empty() && !self.text[self.at..mark].trim_ascii().is_empty() {
                return Err(wrong("there is text outside its elements"));
            }
            match bytes.get(mark + 1) {
                Some(b'/') => return self.close(mark).map(Some),
                Some(b'!' | b'?') => {
                    let rest = &self.text[mark..];
                    if self.open.is_empty() && rest.starts_with("<![CDATA[") {
                        return Err(wrong("there is text outside its elements"));
                    }
                    self.at = match rest.starts_with("<!DOCTYPE") && !self.root_seen {
                        true => self.document_type(mark)?,
                        false => beside(self.text, mark)?.1,
                    };
                }
                Some(_) => return self.element(mark).map(Some),
                None => return Err(wrong("it ends in a tag")),
            }
        }
    }

    /// The end of the document, where it may end.
    fn end(&mut self) -> Result<Option<Piece<'d>>, Failure> {
        let rest = self.text[self.at..].trim_ascii();
        match (self.open.last(), self.root_seen, rest) {
            (None, true, "") => Ok(None),
            (None, false, "") => Err(wrong("it is empty")),
            (None, ..) => Err(wrong("there is text outside its elements")),
            (Some(name), ..) => Err(wrong(&format!("it ends inside {}", name.whole))),
        }
    }

    /// The closing tag at `mark`.
    fn close(&mut self, mark: usize) -> Result<Piece<'d>, Failure> {
        let Some(name) = self.open.pop() else {
            return Err(wrong("an element ends that did not begin"));
        };
        self.at = self.closing(name.whole, mark)?;
        Ok(Piece::Close { name: name.local })
    }

    /// Where the closing tag at `mark` ends, which must be of the element `name`.
    fn closing(&self, name: &str, mark: usize) -> Result<usize, Failure> {
        let tag = &self.text[mark + 2..];
        // Nearly always there is no blank in it.
        if tag.strip_prefix(name).is_some_and(|rest| rest.starts_with('>')) {
            return Ok(mark + 2 + name.len() + 1);
        }
        let len = memchr::memchr(b'>', tag.as_bytes());
        let len = len.ok_or_else(|| wrong(&format!("it ends inside {name}")))?;
        let found = tag[..len].trim_ascii_end();
        if found != name {
            return Err(wrong(&format!("{name} is open where {:?} ends", shortened(found))));
        }
        Ok(mark + 2 + len + 1)
    }

    /// The element whose tag is at `mark`.
    fn element(&mut self, mark: usize) -> Result<Piece<'d>, Failure> {
        if self.open.is_empty() && self.root_seen {
            return Err(wrong("it has two roots"));
        }
        self.root_seen = true;
        let (name, behind) = self.name(mark + 1)?;
        // Few elements have attributes.
        let (attributes, end, bare) = match self.text.as_bytes()[behind] {
            b'>' => ("", behind + 1, false),
            first => {
                let (tag, end) = self.tag(behind)?;
                let bare = tag.strip_suffix('/');
                if first == b'/' && tag != "/" {
                    return Err(wrong(&format!("a tag of {} has a slash in it", name.whole)));
                }
                (bare.unwrap_or(tag).trim_ascii(), end, bare.is_some())
            }
        };
        if bare {
            self.at = end;
            return Ok(Piece::Leaf { name: name.local, attributes, text: Text("") });
        }
        if let Some((text, end)) = self.leaf(name.whole, end)? {
            self.at = end;
            return Ok(Piece::Leaf { name: name.local, attributes, text });
        }
        if self.open.len() == DEEPEST {
            return Err(wrong("it is nested too deeply"));
        }
        self.at = end;
        self.open.push(name);
        Ok(Piece::Open { name: name.local, attributes })
    }

    /// The name at `from`, and where it ends: before a blank or the end of the tag. Names are shorter than what it
    /// takes to begin a search.
    fn name(&self, from: usize) -> Result<(Name<'d>, usize), Failure> {
        let (mut at, mut local) = (from, from);
        for byte in &self.text.as_bytes()[from..] {
            match byte {
                b'>' | b'/' | b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' => break,
                b':' => local = at + 1,
                b'<' | b'&' | b'"' | b'\'' | b'=' => {
                    return Err(wrong(&format!("{:?} is no name", shortened(&self.text[from..=at]))));
                }
                _ => {}
            }
            at += 1;
        }
        if at == from || at == self.text.len() {
            return Err(wrong("it ends in a tag, or has one without a name"));
        }
        Ok((Name { whole: &self.text[from..at], local: &self.text[local..at] }, at))
    }

    /// What is between the marks of the tag that begins at `from`, and where it ends.
    fn tag(&self, from: usize) -> Result<(&'d str, usize), Failure> {
        let rest = &self.text.as_bytes()[from..];
        let mut at = 0;
        while let Some(found) = memchr::memchr3(b'>', b'"', b'\'', &rest[at..]) {
            let here = at + found;
            if rest[here] == b'>' {
                return Ok((&self.text[from..from + here], from + here + 1));
            }
            // A value in quotes may hold the mark of the end.
            let Some(len) = memchr::memchr(rest[here], &rest[here + 1..]) else { break };
            at = here + 1 + len + 1;
        }
        Err(wrong("it ends in a tag"))
    }

    /// What the element `name` holds, whose tag ends at `from`, and where its closing tag ends: none if it
    /// holds other elements.
    fn leaf(&self, name: &str, from: usize) -> Result<Option<(Text<'d>, usize)>, Failure> {
        let bytes = self.text.as_bytes();
        let mut at = from;
        loop {
            let ends = || wrong(&format!("it ends inside {name}"));
            let mark = at + memchr::memchr(b'<', &bytes[at..]).ok_or_else(ends)?;
            match bytes.get(mark + 1) {
                Some(b'/') => {
                    return Ok(Some((Text(&self.text[from..mark]), self.closing(name, mark)?)));
                }
                Some(b'!' | b'?') => at = beside(self.text, mark)?.1,
                Some(_) => return Ok(None),
                None => return Err(wrong("it ends in a tag")),
            }
        }
    }

    /// Where the document type at `mark` ends. Declarations of its own would have to be obeyed.
    fn document_type(&self, mark: usize) -> Result<usize, Failure> {
        let rest = &self.text[mark..];
        let end = memchr::memchr(b'>', rest.as_bytes()).ok_or_else(|| wrong("it ends in a tag"))?;
        match rest[..end].contains('[') {
            true => Err(wrong("it declares a document type of its own")),
            false => Ok(mark + end + 1),
        }
    }
}

/// A comment, an instruction or CDATA at `mark`: the text that it is, and where it ends.
fn beside(text: &str, mark: usize) -> Result<(&str, usize), Failure> {
    let rest = &text[mark..];
    for (begin, end, is_text) in [("<!--", "-->", false), ("<?", "?>", false), ("<![CDATA[", "]]>", true)] {
        let Some(inside) = rest.strip_prefix(begin) else { continue };
        let len = memchr::memmem::find(inside.as_bytes(), end.as_bytes());
        let len = len.ok_or_else(|| wrong("it ends in a comment or its like"))?;
        return Ok((if is_text { &inside[..len] } else { "" }, mark + begin.len() + len + end.len()));
    }
    Err(wrong("it has a declaration where none may be"))
}

/// Enough of it for a message.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| &text[..end])
}

/// The character that an entity or reference stands for.
fn character(entity: &str) -> Option<char> {
    Some(match entity {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = entity.strip_prefix('#')?;
            let (digits, radix) = match number.strip_prefix('x') {
                Some(digits) => (digits, 16),
                None => (number, 10),
            };
            if !digits.starts_with(|digit: char| digit.is_digit(radix)) {
                return None;
            }
            char::from_u32(u32::from_str_radix(digits, radix).ok()?).filter(|&char| char != '\0')?
        }
    })
}

fn wrong(why: &str) -> Failure {
    Failure::new(Kind::Corrupt, format!("an answer that is not the XML it should be: {why}"))
}
