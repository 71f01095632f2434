//! Listings, and names.

use super::{Entry, entries, fails, get, keys, put};
use crate::data::Tree;
use forebay_io::{EntryKind, Glob, Kind, ListOptions, Location, PutOptions, Store};
use futures::StreamExt;

async fn found(store: &dyn Store, root: &Location, options: ListOptions) -> Vec<Entry> {
    entries(store, root, options).await.unwrap_or_else(|error| panic!("list {root}: {error}"))
}

async fn put_all(store: &dyn Store, root: &Location, keys: &[&str]) {
    for key in keys {
        put(store, &root.join(key.as_bytes()), key.as_bytes()).await;
    }
}

/// Keys with a mark at directories.
fn names(entries: &[Entry]) -> Vec<String> {
    let name = |(key, kind, _): &Entry| {
        let mark = if *kind == EntryKind::Directory { "/" } else { "" };
        format!("{}{mark}", String::from_utf8_lossy(key))
    };
    entries.iter().map(name).collect()
}

/// A recursive listing finds every object at any depth, and no directories.
pub async fn list_finds_every_object_beneath(store: &dyn Store, root: &Location) {
    let tree = Tree::new(1, 60, 0..=10);
    tree.put(store, root).await.unwrap();
    let entries = found(store, root, ListOptions::recursive()).await;
    assert!(entries.iter().all(|(_, kind, _)| *kind == EntryKind::Object));
    let keys: Vec<_> = entries.iter().map(|(key, _, _)| &**key).collect();
    assert_eq!(keys, tree.iter().map(|(key, _)| key).collect::<Vec<_>>());
    let mut pages = store.list(root, ListOptions::recursive());
    let page = pages.next().await.unwrap().unwrap();
    let entry = page.entry(0).unwrap();
    assert!(get(store, &entry.location()).await.unwrap() == tree.get(entry.key).unwrap()[..]);
}

/// A listing of one level shows its objects and its directories, each once, and nothing deeper.
pub async fn list_of_one_level_shows_directories(store: &dyn Store, root: &Location) {
    put_all(store, root, &["a", "b.txt", "d/x", "d/y", "d/e/z", "d.txt", "f/g/h/i"]).await;
    let here = found(store, root, ListOptions::default()).await;
    assert_eq!(names(&here), ["a", "b.txt", "d/", "d.txt", "f/"]);
    let deeper = found(store, &root.join(b"d"), ListOptions::default()).await;
    assert_eq!(names(&deeper), ["e/", "x", "y"]);
}

/// Only what matches is listed; a star does not cross a slash.
pub async fn list_keeps_to_the_glob(store: &dyn Store, root: &Location) {
    put_all(store, root, &["a.bin", "a.txt", "d/b.bin", "d/c.txt", "d/e/f.bin", "train/1.bin", "val/2.bin"])
        .await;
    for (pattern, recursive, expected) in [
        ("*.bin", true, &["a.bin"][..]),
        ("**/*.bin", true, &["a.bin", "d/b.bin", "d/e/f.bin", "train/1.bin", "val/2.bin"]),
        ("d/**", true, &["d/b.bin", "d/c.txt", "d/e/f.bin"]),
        ("{train,val}/?.bin", true, &["train/1.bin", "val/2.bin"]),
        ("nothing*", true, &[]),
        ("*.bin", false, &["a.bin"]),
        ("[dt]*", false, &["d/", "train/"]),
    ] {
        let options = ListOptions { recursive, glob: Some(Glob::new(pattern).unwrap()), details: false };
        assert_eq!(names(&found(store, root, options).await), expected, "{pattern}");
    }
}

/// A location where nothing is: an error where directories are real, an empty listing elsewhere.
pub async fn list_of_a_missing_location(store: &dyn Store, root: &Location) {
    let location = root.join(b"missing");
    for recursive in [false, true] {
        let options = ListOptions { recursive, ..Default::default() };
        let result = entries(store, &location, options).await;
        if store.capability().real_directories {
            fails(result, Kind::NotFound, &location);
        } else {
            assert_eq!(result.unwrap(), []);
        }
    }
}

/// A location that exists and is empty lists as nothing.
pub async fn list_of_an_empty_root_is_empty(store: &dyn Store, root: &Location) {
    for recursive in [false, true] {
        let options = ListOptions { recursive, ..Default::default() };
        assert_eq!(found(store, root, options).await, []);
    }
}

/// A location that names an object lists as that object, with an empty key.
pub async fn list_of_an_object_is_that_object(store: &dyn Store, root: &Location) {
    let location = root.join(b"d/object");
    put(store, &location, b"123").await;
    for recursive in [false, true] {
        let options = ListOptions { recursive, details: true, glob: None };
        let mut pages = store.list(&location, options);
        let page = pages.next().await.unwrap().unwrap();
        assert_eq!(page.len(), 1);
        let entry = page.entry(0).unwrap();
        assert_eq!(
            (entry.key, entry.kind, entry.location()),
            (&b""[..], EntryKind::Object, location.clone())
        );
        assert_eq!(entry.meta.unwrap().size, 3);
        assert!(pages.next().await.is_none());
    }
}

/// `d` is not a prefix of `dd/x`.
pub async fn list_of_a_prefix_has_no_siblings(store: &dyn Store, root: &Location) {
    put_all(store, root, &["d/x", "dd/x", "d.x", "d-/x", "d0"]).await;
    let entries = found(store, &root.join(b"d"), ListOptions::recursive()).await;
    assert_eq!(names(&entries), ["x"]);
}

