//! The promises that every store makes, kept by the whole stack.

use forebay_io::layer::Limits;
use forebay_io::{Location, Unobserved};
use forebay_io_open::{StoreOptions, open};
use forebay_io_testkit::Fixture;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

async fn files() -> Fixture {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = Location::from_path(dir.path()).expect("it is absolute");
    let options = StoreOptions {
        threads: Some(2),
        retries: Some(2),
        limits: Limits {
            concurrency: NonZeroU32::new(8),
            // So many that no test waits for them: what is tested is that all still works.
            bytes_per_second: NonZeroU64::new(1 << 40),
        },
        device: Some(Arc::new(Unobserved)),
        caller: Some(Arc::new(Unobserved)),
        ..StoreOptions::default()
    };
    Fixture::new(open(&root, &options).expect("a stack"), root).keep(dir)
}

mod of_the_whole_stack {
    forebay_io_testkit::conformance_suite!(super::files);
}

async fn direct_files() -> Fixture {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root: Location = format!("direct://{}", dir.path().display()).parse().expect("a location");
    let mut options = StoreOptions::parse([("threads", "2"), ("queue_depth", "16")]).expect("options");
    options.device = Some(Arc::new(Unobserved));
    Fixture::new(open(&root, &options).expect("a stack"), root).keep(dir)
}

mod of_direct_files {
    forebay_io_testkit::conformance_suite!(super::direct_files);
}
