//! A page of keys: those beneath a prefix in the order of their bytes, with what lies beneath a delimiter
//! folded into one entry. Costs what it returns: folded keys are jumped over.

use super::objects::{Bucket, Held};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::ops::Bound;
use std::sync::Arc;

/// Follows every key that begins with what stands before it.
const AFTER_ALL: char = char::MAX;

#[derive(Debug)]
pub(crate) struct Query<'a> {
    pub(crate) prefix: &'a str,
    /// Empty for none.
    pub(crate) delimiter: &'a str,
    /// Only keys behind this one.
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
}

#[derive(Debug)]
pub(crate) enum Entry {
    Object(Box<str>, Arc<Held>),
    Prefix(String),
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// Where the next page goes on, as a token; none on the last one.
    pub(crate) next: Option<String>,
}

pub(crate) fn list(bucket: &Bucket, query: &Query<'_>) -> Page {
    let mut entries = Vec::with_capacity(query.limit.min(5000));
    let keys = bucket.read();
    let mut after = query.after.clone();
    if query.limit == 0 {
        return Page { entries, next: None };
    }
    loop {
        let from = match &after {
            Some(after) if after.as_str() >= query.prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(query.prefix),
        };
        let mut jump = None;
        for (key, held) in keys.range::<str, _>((from, Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(query.prefix) else { break };
            if entries.len() == query.limit {
                return Page { next: Some(token(&last(&entries))), entries };
            }
            let cut = if query.delimiter.is_empty() { None } else { rest.find(query.delimiter) };
            if let Some(at) = cut {
                let folded = &key[..query.prefix.len() + at + query.delimiter.len()];
                entries.push(Entry::Prefix(folded.to_owned()));
                jump = Some(format!("{folded}{AFTER_ALL}"));
                break;
            }
            entries.push(Entry::Object(key.clone(), held.clone()));
        }
        match jump {
            Some(jump) => after = Some(jump),
            None => return Page { entries, next: None },
        }
    }
}

/// The key that the next page's keys lie behind.
fn last(entries: &[Entry]) -> String {
    match entries.last() {
        Some(Entry::Object(key, _)) => key.to_string(),
        Some(Entry::Prefix(prefix)) => format!("{prefix}{AFTER_ALL}"),
        None => String::new(),
    }
}

fn token(after: &str) -> String {
    URL_SAFE_NO_PAD.encode(after)
}

/// What [`Page::next`] stands for; `None` if it is not one of ours.
pub(crate) fn from_token(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::objects::Objects;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn shown(entry: &Entry) -> String {
        match entry {
            Entry::Object(key, _) => key.to_string(),
            Entry::Prefix(prefix) => format!("[{prefix}]"),
        }
    }

    /// The same, by looking at every key.
    fn plain(keys: &BTreeSet<String>, prefix: &str, delimiter: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for key in keys.iter().filter(|key| key.starts_with(prefix)) {
            let cut = if delimiter.is_empty() { None } else { key[prefix.len()..].find(delimiter) };
            let entry = match cut {
                Some(at) => format!("[{}]", &key[..prefix.len() + at + delimiter.len()]),
                None => key.clone(),
            };
            if found.last() != Some(&entry) {
                found.push(entry);
            }
        }
        found
    }

    proptest! {
        #[test]
        fn pages_joined_are_the_whole_listing(
            keys in prop::collection::btree_set("[ab/é]{1,5}", 0..40),
            prefix in "[ab/]{0,2}",
            delimited in any::<bool>(),
            limit in 1_usize..5,
        ) {
            let objects = Objects::default();
            let bucket = objects.make_bucket("b");
            for key in &keys {
                objects.put(&bucket, key, bytes::Bytes::new(), Vec::new());
            }
            let delimiter = if delimited { "/" } else { "" };
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = list(&bucket, &Query { prefix: &prefix, delimiter, after, limit });
                prop_assert!(page.entries.len() <= limit);
                found.extend(page.entries.iter().map(shown));
                let Some(next) = page.next else { break };
                prop_assert_eq!(page.entries.len(), limit);
                after = from_token(&next);
            }
            prop_assert_eq!(found, plain(&keys, &prefix, delimiter));
        }
    }
}
