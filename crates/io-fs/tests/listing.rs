//! Listing: what is there, once, and nothing else.

mod fixture;

use fixture::Fixture;
use forebay_io::{EntryKind, Glob, Kind, ListOptions, Location, PutOptions, Store};
use futures::StreamExt;
use futures::executor::block_on;
use std::os::unix::fs::symlink;

fn glob(pattern: &str, recursive: bool) -> ListOptions {
    ListOptions { recursive, glob: Some(Glob::new(pattern).unwrap()), details: false }
}

#[test]
fn trees_are_listed_whole_or_by_level_and_filtered() {
    let f = Fixture::new(2);
    for dir in ["a/b/c", "empty", "z"] {
        std::fs::create_dir_all(f.path(dir)).unwrap();
    }
    for file in ["1.bin", "a/2.bin", "a/b/3.bin", "a/b/c/4.txt", "z/5.bin"] {
        f.write(file, file.as_bytes());
    }
    let all = |options| f.keys(&f.root(), options).unwrap();
    assert_eq!(all(ListOptions::recursive()), ["1.bin", "a/2.bin", "a/b/3.bin", "a/b/c/4.txt", "z/5.bin"]);
    assert_eq!(all(ListOptions::default()), ["1.bin", "a/", "empty/", "z/"]);
    assert_eq!(all(glob("*.bin", true)), ["1.bin"]);
    assert_eq!(all(glob("**/*.bin", true)), ["1.bin", "a/2.bin", "a/b/3.bin", "z/5.bin"]);
    assert_eq!(all(glob("a/**", true)), ["a/2.bin", "a/b/3.bin", "a/b/c/4.txt"]);
    assert_eq!(all(glob("{a,z}/*.bin", true)), ["a/2.bin", "z/5.bin"]);
    assert_eq!(all(glob("[az]", false)), ["a/", "z/"]);
    assert_eq!(f.keys(&f.at("a"), ListOptions::recursive()).unwrap(), ["2.bin", "b/3.bin", "b/c/4.txt"]);
    assert!(f.keys(&f.at("empty"), ListOptions::recursive()).unwrap().is_empty());
    assert_eq!(f.open_files(), 0);
}

#[test]
fn a_glob_keeps_directories_that_cannot_match_unread() {
    let f = Fixture::new(1);
    std::fs::create_dir_all(f.path("train")).unwrap();
    f.write("train/x", b"");
    // A name that a tree cannot be opened by: to enter it would be an error.
    deep(f.dir.path(), "other");
    assert_eq!(f.keys(&f.root(), glob("train/*", true)).unwrap(), ["train/x"]);
    let error = f.keys(&f.root(), ListOptions::recursive()).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(error.to_string().contains("/other/"), "{error}");
}

