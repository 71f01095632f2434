//! Manifests in JSON lines: `{"uri": "s3://b/a.jpg", "length": 4711, "checksum": "crc32c:…"}`.
//!
//! The manifests that `forebay gen` writes are read too: their first line names the root of the keys.

use super::entry::{Entry, Field, Fields, Names};
use crate::format::shard_bytes::ShardBytes;
use forebay_io::{Location, Result};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Entries of a piece.
const PIECE: usize = 4096;

pub(super) struct Reader {
    folder: Location,
    names: Names,
    at: u64,
    entries: u64,
    /// As the header says.
    promised: Option<u64>,
}

/// What a line holds.
enum Line {
    Entry(Fields),
    Header { root: Option<String>, files: Option<u64> },
}

impl Reader {
    pub(super) fn new(folder: Location) -> Self {
        Reader { folder, names: Names::default(), at: 0, entries: 0, promised: None }
    }

    pub(super) async fn next(&mut self, shard: &mut ShardBytes<'_>) -> Result<Option<Vec<Entry>>> {
        let mut piece = Vec::new();
        while piece.len() < PIECE && self.at < shard.size() {
            let at = self.at;
            let end = shard.find(b'\n', at).await?.unwrap_or(shard.size());
            let line = shard.bytes(at, end - at, "a line").await?;
            self.at = end + 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match self.line(line, at == 0) {
                Ok(Some(entry)) => piece.push(entry),
                Ok(None) => {}
                Err(why) => return Err(shard.corrupt(at, why)),
            }
        }
        self.entries += piece.len() as u64;
        if piece.is_empty() {
            if let Some(promised) = self.promised.filter(|&promised| promised != self.entries) {
                let why = format!("expected {promised} files, as its header says, found {}", self.entries);
                return Err(shard.corrupt(self.at.min(shard.size()), why));
            }
            return Ok(None);
        }
        Ok(Some(piece))
    }

    fn line(&mut self, line: &[u8], first: bool) -> Result<Option<Entry>, String> {
        let mut text = serde_json::Deserializer::from_slice(line);
        let read = Fielded { names: &mut self.names }.deserialize(&mut text);
        let read = read.and_then(|line| text.end().map(|()| line));
        match read.map_err(|error| format!("expected an entry as JSON: {error}"))? {
            Line::Entry(fields) => fields.entry(&self.folder).map(Some),
            Line::Header { root, files } if first => {
                if let Some(root) = root {
                    self.folder = root.parse().map_err(|error: forebay_io::Error| error.to_string())?;
                }
                self.promised = files;
                Ok(None)
            }
            Line::Header { .. } => Err("a header that is not in the first line".to_owned()),
        }
    }
}

/// Reads the fields of a line as they come, without a table of them.
struct Fielded<'a> {
    names: &'a mut Names,
}

impl<'de> DeserializeSeed<'de> for Fielded<'_> {
    type Value = Line;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Line, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// The format that `forebay gen` writes into the header.
const FORMAT: &str = "forebay-manifest";

impl<'de> Visitor<'de> for Fielded<'_> {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a field uri")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let mut fields = Fields::default();
        let (mut header, mut root, mut files) = (false, None, None);
        // A header has names of its own; whether it is one, its field `format` says.
        let mut slip = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match &*name {
                "format" => {
                    let format: Option<serde_json::Value> = map.next_value()?;
                    header |= format.is_some_and(|format| format == FORMAT);
                }
                // Of a header; an entry may have such fields of its own.
                "root" => root = map.next_value::<serde_json::Value>()?.as_str().map(str::to_owned),
                "files" => files = map.next_value::<serde_json::Value>()?.as_u64(),
                name => match self.names.field(name) {
                    Err(why) => {
                        slip.get_or_insert(why);
                        map.next_value::<IgnoredAny>()?;
                    }
                    Ok(None) => drop(map.next_value::<IgnoredAny>()?),
                    Ok(Some(field @ (Field::Offset | Field::Length))) => {
                        if let Some(number) = map.next_value::<Option<u64>>()? {
                            fields.set_number(field, number).map_err(A::Error::custom)?;
                        }
                    }
                    Ok(Some(field)) => {
                        if let Some(text) = map.next_value::<Option<Cow<'de, str>>>()? {
                            fields.set_text(field, &text).map_err(A::Error::custom)?;
                        }
                    }
                },
            }
        }
        match (header, slip) {
            (true, _) => Ok(Line::Header { root, files }),
            (false, Some(why)) => Err(A::Error::custom(why)),
            (false, None) => Ok(Line::Entry(fields)),
        }
    }
}
