//! Writing: all or nothing, and nothing left behind.

mod fixture;

use fixture::{Fixture, pattern};
use forebay_io::{Body, Error, Kind, ListOptions, Location, Operation, PutMode, PutOptions, Store};
use futures::executor::block_on;
use futures::future::join_all;
use futures::{FutureExt, StreamExt, stream};
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

const CREATE: PutOptions = PutOptions { mode: PutMode::Create, durable: false };
const OVERWRITE: PutOptions = PutOptions { mode: PutMode::Overwrite, durable: false };

/// Every name beneath, also hidden and reserved ones.
fn everything(f: &Fixture) -> Vec<String> {
    fn walk(dir: &std::path::Path, all: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            all.push(entry.file_name().to_string_lossy().into_owned());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), all);
            }
        }
    }
    let mut all = Vec::new();
    walk(f.dir.path(), &mut all);
    all.sort();
    all
}

#[test]
fn what_was_put_is_there_with_its_directories() {
    for durable in [false, true] {
        let f = Fixture::new(2);
        for (name, size) in [("a", 0), ("b/c/d", 10), ("b/c/e", 5 << 20)] {
            let content = pattern(size, 1);
            let options = PutOptions { durable, ..OVERWRITE };
            let meta = block_on(f.store.put(&f.at(name), content.clone().into(), options)).unwrap();
            assert_eq!(meta.size, size as u64);
            assert_eq!(meta, block_on(f.store.stat(&f.at(name))).unwrap(), "also its version");
            assert!(f.read(&f.at(name)).unwrap() == content);
        }
        assert_eq!(everything(&f), ["a", "b", "c", "d", "e"]);
        std::fs::File::create(f.path("plain")).unwrap();
        let mode = |name| std::fs::metadata(f.path(name)).unwrap().mode();
        assert_eq!(mode("a"), mode("plain"), "what the umask allows");
    }
}

#[test]
fn replacing_is_a_choice() {
    let f = Fixture::new(1);
    let at = f.at("a");
    let first = block_on(f.store.put(&at, b"one".as_slice().into(), CREATE)).unwrap();
    let error = block_on(f.store.put(&at, b"two".as_slice().into(), CREATE)).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert_eq!(f.read(&at).unwrap(), b"one");
    let second = block_on(f.store.put(&at, b"two".as_slice().into(), OVERWRITE)).unwrap();
    assert_eq!(f.read(&at).unwrap(), b"two");
    assert_ne!(first.version, second.version);

    // A name is replaced, not what it leads to.
    symlink("a", f.path("link")).unwrap();
    block_on(f.store.put(&f.at("link"), b"three".as_slice().into(), OVERWRITE)).unwrap();
    assert_eq!((f.read(&f.at("link")).unwrap(), f.read(&at).unwrap()), (b"three".to_vec(), b"two".to_vec()));
    assert_eq!(everything(&f), ["a", "link"]);
}

#[test]
fn of_many_who_create_one_wins() {
    let f = Fixture::new(4);
    let at = f.at("deep/in/a");
    let puts = (0..16u8).map(|i| f.store.put(&at, vec![i; 1000].into(), CREATE));
    let results = block_on(join_all(puts));
    let won: Vec<_> = (0..16).filter(|&i| results[i].is_ok()).collect();
    assert_eq!(won.len(), 1);
    for error in results.iter().filter_map(|r| r.as_ref().err()) {
        assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    }
    assert_eq!(f.read(&at).unwrap(), vec![won[0] as u8; 1000]);
    assert_eq!(everything(&f), ["a", "deep", "in"]);
}

#[test]
fn readers_and_listings_see_the_old_or_the_new_and_never_a_part() {
    let f = Fixture::new(4);
    let at = f.at("a");
    let put = |i: usize| f.store.put(&at, vec![i as u8; 1000 + 7000 * (i % 7)].into(), OVERWRITE);
    block_on(put(0)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..2000 {
                block_on(put(i)).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let content = f.read(&at).unwrap();
                    assert!(content.iter().all(|&b| b == content[0]), "two puts in one file");
                    assert_eq!((content.len() - 1000) % 7000, 0, "a part of a put");
                    assert_eq!(f.keys(&f.root(), ListOptions::recursive()).unwrap(), ["a"]);
                }
            });
        }
    });
    assert_eq!(everything(&f), ["a"]);
}

