//! The promises that every store makes, kept past the page cache: with the ring and with threads, on a
//! disk and in memory, and on the lower rungs of the ladder.

use forebay_io::Location;
use forebay_io_direct::{DirectOptions, DirectStore, Engine};
use forebay_io_testkit::Fixture;
use std::path::Path;
use std::sync::Arc;

fn files(parent: &Path, options: DirectOptions) -> Fixture {
    let dir = tempfile::tempdir_in(parent).expect("a temporary directory");
    let root: Location = format!("direct://{}", dir.path().display()).parse().expect("a location");
    let store = DirectStore::new(options).expect("a store");
    Fixture::new(Arc::new(store), root).keep(dir)
}

/// Where cargo builds: more likely on a disk than the directory for temporary files.
fn disk() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn with(engine: Engine) -> DirectOptions {
    DirectOptions { engine, ..DirectOptions::default() }
}

async fn a_ring() -> Fixture {
    files(disk(), with(Engine::Auto))
}

async fn threads() -> Fixture {
    files(disk(), with(Engine::Threads))
}

async fn files_in_memory() -> Fixture {
    files(Path::new("/dev/shm"), with(Engine::Auto))
}

async fn a_shallow_ring() -> Fixture {
    files(disk(), DirectOptions { depth: 1, min_io_size: 8192, threads: Some(1), ..with(Engine::Auto) })
}

async fn the_page_cache() -> Fixture {
    files(disk(), DirectOptions { direct_io: false, ..with(Engine::Auto) })
}

mod on_a_ring {
    forebay_io_testkit::conformance_suite!(super::a_ring);
}

mod on_threads {
    forebay_io_testkit::conformance_suite!(super::threads);
}

mod in_memory {
    forebay_io_testkit::conformance_suite!(super::files_in_memory);
}

mod on_a_shallow_ring_with_large_grains {
    forebay_io_testkit::conformance_suite!(super::a_shallow_ring);
}

mod through_the_page_cache {
    forebay_io_testkit::conformance_suite!(super::the_page_cache);
}
