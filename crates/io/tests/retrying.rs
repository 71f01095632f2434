//! `Retrying` tries again what may succeed, as often and as late as its policy says, and nothing else.

use bytes::Bytes;
use forebay_io::layer::{Observed, RetryBudget, RetryPolicy, Retrying};
use forebay_io::{
    Body, Budget, End, Event, GetRequest, Kind, ListOptions, Location, MemoryStore, Observe, Op, Operation,
    Place, Pool, PutMode, PutOptions, ReadOptions, Result, Retry, Store, Unobserved, Want, read,
};
use forebay_io_testkit::data::Tree;
use forebay_io_testkit::{Fault, FaultRates, FaultStore, RecordingObserver};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const BASE: Duration = Duration::from_secs(1);
const UNAVAILABLE: Fault = Fault::Error(Kind::Unavailable);
const THROTTLED: Fault = Fault::Error(Kind::Throttled);

fn policy(max_attempts: u32) -> RetryPolicy {
    RetryPolicy {
        max_attempts: NonZeroU32::new(max_attempts).unwrap(),
        base: BASE,
        cap: Duration::from_secs(60),
        budget: None,
        seed: 1,
    }
}

/// `Retrying` over an observed store with faults, and all that a test looks at.
struct Bench {
    store: Retrying,
    faults: Arc<FaultStore>,
    memory: MemoryStore,
    /// Sees each attempt.
    device: Arc<RecordingObserver>,
    /// Hears of each retry.
    caller: Arc<RecordingObserver>,
    root: Location,
    pool: Pool,
}

impl Bench {
    fn new(policy: RetryPolicy, rates: FaultRates) -> Self {
        let memory = MemoryStore::new();
        let faults = Arc::new(FaultStore::new(Arc::new(memory.clone()), rates, 3).unwrap());
        let (device, caller) = (Arc::new(RecordingObserver::new()), Arc::new(RecordingObserver::new()));
        let observed = Arc::new(Observed::new(faults.clone(), device.clone()));
        Bench {
            store: Retrying::new(observed, policy, caller.clone()),
            faults,
            memory,
            device,
            caller,
            root: "mem://test/set".parse().unwrap(),
            pool: Pool::new(Budget::new(64 << 20).unwrap()),
        }
    }

    /// An object whose next operations go like this.
    async fn object(&self, faults: &[Fault]) -> Location {
        let location = self.root.join(b"object");
        self.memory.put(&location, b"content".as_slice().into(), PutOptions::default()).await.unwrap();
        self.faults.script(&location, faults.iter().copied());
        location
    }

    async fn get(&self, location: &Location) -> Result<Vec<u8>> {
        let block = read(&self.store, location, None, ReadOptions::default(), &self.pool).await?;
        Ok(block.slot(0).unwrap().to_vec())
    }

    fn attempts(&self, operation: Operation) -> Vec<u32> {
        self.device.of(operation).iter().map(|r| r.attempt).collect()
    }

