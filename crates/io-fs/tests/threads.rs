//! The store's threads. A process of its own, because they are counted in it: one test in this file.

mod fixture;

use fixture::Fixture;
use forebay_io::{ReadOptions, Store};
use futures::executor::block_on;
use std::time::{Duration, Instant};

fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("forebay-fs-")).count()
}

/// Threads take their names, and go, a moment after they are started and let go.
fn until_there_are(count: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while threads() != count {
        assert!(Instant::now() < deadline, "{} threads, not {count}", threads());
        std::thread::yield_now();
    }
}

#[test]
fn threads_live_as_long_as_somebody_can_use_them() {
    let f = Fixture::new(3);
    let at = f.write("a", b"abc");
    assert_eq!(f.read(&at).unwrap(), b"abc");
    until_there_are(3);
    let clone = f.store.clone();
    let object = block_on(clone.open(&at, ReadOptions::default())).unwrap();
    let Fixture { store, pool, dir: _dir } = f;
    drop((store, clone));
    assert_eq!(threads(), 3, "the object still reads");
    let (buf, result) = block_on(object.read_into(1, block_on(pool.buffer(2)).unwrap()));
    assert!(result.is_ok() && *buf == *b"bc");
    drop(object);
    until_there_are(0);
}
