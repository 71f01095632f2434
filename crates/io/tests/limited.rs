//! `Limited` keeps to its limits, on every path, and never stands in its own way.

use bytes::Bytes;
use forebay_io::layer::{AdaptiveLimit, Limited, Limits, Observed, RetryPolicy, Retrying};
use forebay_io::{
    Body, Budget, Error, Event, GetRequest, Kind, ListOptions, Location, MemoryStore, Operation, Place, Pool,
    PutOptions, ReadOptions, Reservation, Result, Served, Store, Unobserved, Want, read,
};
use forebay_io_testkit::data::{self, Tree};
use forebay_io_testkit::{FaultRates, FaultStore, MemoryReads, Reads, RecordingObserver};
use futures::future::{BoxFuture, join_all};
use futures::stream;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const SECOND: u64 = 1 << 20;

fn root() -> Location {
    "mem://test/set".parse().unwrap()
}

fn pool() -> Pool {
    Pool::new(Budget::new(64 << 20).unwrap())
}

fn requests(locations: &[Location]) -> Arc<[GetRequest]> {
    locations.iter().zip(0..).map(|(l, slot)| GetRequest::whole(l.clone(), slot)).collect()
}

async fn put(store: &dyn Store, location: &Location, len: u64) {
    let body = data::bytes(len, len as usize).into();
    store.put(location, body, PutOptions::default()).await.unwrap();
}

/// A limited store whose operations take a while, and who saw them.
async fn slow(concurrency: u32, tree: &Tree) -> (Arc<Limited>, Arc<RecordingObserver>) {
    let memory = MemoryStore::new();
    tree.put(&memory, &root()).await.unwrap();
    let rates = FaultRates { delays: 1.0, longest_delay: Duration::from_millis(20), ..FaultRates::none() };
    let slow = FaultStore::new(Arc::new(memory), rates, 1).unwrap();
    let observer = Arc::new(RecordingObserver::new());
    let observed = Arc::new(Observed::new(Arc::new(slow), observer.clone()));
    let limits = Limits { concurrency: NonZeroU32::new(concurrency), ..Limits::default() };
    (Arc::new(Limited::new(observed, limits)), observer)
}

fn per_second(bytes: u64, store: Arc<dyn Store>) -> Limited {
    Limited::new(store, Limits { bytes_per_second: NonZeroU64::new(bytes), ..Limits::default() })
}

/// Whether something took this many seconds, to a hundredth.
fn took(begin: Instant, seconds: f64) {
    let found = begin.elapsed().as_secs_f64();
    assert!((found - seconds).abs() <= 0.01 + seconds * 0.01, "took {found} s, not {seconds}");
}

