//! `Breaker` leaves a failing endpoint alone, probes it once a cooldown, and says when to come back.

use forebay_io::layer::{Breaker, BreakerPolicy, Observed, RetryPolicy, Retrying};
use forebay_io::{
    Body, Budget, Error, Event, GetRequest, Kind, ListOptions, Location, MemoryStore, Operation, Place, Pool,
    PutOptions, ReadOptions, Reservation, Result, Retry, Store, Unobserved, Want, read,
};
use forebay_io_testkit::{Fault, FaultRates, FaultStore, RecordingObserver};
use futures::{StreamExt, stream};
use proptest::prelude::*;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, advance};

const COOLDOWN: Duration = Duration::from_secs(10);
const UNAVAILABLE: Fault = Fault::Error(Kind::Unavailable);

struct Bench {
    store: Arc<Breaker>,
    faults: Arc<FaultStore>,
    /// Sees what reaches the endpoint.
    device: Arc<RecordingObserver>,
    events: Arc<RecordingObserver>,
    location: Location,
    pool: Pool,
}

async fn bench(failures: u32) -> Bench {
    let memory = MemoryStore::new();
    let location: Location = "mem://test/object".parse().unwrap();
    memory.put(&location, b"content".as_slice().into(), PutOptions::default()).await.unwrap();
    let faults = Arc::new(FaultStore::new(Arc::new(memory), FaultRates::none(), 3).unwrap());
    let (device, events) = (Arc::new(RecordingObserver::new()), Arc::new(RecordingObserver::new()));
    let observed = Arc::new(Observed::new(faults.clone(), device.clone()));
    let policy = BreakerPolicy { failures: NonZeroU32::new(failures).unwrap(), cooldown: COOLDOWN };
    let store = Arc::new(Breaker::new(observed, policy, events.clone()));
    Bench { store, faults, device, events, location, pool: Pool::new(Budget::new(1 << 20).unwrap()) }
}

impl Bench {
    async fn get(&self) -> Result<()> {
        read(&*self.store, &self.location, None, ReadOptions::default(), &self.pool).await.map(drop)
    }

    fn script(&self, faults: &[Fault]) {
        self.faults.script(&self.location, faults.iter().copied());
    }

    fn sent(&self) -> usize {
        [Operation::Get, Operation::Read, Operation::Stat].iter().map(|o| self.device.of(*o).len()).sum()
    }
}

