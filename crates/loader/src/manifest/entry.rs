//! One entry of a manifest, whatever it was written in.

use crate::checksum::Check;
use forebay_io::{Location, Result};
use std::collections::BTreeSet;

/// A sample: an object or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) location: Location,
    /// Where its bytes begin; none for the whole object. With it, the length is in `len`.
    pub(crate) offset: Option<u64>,
    /// How many bytes it has.
    pub(crate) len: Option<u64>,
    /// What they are checked against.
    pub(crate) check: Check,
}

impl Entry {
    /// A whole object, of which nothing more is known.
    pub(crate) fn whole(location: Location) -> Self {
        Entry { location, offset: None, len: None, check: Check::default() }
    }
}

/// The fields of an entry as they stand in the file.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) uri: Option<String>,
    pub(crate) offset: Option<u64>,
    pub(crate) length: Option<u64>,
    pub(crate) checksum: Option<String>,
}

/// A field by one of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Uri,
    Offset,
    Length,
    Checksum,
    /// A checksum of the kind that the name says, without it in the value.
    Blake3,
}

const NAMES: [(&str, Field); 7] = [
    ("uri", Field::Uri),
    ("key", Field::Uri),
    ("offset", Field::Offset),
    ("length", Field::Length),
    ("size", Field::Length),
    ("checksum", Field::Checksum),
    ("blake3", Field::Blake3),
];

/// Names of other fields that were seen and may stay: labels, captions, whatever people keep there.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    /// More names than this are data, not names.
    const MOST: usize = 10_000;

    /// The field of this name; none for one that is not ours.
    ///
    /// # Errors
    /// What it may have been meant to be, if it looks like a slip: `lenght` must not be ignored.
    pub(crate) fn field(&mut self, name: &str) -> Result<Option<Field>, String> {
        if let Some((_, field)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(Some(*field));
        }
        if self.0.contains(name) {
            return Ok(None);
        }
        let slip = NAMES.iter().find(|(known, _)| strsim::damerau_levenshtein(known, name) == 1);
        if let Some((known, _)) = slip.filter(|(known, _)| known.len() > 3) {
            return Err(format!("unknown field {name:?}; did you mean {known:?}?"));
        }
        if self.0.len() < Self::MOST {
            self.0.insert(name.to_owned());
        }
        Ok(None)
    }
}

impl Fields {
    /// Sets a field from text; empty text is no value.
    pub(crate) fn set_text(&mut self, field: Field, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        match field {
            Field::Uri => once(&mut self.uri, text.to_owned(), "uri (or key)")?,
            Field::Checksum => once(&mut self.checksum, text.to_owned(), "checksum (or blake3)")?,
            Field::Blake3 => once(&mut self.checksum, format!("blake3:{text}"), "checksum (or blake3)")?,
            Field::Offset | Field::Length => {
                let number =
                    text.parse().map_err(|_| format!("expected a number of bytes, found {text:?}"))?;
                self.set_number(field, number)?;
            }
        }
        Ok(())
    }

    /// Sets a field from a number.
    pub(crate) fn set_number(&mut self, field: Field, number: u64) -> Result<(), String> {
        match field {
            Field::Offset => once(&mut self.offset, number, "offset")?,
            Field::Length => once(&mut self.length, number, "length (or size)")?,
            Field::Uri | Field::Checksum | Field::Blake3 => {
                return Err(format!("expected a text, found the number {number}"));
            }
        }
        Ok(())
    }

    /// The entry that they say. Relative names are beneath `folder`.
    pub(crate) fn entry(self, folder: &Location) -> Result<Entry, String> {
        let uri = self.uri.ok_or("expected a field uri (or key)")?;
        let location = match uri.contains("://") || uri.starts_with('/') {
            true => uri.parse().map_err(|error: forebay_io::Error| error.to_string())?,
            false => folder.join(uri.as_bytes()),
        };
        let sum = self.checksum.map(|text| Check::parse_sum(&text)).transpose();
        let sum = sum.map_err(|error| error.to_string())?;
        match (self.offset, self.length) {
            (Some(_), None) => Err(format!("{uri:?} has an offset and no length")),
            (Some(offset), Some(len)) if offset.checked_add(len).is_none() => {
                Err(format!("{uri:?} has {len} bytes at offset {offset}, which no object has"))
            }
            (Some(offset), len) => {
                Ok(Entry { location, offset: Some(offset), len, check: Check { len: None, sum } })
            }
            (None, len) => Ok(Entry { location, offset: None, len, check: Check { len, sum } }),
        }
    }
}

/// Sets a field that was not set before, unless to the same.
fn once<T: PartialEq + std::fmt::Debug>(field: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    match field {
        Some(before) if *before != value => {
            Err(format!("{name} is given twice, as {before:?} and {value:?}"))
        }
        _ => {
            *field = Some(value);
            Ok(())
        }
    }
}