#[tokio::test(start_paused = true)]
async fn never_more_than_the_limit_are_in_flight() {
    let tree = Tree::new(1, 60, 1..=2000);
    let locations = tree.locations(&root());
    for limit in [1, 2, 3, 7, 16, 60, 500] {
        let (store, observer) = slow(limit, &tree).await;
        let pool = pool();
        let (one, two) = (pool.lease(pool.budget().ticket(), 60), pool.lease(pool.budget().ticket(), 60));
        let object = store.open(&locations[0], ReadOptions::default()).await.unwrap();
        let len = object.meta().size;
        let many = pool.lease(pool.budget().ticket(), 30);
        let batches = async {
            let (a, b) = futures::join!(
                store.get_many(requests(&locations), ReadOptions::default(), one.clone()),
                store.get_many(requests(&locations), ReadOptions::default(), two.clone()),
            );
            assert!(a.iter().chain(&b).all(Result::is_ok));
            let wants: Vec<_> = (0..30).map(|slot| Want::new(slot, len)).collect();
            let bufs = many.reserve(&wants).await.unwrap();
            let ranges = bufs.into_iter().map(|buf| (0, buf)).collect();
            for (buf, result) in object.read_many(ranges).await {
                result.unwrap();
                tree.verify(&root(), &locations[0], &buf).unwrap();
            }
        };
        let singles = join_all(locations.iter().map(async |location| {
            store.stat(location).await.unwrap();
            store.open(location, ReadOptions::default()).await.unwrap();
            let spare = location.join(b"spare");
            store.put(&spare, b"x".as_slice().into(), PutOptions::default()).await.unwrap();
            store.delete(&spare).await.unwrap();
        }));
        futures::join!(batches, singles);
        for lease in [one, two] {
            let block = lease.finish().unwrap();
            for (slot, location) in locations.iter().enumerate() {
                tree.verify(&root(), location, block.slot(slot).unwrap()).unwrap();
            }
        }
        let peak = observer.peak_in_flight();
        assert!(peak <= limit as usize, "{peak} in flight, limit {limit}");
        let reachable = (limit as usize).min(100);
        assert!(peak >= reachable, "only {peak} in flight, limit {limit}");
        observer.assert_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_within_the_limit_stays_one_submission() {
    let tree = Tree::new(2, 20, 1..=100);
    let (store, observer) = slow(20, &tree).await;
    let pool = pool();
    let lease = pool.lease(pool.budget().ticket(), 20);
    let locations = tree.locations(&root());
    store.get_many(requests(&locations), ReadOptions::default(), lease).await;
    assert_eq!(observer.peak_of(Operation::Get), 20);
    assert_eq!(observer.of(Operation::Get).len(), 20);
}

#[tokio::test]
async fn a_read_that_waits_for_memory_holds_no_permit() {
    let tree = Tree::new(3, 3, 4000..=4000);
    let (store, observer) = slow(1, &tree).await;
    let locations = tree.locations(&root());
    let pool = Pool::new(Budget::new(10_000).unwrap());
    let older = pool.lease(pool.budget().ticket(), 2);
    let Reservation::Granted(held) = older.try_reserve(&[Want::new(0, 5000)]) else { panic!() };
    let younger = pool.lease(pool.budget().ticket(), 2);
    let mut waiting =
        Box::pin(store.get_many(requests(&locations[..2]), ReadOptions::default(), younger.clone()));
    // It has asked the inner store, and the permit is back, when the older batch's read goes through.
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("there is no memory for it yet"),
        result = async {
            while observer.of(Operation::Get).is_empty() {
                tokio::task::yield_now().await;
            }
            let request = GetRequest::whole(locations[2].clone(), 1);
            store.get(request, ReadOptions::default(), older.clone()).await
        } => assert_eq!(result.unwrap().bytes, 4000),
    }
    drop((held, older));
    assert!(waiting.await.iter().all(Result::is_ok));
    let block = younger.finish().unwrap();
    for slot in [0, 1] {
        tree.verify(&root(), &locations[slot], block.slot(slot).unwrap()).unwrap();
    }
    assert_eq!(observer.peak_in_flight(), 1);
}

#[tokio::test]
async fn a_body_may_read_from_the_store_it_is_put_to() {
    let tree = Tree::new(4, 1, 50_000..=50_000);
    let (store, observer) = slow(1, &tree).await;
    let (from, to) = (tree.locations(&root()).remove(0), root().join(b"copy"));
    let reader = store.clone();
    let source = from.clone();
    let chunks = stream::iter(0..5u64).then(move |i| {
        let (reader, source) = (reader.clone(), source.clone());
        async move {
            let range = Some(i * 10_000..(i + 1) * 10_000);
            let block = read(&*reader, &source, range, ReadOptions::default(), &pool()).await?;
            Ok(Bytes::copy_from_slice(block.as_slice()).slice(..10_000))
        }
    });
    let body = Body::stream(chunks.boxed(), Some(50_000));
    let put = store.put(&to, body, PutOptions::default());
    tokio::time::timeout(Duration::from_secs(60), put).await.expect("no deadlock").unwrap();
    let copy = read(&*store, &to, None, ReadOptions::default(), &pool()).await.unwrap();
    tree.verify(&root(), &from, copy.slot(0).unwrap()).unwrap();
    assert_eq!(observer.peak_of(Operation::Get), 1);
}

#[tokio::test]
async fn between_two_pages_other_operations_go_on() {
    let tree = Tree::new(5, 1200, 0..=0);
    let (store, _) = slow(1, &tree).await;
    let root = root();
    let mut pages = store.list(&root, ListOptions::recursive());
    let first = pages.next().await.unwrap().unwrap();
    let entry = first.entry(0).unwrap().location();
    tokio::time::timeout(Duration::from_secs(60), store.stat(&entry))
        .await
        .expect("no permit is held")
        .unwrap();
    assert_eq!(first.len() + pages.next().await.unwrap().unwrap().len(), 1200);
}

#[tokio::test(start_paused = true)]
async fn reads_are_paid_for_by_the_byte() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let locations: Vec<_> = (0..10).map(|i| root().join(&[b'a' + i])).collect();
    for location in &locations {
        put(&*memory, location, SECOND).await;
    }
    let store = per_second(SECOND, memory);
    let pool = pool();

    // The first second's worth is there from the start.
    let begin = Instant::now();
    for location in &locations {
        read(&store, location, None, ReadOptions::default(), &pool).await.unwrap();
    }
    took(begin, 9.0);

    let begin = Instant::now();
    let lease = pool.lease(pool.budget().ticket(), 10);
    for result in store.get_many(requests(&locations), ReadOptions::default(), lease).await {
        result.unwrap();
    }
    took(begin, 10.0);

    let begin = Instant::now();
    let object = store.open(&locations[0], ReadOptions::default()).await.unwrap();
    let half = SECOND / 2;
    let (buf, result) = object.read_into(0, pool.buffer(half).await.unwrap()).await;
    result.unwrap();
    let ranges = vec![(0, buf), (half, pool.buffer(half).await.unwrap())];
    for (_, result) in object.read_many(ranges).await {
        result.unwrap();
    }
    took(begin, 1.5);
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_saves_one_second_and_no_more() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let location = root().join(b"five seconds");
    put(&*memory, &location, 5 * SECOND).await;
    let store = per_second(SECOND, memory);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let begin = Instant::now();
    read(&store, &location, None, ReadOptions::default(), &pool()).await.unwrap();
    took(begin, 4.0);
}

