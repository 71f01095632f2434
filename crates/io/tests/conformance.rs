//! The memory store and every wrapper keep every promise of a store.

use forebay_io::layer::{
    AdaptiveLimit, Balanced, Breaker, BreakerPolicy, Coalesced, Deadline, HedgePolicy, Hedged, Limited,
    Limits, Observed, RetryPolicy, Retrying, Routed,
};
use forebay_io::{Budget, Kind, MemoryStore, Operation, Pool, PutOptions, ReadOptions, Store, Unobserved};
use forebay_io_testkit::{FaultRates, FaultStore, Fixture, RecordingObserver};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

async fn memory() -> Fixture {
    Fixture::new(Arc::new(MemoryStore::new()), "mem://test/a root".parse().unwrap())
}

/// Checks when the fixture goes that the observer's contract was kept.
struct Settled(Arc<RecordingObserver>);

impl Drop for Settled {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.assert_settled();
        }
    }
}

async fn observed() -> Fixture {
    let observer = Arc::new(RecordingObserver::new());
    let settled = Settled(observer.clone());
    memory().await.wrap(|store| Arc::new(Observed::new(store, observer))).keep(settled)
}

fn limits(concurrency: u32, bytes_per_second: Option<u64>) -> Limits {
    Limits {
        concurrency: NonZeroU32::new(concurrency),
        bytes_per_second: bytes_per_second.and_then(NonZeroU64::new),
    }
}

async fn limited() -> Fixture {
    memory().await.wrap(|store| Arc::new(Limited::new(store, limits(4, None))))
}

async fn limited_to_one() -> Fixture {
    memory().await.wrap(|store| Arc::new(Limited::new(store, limits(1, None))))
}

/// So fast that the tests do not wait long, so slow that large reads do wait.
async fn limited_in_bytes() -> Fixture {
    memory().await.wrap(|store| Arc::new(Limited::new(store, limits(0, Some(8 << 20)))))
}

async fn limited_in_both() -> Fixture {
    memory().await.wrap(|store| Arc::new(Limited::new(store, limits(3, Some(8 << 20)))))
}

async fn limited_adaptively() -> Fixture {
    let limit = AdaptiveLimit { most: NonZeroU32::new(3).unwrap(), least: NonZeroU32::MIN };
    memory().await.wrap(|store| Arc::new(Limited::adaptive(store, limit, Arc::new(Unobserved))))
}

async fn guarded() -> Fixture {
    memory().await.wrap(|store| Arc::new(Breaker::new(store, BreakerPolicy::default(), Arc::new(Unobserved))))
}

async fn with_deadlines() -> Fixture {
    memory().await.wrap(|store| Arc::new(Deadline::new(store, Duration::from_secs(20))))
}

/// Three doors, one of which is broken half of the time for reads.
async fn balanced() -> Fixture {
    let rates = FaultRates { errors: vec![(Kind::Unavailable, 0.5)], ..FaultRates::none() };
    let rates = rates.only(&[Operation::Get, Operation::Read, Operation::Open, Operation::Stat]);
    memory().await.wrap(|store| {
        let faults = Arc::new(FaultStore::new(store.clone(), rates, 1).unwrap());
        Arc::new(Balanced::new(vec![faults, store.clone(), store], Arc::new(Unobserved), 1).unwrap())
    })
}

/// Half of all reads are late, and are sent twice.
async fn hedged() -> Fixture {
    let rates = FaultRates { delays: 0.5, longest_delay: Duration::from_millis(8), ..FaultRates::none() };
    let policy = HedgePolicy { quantile: 0.3, min_delay: Duration::from_micros(1), spare_bytes: 32 << 20 };
    let mut stores = None;
    let fixture = memory().await.wrap(|store| {
        let faults = Arc::new(FaultStore::new(store, rates, 1).unwrap());
        let hedged = Arc::new(Hedged::new(faults, policy, Arc::new(Unobserved)).unwrap());
        stores = Some(hedged.clone());
        hedged
    });
    // It has to know what is usual before it hedges.
    let hedged = stores.expect("just made");
    let location: forebay_io::Location = "mem://elsewhere/object".parse().unwrap();
    hedged.put(&location, b"x".as_slice().into(), PutOptions::default()).await.unwrap();
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    let gets = (0..64).map(|_| forebay_io::read(&*hedged, &location, None, ReadOptions::default(), &pool));
    assert!(futures::future::join_all(gets).await.iter().all(Result::is_ok));
    fixture
}

