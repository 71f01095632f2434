//! What goes wrong on the way, and what is made of it: the right kind without retries, the right bytes with
//! them.

use crate::server::{fast_options, observed, store};
use forebay_io::layer::{RetryPolicy, Retrying};
use forebay_io::{
    Attempt, Budget, End, Event, GetRequest, Kind, Location, Observe, Op, Pool, PutOptions, ReadOptions,
    Result, Retry, Store, Unobserved, read,
};
use forebay_io_s3::{ClientKind, CredentialProvider, Credentials, S3Options};
use forebay_io_testkit::data;
use forebay_io_testkit::servers::{At, FastServer, FaultPlan, FaultProxy, Framing, HttpFault, Rule};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A server, and a proxy before it that does as it is told.
struct Setup {
    server: FastServer,
    proxy: FaultProxy,
    options: S3Options,
}

impl Setup {
    fn new(plan: FaultPlan) -> Self {
        let server = FastServer::start(1).unwrap();
        let proxy = FaultProxy::start(server.s3_address(), plan, 7).unwrap();
        let mut options = fast_options(&server);
        options.endpoint = Some(proxy.in_front_of(&server.s3_endpoint()));
        options.http.first_byte_timeout = Duration::from_millis(400);
        options.http.idle_timeout = Duration::from_millis(300);
        Setup { server, proxy, options }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(store(self.server.bucket(), &self.options))
    }

    fn retrying(&self) -> Arc<dyn Store> {
        let policy = RetryPolicy {
            max_attempts: NonZeroU32::new(12).unwrap(),
            base: Duration::from_millis(2),
            ..RetryPolicy::default()
        };
        Arc::new(Retrying::new(self.store(), policy, Arc::new(Unobserved)))
    }

    fn at(&self, key: &str) -> Location {
        format!("s3://{}/{key}", self.server.bucket()).parse().unwrap()
    }
}

async fn get(store: &dyn Store, location: &Location) -> Result<Vec<u8>> {
    let pool = Pool::new(Budget::new(64 << 20).unwrap());
    let block = read(store, location, None, ReadOptions::default(), &pool).await?;
    Ok(block.slot(0).expect("a read fills its slot").to_vec())
}

fn faults() -> Vec<(HttpFault, Kind)> {
    let middle = At::Share(0.5);
    let long = Duration::from_secs(60);
    vec![
        (HttpFault::Refuse, Kind::Unavailable),
        (HttpFault::Reset(At::Byte(0)), Kind::Unavailable),
        (HttpFault::Reset(middle), Kind::Unavailable),
        (HttpFault::Truncate(middle, Framing::Length), Kind::Unavailable),
        (HttpFault::slow_down(), Kind::Throttled),
        (HttpFault::internal_error(), Kind::Unavailable),
        (HttpFault::too_many_requests(Duration::ZERO), Kind::Throttled),
        (HttpFault::WrongLength(1), Kind::Unavailable),
        (HttpFault::Stall(None, long), Kind::TimedOut),
        (HttpFault::Stall(Some(middle), long), Kind::TimedOut),
    ]
}

/// Every client that is built in.
fn clients() -> Vec<ClientKind> {
    let mut clients = vec![ClientKind::Forebay];
    if cfg!(feature = "object-store") {
        clients.push(ClientKind::ObjectStore);
    }
    if cfg!(feature = "rusoto") {
        clients.push(ClientKind::Rusoto);
    }
    clients
}

#[tokio::test]
async fn each_fault_is_of_its_kind_and_the_next_try_gives_the_bytes() {
    for client in clients() {
        for (fault, kind) in faults() {
            let mut setup = Setup::new(FaultPlan::none());
            setup.options.client = client;
            // Whole objects, so that what is cut off is not a range that the proxy treats otherwise.
            setup.options.http.request_bytes = None;
            let content = data::bytes(3, 200_000);
            setup.server.put(setup.server.bucket(), "object", content.clone());
            let location = setup.at("object");
            setup.proxy.set_plan(FaultPlan::of([Rule::first(1, fault.clone())])).unwrap();
            let error = get(&*setup.store(), &location).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{client:?} {fault:?}: {error}");
            assert_ne!(error.retry(), Retry::Never, "{client:?} {fault:?}: {error}");
            assert_eq!(error.location(), Some(&location));
            setup.proxy.set_plan(FaultPlan::of([Rule::first(2, fault.clone())])).unwrap();
            assert!(get(&*setup.retrying(), &location).await.unwrap() == content, "{client:?} {fault:?}");
        }
    }
}

