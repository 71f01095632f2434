//! A read through a network that fails is right or an error of the right kind, and tried again it is right.

use crate::server::{at, clients, on_fast};
use forebay_io::layer::{RetryPolicy, Retrying};
use forebay_io::{Budget, Kind, Pool, ReadOptions, Result, Retry, Store, Unobserved, read};
use forebay_io_object::{HttpOptions, Verify};
use forebay_io_testkit::data;
use forebay_io_testkit::servers::{At, FastServer, FaultPlan, FaultProxy, Framing, HttpFault, Rule};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

const LEN: usize = 300_000;
/// With these the object has six parts; the fourth goes wrong.
const PART: u64 = 50_000;
const FOREVER: Duration = Duration::from_secs(3600);

struct Setup {
    server: FastServer,
    proxy: FaultProxy,
    store: Arc<dyn Store>,
    pool: Pool,
}

impl Setup {
    /// One object, read in parts or whole, of which one request goes wrong.
    fn new(client: &str, fault: &HttpFault, parts: bool, mut http: HttpOptions) -> Self {
        let server = FastServer::start(1).unwrap();
        server.put(server.bucket(), "k", data::bytes(9, LEN));
        let plan = FaultPlan::of([Rule::nth(if parts { 3 } else { 0 }, fault.clone())]);
        let proxy = FaultProxy::start(server.azure_address(), plan, 1).unwrap();
        http.request_bytes = if parts { NonZeroU64::new(PART) } else { None };
        if matches!(fault, HttpFault::Stall(..)) {
            // It lasts until the client gives up.
            http.first_byte_timeout = Duration::from_millis(300);
            http.idle_timeout = Duration::from_millis(300);
        }
        let store = Arc::new(on_fast(client, &proxy.in_front_of(&server.azure_endpoint()), http));
        Setup { server, proxy, store, pool: Pool::new(Budget::new(64 << 20).unwrap()) }
    }

    async fn read(&self, store: &dyn Store) -> Result<Vec<u8>> {
        let block = read(store, &at("k"), None, ReadOptions::default(), &self.pool).await?;
        Ok(block.slot(0).unwrap().to_vec())
    }

    fn retrying(&self) -> Retrying {
        let policy = RetryPolicy { base: Duration::from_millis(1), ..RetryPolicy::default() };
        Retrying::new(self.store.clone(), policy, Arc::new(Unobserved))
    }
}

/// What one try makes of the fault, and that the next one is right.
async fn recovers(fault: HttpFault, parts: bool, kind: Kind) {
    for client in clients() {
        let what = format!("{client} {fault:?} parts={parts}");
        let setup = Setup::new(client, &fault, parts, HttpOptions::default());
        let error = setup.read(&*setup.store).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert_ne!(error.retry(), Retry::Never, "{what}: {error}");
        assert_eq!(error.location(), Some(&at("k")), "{what}");
        assert_eq!(setup.proxy.given_of(&fault), 1, "{what}");

        let setup = Setup::new(client, &fault, parts, HttpOptions::default());
        let found = setup.read(&setup.retrying()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(found == data::bytes(9, LEN), "{what}: wrong bytes");
        assert_eq!(setup.proxy.given_of(&fault), 1, "{what}");
    }
}

async fn recovers_either_way(fault: HttpFault, kind: Kind) {
    recovers(fault.clone(), false, kind).await;
    recovers(fault, true, kind).await;
}

#[tokio::test]
async fn connections_that_break_are_unavailable_and_tried_again() {
    for at in [At::Byte(0), At::Share(0.5)] {
        recovers_either_way(HttpFault::Reset(at), Kind::Unavailable).await;
        recovers_either_way(HttpFault::Truncate(at, Framing::Length), Kind::Unavailable).await;
    }
    recovers(HttpFault::Refuse, false, Kind::Unavailable).await;
}

#[tokio::test]
async fn bodies_that_do_not_say_how_long_they_are_never_pass_for_whole_ranges() {
    for framing in [Framing::Close, Framing::Chunked] {
        recovers(HttpFault::Truncate(At::Share(0.5), framing), true, Kind::Unavailable).await;
    }
}

#[tokio::test]
async fn lengths_that_lie_are_noticed() {
    recovers(HttpFault::WrongLength(7), false, Kind::Unavailable).await;
    recovers(HttpFault::WrongLength(7), true, Kind::Corrupt).await;
    recovers_either_way(HttpFault::WrongLength(-7), Kind::Corrupt).await;
}

#[tokio::test]
async fn a_service_that_is_asked_too_much_or_fails_is_asked_again() {
    recovers_either_way(HttpFault::slow_down(), Kind::Throttled).await;
    // What the service says with 500 is `OperationTimedOut`, unless it says what is here below.
    recovers_either_way(HttpFault::internal_error(), Kind::TimedOut).await;
    let internal = HttpFault::Status { status: 500, code: Some("InternalError"), retry_after: None };
    recovers_either_way(internal, Kind::Unavailable).await;
    recovers_either_way(HttpFault::too_many_requests(Duration::ZERO), Kind::Throttled).await;
}

#[tokio::test]
async fn a_service_that_stalls_runs_into_the_deadline() {
    for at in [None, Some(At::Share(0.5))] {
        recovers_either_way(HttpFault::Stall(at, FOREVER), Kind::TimedOut).await;
    }
}

#[tokio::test]
async fn an_object_that_is_replaced_between_its_parts_is_never_mixed() {
    for client in clients() {
        let setup = Setup::new(client, &HttpFault::Replaced, true, HttpOptions::default());
        let error = setup.read(&*setup.store).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition, "{client}: {error}");
    }
}

#[tokio::test]
async fn expired_credentials_are_denied() {
    for client in clients() {
        let setup = Setup::new(client, &HttpFault::Expired, false, HttpOptions::default());
        let error = setup.read(&*setup.store).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, Retry::Never), "{client}: {error}");
        assert!(error.to_string().contains("AuthenticationFailed"), "{client}: {error}");
    }
}

/// The service keeps the MD5 that a blob was put with, and gives it back with the whole blob.
#[tokio::test]
async fn a_flipped_bit_is_noticed_where_the_service_gives_a_checksum() {
    const FOX: &[u8] = b"The quick brown fox jumps over the lazy dog";
    const MD5_OF_FOX: &str = "nhB9nTcrtoJr2B01QqQZ1g==";
    for client in clients() {
        let http = HttpOptions { verify: Verify::All, ..HttpOptions::default() };
        let setup = Setup::new(client, &HttpFault::FlipByte, false, http);
        put_with_md5(&setup.server, FOX, MD5_OF_FOX);
        let error = setup.read(&*setup.store).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{client}: {error}");
        assert_eq!(setup.proxy.given_of(&HttpFault::FlipByte), 1, "{client}");
        assert!(setup.read(&setup.retrying()).await.unwrap() == FOX, "{client}: the next one is right");
    }
}

/// Puts the object past the store, which sends no MD5.
fn put_with_md5(server: &FastServer, content: &[u8], md5: &str) {
    let mut stream = TcpStream::connect(server.azure_address()).unwrap();
    let (account, container, len) = (FastServer::ACCOUNT, server.bucket(), content.len());
    let head = format!(
        "PUT /{account}/{container}/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len}\r\n\
         x-ms-blob-type: BlockBlob\r\nx-ms-blob-content-md5: {md5}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), content].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}
