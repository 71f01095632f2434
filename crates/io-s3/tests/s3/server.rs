//! A bucket on a server of the test's own, and a store of it.

use forebay_io::{Location, Observe, Store, Unobserved};
use forebay_io_object::{ObjectBackend, Surroundings};
use forebay_io_s3::{ClientKind, S3Options, open};
use forebay_io_testkit::Fixture;
use forebay_io_testkit::servers::{FastServer, S3Server};
use forebay_io_testkit::services::{Service, Way};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::SystemTime;

/// What the tests' edge hands over: nothing, and the clock.
pub(crate) fn around() -> Surroundings {
    #[allow(clippy::disallowed_methods)]
    Surroundings::new([], SystemTime::now)
}

/// Options that reach a server that checks signatures.
pub(crate) fn options(server: &S3Server, client: ClientKind) -> S3Options {
    S3Options {
        endpoint: Some(server.endpoint()),
        region: Some(S3Server::REGION.into()),
        access_key_id: Some(S3Server::ACCESS_KEY.into()),
        secret_access_key: Some(S3Server::SECRET_KEY.into()),
        client,
        ..S3Options::default()
    }
}

pub(crate) fn store(bucket: &str, options: &S3Options) -> ObjectBackend {
    observed(bucket, options, Arc::new(Unobserved))
}

pub(crate) fn observed(bucket: &str, options: &S3Options, observer: Arc<dyn Observe>) -> ObjectBackend {
    let location: Location = format!("s3://{bucket}/").parse().unwrap();
    open(&location, options, &around(), observer).unwrap()
}

/// How the suite is run.
#[derive(Clone, Copy, Default)]
pub(crate) struct Settings {
    /// Parts of a thousand bytes.
    pub(crate) small_parts: bool,
    /// No parts.
    pub(crate) whole: bool,
    /// Prefixes that are listed side by side, if more than one.
    pub(crate) fanout: u32,
}

/// A store on the server in memory, which serves unsigned requests too.
pub(crate) fn on_fast(client: ClientKind, settings: Settings) -> Fixture {
    let server = FastServer::start(1).unwrap();
    let mut options = S3Options { client, ..fast_options(&server) };
    if settings.small_parts {
        options.http.request_bytes = NonZeroU64::new(1000);
    }
    if settings.whole {
        options.http.request_bytes = None;
    }
    options.http.list_fanout = NonZeroU32::new(settings.fanout).unwrap_or(NonZeroU32::MIN);
    let store = store(server.bucket(), &options);
    let root = format!("s3://{}/root", server.bucket()).parse().unwrap();
    Fixture::new(Arc::new(store), root).keep(server)
}

/// Options that reach the server in memory.
pub(crate) fn fast_options(server: &FastServer) -> S3Options {
    S3Options {
        endpoint: Some(server.s3_endpoint()),
        access_key_id: Some("anyone".into()),
        secret_access_key: Some("anything".into()),
        ..S3Options::default()
    }
}

/// A store on a server that checks signatures.
pub(crate) fn on_s3s(client: ClientKind) -> Fixture {
    let server = S3Server::start().unwrap();
    let store = store(server.bucket(), &options(&server, client));
    let root = format!("s3://{}/root", server.bucket()).parse().unwrap();
    Fixture::new(Arc::new(store), root).keep(server)
}

/// The server in memory, for what all services promise.
pub(crate) struct Fast;

impl Service for Fast {
    fn name(&self) -> &str {
        "forebay"
    }

    fn address(&self, server: &FastServer) -> SocketAddr {
        server.s3_address()
    }

    fn at(&self, key: &str) -> Location {
        format!("s3://{}/{key}", FastServer::BUCKET).parse().unwrap()
    }

    fn store(&self, server: &FastServer, way: Way<'_>) -> Arc<dyn Store> {
        let mut options = fast_options(server);
        if let Some(proxy) = way.proxy {
            options.endpoint = Some(proxy.in_front_of(&server.s3_endpoint()));
        }
        options.http.request_bytes = way.split.request_bytes(options.http.request_bytes);
        if let Some(patience) = way.patience {
            (options.http.first_byte_timeout, options.http.idle_timeout) = (patience, patience);
        }
        Arc::new(store(server.bucket(), &options))
    }
}