/// Without a length, only the version's size from the header of a range tells that something is missing.
#[tokio::test]
async fn a_body_that_ends_early_in_any_framing_is_never_returned() {
    for framing in [Framing::Length, Framing::Close, Framing::Chunked] {
        let setup = Setup::new(FaultPlan::of([Rule::first(3, HttpFault::Truncate(At::Share(0.9), framing))]));
        let content = data::bytes(4, 100_000);
        setup.server.put(setup.server.bucket(), "object", content.clone());
        let location = setup.at("object");
        let error = get(&*setup.store(), &location).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Unavailable | Kind::Corrupt), "{framing:?}: {error}");
        assert_ne!(error.retry(), Retry::Never, "{framing:?}: {error}");
        assert!(get(&*setup.retrying(), &location).await.unwrap() == content, "{framing:?}");
    }
}

#[tokio::test]
async fn the_pause_that_the_service_names_reaches_the_caller() {
    let plan = FaultPlan::of([Rule::always(HttpFault::too_many_requests(Duration::from_secs(17)))]);
    let setup = Setup::new(plan);
    let error = get(&*setup.store(), &setup.at("x")).await.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(17)), "{error}");
}

#[tokio::test]
async fn expired_credentials_are_denied_and_no_secret_is_said() {
    let setup = Setup::new(FaultPlan::of([Rule::always(HttpFault::Expired)]));
    let error = get(&*setup.store(), &setup.at("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
    let text = format!("{error} {error:?} {:?}", setup.store());
    assert!(!text.contains("anything"), "{text}");
}

/// Lends other keys each time.
#[derive(Debug, Default)]
struct Lender(AtomicU32);

impl CredentialProvider for Lender {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials>> {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        let keys = Credentials {
            access_key_id: format!("anyone{asked}"),
            secret_access_key: "anything".into(),
            session_token: None,
            expires: None,
        };
        async move { Ok(keys) }.boxed()
    }
}

#[tokio::test]
async fn credentials_that_the_service_calls_expired_are_asked_for_again_once() {
    for client in clients() {
        let mut setup = Setup::new(FaultPlan::of([Rule::first(1, HttpFault::Expired)]));
        let lender = Arc::new(Lender::default());
        (setup.options.access_key_id, setup.options.secret_access_key) = (None, None);
        setup.options.credentials = Some(forebay_io_s3::Callable(lender.clone()));
        setup.options.client = client;
        let content = data::bytes(5, 5000);
        setup.server.put(setup.server.bucket(), "object", content.clone());
        let store = setup.retrying();
        let location = setup.at("object");
        assert!(get(&*store, &location).await.unwrap() == content, "{client:?}");
        assert_eq!(lender.0.load(Ordering::Relaxed), 2, "{client:?}");

        // Those that are good now may end too; but who is refused with new ones is denied.
        setup.proxy.set_plan(FaultPlan::of([Rule::always(HttpFault::Expired)])).unwrap();
        let error = get(&*store, &location).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Denied, Retry::Never), "{client:?}: {error}");
        assert_eq!(lender.0.load(Ordering::Relaxed), 3, "{client:?}");
        let given = setup.proxy.given()["expired"];
        assert_eq!(given, 3, "{client:?}: one try in each plan, and one more with new keys");
    }
}

/// The second half of the object would be another version's.
#[tokio::test]
async fn parts_of_two_versions_never_meet() {
    let mut setup = Setup::new(FaultPlan::of([Rule::nth(2, HttpFault::Replaced)]));
    setup.options.http.request_bytes = NonZeroU64::new(10_000);
    setup.server.put(setup.server.bucket(), "object", data::bytes(5, 50_000));
    let error = get(&*setup.store(), &setup.at("object")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition, "{error}");
}

