//! A read through a network that fails is right or an error of the right kind, and tried again it is right.

use crate::server::{fast_options, store};
use forebay_io::layer::{RetryPolicy, Retrying};
use forebay_io::{Budget, Kind, Pool, ReadOptions, Result, Store, Unobserved, read};
use forebay_io_s3::S3Options;
use forebay_io_testkit::data;
use forebay_io_testkit::servers::{At, FastServer, FaultPlan, FaultProxy, Framing, HttpFault, Rule};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

const LEN: usize = 300_000;
/// With these the object has six parts; the fourth goes wrong.
const PART: u64 = 50_000;
const FOREVER: Duration = Duration::from_secs(3600);

struct Setup {
    proxy: FaultProxy,
    store: Arc<dyn Store>,
    pool: Pool,
    _server: FastServer,
}

impl Setup {
    /// One object, read in parts or whole, of which one request goes wrong.
    fn new(fault: &HttpFault, parts: bool) -> Self {
        let server = FastServer::start(1).unwrap();
        server.put(server.bucket(), "k", data::bytes(9, LEN));
        let plan = FaultPlan::of([Rule::nth(if parts { 3 } else { 0 }, fault.clone())]);
        let proxy = FaultProxy::start(server.s3_address(), plan, 1).unwrap();
        let mut options = S3Options { endpoint: Some(proxy.endpoint()), ..fast_options(&server) };
        options.http.request_bytes = if parts { NonZeroU64::new(PART) } else { None };
        if matches!(fault, HttpFault::Stall(..)) {
            // It lasts until the client gives up.
            options.http.first_byte_timeout = Duration::from_millis(300);
            options.http.idle_timeout = Duration::from_millis(300);
        }
        let store = Arc::new(store(server.bucket(), &options));
        Setup { proxy, store, pool: Pool::new(Budget::new(64 << 20).unwrap()), _server: server }
    }

    async fn read(&self, store: &dyn Store) -> Result<Vec<u8>> {
        let location = "s3://forebay-test/k".parse().unwrap();
        let block = read(store, &location, None, ReadOptions::default(), &self.pool).await?;
        Ok(block.slot(0).unwrap().to_vec())
    }
}

/// What one try makes of the fault, and that the next one is right.
async fn recovers(fault: HttpFault, parts: bool, kind: Kind) {
    let setup = Setup::new(&fault, parts);
    let error = setup.read(&*setup.store).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{fault:?} parts={parts}: {error}");
    assert_eq!(setup.proxy.given_of(&fault), 1, "{fault:?} parts={parts}");

    let setup = Setup::new(&fault, parts);
    let policy = RetryPolicy { base: Duration::from_millis(1), ..RetryPolicy::default() };
    let retrying = Retrying::new(setup.store.clone(), policy, Arc::new(Unobserved));
    let found =
        setup.read(&retrying).await.unwrap_or_else(|error| panic!("{fault:?} parts={parts}: {error}"));
    assert!(found == data::bytes(9, LEN), "{fault:?} parts={parts}: wrong bytes");
    assert_eq!(setup.proxy.given_of(&fault), 1, "{fault:?} parts={parts}");
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
async fn bodies_that_do_not_say_how_long_they_are_never_pass_for_whole() {
    for framing in [Framing::Close, Framing::Chunked] {
        let fault = HttpFault::Truncate(At::Share(0.5), framing);
        recovers(fault.clone(), false, Kind::Corrupt).await;
        // The range says it.
        recovers(fault, true, Kind::Unavailable).await;
    }
}

#[tokio::test]
async fn lengths_that_lie_are_noticed() {
    recovers(HttpFault::WrongLength(7), false, Kind::Unavailable).await;
    recovers(HttpFault::WrongLength(7), true, Kind::Corrupt).await;
    recovers_either_way(HttpFault::WrongLength(-7), Kind::Corrupt).await;
}

#[tokio::test]
async fn a_flipped_bit_is_noticed_where_the_service_gives_a_checksum() {
    recovers(HttpFault::FlipByte, false, Kind::Corrupt).await;
}

#[tokio::test]
async fn a_service_that_is_asked_too_much_or_fails_is_asked_again() {
    recovers_either_way(HttpFault::slow_down(), Kind::Throttled).await;
    recovers_either_way(HttpFault::internal_error(), Kind::Unavailable).await;
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
    let setup = Setup::new(&HttpFault::Replaced, true);
    let error = setup.read(&*setup.store).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition, "{error}");
}

#[tokio::test]
async fn expired_credentials_are_denied() {
    let setup = Setup::new(&HttpFault::Expired, false);
    let error = setup.read(&*setup.store).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
    assert!(error.to_string().contains("ExpiredToken"), "{error}");
}
