//! How much of a service's rate is left when some of its answers are faults: in a model of one, in tokio's time, so
//! that the result is of the policies alone and the same on every machine.
//!
//! Like a loader it reads eight batches ahead and takes them in order; like a service's door it lets 32 requests
//! in, each of which takes up to 4 ms.

use forebay_io::layer::{AdaptiveLimit, Deadline, Limited, RetryPolicy, Retrying};
use forebay_io::{
    Budget, GetRequest, Kind, Location, MemoryStore, Place, Pool, PutOptions, ReadOptions, Result, Store,
    Unobserved, Want,
};
use forebay_io_testkit::{FaultRates, FaultStore};
use futures::{StreamExt, stream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const OBJECTS: u32 = 4000;
const BATCH: u32 = 32;
const AT_ONCE: u32 = 32;
const AHEAD: usize = 8;

/// How long an epoch takes.
async fn epoch(errors: Vec<(Kind, f64)>) -> Duration {
    let memory = MemoryStore::new();
    let at = |number: u32| -> Location { format!("mem://h/{number}").parse().unwrap() };
    for number in 0..OBJECTS {
        memory.put(&at(number), b"x".as_slice().into(), PutOptions::default()).await.unwrap();
    }
    let rates =
        FaultRates { errors, delays: 1.0, longest_delay: Duration::from_millis(4), ..FaultRates::none() };
    let service = Arc::new(FaultStore::new(Arc::new(memory), rates, 1).unwrap());
    // Each member of a batch is a request of its own, as it is of a service: what no layer knows better.
    let service = Arc::new(Deadline::new(service, Duration::from_secs(60)));
    let limit = AdaptiveLimit { most: NonZeroU32::new(AT_ONCE).unwrap(), ..AdaptiveLimit::default() };
    let limited = Arc::new(Limited::adaptive(service, limit, Arc::new(Unobserved)));
    let store = &Retrying::new(limited, RetryPolicy::default(), Arc::new(Unobserved));
    let pool = &Pool::new(Budget::new(64 << 20).unwrap());
    let begin = Instant::now();
    let batches = (0..OBJECTS / BATCH).map(|batch| async move {
        let requests: Arc<[_]> =
            (0..BATCH).map(|slot| GetRequest::whole(at(batch * BATCH + slot), slot)).collect();
        let lease = pool.lease(pool.budget().ticket(), BATCH);
        // As a store does that is told the sizes. Else a batch whose read failed before its size was known would
        // keep all after it from memory, for they get theirs in order.
        let wants: Vec<_> = (0..BATCH).map(|slot| Want::new(slot, 1)).collect();
        drop(lease.reserve(&wants).await.unwrap());
        let results = store.get_many(requests, ReadOptions::default(), lease).await;
        assert!(results.iter().all(Result::is_ok));
    });
    stream::iter(batches).buffered(AHEAD).collect::<()>().await;
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn four_per_cent_of_faults_leave_most_of_the_rate() {
    let sound = epoch(Vec::new()).await;
    let faulty = epoch(vec![(Kind::Throttled, 0.02), (Kind::Unavailable, 0.02)]).await;
    let left = sound.as_secs_f64() / faulty.as_secs_f64();
    assert!(left >= 0.85, "{left:.3} of the rate: {faulty:?}, {sound:?} without");
}