#[tokio::test]
async fn a_flipped_byte_is_found_where_the_service_sends_a_checksum() {
    let setup = Setup::new(FaultPlan::none());
    let content = data::bytes(6, 100_000);
    let location = setup.at("object");
    setup.store().put(&location, content.clone().into(), PutOptions::default()).await.unwrap();
    setup.proxy.set_plan(FaultPlan::of([Rule::first(1, HttpFault::FlipByte)])).unwrap();
    let found = get(&*setup.store(), &location).await.map(|bytes| bytes == content);
    let error = found.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    setup.proxy.set_plan(FaultPlan::of([Rule::first(1, HttpFault::FlipByte)])).unwrap();
    assert!(get(&*setup.retrying(), &setup.at("object")).await.unwrap() == content);
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable_until_it_is_back() {
    let setup = Setup::new(FaultPlan::none());
    setup.server.put(setup.server.bucket(), "object", data::bytes(6, 10));
    let store = setup.store();
    get(&*store, &setup.at("object")).await.unwrap();
    setup.proxy.go_away();
    let error = get(&*store, &setup.at("object")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    setup.proxy.come_back();
    get(&*store, &setup.at("object")).await.unwrap();
}

/// Sees attempts.
#[derive(Debug, Default)]
struct Attempts(Mutex<Vec<(Option<u16>, Option<Kind>)>>);

impl Observe for Attempts {
    fn started(&self, _: &[Op<'_>]) {}
    fn ended(&self, _: &[Op<'_>], _: &[End]) {}
    fn attempted(&self, attempts: &[Attempt<'_>]) {
        let mut all = self.0.lock().unwrap();
        all.extend(attempts.iter().map(|attempt| (attempt.status, attempt.failed)));
    }
    fn noted(&self, _: Option<&str>, _: Event) {}
}

/// A thousand objects under faults of every usual kind: all bytes right, and every request that was made is
/// reported.
#[tokio::test]
async fn an_epoch_under_faults_is_byte_exact_and_every_attempt_is_seen() {
    let setup = Setup::new("reset=0.01,503=0.02,truncate=0.01".parse().unwrap());
    let objects: Vec<_> = (0..1000u64).map(|i| data::bytes(i, 5000 + i as usize)).collect();
    for (i, content) in objects.iter().enumerate() {
        setup.server.put(setup.server.bucket(), &format!("set/{i}"), content.clone());
    }
    let attempts = Arc::new(Attempts::default());
    let inner = observed(setup.server.bucket(), &setup.options, attempts.clone());
    let policy = RetryPolicy { base: Duration::from_millis(2), ..RetryPolicy::default() };
    let store = Retrying::new(Arc::new(inner), policy, Arc::new(Unobserved));
    let pool = Pool::new(Budget::new(64 << 20).unwrap());
    let lease = pool.lease(pool.budget().ticket(), 1000);
    let requests: Vec<_> = (0..1000).map(|i| GetRequest::whole(setup.at(&format!("set/{i}")), i)).collect();
    for result in store.get_many(requests.into(), ReadOptions::default(), lease.clone()).await {
        result.unwrap();
    }
    let block = lease.finish().unwrap();
    for (i, content) in objects.iter().enumerate() {
        assert!(block.slot(i) == Some(content), "object {i}");
    }
    let attempts = attempts.0.lock().unwrap();
    let failed = attempts.iter().filter(|(_, failed)| failed.is_some()).count() as u64;
    let given: u64 = setup.proxy.given().values().sum();
    assert!(given > 10, "the proxy did something: {given}");
    assert_eq!(attempts.len() as u64, 1000 + failed);
    assert!(failed >= given, "{failed} failed attempts for {given} faults");
    assert!(attempts.iter().any(|(status, _)| *status == Some(503)));
}

#[tokio::test]
async fn connections_are_used_again() {
    let setup = Setup::new(FaultPlan::none());
    for i in 0..200 {
        setup.server.put(setup.server.bucket(), &format!("o/{i}"), data::bytes(i, 1000));
    }
    for client in clients() {
        let options = S3Options { client, ..setup.options.clone() };
        let store = store(setup.server.bucket(), &options);
        let before = setup.proxy.traffic().connections;
        for i in 0..200 {
            get(&store, &setup.at(&format!("o/{i}"))).await.unwrap();
        }
        store.stat(&setup.at("o/1")).await.unwrap();
        store.put(&setup.at("new"), b"x".as_slice().into(), PutOptions::default()).await.unwrap();
        let pages: Vec<_> = store.list(&setup.at(""), Default::default()).try_collect().await.unwrap();
        assert_eq!(pages.len(), 1);
        assert!(get(&store, &setup.at("missing")).await.is_err());
        store.delete(&setup.at("new")).await.unwrap();
        let made = setup.proxy.traffic().connections - before;
        assert!(made <= 2, "{client:?}: {made} connections for requests one after another");
    }
}