/// Directories in each other until the name of the last is longer than the kernel takes.
fn deep(root: &std::path::Path, first: &str) {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    let name = "d".repeat(250);
    std::fs::create_dir(root.join(first)).unwrap();
    let open = |dir: &std::os::fd::OwnedFd, name: &str| {
        openat(dir, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
    };
    let mut dir = open(&std::fs::File::open(root).unwrap().into(), first);
    for _ in 0..17 {
        mkdirat(&dir, &*name, Mode::RWXU).unwrap();
        dir = open(&dir, &name);
    }
}

#[test]
fn links_are_what_they_lead_to_and_loops_end() {
    let f = Fixture::new(1);
    std::fs::create_dir_all(f.path("real/sub")).unwrap();
    f.write("real/file", b"1234");
    symlink("file", f.path("real/to-file")).unwrap();
    symlink("real", f.path("to-dir")).unwrap();
    symlink("..", f.path("real/sub/up")).unwrap();
    symlink(f.dir.path(), f.path("real/sub/top")).unwrap();
    symlink("nowhere", f.path("dangling")).unwrap();
    symlink("circle", f.path("circle")).unwrap();
    symlink("/dev/null", f.path("to-device")).unwrap();
    assert_eq!(
        f.keys(&f.root(), ListOptions::recursive()).unwrap(),
        ["circle", "dangling", "real/file", "real/to-file", "to-dir/file", "to-dir/to-file"]
    );
    assert_eq!(
        f.keys(&f.root(), ListOptions::default()).unwrap(),
        ["circle", "dangling", "real/", "to-dir/"]
    );
    // Through a link, its ancestors are others: what is above it is a loop all the same.
    let through = f.keys(&f.at("to-dir/sub"), ListOptions::recursive()).unwrap();
    assert!(through.contains(&"up/file".to_owned()), "{through:?}");

    let details = ListOptions { details: true, ..ListOptions::recursive() };
    let pages: Vec<_> = block_on(f.store.list(&f.root(), details).collect());
    let page = pages.into_iter().next().unwrap().unwrap();
    for entry in page.iter() {
        let broken = matches!(entry.key, b"dangling" | b"circle");
        assert_eq!(entry.meta.map(|m| m.size), (!broken).then_some(4), "{:?}", entry.key);
    }
}

#[test]
fn what_is_no_object_is_not_listed() {
    let f = Fixture::new(1);
    f.write("file", b"");
    f.write(".hidden", b"");
    rustix::fs::mkfifoat(rustix::fs::CWD, f.path("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(f.path("socket")).unwrap();
    f.write(".forebay-put-1-2", b"left by a process that was killed");
    let expected = [".hidden", "file"];
    assert_eq!(f.keys(&f.root(), ListOptions::recursive()).unwrap(), expected);
    assert_eq!(f.keys(&f.root(), ListOptions::default()).unwrap(), expected);
    let details = ListOptions { details: true, ..Default::default() };
    assert_eq!(f.keys(&f.root(), details).unwrap(), expected);
}

#[test]
fn details_are_those_of_stat() {
    let f = Fixture::new(1);
    let at = f.write("a", b"12345");
    std::fs::create_dir(f.path("d")).unwrap();
    let old = std::time::UNIX_EPOCH - std::time::Duration::from_millis(1500);
    std::fs::OpenOptions::new().write(true).open(f.path("a")).unwrap().set_modified(old).unwrap();
    let options = ListOptions { details: true, ..Default::default() };
    let page = block_on(f.store.list(&f.root(), options).next()).unwrap().unwrap();
    assert_eq!(page.len(), 2);
    for entry in page.iter() {
        assert_eq!(entry.meta, Some(&block_on(f.store.stat(&entry.location())).unwrap()));
    }
    let meta = block_on(f.store.stat(&at)).unwrap();
    assert_eq!((meta.kind, meta.size, meta.modified), (EntryKind::Object, 5, Some(old)));
}

#[test]
fn a_file_lists_as_itself() {
    let f = Fixture::new(1);
    let at = f.write("a", b"12345");
    let options = ListOptions { details: true, ..ListOptions::recursive() };
    let page = block_on(f.store.list(&at, options).next()).unwrap().unwrap();
    let entry = page.entry(0).unwrap();
    assert_eq!((page.len(), entry.key, entry.meta.map(|m| m.size)), (1, &b""[..], Some(5)));
    assert_eq!(entry.location(), at);
}

#[test]
fn what_cannot_be_listed_says_so() {
    let f = Fixture::new(1);
    let listed = |at: &Location| f.keys(at, ListOptions::recursive()).unwrap_err();
    let error = listed(&f.at("missing"));
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("/missing"), "{error}");
    rustix::fs::mkfifoat(rustix::fs::CWD, f.path("pipe"), rustix::fs::Mode::RWXU).unwrap();
    assert_eq!(listed(&f.at("pipe")).kind(), Kind::InvalidConfig);
    assert_eq!(listed(&"s3://bucket/x".parse().unwrap()).kind(), Kind::InvalidConfig);
}

#[test]
fn deleting_says_what_was_there() {
    let f = Fixture::new(1);
    let at = f.at("new");
    block_on(f.store.put(&at, b"x".as_slice().into(), PutOptions::default())).unwrap();
    block_on(f.store.delete(&at)).unwrap();
    assert_eq!(block_on(f.store.delete(&at)).unwrap_err().kind(), Kind::NotFound);
    let error = block_on(f.store.delete(&f.root())).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(error.to_string().contains("is a directory"), "{error}");
    symlink("nowhere", f.path("dangling")).unwrap();
    block_on(f.store.delete(&f.at("dangling"))).unwrap();
    assert!(std::fs::symlink_metadata(f.path("dangling")).is_err());
}
