//! Of a large object, what is tried again is the part that failed.

use crate::server::{fast_options, observed};
use forebay_io::layer::{Retries, RetryPolicy, Retrying};
use forebay_io::{
    Attempt, Body, Budget, End, Event, Kind, ListOptions, Location, Observe, Op, Pool, PutOptions,
    ReadOptions, Result, Store, read,
};
use forebay_io_s3::S3Options;
use forebay_io_testkit::data;
use forebay_io_testkit::servers::{FastServer, FaultPlan, FaultProxy, HttpFault, Rule};
use futures::{StreamExt, stream};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const LEN: usize = 300_000;
const PARTS: u64 = 150;

/// Counts requests, those of them that failed, and tries.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    withheld: AtomicU64,
}

impl Counts {
    fn now(&self) -> [u64; 4] {
        [&self.requests, &self.failed, &self.retried, &self.withheld].map(|n| n.load(Ordering::Relaxed))
    }
}

impl Observe for Counts {
    fn started(&self, _: &[Op<'_>]) {}
    fn ended(&self, _: &[Op<'_>], _: &[End]) {}
    fn attempted(&self, attempts: &[Attempt<'_>]) {
        let failed = attempts.iter().filter(|attempt| attempt.failed.is_some()).count();
        self.requests.fetch_add(attempts.len() as u64, Ordering::Relaxed);
        self.failed.fetch_add(failed as u64, Ordering::Relaxed);
    }
    fn noted(&self, _: Option<&str>, event: Event) {
        match event {
            Event::Retried(_) => self.retried.fetch_add(1, Ordering::Relaxed),
            Event::RetryWithheld(_) => self.withheld.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

struct Setup {
    server: FastServer,
    proxy: FaultProxy,
    counts: Arc<Counts>,
    store: Retrying,
}

impl Setup {
    fn new(plan: FaultPlan, policy: RetryPolicy) -> Self {
        let server = FastServer::start(1).unwrap();
        let proxy = FaultProxy::start(server.s3_address(), plan, 11).unwrap();
        let mut options = S3Options { endpoint: Some(proxy.endpoint()), ..fast_options(&server) };
        options.http.request_bytes = NonZeroU64::new(LEN as u64 / PARTS);
        let counts = Arc::new(Counts::default());
        let policy = RetryPolicy { base: Duration::from_millis(1), ..policy };
        let retries = Arc::new(Retries::new(policy, counts.clone()));
        let backend = observed(server.bucket(), &options, counts.clone()).with_part_retries(retries.clone());
        Setup { store: Retrying::sharing(Arc::new(backend), retries), server, proxy, counts }
    }

    fn at(&self, key: &str) -> Location {
        format!("s3://{}/{key}", self.server.bucket()).parse().unwrap()
    }

    async fn read(&self, key: &str) -> Result<Vec<u8>> {
        let pool = Pool::new(Budget::new(64 << 20).unwrap());
        let options =
            ReadOptions { target_request_bytes: NonZeroU64::new(LEN as u64 / PARTS), ..Default::default() };
        let block = read(&self.store, &self.at(key), None, options, &pool).await?;
        Ok(block.slot(0).unwrap().to_vec())
    }
}

#[tokio::test]
async fn an_object_in_many_parts_is_read_under_faults_at_the_cost_of_the_faults() {
    let setup = Setup::new("reset=0.01,503=0.02,truncate=0.01".parse().unwrap(), RetryPolicy::default());
    let content = data::bytes(9, LEN);
    setup.server.put(setup.server.bucket(), "k", content.clone());
    const READS: u64 = 10;
    for _ in 0..READS {
        assert!(setup.read("k").await.unwrap() == content);
    }
    let given: u64 = setup.proxy.given().values().sum();
    let [requests, failed, retried, withheld] = setup.counts.now();
    assert!(given > READS, "some parts of most reads failed: {given}");
    assert_eq!((retried, withheld), (failed, 0), "each failure is tried again, once");
    // A read whose first request failed is begun anew before any part was asked for.
    assert_eq!(requests, READS * PARTS + failed);
    assert!(failed >= given, "{failed} {given}");
}

#[tokio::test]
async fn a_third_of_all_requests_may_fail_where_the_budget_allows_it() {
    let policy = RetryPolicy { budget: None, max_attempts: 20.try_into().unwrap(), ..RetryPolicy::default() };
    let setup = Setup::new("reset=0.15,503=0.1,truncate=0.1".parse().unwrap(), policy);
    let content = data::bytes(9, LEN);
    setup.server.put(setup.server.bucket(), "k", content.clone());
    assert!(setup.read("k").await.unwrap() == content);
    let [requests, failed, ..] = setup.counts.now();
    assert_eq!(requests, PARTS + failed);
}

#[tokio::test]
async fn what_does_not_pass_ends_the_read_after_its_attempts() {
    let policy = RetryPolicy { budget: None, max_attempts: 2.try_into().unwrap(), ..RetryPolicy::default() };
    // All but the first, which pins the version.
    let plan = FaultPlan::of((1..1000).map(|n| Rule::nth(n, HttpFault::slow_down())));
    let setup = Setup::new(plan, policy);
    setup.server.put(setup.server.bucket(), "k", data::bytes(9, LEN));
    let error = setup.read("k").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Throttled, "{error}");
    assert!(error.to_string().contains("attempts"), "{error}");
}

#[tokio::test]
async fn what_was_given_up_for_a_part_is_not_begun_again_for_the_whole() {
    let policy = RetryPolicy { budget: None, max_attempts: 3.try_into().unwrap(), ..RetryPolicy::default() };
    // The second of two parts, as often as it is asked for.
    let plan = FaultPlan::of((1..1000).map(|n| Rule::nth(n, HttpFault::slow_down())));
    let setup = Setup::new(plan, policy);
    let two_parts = 2 * LEN / PARTS as usize;
    setup.server.put(setup.server.bucket(), "k", data::bytes(9, two_parts));
    let error = setup.read("k").await.unwrap_err();
    assert!(error.to_string().contains("after 3 attempts"), "{error}");
    assert_eq!(setup.counts.now()[0], 1 + 3, "the first part once, and the second three times");
}

#[tokio::test]
async fn an_object_that_changed_between_its_parts_is_not_tried_again_part_by_part() {
    let policy = RetryPolicy { max_attempts: 9.try_into().unwrap(), ..RetryPolicy::default() };
    let setup = Setup::new(FaultPlan::of([Rule::nth(5, HttpFault::Replaced)]), policy);
    setup.server.put(setup.server.bucket(), "k", data::bytes(9, LEN));
    let error = setup.read("k").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition, "{error}");
    assert_eq!(setup.counts.now()[2], 0);
}

/// A stream cannot be sent again from its beginning, but its parts can.
#[tokio::test]
async fn a_part_of_an_upload_is_sent_again_and_so_a_stream_survives_a_fault() {
    let setup = Setup::new(FaultPlan::of([Rule::nth(2, HttpFault::slow_down())]), RetryPolicy::default());
    let content = data::bytes(3, 20 << 20);
    let chunks: Vec<_> = content.chunks(1 << 20).map(|chunk| Ok(chunk.to_vec().into())).collect();
    let body = Body::stream(stream::iter(chunks).boxed(), None);
    setup.store.put(&setup.at("new"), body, PutOptions::default()).await.unwrap();
    let [_, failed, retried, _] = setup.counts.now();
    assert_eq!((failed, retried), (1, 1));
    let back = setup.store.stat(&setup.at("new")).await.unwrap();
    assert_eq!(back.size, content.len() as u64);
    let pool = Pool::new(Budget::new(64 << 20).unwrap());
    let options = ReadOptions { target_request_bytes: NonZeroU64::new(4 << 20), ..Default::default() };
    let block = read(&setup.store, &setup.at("new"), None, options, &pool).await.unwrap();
    assert!(block.slot(0).unwrap() == content);
}

#[tokio::test]
async fn a_page_of_a_long_listing_is_tried_again_and_nothing_is_listed_twice() {
    const KEYS: usize = 20_500;
    let policy = RetryPolicy { budget: None, max_attempts: 20.try_into().unwrap(), ..RetryPolicy::default() };
    let setup = Setup::new("reset=0.2,503=0.1,truncate=0.2".parse().unwrap(), policy);
    setup.server.fill(setup.server.bucket(), "objects/", KEYS as u64, 1);
    let root = setup.at("objects/");
    let mut pages = setup.store.list(&root, ListOptions::recursive());
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        keys.extend(page.iter().map(|entry| entry.key.to_vec()));
    }
    let listed = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((listed, keys.len()), (KEYS, KEYS));
    let [_, failed, retried, _] = setup.counts.now();
    assert!(failed > 3, "some of the 21 pages failed: {failed}");
    assert_eq!(retried, failed);
}
