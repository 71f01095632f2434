//! A read through a network that fails is right or an error of the right kind, and tried again it is right.

use super::{Service, Split, Way, retrying};
use crate::data;
use crate::servers::{At, FastServer, FaultPlan, FaultProxy, Framing, HttpFault, Rule};
use forebay_io::{Budget, Kind, Location, Pool, ReadOptions, Result, Retry, Store, read};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

const LEN: usize = 300_000;
/// With these the object has six parts; the fourth goes wrong.
const PART: NonZeroU64 = NonZeroU64::new(50_000).unwrap();
/// Bytes of an object that comes slowly.
const SLOW: usize = 768 << 10;
const FOREVER: Duration = Duration::from_secs(3600);

/// One object, of which one request goes wrong.
pub struct Faulty {
    /// Where it is.
    pub server: FastServer,
    /// What makes it go wrong.
    pub proxy: FaultProxy,
    /// Reaches the server through that.
    pub store: Arc<dyn Store>,
    at: Location,
    pool: Pool,
}

impl Faulty {
    /// The object is read in parts or whole.
    pub fn new(service: &dyn Service, fault: &HttpFault, parts: bool) -> Self {
        let server = FastServer::start(1).unwrap();
        server.put(server.bucket(), "k", data::bytes(9, LEN));
        let plan = FaultPlan::of([Rule::nth(if parts { 3 } else { 0 }, fault.clone())]);
        let proxy = FaultProxy::start(service.address(&server), plan, 1).unwrap();
        // A stall lasts until the client gives up.
        let patience = matches!(fault, HttpFault::Stall(..)).then_some(Duration::from_millis(300));
        let split = if parts { Split::Parts(PART) } else { Split::Whole };
        let store = service.store(&server, Way { proxy: Some(&proxy), split, patience });
        Faulty { server, proxy, store, at: service.at("k"), pool: Pool::new(Budget::new(64 << 20).unwrap()) }
    }

    /// The object as `store` reads it.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(&self, store: &dyn Store) -> Result<Vec<u8>> {
        let block = read(store, &self.at, None, ReadOptions::default(), &self.pool).await?;
        Ok(block.slot(0).unwrap().to_vec())
    }
}

/// What one try makes of the fault, and that the next one is right.
pub async fn recovers(service: &dyn Service, fault: HttpFault, parts: bool, kind: Kind) {
    let what = format!("{} {fault:?} parts={parts}", service.name());
    let setup = Faulty::new(service, &fault, parts);
    let error = setup.read(&*setup.store).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{what}: {error}");
    assert_ne!(error.retry(), Retry::Never, "{what}: {error}");
    assert_eq!(error.location(), Some(&service.at("k")), "{what}");
    assert_eq!(setup.proxy.given_of(&fault), 1, "{what}");

    let setup = Faulty::new(service, &fault, parts);
    let found = setup.read(&retrying(setup.store.clone())).await;
    let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(found == data::bytes(9, LEN), "{what}: wrong bytes");
    assert_eq!(setup.proxy.given_of(&fault), 1, "{what}");
}

/// The same for an object that is read whole, and for one that is read in parts.
pub async fn recovers_either_way(service: &dyn Service, fault: HttpFault, kind: Kind) {
    recovers(service, fault.clone(), false, kind).await;
    recovers(service, fault, true, kind).await;
}

/// Connections that break are `Unavailable`, and tried again.
pub async fn connections_that_break(service: &dyn Service) {
    for at in [At::Byte(0), At::Share(0.5)] {
        recovers_either_way(service, HttpFault::Reset(at), Kind::Unavailable).await;
        recovers_either_way(service, HttpFault::Truncate(at, Framing::Length), Kind::Unavailable).await;
    }
    recovers(service, HttpFault::Refuse, false, Kind::Unavailable).await;
}

/// Bodies that do not say how long they are never pass for whole ranges.
pub async fn ranges_without_a_length(service: &dyn Service) {
    for framing in [Framing::Close, Framing::Chunked] {
        let fault = HttpFault::Truncate(At::Share(0.5), framing);
        recovers(service, fault, true, Kind::Unavailable).await;
    }
}

/// Lengths that lie are noticed.
pub async fn lengths_that_lie(service: &dyn Service) {
    recovers(service, HttpFault::WrongLength(7), false, Kind::Unavailable).await;
    recovers(service, HttpFault::WrongLength(7), true, Kind::Corrupt).await;
    recovers_either_way(service, HttpFault::WrongLength(-7), Kind::Corrupt).await;
}

/// A service that is asked too much is asked again.
pub async fn too_much(service: &dyn Service) {
    recovers_either_way(service, HttpFault::slow_down(), Kind::Throttled).await;
    recovers_either_way(service, HttpFault::too_many_requests(Duration::ZERO), Kind::Throttled).await;
}

/// A service that stalls runs into the deadline.
pub async fn stalls(service: &dyn Service) {
    for at in [None, Some(At::Share(0.5))] {
        recovers_either_way(service, HttpFault::Stall(at, FOREVER), Kind::TimedOut).await;
    }
}

/// A body that comes slowly and never stands still does not run into the deadline, however many bytes a client
/// would like to be woken for at once.
pub async fn trickles(service: &dyn Service) {
    let (piece, every) = (16 << 10, Duration::from_millis(50));
    let server = FastServer::start(1).unwrap();
    server.put(server.bucket(), "k", data::bytes(9, SLOW));
    let plan = FaultPlan::of([Rule::nth(0, HttpFault::Trickle { piece, every })]);
    let proxy = FaultProxy::start(service.address(&server), plan, 1).unwrap();
    // Half of it is far longer than a pause, and all of it far shorter than the body takes.
    let patience = Some(Duration::from_secs(1));
    let store = service.store(&server, Way { proxy: Some(&proxy), split: Split::Whole, patience });
    let pool = Pool::new(Budget::new(64 << 20).unwrap());
    let block = read(&*store, &service.at("k"), None, ReadOptions::default(), &pool).await;
    let block = block.unwrap_or_else(|error| panic!("{}: {error}", service.name()));
    assert!(block.slot(0).unwrap() == data::bytes(9, SLOW), "{}: wrong bytes", service.name());
}

/// An object that is replaced between its parts is never mixed.
pub async fn replaced_between_parts(service: &dyn Service) {
    refused(service, HttpFault::Replaced, true, Kind::Precondition, "").await;
}

/// Credentials that ended are `Denied`, with the service's own word for it.
pub async fn expired(service: &dyn Service, word: &str) {
    refused(service, HttpFault::Expired, false, Kind::Denied, word).await;
}

async fn refused(service: &dyn Service, fault: HttpFault, parts: bool, kind: Kind, word: &str) {
    let setup = Faulty::new(service, &fault, parts);
    let error = setup.read(&*setup.store).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{}: {error}", service.name());
    assert!(error.to_string().contains(word), "{}: {error}", service.name());
    if kind == Kind::Denied {
        assert_eq!(error.retry(), Retry::Never, "{}: {error}", service.name());
    }
}
