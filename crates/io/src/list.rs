//! Listings: pages of keys, packed, because a directory of a million files is a usual thing.

use crate::{EntryKind, Error, Location, Meta, Result};
use globset::{GlobBuilder, GlobMatcher};
use std::fmt;
use std::ops::Range;

/// A pattern over keys relative to the listed location: `*.jpg` (one level), `**/*.jpg` (any),
/// `[ab]?`, `{train,val}/*`. `*` and `?` do not cross a slash.
#[derive(Debug, Clone)]
pub struct Glob(GlobMatcher);

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// `InvalidConfig` naming the pattern and what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self> {
        GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map(|glob| Glob(glob.compile_matcher()))
            .map_err(|e| Error::invalid(format!("glob {pattern:?}: {}", e.kind())))
    }

    /// Whether the key matches.
    pub fn matches(&self, key: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        self.0.is_match(std::path::Path::new(std::ffi::OsStr::from_bytes(key)))
    }

    /// The pattern as it was given.
    pub fn pattern(&self) -> &str {
        self.0.glob().glob()
    }
}

/// Options of a listing.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Everything beneath, objects only; otherwise one level, with its directories.
    pub recursive: bool,
    /// Only keys that match. Directories are matched too where they are listed.
    pub glob: Option<Glob>,
    /// Fill in [`Entry::meta`] and [`Entry::size`], also where that costs a call for each entry.
    pub details: bool,
}

impl ListOptions {
    /// Every object beneath, names only: what a loader asks for.
    pub fn recursive() -> Self {
        ListOptions { recursive: true, ..Default::default() }
    }

    /// Whether an entry with this key is wanted.
    pub fn wants(&self, key: &[u8]) -> bool {
        self.glob.as_ref().is_none_or(|glob| glob.matches(key))
    }
}

/// Some entries of a listing, packed: keys in one arena, no allocation an entry.
pub struct Page {
    root: Location,
    keys: Vec<u8>,
    ends: Vec<u32>,
    /// Bit i set: entry i is a directory. Empty where none is.
    directories: Vec<u64>,
    /// As long as `ends`, or shorter where the store has no details.
    metas: Vec<Option<Meta>>,
    /// The same of sizes alone; [`NO_SIZE`] is none.
    sizes: Vec<u64>,
}

/// No object is as large.
const NO_SIZE: u64 = u64::MAX;

/// One entry of a page.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    root: &'a Location,
    /// The key relative to the listed location, without a leading slash.
    pub key: &'a [u8],
    /// Object or directory.
    pub kind: EntryKind,
    /// Size, time and version, where asked for or free.
    pub meta: Option<&'a Meta>,
    /// Size in bytes, where asked for or free: also without the rest of the details.
    pub size: Option<u64>,
}

impl Entry<'_> {
    /// Where the entry is.
    pub fn location(&self) -> Location {
        self.root.join(self.key)
    }
}

impl Page {
    /// How many entries.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The listed location.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// Entry `index`, if there is one.
    pub fn entry(&self, index: usize) -> Option<Entry<'_>> {
        let key = &self.keys[self.span(index)?];
        let kind = match self.directories.get(index / 64) {
            Some(word) if word >> (index % 64) & 1 == 1 => EntryKind::Directory,
            _ => EntryKind::Object,
        };
        let meta = self.metas.get(index).and_then(Option::as_ref);
        let size = self.sizes.get(index).copied().filter(|&size| size != NO_SIZE);
        let size = size.or(meta.map(|meta| meta.size)).filter(|_| kind == EntryKind::Object);
        Some(Entry { root: &self.root, key, kind, meta, size })
    }

    fn span(&self, index: usize) -> Option<Range<usize>> {
        let end = *self.ends.get(index)? as usize;
        let start = index.checked_sub(1).map_or(0, |i| self.ends[i] as usize);
        Some(start..end)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.len()).filter_map(|i| self.entry(i))
    }

    /// The arena of keys and the end of each, for who packs them on.
    pub fn packed(&self) -> (&[u8], &[u32]) {
        (&self.keys, &self.ends)
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("root", &self.root).field("len", &self.len()).finish()
    }
}

