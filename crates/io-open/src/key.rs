//! One option of stores: its name, what it means, and how its text is read.

use crate::StoreOptions;
use forebay_io::Result;
use std::fmt;

/// One option that can be given as text.
#[derive(Clone, Copy)]
pub struct Key {
    /// The name, as it is written in command lines and dictionaries.
    pub name: &'static str,
    /// What it means and how its value is written.
    pub about: &'static str,
    /// The schemes that have a use for it; for all others it is refused. Empty: every scheme has.
    pub schemes: &'static [&'static str],
    /// Reads the text of a value.
    pub(crate) set: fn(&mut StoreOptions, Text<'_>) -> Result<()>,
    /// Whether anything was said.
    pub(crate) given: fn(&StoreOptions) -> bool,
}

/// The text of a value and the key that it was given for, which an error has to name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

impl Key {
    /// Whether anything was said.
    pub(crate) fn is_given(&self, options: &StoreOptions) -> bool {
        (self.given)(options) || options.direct.has(self.name) || options.services.has(self.name)
    }

    /// Whether a scheme has a use for it.
    pub fn applies_to(&self, scheme: &str) -> bool {
        self.schemes.is_empty() || self.schemes.contains(&scheme)
    }

    /// The schemes as a part of a sentence: `s3://, az://`.
    pub fn schemes_text(&self) -> String {
        let names: Vec<_> = self.schemes.iter().map(|scheme| format!("{scheme}://")).collect();
        names.join(", ")
    }
}

impl fmt::Display for Key {
    /// A line of a help text: `threads: threads that make system calls (file://, direct:// only)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.about)?;
        if self.schemes.is_empty() { Ok(()) } else { write!(f, " ({} only)", self.schemes_text()) }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).field("schemes", &self.schemes).finish()
    }
}
