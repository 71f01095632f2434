//! The fault store does what it says, as often as it says, and the same way each time.

use forebay_io::{
    Budget, GetRequest, Kind, ListOptions, Location, MemoryStore, Operation, Pool, PutOptions, ReadOptions,
    Result, Retry, Store, read,
};
use forebay_io_testkit::data::Tree;
use forebay_io_testkit::{Fault, FaultRates, FaultStore};
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn root() -> Location {
    "mem://test/set".parse().unwrap()
}

async fn stored(tree: &Tree) -> Arc<dyn Store> {
    let store = MemoryStore::new();
    tree.put(&store, &root()).await.unwrap();
    Arc::new(store)
}

fn pool() -> Pool {
    Pool::new(Budget::new(64 << 20).unwrap())
}

async fn get(store: &dyn Store, location: &Location, attempt: u32) -> Result<Vec<u8>> {
    let options = ReadOptions { attempt, ..Default::default() };
    Ok(read(store, location, None, options, &pool()).await?.slot(0).unwrap().to_vec())
}

fn mixed() -> FaultRates {
    FaultRates {
        errors: vec![(Kind::Unavailable, 0.1), (Kind::Throttled, 0.1)],
        short_reads: 0.1,
        lost_answers: 0.1,
        corruption: 0.1,
        throttled_for: Some(Duration::from_millis(7)),
        ..FaultRates::none()
    }
}

/// What each location gives, as a kind of error or its bytes.
type Outcome = BTreeMap<Location, Result<Vec<u8>, Kind>>;

#[tokio::test]
async fn outcomes_depend_on_the_attempt_and_not_on_the_order() {
    let tree = Tree::new(1, 300, 1..=500);
    let inner = stored(&tree).await;
    let run = async |locations: Vec<Location>, attempt, seed| {
        let store = FaultStore::new(inner.clone(), mixed(), seed).unwrap();
        let mut outcome = Outcome::new();
        for location in locations {
            let result = get(&store, &location, attempt).await.map_err(|error| error.kind());
            outcome.insert(location, result);
        }
        (outcome, store.counts())
    };
    let forward = tree.locations(&root());
    let backward: Vec<_> = forward.iter().rev().cloned().collect();
    let first = run(forward.clone(), 0, 5).await;
    assert_eq!(first, run(backward, 0, 5).await);
    assert_ne!(first, run(forward.clone(), 1, 5).await, "another attempt is another draw");
    assert_ne!(first, run(forward, 0, 6).await, "another seed is another draw");

    // One batch is the same as one after another.
    let store = FaultStore::new(inner, mixed(), 5).unwrap();
    let pool = pool();
    let lease = pool.lease(pool.budget().ticket(), 300);
    let requests = first.0.keys().zip(0..).map(|(l, slot)| GetRequest::whole(l.clone(), slot)).collect();
    let results = store.get_many(requests, ReadOptions::default(), lease.clone()).await;
    let block = lease.finish().unwrap();
    for (slot, ((location, expected), result)) in first.0.iter().zip(results).enumerate() {
        let found = result.map(|_| block.slot(slot).unwrap().to_vec()).map_err(|error| error.kind());
        assert_eq!(&found, expected, "{location}");
    }
    assert_eq!(store.counts(), first.1);
}

#[tokio::test]
async fn counts_are_what_a_caller_sees() {
    let tree = Tree::new(2, 1000, 1..=100);
    let store = FaultStore::new(stored(&tree).await, mixed(), 1).unwrap();
    let (mut failed, mut corrupt) = (0, 0);
    for location in tree.locations(&root()) {
        match get(&store, &location, 0).await {
            Ok(bytes) => corrupt += u64::from(tree.verify(&root(), &location, &bytes).is_err()),
            Err(error) => {
                assert_eq!(error.location(), Some(&location));
                assert!(error.to_string().contains("injected"), "{error}");
                let named = error.retry() == Retry::After(Duration::from_millis(7));
                assert_eq!(named, error.kind() == Kind::Throttled);
                failed += 1;
            }
        }
    }
    let counts = store.counts();
    assert_eq!((failed, corrupt), (counts.failures(), counts.corruptions));
    for count in [
        counts.errors[&Kind::Unavailable],
        counts.errors[&Kind::Throttled],
        counts.short_reads,
        counts.lost_answers,
        corrupt,
    ] {
        assert!((70..130).contains(&count), "about a tenth each: {counts:?}");
    }
}