fn refused(result: Result<()>) -> Duration {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("not sent: "), "{error}");
    match error.retry() {
        Retry::After(left) => left,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_and_one_probe_closes_it() {
    let bench = bench(3).await;
    bench.script(&[UNAVAILABLE, Fault::Error(Kind::TimedOut), UNAVAILABLE]);
    for _ in 0..3 {
        assert!(!bench.get().await.unwrap_err().to_string().contains("not sent"));
    }
    advance(COOLDOWN / 4).await;
    assert_eq!(refused(bench.get().await), COOLDOWN * 3 / 4);
    assert_eq!(refused(bench.store.stat(&bench.location).await.map(drop)), COOLDOWN * 3 / 4);
    assert_eq!(bench.sent(), 3);
    advance(COOLDOWN * 3 / 4).await;
    bench.get().await.unwrap();
    bench.get().await.unwrap();
    assert_eq!(bench.events.events(), [Event::BreakerOpened, Event::BreakerRefused, Event::BreakerRefused]);
}

#[tokio::test(start_paused = true)]
async fn there_is_one_probe_a_cooldown_whatever_becomes_of_it() {
    let bench = bench(1).await;
    bench.script(&[UNAVAILABLE, UNAVAILABLE, Fault::Hang]);
    bench.get().await.unwrap_err();
    advance(COOLDOWN).await;
    assert!(!bench.get().await.unwrap_err().to_string().contains("not sent"), "the probe, which failed");
    assert_eq!(refused(bench.get().await), COOLDOWN);
    advance(COOLDOWN).await;
    {
        let hung = bench.get();
        tokio::pin!(hung);
        assert!(futures::poll!(&mut hung).is_pending());
        assert_eq!(refused(bench.get().await), COOLDOWN, "while the probe is on its way");
    }
    assert_eq!(refused(bench.get().await), COOLDOWN, "and when it was given up");
    advance(COOLDOWN).await;
    bench.get().await.unwrap();
    assert_eq!(bench.events.events().iter().filter(|e| **e == Event::BreakerOpened).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_any_kind_shows_that_the_endpoint_is_there() {
    let bench = bench(2).await;
    for answer in [Kind::NotFound, Kind::Denied, Kind::Throttled, Kind::Corrupt, Kind::Precondition] {
        bench.script(&[UNAVAILABLE, Fault::Error(answer)]);
        bench.get().await.unwrap_err();
        assert_eq!(bench.get().await.unwrap_err().kind(), answer);
    }
    assert!(bench.events.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_put_whose_own_body_fails_says_nothing_of_the_endpoint() {
    let bench = bench(1).await;
    let broken = || Err(Error::new(Kind::Unavailable, Operation::Read, "where it comes from is down"));
    let body = Body::stream(stream::iter([broken()]).boxed(), None);
    bench.store.put(&bench.location, body, PutOptions::default()).await.unwrap_err();
    bench.get().await.unwrap();
    assert!(bench.events.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_only_one_member_goes_as_a_probe() {
    let bench = bench(4).await;
    let requests: Arc<[_]> = (0..4).map(|slot| GetRequest::whole(bench.location.clone(), slot)).collect();
    let get_many = || {
        let lease = bench.pool.lease(bench.pool.budget().ticket(), 4);
        bench.store.get_many(requests.clone(), ReadOptions::default(), lease)
    };
    bench.script(&[UNAVAILABLE; 4]);
    assert!(get_many().await.iter().all(Result::is_err));
    assert_eq!(bench.sent(), 4);
    assert!(get_many().await.into_iter().all(|r| refused(r.map(drop)) == COOLDOWN));
    advance(COOLDOWN).await;
    let results = get_many().await;
    assert_eq!(bench.sent(), 5);
    assert!(results[0].is_ok() && results[1..].iter().all(Result::is_err));
    assert!(get_many().await.iter().all(Result::is_ok));
    let refusals = bench.events.events().iter().filter(|e| **e == Event::BreakerRefused).count();
    assert_eq!(refusals, 4 + 3, "each member is counted once");
}

#[tokio::test(start_paused = true)]
async fn opened_objects_and_listings_are_behind_it_too() {
    let bench = bench(1).await;
    let object = bench.store.open(&bench.location, ReadOptions::default()).await.unwrap();
    bench.script(&[UNAVAILABLE]);
    let lease = bench.pool.lease(bench.pool.budget().ticket(), 1);
    let Reservation::Granted(mut bufs) = lease.try_reserve(&[Want::new(0, 7)]) else { panic!() };
    let (buf, result) = object.read_into(0, bufs.remove(0)).await;
    assert_eq!(result.unwrap_err().to_string(), format!("read {}: injected unavailable", bench.location));
    let mut results = object.read_many(vec![(0, buf)]).await;
    let (buf, result) = results.remove(0);
    refused(result.map(drop));
    let pages: Vec<_> = bench.store.list(&bench.location, ListOptions::recursive()).collect().await;
    assert_eq!(pages.len(), 1);
    refused(pages.into_iter().next().unwrap().map(drop));
    advance(COOLDOWN).await;
    assert_eq!(object.read_into(0, buf).await.1.unwrap().bytes, 7);
}

#[tokio::test(start_paused = true)]
async fn retries_come_back_when_the_cooldown_is_over() {
    let bench = bench(2).await;
    bench.script(&[UNAVAILABLE; 2]);
    let policy = RetryPolicy { cap: Duration::from_secs(60), ..RetryPolicy::default() };
    let retrying = Retrying::new(bench.store.clone(), policy, Arc::new(Unobserved));
    let begin = Instant::now();
    read(&retrying, &bench.location, None, ReadOptions::default(), &bench.pool).await.unwrap();
    assert!(begin.elapsed() >= COOLDOWN && begin.elapsed() < COOLDOWN + Duration::from_secs(1));
    assert_eq!(bench.sent(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever fails and whenever it is asked: never more than one operation reaches the endpoint in a
    /// cooldown while it is open.
    #[test]
    fn an_open_breaker_lets_one_through_a_cooldown(
        failures in 1u32..5,
        steps in proptest::collection::vec((any::<bool>(), 0u64..4000), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bench = bench(failures).await;
            let mut row = 0;
            let mut last_through: Option<Instant> = None;
            for (fails, pause) in steps {
                advance(Duration::from_millis(pause)).await;
                bench.script(&[if fails { UNAVAILABLE } else { Fault::None }]);
                let before = bench.sent();
                let result = bench.get().await;
                let through = bench.sent() > before;
                if !through {
                    // Nothing was drawn from the script: draw it now.
                    let lease = bench.pool.lease(bench.pool.budget().ticket(), 1);
                    let request = GetRequest::whole(bench.location.clone(), 0);
                    let _ = bench.faults.get(request, ReadOptions::default(), lease).await;
                    prop_assert!(row >= failures, "refused after {row} failures");
                    refused(result);
                    continue;
                }
                if row >= failures {
                    prop_assert!(last_through.unwrap().elapsed() >= COOLDOWN);
                }
                row = if fails { row + 1 } else { 0 };
                last_through = Some(Instant::now());
            }
            Ok(())
        })?;
    }
}
