//! The promises that every store makes, kept by files.

use forebay_io::Location;
use forebay_io_fs::{FsOptions, FsStore};
use forebay_io_testkit::Fixture;
use std::sync::Arc;

fn files(threads: usize) -> Fixture {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = Location::from_path(dir.path()).expect("it is absolute");
    let store = FsStore::new(FsOptions { threads, ..FsOptions::default() }).expect("a store");
    Fixture::new(Arc::new(store), root).keep(dir)
}

async fn one_thread() -> Fixture {
    files(1)
}

async fn several_threads() -> Fixture {
    files(4)
}

mod on_one_thread {
    forebay_io_testkit::conformance_suite!(super::one_thread);
}

mod on_several_threads {
    forebay_io_testkit::conformance_suite!(super::several_threads);
}