    fn retried(&self) -> Vec<Kind> {
        let kind = |event| match event {
            Event::Retried(kind) => kind,
            other => panic!("{other:?}"),
        };
        self.caller.events().into_iter().map(kind).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_is_tried_until_it_succeeds() {
    let bench = Bench::new(policy(4), FaultRates::none());
    let location = bench.object(&[UNAVAILABLE, Fault::Short, Fault::Lost]).await;
    assert_eq!(bench.get(&location).await.unwrap(), b"content");
    assert_eq!(bench.attempts(Operation::Get), [0, 1, 2, 3]);
    assert_eq!(bench.retried(), [Kind::Unavailable, Kind::Corrupt, Kind::TimedOut]);
    assert_eq!(bench.pool.budget().used(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_error_says_how_many_attempts_there_were() {
    let bench = Bench::new(policy(3), FaultRates::none());
    let location = bench.object(&[UNAVAILABLE, UNAVAILABLE, THROTTLED]).await;
    let error = bench.get(&location).await.unwrap_err();
    assert_eq!((error.kind(), error.location()), (Kind::Throttled, Some(&location)));
    assert!(error.to_string().contains("after 3 attempts: injected throttled"), "{error}");
    assert_eq!(bench.attempts(Operation::Get), [0, 1, 2]);
    assert_eq!(bench.retried(), [Kind::Unavailable; 2]);
}

#[tokio::test(start_paused = true)]
async fn what_will_fail_again_is_not_tried_again() {
    for kind in [Kind::NotFound, Kind::Denied, Kind::Precondition, Kind::InvalidRange, Kind::Unsupported] {
        let bench = Bench::new(policy(5), FaultRates::none());
        let location = bench.object(&[Fault::Error(kind)]).await;
        let begin = Instant::now();
        let error = bench.get(&location).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(!error.to_string().contains("attempts"), "{error}");
        assert_eq!((bench.attempts(Operation::Get), begin.elapsed()), (vec![0], Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_ends_the_tries_of_all_and_says_so() {
    let budget = RetryBudget { per_success: 0.5, per_second: 0.0, most: 2.0 };
    let bench = Bench::new(RetryPolicy { budget: Some(budget), ..policy(9) }, FaultRates::none());
    let location = bench.object(&[UNAVAILABLE; 3]).await;
    let error = bench.get(&location).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("after 3 attempts: not tried again, the retry budget is spent (0.5 for"), "{text}");
    assert_eq!((error.kind(), bench.attempts(Operation::Get).len()), (Kind::Unavailable, 3));
    let withheld = Event::RetryWithheld(Kind::Unavailable);
    let retried = Event::Retried(Kind::Unavailable);
    assert_eq!(bench.caller.events(), [retried, retried, withheld]);

    // Successes pay for more, also those of a batch.
    let lease = bench.pool.lease(bench.pool.budget().ticket(), 2);
    let requests = [0, 1].map(|slot| GetRequest::whole(location.clone(), slot));
    let results = bench.store.get_many(requests.into(), ReadOptions::default(), lease).await;
    assert!(results.iter().all(Result::is_ok));
    bench.faults.script(&location, [UNAVAILABLE]);
    assert_eq!(bench.get(&location).await.unwrap(), b"content");
}

#[tokio::test(start_paused = true)]
async fn the_members_of_a_batch_share_the_budget() {
    let budget = RetryBudget { per_success: 0.0, per_second: 0.0, most: 3.0 };
    let rates = FaultRates { errors: vec![(Kind::Unavailable, 1.0)], ..FaultRates::none() };
    let bench = Bench::new(RetryPolicy { budget: Some(budget), ..policy(9) }, rates);
    let location = bench.object(&[]).await;
    let lease = bench.pool.lease(bench.pool.budget().ticket(), 10);
    let requests: Arc<[_]> = (0..10).map(|slot| GetRequest::whole(location.clone(), slot)).collect();
    let results = bench.store.get_many(requests, ReadOptions::default(), lease).await;
    assert!(results.iter().all(|r| r.as_ref().unwrap_err().to_string().contains("budget is spent")));
    assert_eq!(bench.attempts(Operation::Get).len(), 10 + 3);
}

#[tokio::test(start_paused = true)]
async fn one_attempt_means_one() {
    let bench = Bench::new(policy(1), FaultRates::none());
    let location = bench.object(&[UNAVAILABLE]).await;
    let error = bench.get(&location).await.unwrap_err();
    assert_eq!(error.to_string(), format!("get {location}: injected unavailable"));
    assert_eq!((bench.attempts(Operation::Get), bench.retried()), (vec![0], vec![]));
}

#[tokio::test(start_paused = true)]
async fn callers_count_their_own_attempts_first() {
    let bench = Bench::new(policy(3), FaultRates::none());
    let location = bench.object(&[UNAVAILABLE]).await;
    let lease = bench.pool.lease(bench.pool.budget().ticket(), 1);
    let options = ReadOptions { attempt: 5, ..Default::default() };
    bench.store.get(GetRequest::whole(location, 0), options, lease).await.unwrap();
    assert_eq!(bench.attempts(Operation::Get), [5, 6]);
}

#[tokio::test(start_paused = true)]
async fn only_the_members_that_failed_are_asked_for_again() {
    let bench = Bench::new(policy(3), FaultRates::none());
    let tree = Tree::new(1, 10, 100..=200);
    tree.put(&bench.memory, &bench.root).await.unwrap();
    let mut locations = tree.locations(&bench.root);
    bench.faults.script(&locations[2], [UNAVAILABLE]);
    bench.faults.script(&locations[5], [Fault::Short, THROTTLED]);
    bench.faults.script(&locations[7], [UNAVAILABLE, UNAVAILABLE, Fault::Short]);
    locations[9] = bench.root.join(b"missing");
    let lease = bench.pool.lease(bench.pool.budget().ticket(), 10);
    let requests = locations.iter().zip(0..).map(|(l, slot)| GetRequest::whole(l.clone(), slot)).collect();
    let results = bench.store.get_many(requests, ReadOptions::default(), lease.clone()).await;
    let block = lease.finish().unwrap();
    for (slot, result) in results.into_iter().enumerate() {
        match slot {
            7 => assert!(result.unwrap_err().to_string().contains("after 3 attempts"), "slot 7"),
            9 => assert_eq!(result.unwrap_err().kind(), Kind::NotFound),
            _ => {
                result.unwrap();
                tree.verify(&bench.root, &locations[slot], block.slot(slot).unwrap()).unwrap();
            }
        }
    }
    let tried = bench.device.of(Operation::Get);
    let at = |attempt| {
        let these = tried.iter().filter(|r| r.attempt == attempt).map(|r| r.location.clone());
        these.collect::<BTreeSet<_>>()
    };
    assert_eq!(at(1), [2, 5, 7].map(|slot| locations[slot].clone()).into());
    assert_eq!(at(2), [5, 7].map(|slot| locations[slot].clone()).into());
    assert_eq!(tried.len(), 15);
    assert_eq!(bench.retried().len(), 5);
}

/// When each attempt began.
#[derive(Default)]
struct Times(Mutex<Vec<Instant>>);

impl Observe for Times {
    fn started(&self, _: &[Op<'_>]) {
        self.0.lock().push(Instant::now());
    }
    fn ended(&self, _: &[Op<'_>], _: &[End]) {}
    fn attempted(&self, _: &[forebay_io::Attempt<'_>]) {}
    fn noted(&self, _: Option<&str>, _: Event) {}
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_the_cap_are_spread_and_repeat_with_the_seed() {
    let pauses = async |seed| {
        let times = Arc::new(Times::default());
        let failing = FaultRates::errors(Kind::Unavailable, 1.0);
        let failing = FaultStore::new(Arc::new(MemoryStore::new()), failing, 1).unwrap();
        let observed = Arc::new(Observed::new(Arc::new(failing), times.clone()));
        let policy = RetryPolicy { max_attempts: NonZeroU32::new(12).unwrap(), seed, ..policy(1) };
        let store = Retrying::new(observed, policy, Arc::new(Unobserved));
        assert!(store.stat(&"mem://test/a".parse().unwrap()).await.is_err());
        let times = times.0.lock();
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for seed in 0..20 {
        let found = pauses(seed).await;
        assert_eq!(found.len(), 11);
        for (made, pause) in found.iter().enumerate() {
            let longest = 4f64.powi(made as i32).min(60.0) + 0.02;
            assert!(*pause <= longest, "pause {made}: {pause} s");
        }
        all.push(found);
    }
    // Full jitter: half of the longest on average.
    let mean = all.iter().map(|pauses| pauses[2]).sum::<f64>() / 20.0;
    assert!((4.0..12.0).contains(&mean), "half of 16 s is 8 s, is {mean}");
    assert_eq!(all[3], pauses(3).await);
    assert_ne!(all[3], all[4]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_service_names_is_kept() {
    let named = Duration::from_secs(30);
    let rates = FaultRates { throttled_for: Some(named), ..FaultRates::none() };
    let bench = Bench::new(policy(3), rates.clone());
    let location = bench.object(&[THROTTLED]).await;
    let begin = Instant::now();
    bench.get(&location).await.unwrap();
    assert!(begin.elapsed() >= named && begin.elapsed() <= named + BASE, "{:?}", begin.elapsed());

    // Longer than the policy waits: for somebody else to decide.
    let bench = Bench::new(RetryPolicy { cap: Duration::from_secs(29), ..policy(3) }, rates);
    let location = bench.object(&[THROTTLED]).await;
    let begin = Instant::now();
    assert_eq!(bench.get(&location).await.unwrap_err().retry(), Retry::After(named));
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn opened_objects_are_retried_with_the_same_buffers() {
    let bench = Bench::new(policy(3), FaultRates::none());
    let location = bench.object(&[UNAVAILABLE, Fault::None]).await;
    let object = bench.store.open(&location, ReadOptions::default()).await.unwrap();
    assert_eq!(bench.attempts(Operation::Open), [0, 1]);

    let buf = bench.pool.buffer(7).await.unwrap();
    let address = buf.as_ptr();
    bench.faults.script(&location, [Fault::Short, UNAVAILABLE]);
    let (buf, result) = object.read_into(0, buf).await;
    assert_eq!((result.unwrap().bytes, buf.as_ptr(), &buf[..]), (7, address, &b"content"[..]));

    bench.faults.script(&location, [UNAVAILABLE; 3]);
    let (buf, result) = object.read_into(0, buf).await;
    assert!(result.unwrap_err().to_string().contains("after 3 attempts"));
    assert_eq!(buf.as_ptr(), address, "it comes back on failure too");
    drop(buf);

    let lease = bench.pool.lease(bench.pool.budget().ticket(), 4);
    let wants: Vec<_> = (0..4).map(|slot| Want::new(slot, 3)).collect();
    let bufs = lease.reserve(&wants).await.unwrap();
    let ranges: Vec<_> = [0u64, 2, 9, 4].into_iter().zip(bufs).collect();
    bench.faults.script(&location, [Fault::None, Fault::Short, Fault::None, UNAVAILABLE]);
    let before = bench.device.of(Operation::Read).len();
    let answers = object.read_many(ranges).await;
    let slots: Vec<_> = answers.iter().map(|(buf, _)| buf.slot()).collect();
    assert_eq!(slots, [0, 1, 2, 3]);
    for (slot, (buf, result)) in answers.into_iter().enumerate() {
        match slot {
            2 => assert_eq!(result.unwrap_err().kind(), Kind::InvalidRange),
            _ => assert_eq!((result.unwrap().bytes, &buf[..]), (3, &b"content"[[0, 2, 9, 4][slot]..][..3])),
        }
    }
    assert_eq!(bench.device.of(Operation::Read).len() - before, 6, "four, and two again");
}

#[tokio::test(start_paused = true)]
async fn a_put_is_retried_if_its_body_can_be_sent_again() {
    let bench = Bench::new(policy(3), FaultRates::none());
    let location = bench.object(&[UNAVAILABLE, Fault::Lost]).await;
    bench.store.put(&location, b"replaced".as_slice().into(), PutOptions::default()).await.unwrap();
    assert_eq!(bench.get(&location).await.unwrap(), b"replaced");
    assert_eq!(bench.attempts(Operation::Put).len(), 3);

    bench.faults.script(&location, [UNAVAILABLE]);
    let once = Body::stream(stream::once(async { Ok(Bytes::from_static(b"once")) }).boxed(), None);
    let error = bench.store.put(&location, once, PutOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(bench.attempts(Operation::Put).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_create_is_retried_only_if_it_was_turned_away() {
    let create = PutOptions { mode: PutMode::Create, durable: false };
    let bench = Bench::new(policy(3), FaultRates::none());
    let location = bench.root.join(b"new");
    bench.faults.script(&location, [THROTTLED, Fault::Lost]);
    // Throttled, so it is tried again; the second was done, and its answer lost. A third would say
    // `AlreadyExists` of what this very call has created.
    let error = bench.store.put(&location, b"mine".as_slice().into(), create).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TimedOut);
    assert!(error.to_string().contains("after 2 attempts"), "{error}");
    assert_eq!(bench.get(&location).await.unwrap(), b"mine");
}

#[tokio::test(start_paused = true)]
async fn a_delete_whose_answer_was_lost_has_succeeded() {
    let bench = Bench::new(policy(3), FaultRates::none());
    let location = bench.object(&[Fault::Lost]).await;
    bench.store.delete(&location).await.unwrap();
    // What was never there still is an error, also when the first try was turned away.
    bench.faults.script(&location, [THROTTLED]);
    assert_eq!(bench.store.delete(&location).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_begun_again_only_before_its_first_page() {
    let bench = Bench::new(policy(3), FaultRates::none());
    let tree = Tree::new(2, 1500, 0..=0);
    tree.put(&bench.memory, &bench.root).await.unwrap();
    bench.faults.script(&bench.root, [UNAVAILABLE, THROTTLED]);
    let pages: Vec<_> = bench.store.list(&bench.root, ListOptions::recursive()).try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.len()).sum::<usize>(), 1500);
    assert_eq!(bench.retried(), [Kind::Unavailable, Kind::Throttled]);

    bench.faults.script(&bench.root, [Fault::Short]);
    let mut pages = bench.store.list(&bench.root, ListOptions::recursive());
    assert_eq!(pages.next().await.unwrap().unwrap().len(), 1000);
    assert_eq!(pages.next().await.unwrap().unwrap_err().kind(), Kind::Unavailable);
    assert!(pages.next().await.is_none());

    bench.faults.script(&bench.root, [UNAVAILABLE; 3]);
    let mut pages = bench.store.list(&bench.root, ListOptions::recursive());
    let error = pages.next().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("after 3 attempts"), "{error}");
    assert!(pages.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropped_in_a_pause_it_stops_and_leaks_nothing() {
    let bench = Bench::new(policy(1000), FaultRates::errors(Kind::Unavailable, 1.0).only(&[Operation::Get]));
    let location = bench.object(&[]).await;
    let tried = tokio::time::timeout(Duration::from_secs(100), bench.get(&location)).await;
    assert!(tried.is_err());
    let made = bench.attempts(Operation::Get).len();
    assert!(made > 2);
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(bench.attempts(Operation::Get).len(), made);
    assert_eq!(bench.pool.budget().used(), 0);
    bench.device.assert_settled();
}

#[tokio::test(start_paused = true)]
async fn one_fault_in_ten_is_outlived_and_ten_in_ten_are_reported() {
    let rates = FaultRates {
        errors: vec![(Kind::Unavailable, 0.04), (Kind::Throttled, 0.02)],
        short_reads: 0.02,
        lost_answers: 0.02,
        ..FaultRates::none()
    };
    let bench = Bench::new(policy(8), rates);
    let tree = Tree::new(3, 1000, 0..=300);
    tree.put(&bench.memory, &bench.root).await.unwrap();
    let locations = tree.locations(&bench.root);
    for batch in locations.chunks(32) {
        let lease = bench.pool.lease(bench.pool.budget().ticket(), batch.len() as u32);
        let requests = batch.iter().zip(0..).map(|(l, slot)| GetRequest::whole(l.clone(), slot)).collect();
        for result in bench.store.get_many(requests, ReadOptions::default(), lease.clone()).await {
            result.unwrap();
        }
        let block = lease.finish().unwrap();
        for (slot, location) in batch.iter().enumerate() {
            tree.verify(&bench.root, location, block.slot(slot).unwrap()).unwrap();
        }
    }
    let failures = bench.faults.counts().failures();
    assert!((60..160).contains(&failures), "about a tenth of 1000: {failures}");
    assert_eq!(bench.retried().len() as u64, failures);
    assert_eq!(bench.pool.budget().used(), 0);

    let bench = Bench::new(policy(2), FaultRates::errors(Kind::Unavailable, 1.0).only(&[Operation::Get]));
    let lease = bench.pool.lease(bench.pool.budget().ticket(), 5);
    let requests =
        locations[..5].iter().zip(0..).map(|(l, slot)| GetRequest::whole(l.clone(), slot)).collect();
    for (result, location) in
        bench.store.get_many(requests, ReadOptions::default(), lease).await.into_iter().zip(&locations)
    {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.location()), (Kind::Unavailable, Some(location)));
        assert!(error.to_string().contains("after 2 attempts"), "{error}");
    }
}
