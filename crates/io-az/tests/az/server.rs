//! Stores of a container, through each client that is built in.

use forebay_io::{Location, Store, Unobserved};
use forebay_io_az::{AzOptions, open};
use forebay_io_object::{HttpOptions, ObjectBackend, Surroundings};
use forebay_io_testkit::servers::{Azurite, FastServer};
use forebay_io_testkit::services::{Service, Way};
use std::net::SocketAddr;
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

/// The server in memory through one of them, for what all services promise.
pub(crate) struct Fast {
    client: &'static str,
    pub(crate) http: HttpOptions,
}

pub(crate) fn of_each_client() -> impl Iterator<Item = Fast> {
    clients().into_iter().map(|client| Fast { client, http: HttpOptions::default() })
}

impl Service for Fast {
    fn name(&self) -> &str {
        self.client
    }

    fn address(&self, server: &FastServer) -> SocketAddr {
        server.azure_address()
    }

    fn at(&self, key: &str) -> Location {
        at(key)
    }

    fn store(&self, server: &FastServer, way: Way<'_>) -> Arc<dyn Store> {
        let endpoint = server.azure_endpoint();
        let endpoint = way.proxy.map_or(endpoint.clone(), |proxy| proxy.in_front_of(&endpoint));
        let mut http = self.http.clone();
        http.request_bytes = way.split.request_bytes(http.request_bytes);
        if let Some(patience) = way.patience {
            (http.first_byte_timeout, http.idle_timeout) = (patience, patience);
        }
        Arc::new(on_fast(self.client, &endpoint, http))
    }
}
