//! The table of options: name, meaning, which schemes have a use for it, and how its text is read.
//!
//! This is the only list of them. Command line, Python and error texts take it from here; `open`
//! refuses an option whose row does not name the scheme, however it was set.

use crate::StoreOptions;
use crate::value::{count, or_none, size};
use forebay_io::Result;
use std::fmt;
use std::sync::LazyLock;

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

/// The options that can be given as text.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    OWN.iter()
        .chain(crate::layers::ROWS)
        .copied()
        .chain(crate::direct::rows())
        .chain(crate::services::rows())
        .collect()
});

/// Those that are not of a service over HTTP.
static OWN: &[Key] = &[
    Key {
        name: "threads",
        about: "threads that make system calls",
        schemes: &["file", "direct"],
        set: |options, text| count(text, 1).map(|n| options.threads = Some(n)),
        given: |options| options.threads.is_some(),
    },
    Key {
        name: "page_cache_sampling",
        about: "before one in so many reads, look for what of it is in the page cache (metrics: hit, miss, unknown), as 32; 1 before each, or none",
        schemes: &["file"],
        set: |options, text| or_none(text, |t| count(t, 1)).map(|v| options.page_cache_sampling = Some(v)),
        given: |options| options.page_cache_sampling.is_some(),
    },
    Key {
        name: "retries",
        about: "how often a failed operation is tried again; 0 for never",
        schemes: &[],
        set: |options, text| count(text, 0).map(|n| options.retries = Some(n)),
        given: |options| options.retries.is_some(),
    },
    Key {
        name: "limit_concurrency",
        about: "the most operations in flight",
        schemes: &[],
        set: |options, text| count(text, 1).map(|n| options.limits.concurrency = Some(n)),
        given: |options| options.limits.concurrency.is_some(),
    },
    Key {
        name: "limit_bytes_per_second",
        about: "the most bytes moved in a second, as 500MB or 1GiB",
        schemes: &[],
        set: |options, text| size(text).map(|n| options.limits.bytes_per_second = Some(n)),
        given: |options| options.limits.bytes_per_second.is_some(),
    },
];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SCHEMES;

    #[test]
    fn names_are_unique_and_schemes_are_known() {
        for (i, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..i].iter().all(|other| other.name != key.name), "{key:?}");
            for name in key.schemes {
                assert!(SCHEMES.iter().any(|scheme| scheme.name == *name), "{key:?}: {name}");
            }
            assert!(!key.about.ends_with('.') && !key.about.contains("only)"), "{key:?}");
            assert!(!key.is_given(&StoreOptions::default()), "{key:?} is said by default");
        }
        let text = KEYS[0].to_string();
        assert_eq!(text, "threads: threads that make system calls (file://, direct:// only)");
    }
}
