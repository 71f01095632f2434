//! Members of a batch that are read as one: what is beneath sees one request, and what is above each of them.

use forebay_io::layer::{Coalesced, Limited, Limits, Observed, RetryPolicy, Retrying};
use forebay_io::{
    Block, Budget, GetRequest, Kind, Location, MemoryStore, Operation, Pool, PutOptions, ReadOptions, Result,
    Served, Store, Unobserved, Version,
};
use forebay_io_testkit::{FaultRates, FaultStore, RecordingObserver};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

const LEN: u64 = 100;

fn content() -> Vec<u8> {
    (0..64 * LEN).map(|i| (i * 7 % 251) as u8).collect()
}

/// A shard in memory, and its version.
async fn shard() -> (Arc<MemoryStore>, Location, Option<Version>) {
    let (store, at) = (Arc::new(MemoryStore::new()), "mem://set/shard".parse().unwrap());
    store.put(&at, content().into(), PutOptions::default()).await.unwrap();
    let version = store.stat(&at).await.unwrap().version;
    (store, at, version)
}

/// All 64 samples, the last first, in requests of 16 of them.
async fn read(store: &dyn Store, at: &Location, version: Option<Version>) -> (Vec<Result<Served>>, Block) {
    let requests: Vec<_> = (0..64u32)
        .map(|slot| {
            let start = u64::from(63 - slot) * LEN;
            let range = Some(start..start + LEN);
            GetRequest { range, if_version: version.clone(), ..GetRequest::whole(at.clone(), slot) }
        })
        .collect();
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    let lease = pool.lease(pool.budget().ticket(), 64);
    let options = ReadOptions { target_request_bytes: NonZeroU64::new(16 * LEN), ..ReadOptions::default() };
    let results = store.get_many(requests.into(), options, lease.clone()).await;
    (results, lease.finish().unwrap())
}

fn whole(results: &[Result<Served>], block: &Block) {
    let content = content();
    for (slot, result) in results.iter().enumerate() {
        assert_eq!(result.as_ref().unwrap().bytes, LEN);
        let start = (63 - slot) * LEN as usize;
        assert_eq!(block.slot(slot).unwrap(), &content[start..start + LEN as usize]);
    }
}

#[tokio::test]
async fn what_is_beneath_sees_one_request_and_what_is_above_each_sample() {
    let (store, at, version) = shard().await;
    let [below, above] = [(); 2].map(|()| Arc::new(RecordingObserver::new()));
    let store = Arc::new(Observed::new(store, below.clone()));
    // Layers that ask for each member of a batch by itself, or for some at a time, ask for each run.
    let store = Arc::new(Retrying::new(store, RetryPolicy::default(), Arc::new(Unobserved)));
    let limits = Limits { concurrency: NonZeroU32::new(2), bytes_per_second: None };
    let store = Coalesced::new(Arc::new(Limited::new(store, limits)));
    assert!(store.capability().coalesces);
    let store = Retrying::new(Arc::new(store), RetryPolicy::default(), Arc::new(Unobserved));
    let store = Observed::new(Arc::new(store), above.clone());
    let (results, block) = read(&store, &at, version.clone()).await;
    whole(&results, &block);
    assert_eq!((below.records().len(), above.records().len()), (4, 64));
    // Nobody said which version, so nobody knows that they belong together.
    let (results, block) = read(&store, &at, None).await;
    whole(&results, &block);
    assert_eq!(below.records().len(), 4 + 64);
}

#[tokio::test]
async fn each_fails_by_itself_and_all_with_a_version_that_is_gone() {
    let (store, at, version) = shard().await;
    let rates = FaultRates::errors(Kind::Corrupt, 0.5).only(&[Operation::Get]);
    let faults = Coalesced::new(Arc::new(FaultStore::new(store.clone(), rates, 3).unwrap()));
    let (results, _) = read(&faults, &at, version).await;
    let failed = results.iter().filter(|result| result.is_err()).count();
    assert!((1..64).contains(&failed), "{failed}");
    let errors = || results.iter().filter_map(|result| result.as_ref().err());
    assert!(errors().all(|error| error.kind() == Kind::Corrupt));
    let (results, _) = read(&Coalesced::new(store), &at, Some(Version::new("gone"))).await;
    assert!(results.iter().all(|result| result.as_ref().unwrap_err().kind() == Kind::Precondition));
}

#[tokio::test]
async fn faults_that_pass_are_tried_again_and_nobody_sees_a_difference() {
    let (store, at, version) = shard().await;
    let rates = FaultRates {
        errors: vec![(Kind::Unavailable, 0.2)],
        short_reads: 0.1,
        lost_answers: 0.1,
        ..FaultRates::none()
    };
    let policy = RetryPolicy {
        max_attempts: NonZeroU32::new(20).unwrap(),
        base: Duration::from_micros(10),
        ..RetryPolicy::default()
    };
    for seed in 0..20 {
        let faults = Arc::new(FaultStore::new(store.clone(), rates.clone(), seed).unwrap());
        let retrying = Retrying::new(faults, policy, Arc::new(Unobserved));
        let (results, block) = read(&Coalesced::new(Arc::new(retrying)), &at, version.clone()).await;
        whole(&results, &block);
    }
}