fn chunks(bytes: usize, end: Option<Error>) -> stream::BoxStream<'static, forebay_io::Result<bytes::Bytes>> {
    let chunk = bytes::Bytes::from(vec![7u8; 1 << 20]);
    let full = (0..bytes >> 20).map(move |_| Ok(chunk.clone()));
    stream::iter(full.chain(end.map(Err))).boxed()
}

#[test]
fn a_put_that_fails_leaves_nothing_behind() {
    let f = Fixture::new(1);
    f.write("file", b"old");
    std::fs::create_dir(f.path("dir")).unwrap();
    let gone = || Some(Error::new(Kind::Unavailable, Operation::Get, "the source went away"));
    let cases: Vec<(Location, Body, PutOptions, Kind, &str)> = vec![
        (
            f.at("x/y"),
            Body::stream(chunks(1 << 20, gone()), None),
            OVERWRITE,
            Kind::Unavailable,
            "source went away",
        ),
        (
            f.at("x/y"),
            Body::stream(chunks(9 << 20, gone()), None),
            OVERWRITE,
            Kind::Unavailable,
            "source went away",
        ),
        (
            f.at("x/y"),
            Body::stream(chunks(9 << 20, None), Some(10 << 20)),
            OVERWRITE,
            Kind::Corrupt,
            "10485760 were promised",
        ),
        (
            f.at("x/y"),
            Body::stream(chunks(9 << 20, None), Some(1 << 20)),
            OVERWRITE,
            Kind::Corrupt,
            "1048576 were promised",
        ),
        (
            f.at("file"),
            Body::stream(chunks(9 << 20, gone()), None),
            OVERWRITE,
            Kind::Unavailable,
            "source went away",
        ),
        (f.at("file"), b"new".as_slice().into(), CREATE, Kind::AlreadyExists, "/file"),
        (f.at("file/x"), b"new".as_slice().into(), OVERWRITE, Kind::NotFound, "/file/x"),
        (f.at("dir"), b"new".as_slice().into(), OVERWRITE, Kind::InvalidConfig, "is a directory"),
        (f.at("dir"), b"new".as_slice().into(), CREATE, Kind::AlreadyExists, "/dir"),
        (f.at("x/.forebay-put-1"), b"new".as_slice().into(), OVERWRITE, Kind::InvalidConfig, ".forebay-put-"),
        (
            "file:///".parse().unwrap(),
            b"new".as_slice().into(),
            OVERWRITE,
            Kind::InvalidConfig,
            "is a directory",
        ),
        ("s3://b/k".parse().unwrap(), b"new".as_slice().into(), OVERWRITE, Kind::InvalidConfig, "s3://"),
        (f.at(&"n".repeat(300)), b"new".as_slice().into(), OVERWRITE, Kind::InvalidConfig, "nnn"),
        (
            f.at(&format!("x/{}/y", "n".repeat(300))),
            b"new".as_slice().into(),
            OVERWRITE,
            Kind::InvalidConfig,
            "nnn",
        ),
    ];
    for (at, body, options, kind, needle) in cases {
        let error = block_on(f.store.put(&at, body, options)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(needle), "{error} does not say {needle:?}");
        assert_eq!(everything(&f), ["dir", "file"], "after {error}");
        assert_eq!(f.open_files(), 0);
    }
    assert_eq!(f.read(&f.at("file")).unwrap(), b"old");
}

#[test]
fn a_put_that_is_given_up_leaves_nothing_behind() {
    let f = Fixture::new(1);
    let at = f.at("x/y");
    // The body never ends: some of it is written, then the caller goes away.
    let body = Body::stream(chunks(9 << 20, None).chain(stream::pending()).boxed(), None);
    let mut put = f.store.put(&at, body, OVERWRITE);
    while f.open_files() == 0 {
        assert!((&mut put).now_or_never().is_none());
    }
    drop(put);
    f.settle();
    assert_eq!((everything(&f).len(), f.open_files()), (0, 0));
}
