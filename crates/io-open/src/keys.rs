//! The table of options: name, meaning, which schemes have a use for it, and how its text is read.
//!
//! This is the only list of them. Command line, Python and error texts take it from here; `open`
//! refuses an option whose row does not name the scheme, however it was set.

use crate::key::Key;
use crate::value::{count, or_none, size};
use std::sync::LazyLock;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SCHEMES, StoreOptions};

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
