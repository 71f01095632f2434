//! The promises that every store makes, kept by the whole stack.

use forebay_io::layer::Limits;
use forebay_io::{Location, MemoryStore, Unobserved};
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

async fn memory_with_every_layer() -> Fixture {
    let mut options = StoreOptions::parse([
        ("retries", "2"),
        ("retry_budget", "0.2"),
        ("operation_timeout", "30s"),
        ("breaker_failures", "5"),
        ("adaptive_concurrency", "6"),
        ("hedge_quantile", "0.9"),
        ("limit_concurrency", "8"),
    ])
    .expect("options");
    options.memory = Some(MemoryStore::new());
    options.device = Some(Arc::new(Unobserved));
    options.caller = Some(Arc::new(Unobserved));
    let root: Location = "mem://test/a root".parse().expect("a location");
    Fixture::new(open(&root, &options).expect("a stack"), root)
}

mod of_memory_with_every_layer {
    forebay_io_testkit::conformance_suite!(super::memory_with_every_layer);
}