#[tokio::test]
async fn a_short_read_leaves_a_part_and_fails() {
    let tree = Tree::new(3, 1, 1000..=1000);
    let store = FaultStore::new(stored(&tree).await, FaultRates::none(), 1).unwrap();
    let location = tree.locations(&root()).remove(0);
    let expected = tree.iter().next().unwrap().1;
    store.script(&location, [Fault::Short, Fault::None, Fault::None, Fault::Short]);
    let pool = pool();
    let lease = pool.lease(pool.budget().ticket(), 1);
    let request = GetRequest::whole(location.clone(), 0);
    let error = store.get(request, ReadOptions::default(), lease.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    let block = lease.finish().unwrap();
    let found = block.slot(0).unwrap();
    assert!(found[..500] == expected[..500] && found[500..] != expected[500..]);

    let object = store.open(&location, ReadOptions::default()).await.unwrap();
    let (buf, result) = object.read_into(0, pool.buffer(1000).await.unwrap()).await;
    result.unwrap();
    let (buf, result) = object.read_into(0, buf).await;
    assert_eq!(result.unwrap_err().kind(), Kind::Corrupt);
    assert!(buf[..500] == expected[..500] && buf[500..] != expected[500..]);
    assert_eq!(store.counts().short_reads, 2);
}

#[tokio::test]
async fn a_lost_answer_hides_what_was_done() {
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let store = FaultStore::new(inner.clone(), FaultRates::none(), 1).unwrap();
    let location = root().join(b"a");
    store.script(&location, [Fault::Lost, Fault::Lost]);
    let error = store.put(&location, b"x".as_slice().into(), PutOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (Kind::TimedOut, Operation::Put));
    assert_eq!(inner.stat(&location).await.unwrap().size, 1);
    assert_eq!(store.delete(&location).await.unwrap_err().kind(), Kind::TimedOut);
    assert_eq!(inner.stat(&location).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(store.counts().lost_answers, 2);
}

#[tokio::test]
async fn a_listing_breaks_off_after_its_first_page() {
    let tree = Tree::new(4, 1500, 0..=0);
    let store = FaultStore::new(stored(&tree).await, FaultRates::none(), 1).unwrap();
    let root = root();
    store.script(&root, [Fault::Short, Fault::Error(Kind::Denied), Fault::None]);
    let mut pages = store.list(&root, ListOptions::recursive());
    assert_eq!(pages.try_next().await.unwrap().unwrap().len(), 1000);
    assert_eq!(pages.try_next().await.unwrap_err().kind(), Kind::Unavailable);
    let mut pages = store.list(&root, ListOptions::recursive());
    assert_eq!(pages.try_next().await.unwrap_err().kind(), Kind::Denied);
    let pages: Vec<_> = store.list(&root, ListOptions::recursive()).try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.len()).sum::<usize>(), 1500);
}

#[tokio::test(start_paused = true)]
async fn delays_pass_and_hangs_do_not() {
    let tree = Tree::new(5, 50, 0..=10);
    let longest = Duration::from_secs(10);
    let rates = FaultRates { delays: 1.0, longest_delay: longest, ..FaultRates::none() };
    let store = FaultStore::new(stored(&tree).await, rates, 1).unwrap();
    let begin = Instant::now();
    for location in tree.locations(&root()) {
        let before = Instant::now();
        get(&store, &location, 0).await.unwrap();
        assert!(before.elapsed() <= longest + Duration::from_millis(2));
    }
    let mean = begin.elapsed() / 50;
    assert!(mean > longest / 3 && mean < longest * 2 / 3, "{mean:?}");
    assert_eq!(store.counts().delays, 50);

    let rates = FaultRates { hangs: 1.0, ..FaultRates::none() };
    let store = FaultStore::new(stored(&tree).await, rates.only(&[Operation::Get]), 1).unwrap();
    let location = &tree.locations(&root())[0];
    let hang = tokio::time::timeout(Duration::from_secs(1_000_000), get(&store, location, 0)).await;
    assert!(hang.is_err());
    store.stat(location).await.expect("only reads hang");
    assert_eq!(store.counts().hangs, 1);
}
