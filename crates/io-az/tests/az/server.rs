//! Stores of a container, through each client that is built in.

use forebay_io::{Location, Unobserved};
use forebay_io_az::{AzOptions, open};
use forebay_io_object::{HttpOptions, ObjectBackend, Surroundings};
use forebay_io_testkit::servers::{Azurite, FastServer};
use std::sync::Arc;
use std::time::SystemTime;

/// The store of `container` at `endpoint`; `settings` say which client and credential.
pub(crate) fn store(
    container: &str,
    endpoint: &str,
    settings: &[(&str, &str)],
    http: HttpOptions,
) -> ObjectBackend {
    let root: Location = format!("az://{container}").parse().expect("a location");
    let mut options = AzOptions::default();
    options.set("endpoint", endpoint).expect("an endpoint");
    options.set("account_name", Azurite::ACCOUNT).expect("an account");
    for (name, value) in settings {
        options.set(name, value).expect("an option");
    }
    let around = Surroundings::new([], || SystemTime::UNIX_EPOCH);
    open(&root, &options, http, &around, Arc::new(Unobserved)).expect("a store")
}

/// The store of the server in memory, which may be behind something else at `endpoint`.
pub(crate) fn on_fast(client: &str, endpoint: &str, http: HttpOptions) -> ObjectBackend {
    store(FastServer::BUCKET, endpoint, &[("account_key", Azurite::KEY), ("client", client)], http)
}

pub(crate) fn at(key: &str) -> Location {
    format!("az://{}/{key}", FastServer::BUCKET).parse().expect("a location")
}

/// Every client that is built in.
pub(crate) fn clients() -> Vec<&'static str> {
    let mut clients = vec!["forebay"];
    if cfg!(feature = "azure-storage-blobs") {
        clients.push("azure-storage-blobs");
    }
    clients
}