#[tokio::test(start_paused = true)]
async fn what_fails_before_its_size_is_known_costs_nothing() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let location = root().join(b"a");
    put(&*memory, &location, SECOND).await;
    let store = per_second(SECOND, memory);
    let begin = Instant::now();
    for _ in 0..100 {
        let missing = root().join(b"missing");
        let error = read(&store, &missing, None, ReadOptions::default(), &pool()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        store.stat(&location).await.unwrap();
    }
    read(&store, &location, None, ReadOptions::default(), &pool()).await.unwrap();
    took(begin, 0.0);
}

#[tokio::test(start_paused = true)]
async fn puts_are_paid_for_chunk_by_chunk() {
    let store = per_second(SECOND, Arc::new(MemoryStore::new()));
    let location = root().join(b"a");
    let begin = Instant::now();
    put(&store, &location, 3 * SECOND).await;
    took(begin, 2.0);

    // The body is asked for a chunk when the one before is paid for, not for all of it at once.
    let asked = Arc::new(Mutex::new(Vec::new()));
    let times = asked.clone();
    let chunks = stream::iter(0..4).map(move |_| {
        times.lock().push(begin.elapsed().as_secs());
        Ok(Bytes::from(vec![0; SECOND as usize]))
    });
    let body = Body::stream(chunks.boxed(), Some(4 * SECOND));
    store.put(&location, body, PutOptions::default()).await.unwrap();
    took(begin, 6.0);
    assert_eq!(*asked.lock(), [2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn reads_and_puts_share_the_rate() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let location = root().join(b"a");
    put(&*memory, &location, 2 * SECOND).await;
    let store = per_second(SECOND, memory);
    let begin = Instant::now();
    let pool = pool();
    let reading = read(&store, &location, None, ReadOptions::default(), &pool);
    let other = root().join(b"b");
    let (block, ()) = futures::join!(reading, put(&store, &other, 2 * SECOND));
    assert_eq!(block.unwrap().as_slice().len() as u64, 2 * SECOND);
    took(begin, 3.0);
}

/// A service that throttles whatever comes while `bearable` operations are being served.
#[derive(Debug)]
struct Overloadable {
    bearable: usize,
    inside: Arc<AtomicUsize>,
    most: AtomicUsize,
}

struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reads for Overloadable {
    fn get<'a>(
        &'a self,
        memory: &'a MemoryStore,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        async move {
            let before = self.inside.fetch_add(1, Ordering::Relaxed);
            let _inside = Inside(self.inside.clone());
            self.most.fetch_max(before + 1, Ordering::Relaxed);
            if before >= self.bearable {
                return Err(Error::new(Kind::Throttled, Operation::Get, "slow down").at(&request.location));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            memory.get(request, options, place).await
        }
        .boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_limit_settles_near_what_the_service_bears() {
    let memory = MemoryStore::new();
    let tree = Tree::new(1, 64, 100..=100);
    tree.put(&memory, &root()).await.unwrap();
    let locations = tree.locations(&root());
    let service = Overloadable { bearable: 20, inside: Arc::default(), most: AtomicUsize::default() };
    let service = Arc::new(MemoryReads::new(memory, service));
    let observer = Arc::new(RecordingObserver::new());
    let limit = AdaptiveLimit { most: NonZeroU32::new(64).unwrap(), least: NonZeroU32::MIN };
    let limited = Arc::new(Limited::adaptive(service.clone(), limit, observer.clone()));
    let policy = RetryPolicy {
        max_attempts: NonZeroU32::new(50).unwrap(),
        base: Duration::from_millis(5),
        budget: None,
        ..RetryPolicy::default()
    };
    let store = Retrying::new(limited.clone(), policy, Arc::new(Unobserved));
    let pool = pool();
    for _ in 0..40 {
        let lease = pool.lease(pool.budget().ticket(), locations.len() as u32);
        let results = store.get_many(requests(&locations), ReadOptions::default(), lease).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }
    assert_eq!(service.reads.most.load(Ordering::Relaxed), 21, "it was tried beyond what it bears");
    let limits: Vec<u32> = observer
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::ConcurrencyLimit { to, .. } => Some(to),
            _ => None,
        })
        .collect();
    assert_eq!(limits[..2], [64, 32]);
    let settled = &limits[4..];
    assert!(settled.len() > 20 && settled.iter().all(|to| (10..=30).contains(to)), "{limits:?}");
    drop((store, limited));
    assert!(matches!(observer.events().last(), Some(Event::ConcurrencyLimit { to: 0, .. })));
}
