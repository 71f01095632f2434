//! `Retrying` tells of each of many deletes what became of it, and tries again together what failed together.

use forebay_io::layer::{Observed, RetryPolicy, Retrying};
use forebay_io::{Event, Kind, Location, MemoryStore, Operation, PutOptions, Result, Store};
use forebay_io_testkit::{Fault, FaultRates, FaultStore, RecordingObserver};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const BASE: Duration = Duration::from_secs(1);

struct Bench {
    store: Retrying,
    faults: Arc<FaultStore>,
    memory: MemoryStore,
    device: Arc<RecordingObserver>,
    caller: Arc<RecordingObserver>,
    locations: Vec<Location>,
}

/// Ten objects, behind three attempts.
async fn bench() -> Bench {
    let memory = MemoryStore::new();
    let locations: Vec<Location> = (0..10).map(|i| format!("mem://test/{i}").parse().unwrap()).collect();
    for location in &locations {
        memory.put(location, b"x".as_slice().into(), PutOptions::default()).await.unwrap();
    }
    let faults = Arc::new(FaultStore::new(Arc::new(memory.clone()), FaultRates::none(), 3).unwrap());
    let (device, caller) = (Arc::new(RecordingObserver::new()), Arc::new(RecordingObserver::new()));
    let observed = Arc::new(Observed::new(faults.clone(), device.clone()));
    let policy = RetryPolicy {
        max_attempts: NonZeroU32::new(3).unwrap(),
        base: BASE,
        cap: Duration::from_secs(60),
        budget: None,
        seed: 1,
    };
    let store = Retrying::new(observed, policy, caller.clone());
    Bench { store, faults, memory, device, caller, locations }
}

impl Bench {
    /// What the next tries of every second object come to.
    fn script(&self, faults: &[Fault]) {
        let half = self.locations.iter().step_by(2);
        half.for_each(|location| self.faults.script(location, faults.iter().copied()));
    }

    async fn delete(&self) -> Vec<Result<()>> {
        let results = self.store.delete_many(&self.locations).await;
        assert_eq!(results.len(), self.locations.len());
        results
    }

    fn deletes(&self) -> usize {
        self.device.of(Operation::Delete).len()
    }
}

#[tokio::test(start_paused = true)]
async fn half_that_is_turned_away_is_asked_for_again_together_after_one_pause() {
    let bench = bench().await;
    bench.script(&[Fault::Error(Kind::Throttled)]);
    let begin = Instant::now();
    bench.delete().await.into_iter().for_each(|result| result.unwrap());
    assert!(begin.elapsed() <= BASE, "{:?}", begin.elapsed());
    assert_eq!(bench.deletes(), 10 + 5);
    // One request again is paid for once.
    assert_eq!(bench.caller.events(), [Event::Retried(Kind::Throttled)]);
    for location in &bench.locations {
        assert_eq!(bench.memory.stat(location).await.unwrap_err().kind(), Kind::NotFound);
    }
}

#[tokio::test(start_paused = true)]
async fn half_that_is_refused_for_good_is_told_and_not_tried_again() {
    let bench = bench().await;
    bench.script(&[Fault::Error(Kind::Denied)]);
    for (index, result) in bench.delete().await.into_iter().enumerate() {
        match index % 2 {
            0 => assert_eq!(result.unwrap_err().kind(), Kind::Denied),
            _ => result.unwrap(),
        }
    }
    assert_eq!(bench.deletes(), 10);
    assert!(bench.caller.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_keeps_failing_says_after_how_many_attempts() {
    let bench = bench().await;
    bench.script(&[Fault::Error(Kind::Unavailable); 9]);
    for (index, result) in bench.delete().await.into_iter().enumerate() {
        match index % 2 {
            0 => {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), Kind::Unavailable);
                assert!(error.to_string().contains("after 3 attempts"), "{error}");
            }
            _ => result.unwrap(),
        }
    }
    assert_eq!(bench.deletes(), 10 + 5 + 5);
}

/// Whose answer was lost may have been done: that it is not there the next time is no failure. Who was turned away
/// was not heard, and is told that there is nothing.
#[tokio::test(start_paused = true)]
async fn what_is_gone_on_a_later_try_is_done_unless_it_was_turned_away() {
    for (fault, told) in [(Kind::Unavailable, None), (Kind::Throttled, Some(Kind::NotFound))] {
        let bench = bench().await;
        bench.script(&[Fault::Error(fault)]);
        for location in bench.locations.iter().step_by(2) {
            bench.memory.delete(location).await.unwrap();
        }
        for (index, result) in bench.delete().await.into_iter().enumerate() {
            match (index % 2, told) {
                (0, Some(kind)) => assert_eq!(result.unwrap_err().kind(), kind),
                _ => result.unwrap(),
            }
        }
    }
}