/// A listing of more entries than a page holds gives each of them once.
pub async fn list_gives_many_entries_once_each(store: &dyn Store, root: &Location) {
    const COUNT: usize = 1600;
    for i in 0..COUNT {
        put(store, &root.join(format!("many/{:02}/{i:05}", i % 3).as_bytes()), b"").await;
    }
    let entries = found(store, &root.join(b"many"), ListOptions::recursive()).await;
    assert_eq!(entries.len(), COUNT);
    let expected =
        (0..COUNT).map(|i| format!("{:02}/{i:05}", i % 3)).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names(&entries), expected.into_iter().collect::<Vec<_>>());
    let level = found(store, &root.join(b"many/01"), ListOptions::default()).await;
    assert_eq!(level.len(), (COUNT + 1) / 3);
}

/// Sizes and versions are filled in when asked for, and always where they cost nothing.
pub async fn list_gives_details_when_asked(store: &dyn Store, root: &Location) {
    put_all(store, root, &["a", "d/bb", "d/e/ccc"]).await;
    for (recursive, details) in [(true, true), (true, false), (false, true), (false, false)] {
        let options = ListOptions { recursive, details, glob: None };
        for (key, kind, meta) in found(store, root, options).await {
            if kind == EntryKind::Directory {
                continue;
            }
            let told = details || store.capability().listing_has_details;
            assert!(meta.is_some() || !told, "no details of {}", String::from_utf8_lossy(&key));
            if let Some(meta) = meta {
                let stat = store.stat(&root.join(&key)).await.unwrap();
                assert_eq!((meta.size, meta.kind, meta.version), (key.len() as u64, kind, stat.version));
            }
        }
        // Sizes come with the names where they are free: who reads asks for memory by them.
        let options = ListOptions { recursive, details, glob: None };
        let mut pages = store.list(root, options);
        while let Some(page) = pages.next().await {
            for entry in page.unwrap().iter().filter(|entry| entry.kind == EntryKind::Object) {
                let told = details || store.capability().listing_has_details;
                let size = told.then_some(entry.key.len() as u64);
                assert!(entry.size == size || !told, "{:?} of {}", entry.size, entry.location());
            }
        }
    }
}

/// A listing that nobody wants any more stops.
pub async fn list_may_be_dropped_half_way(store: &dyn Store, root: &Location) {
    put_all(store, root, &["a", "b/c", "b/d/e"]).await;
    drop(store.list(root, ListOptions::recursive()));
    let mut pages = store.list(root, ListOptions::recursive());
    assert!(!pages.next().await.unwrap().unwrap().is_empty());
    drop(pages);
    assert_eq!(keys(store, root).await.len(), 3);
}

const BACKSLASH: &str = "back\\slash";

const NAMES: [&str; 27] = [
    "plain",
    "with space",
    " leading",
    "trailing ",
    "100%",
    "a%20b",
    "%",
    "%2F",
    "what?",
    "hash#1",
    "a&b=c+d",
    "ä-ö-日本語-🦀",
    "new\nline",
    "tab\there",
    ".hidden",
    "..dots",
    "...",
    "-dash",
    "quote'\"`",
    BACKSLASH,
    "star*[x]{y}",
    "~tilde",
    "colon:1",
    "trailing.",
    "semi;colon,comma",
    "<angle>|$!^",
    "\u{202E}override",
];

/// Names that need escaping somewhere are stored, listed, read and deleted as they are. A service of text
/// keys that takes a backslash for a slash refuses one, with words.
pub async fn names_of_all_kinds_are_kept(store: &dyn Store, root: &Location) {
    let long = "n".repeat(255);
    let mut all: Vec<&str> = NAMES.iter().copied().chain([long.as_str()]).collect();
    if !store.capability().byte_keys
        && let Err(error) = store
            .put(&root.join(BACKSLASH.as_bytes()), BACKSLASH.as_bytes().into(), PutOptions::default())
            .await
    {
        assert_eq!(error.kind(), Kind::InvalidConfig);
        assert!(error.to_string().contains('\\'), "{error}");
        all.retain(|name| *name != BACKSLASH);
    }
    put_all(store, root, &all).await;
    let nested: Vec<String> =
        all.iter().filter(|name| **name != long).map(|name| format!("in {name}/{name}")).collect();
    put_all(store, root, &nested.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let listed = keys(store, root).await;
    assert_eq!(listed.len(), all.len() + nested.len());
    for name in all.iter().copied().chain(nested.iter().map(String::as_str)) {
        let location = root.join(name.as_bytes());
        assert!(listed.contains(name.as_bytes()), "{name:?} is not listed");
        assert_eq!(get(store, &location).await.unwrap(), name.as_bytes(), "{name:?}");
        assert_eq!(store.stat(&location).await.unwrap().size, name.len() as u64, "{name:?}");
        store.delete(&location).await.unwrap();
    }
    assert!(keys(store, root).await.is_empty());
}

/// Names that are no text are kept where keys are bytes, and refused with words where they are not.
pub async fn names_that_are_not_utf8(store: &dyn Store, root: &Location) {
    let key = b"bad \xFF\xFE name/\x80";
    let location = root.join(key);
    let result = store.put(&location, b"x".as_slice().into(), Default::default()).await;
    if store.capability().byte_keys {
        result.unwrap();
        assert_eq!(keys(store, root).await.into_iter().collect::<Vec<_>>(), [key]);
        assert_eq!(get(store, &location).await.unwrap(), b"x");
        store.delete(&location).await.unwrap();
    } else {
        fails(result, Kind::InvalidConfig, &location);
        fails(get(store, &location).await, Kind::InvalidConfig, &location);
    }
}