/// Every store is opened when it is first named.
async fn routed() -> Fixture {
    memory().await.wrap(|store| Arc::new(Routed::new(store.clone(), move |_| Ok(store.clone()))))
}

async fn coalesced() -> Fixture {
    memory().await.wrap(|store| Arc::new(Coalesced::new(store)))
}

async fn retrying() -> Fixture {
    memory().await.wrap(|store| Arc::new(Retrying::new(store, RetryPolicy::default(), Arc::new(Unobserved))))
}

async fn faultless() -> Fixture {
    memory().await.wrap(|store| Arc::new(FaultStore::new(store, FaultRates::none(), 1).unwrap()))
}

/// One read in ten fails and is made again: nobody sees a difference.
async fn outlived() -> Fixture {
    let rates = FaultRates {
        errors: vec![(Kind::Unavailable, 0.04), (Kind::Throttled, 0.02)],
        short_reads: 0.02,
        lost_answers: 0.02,
        ..FaultRates::none()
    };
    let rates = rates.only(&[Operation::Get, Operation::Read, Operation::Open, Operation::Stat]);
    let policy = RetryPolicy {
        max_attempts: NonZeroU32::new(12).unwrap(),
        base: Duration::from_micros(10),
        ..RetryPolicy::default()
    };
    memory().await.wrap(|store| {
        let faults = Arc::new(FaultStore::new(store, rates, 1).unwrap());
        Arc::new(Retrying::new(faults, policy, Arc::new(Unobserved)))
    })
}

/// Everything, in the order in which it is used.
async fn stacked() -> Fixture {
    let device = Arc::new(RecordingObserver::new());
    let caller = Arc::new(RecordingObserver::new());
    let settled = (Settled(device.clone()), Settled(caller.clone()));
    let fixture = faultless().await.wrap(|store| {
        let door = || -> Arc<dyn Store> {
            let observed = Arc::new(Observed::new(store.clone(), device.clone()));
            let deadline = Arc::new(Deadline::new(observed, Duration::from_secs(20)));
            let guarded = Arc::new(Breaker::new(deadline, BreakerPolicy::default(), caller.clone()));
            Arc::new(Limited::adaptive(guarded, AdaptiveLimit::default(), caller.clone()))
        };
        let balanced = Arc::new(Balanced::new(vec![door(), door()], caller.clone(), 1).unwrap());
        let hedged = Arc::new(Hedged::new(balanced, HedgePolicy::default(), caller.clone()).unwrap());
        let retrying = Arc::new(Retrying::new(hedged, RetryPolicy::default(), caller.clone()));
        let limited = Arc::new(Limited::new(retrying, limits(8, Some(1 << 40))));
        Arc::new(Observed::new(Arc::new(Coalesced::new(limited)), caller))
    });
    fixture.keep(settled)
}

macro_rules! suites {
    ($($factory:ident as $name:ident),* $(,)?) => {
        $(mod $name {
            forebay_io_testkit::conformance_suite!(super::$factory);
        })*
    };
}

suites! {
    memory as memory_store,
    observed as observed_store,
    limited as limited_store,
    limited_to_one as limited_to_one_store,
    limited_in_bytes as limited_in_bytes_store,
    limited_in_both as limited_in_both_store,
    limited_adaptively as adaptively_limited_store,
    guarded as guarded_store,
    with_deadlines as store_with_deadlines,
    balanced as balanced_store,
    hedged as hedged_store,
    routed as routed_store,
    coalesced as coalesced_store,
    retrying as retrying_store,
    faultless as faultless_store,
    outlived as outlived_faults_store,
    stacked as stacked_store,
}