/// Builds pages.
#[derive(Debug)]
pub struct PageBuilder {
    page: Page,
    limit: usize,
}

impl PageBuilder {
    /// A builder whose pages are full at `limit` entries (or when their keys fill 2 GiB).
    pub fn new(root: Location, limit: usize) -> Self {
        let (keys, ends, directories) = (Vec::new(), Vec::new(), Vec::new());
        let page = Page { root, keys, ends, directories, metas: Vec::new(), sizes: Vec::new() };
        PageBuilder { page, limit }
    }

    /// Adds an entry whose key is the parts one after another.
    pub fn push(&mut self, key: &[&[u8]], kind: EntryKind, meta: Option<Meta>) {
        let page = &mut self.page;
        let index = page.ends.len();
        key.iter().for_each(|part| page.keys.extend_from_slice(part));
        page.ends.push(page.keys.len() as u32);
        if kind == EntryKind::Directory {
            page.directories.resize(index / 64 + 1, 0);
            page.directories[index / 64] |= 1 << (index % 64);
        }
        if meta.is_some() {
            page.metas.resize(index, None);
            page.metas.push(meta);
        }
    }

    /// Adds an object of which nothing is known but the size.
    pub fn push_sized(&mut self, key: &[&[u8]], size: u64) {
        self.push(key, EntryKind::Object, None);
        let page = &mut self.page;
        page.sizes.resize(page.ends.len() - 1, NO_SIZE);
        page.sizes.push(size);
    }

    /// Whether the page should be handed over now.
    pub fn is_full(&self) -> bool {
        self.page.ends.len() >= self.limit || self.page.keys.len() > 1 << 31
    }

    /// The page, if it has entries; the builder begins another.
    pub fn take(&mut self) -> Option<Page> {
        if self.page.is_empty() {
            return None;
        }
        let next = PageBuilder::new(self.page.root.clone(), self.limit).page;
        Some(std::mem::replace(&mut self.page, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_keep_keys_kinds_and_details() {
        let root: Location = "mem://h/p".parse().unwrap();
        let mut builder = PageBuilder::new(root, 100);
        let meta = Meta { kind: EntryKind::Object, size: 7, modified: None, version: None };
        for i in 0..70 {
            let kind = if i == 66 { EntryKind::Directory } else { EntryKind::Object };
            builder.push(&[b"d/", i.to_string().as_bytes()], kind, (i == 3).then(|| meta.clone()));
        }
        builder.push_sized(&[b"sized"], 9);
        let page = builder.take().unwrap();
        assert!(builder.take().is_none());
        assert_eq!(page.len(), 71);
        assert_eq!([3, 4, 70].map(|index| page.entry(index).unwrap().size), [Some(7), None, Some(9)]);
        let directories: Vec<_> =
            (0..70).filter(|&i| page.entry(i).unwrap().kind == EntryKind::Directory).collect();
        assert_eq!(directories, [66]);
        assert_eq!(page.entry(3).unwrap().meta, Some(&meta));
        assert_eq!(page.entry(4).unwrap().meta, None);
        assert_eq!(page.entry(69).unwrap().location().to_string(), "mem://h/p/d/69");
        assert!(page.entry(71).is_none());
    }

    #[test]
    fn globs_do_not_cross_slashes() {
        let glob = Glob::new("*.bin").unwrap();
        assert!(glob.matches(b"a.bin") && !glob.matches(b"d/a.bin"));
        assert!(Glob::new("**/*.bin").unwrap().matches(b"d/e/a.bin"));
        assert!(Glob::new("a[").unwrap_err().to_string().contains("\"a[\""));
    }
}
