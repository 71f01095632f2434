//! What a loader promises where samples cannot be had, storage hangs or memory is scarce.

use forebay_io::{Kind, ListOptions, Location, MemoryStore, PutOptions, Store};
use forebay_io_testkit::{FaultRates, FaultStore};
use forebay_loader::{Dataset, Epoch, Loader, LoaderOptions, LoadingMode, OnError, Treatment, Waited};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// Sample `i` has bytes that only it has, and one of two sizes.
fn content(i: u64) -> Vec<u8> {
    (0..200 + i % 2 * 64).map(|k| (i * 31 + k) as u8).collect()
}

struct Data {
    store: Arc<FaultStore>,
    dataset: Arc<Dataset>,
}

/// `n` samples behind `rates` of faults. Which sample fails at its first try is the same for each seed.
async fn data(n: u64, rates: FaultRates) -> Data {
    sized(n, content, rates).await
}

async fn sized(n: u64, content: impl Fn(u64) -> Vec<u8>, rates: FaultRates) -> Data {
    let store = Arc::new(MemoryStore::new());
    let root: Location = "mem://set/train".parse().unwrap();
    for i in 0..n {
        let location = root.join(format!("{i:06}").as_bytes());
        store.put(&location, content(i).into(), PutOptions::default()).await.unwrap();
    }
    let dataset = Arc::new(Dataset::list(&*store, &root, ListOptions::recursive()).await.unwrap());
    Data { store: Arc::new(FaultStore::new(store, rates, 5).unwrap()), dataset }
}

impl Data {
    fn loader(&self, options: LoaderOptions) -> Loader {
        Loader::new(self.store.clone(), self.dataset.clone(), options).unwrap()
    }
}

fn corrupt(rate: f64) -> FaultRates {
    FaultRates::errors(Kind::Corrupt, rate)
}

fn small(on_error: OnError) -> LoaderOptions {
    LoaderOptions {
        batch_size: 4,
        num_workers: 3,
        prefetch: 2,
        shuffle: true,
        on_error,
        ..Default::default()
    }
}

/// All ids, in the order of delivery; every byte is checked.
fn all(epoch: &mut Epoch) -> forebay_io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    while let Some(batch) = epoch.next_blocking() {
        let batch = batch?;
        assert!(!batch.is_empty());
        for (i, &id) in batch.ids().iter().enumerate() {
            assert_eq!(batch.sample(i), content(id), "sample {id}");
        }
        ids.extend(batch.ids());
    }
    Ok(ids)
}

#[test]
fn what_is_skipped_is_reported_and_nothing_else_is_missing() {
    let runtime = runtime();
    for batch_size in [1, 4] {
        let data = runtime.block_on(data(100, corrupt(0.2)));
        let loader = data.loader(LoaderOptions { batch_size, ..small(OnError::Skip { quota: 100 }) });
        for round in 1..3 {
            let mut epoch = loader.start(runtime.handle()).unwrap();
            let ids: BTreeSet<_> = all(&mut epoch).unwrap().into_iter().collect();
            assert_eq!(Some(epoch.progress().batches), loader.batches());
            let report = loader.quarantine();
            let lost: BTreeSet<_> = report.samples().map(|sample| sample.sample).collect();
            assert!((5..40).contains(&lost.len()), "{} of 100", lost.len());
            assert_eq!(report.skipped(), round * lost.len() as u64);
            assert!(ids.is_disjoint(&lost) && ids.len() + lost.len() == 100);
            for sample in report.samples() {
                assert_eq!((sample.times, sample.epoch), (round, round - 1));
                assert_eq!(sample.location, data.dataset.location(sample.sample));
                assert_eq!((sample.kind, sample.treatment), (Kind::Corrupt, Treatment::Skipped));
            }
        }
        assert_eq!(loader.state().epoch(), 2);
    }
}

#[test]
fn a_batch_without_a_sample_has_zeros_in_its_place() {
    let runtime = runtime();
    // Spoilt after the bytes were placed.
    let data = runtime.block_on(data(100, FaultRates { short_reads: 0.3, ..FaultRates::none() }));
    let loader = data.loader(small(OnError::Skip { quota: 100 }));
    let mut epoch = loader.start(runtime.handle()).unwrap();
    let mut lost = 0;
    while let Some(batch) = epoch.next_blocking() {
        let batch = batch.unwrap();
        let mut bytes = batch.as_slice().to_vec();
        (0..batch.len()).for_each(|i| bytes[batch.span(i)].fill(0));
        assert!(bytes.iter().all(|&byte| byte == 0));
        lost += 4 - batch.len() as u64;
    }
    assert!(lost > 5 && lost <= loader.quarantine().skipped());
}

#[test]
fn one_more_than_the_quota_ends_the_epoch_with_what_failed() {
    let runtime = runtime();
    for on_error in [OnError::Skip { quota: 3 }, OnError::Substitute { quota: 3 }] {
        let data = runtime.block_on(data(100, corrupt(0.2)));
        let loader = data.loader(small(on_error));
        let mut epoch = loader.start(runtime.handle()).unwrap();
        let error = all(&mut epoch).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        let text = error.to_string();
        assert!(text.contains(&format!("on_error={on_error}: the epoch has lost")), "{text}");
        assert!(epoch.next_blocking().is_none());
        let report = loader.quarantine();
        assert!(report.skipped() + report.substituted() > 3, "what ended it is in the report too");
    }
}

#[test]
fn substitutes_are_the_same_for_the_same_seed_and_every_place_is_filled() {
    let runtime = runtime();
    // Some are lost before their size is known, some after.
    let rates = FaultRates { short_reads: 0.1, ..corrupt(0.1) };
    let run = |seed| {
        let data = runtime.block_on(data(100, rates.clone()));
        let loader = data.loader(LoaderOptions { seed, ..small(OnError::Substitute { quota: 100 }) });
        let ids = all(&mut loader.start(runtime.handle()).unwrap()).unwrap();
        (ids, loader.quarantine())
    };
    let (ids, report) = run(7);
    assert_eq!(ids.len(), 100);
    let mut times = BTreeMap::new();
    ids.iter().for_each(|&id| *times.entry(id).or_insert(0u64) += 1);
    let mut stand_ins = 0;
    for sample in report.samples() {
        assert!(!times.contains_key(&sample.sample), "a lost sample is never delivered");
        if let Treatment::Substituted { by } = sample.treatment {
            assert!(times[&by] > 1, "it stands in beside its own place");
            stand_ins += 1;
        }
    }
    assert!(stand_ins > 5);
    assert_eq!(report.substituted(), 100 - (times.len() as u64));
    assert_eq!(run(7), (ids.clone(), report));
    assert_ne!(run(8).0, ids);
}

#[test]
fn without_another_sample_the_failure_is_raised() {
    let runtime = runtime();
    let data = runtime.block_on(data(9, corrupt(1.0)));
    let loader = data.loader(small(OnError::Substitute { quota: 100 }));
    let error = all(&mut loader.start(runtime.handle()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("none of 32 others could be read in the place of sample"), "{error}");
}

#[test]
fn what_is_wrong_with_the_options_is_no_sample_to_be_lost() {
    let runtime = runtime();
    for on_error in [OnError::Skip { quota: 100 }, OnError::Substitute { quota: 100 }] {
        let data = runtime.block_on(data(20, FaultRates::errors(Kind::Unsupported, 0.2)));
        let loader = data.loader(small(on_error));
        let error = all(&mut loader.start(runtime.handle()).unwrap()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(loader.quarantine().is_empty());
    }
}

#[test]
fn the_loader_tries_again_as_often_as_it_is_told() {
    let runtime = runtime();
    let data = runtime.block_on(data(40, FaultRates::errors(Kind::Throttled, 0.3)));
    let tries = |retries| {
        let loader = data.loader(LoaderOptions { retries, ..small(OnError::Raise) });
        all(&mut loader.start(runtime.handle()).unwrap())
    };
    assert_eq!(tries(Some(30)).unwrap().len(), 40);
    for retries in [None, Some(0)] {
        assert_eq!(tries(retries).unwrap_err().kind(), Kind::Throttled);
    }
}

#[test]
fn a_read_that_hangs_ends_at_its_deadline() {
    let runtime = runtime();
    let data = runtime.block_on(data(20, FaultRates { hangs: 1.0, ..FaultRates::none() }));
    let deadline = Some(Duration::from_millis(50));
    let loader = data.loader(LoaderOptions { deadline, ..small(OnError::Skip { quota: 100 }) });
    let error = all(&mut loader.start(runtime.handle()).unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::TimedOut);
    assert!(error.to_string().contains("deadline=0.05 s passed"), "{error}");
    assert_eq!(loader.budget().used(), 0);
}

#[test]
fn a_consumer_waits_no_longer_than_its_timeout_whichever_way_it_waits() {
    let runtime = runtime();
    let data = runtime.block_on(data(20, FaultRates { hangs: 1.0, ..FaultRates::none() }));
    let timeout = Some(Duration::from_millis(50));
    let loader = data.loader(LoaderOptions { timeout, ..small(OnError::Raise) });
    let start = || loader.start(runtime.handle()).unwrap();
    let mut sliced = start();
    let in_slices = loop {
        match sliced.next_timeout(Duration::from_millis(1)) {
            Waited::TimedOut => {}
            Waited::Ready(came) => break came,
            Waited::Ended => panic!("it is not at its end"),
        }
    };
    let mut awaited = start();
    // On no thread of the runtime, as an event loop of another kind does.
    let polled = futures::executor::block_on(awaited.next()).unwrap();
    for (came, mut epoch) in
        [(start().next_blocking().unwrap(), start()), (in_slices, sliced), (polled, awaited)]
    {
        let error = came.unwrap_err();
        assert_eq!(error.kind(), Kind::TimedOut);
        assert!(error.to_string().contains("no batch came within timeout=0.05 s"), "{error}");
        epoch.cancel();
        while epoch.next_blocking().is_some() {}
    }
}

#[test]
fn memory_is_kept_for_the_next_epoch_only_if_it_is_to_be() {
    let runtime = runtime();
    let data = runtime.block_on(data(40, FaultRates::none()));
    for persistent_workers in [true, false] {
        let loader = data.loader(LoaderOptions { persistent_workers, ..small(OnError::Raise) });
        for _ in 0..2 {
            assert_eq!(all(&mut loader.start(runtime.handle()).unwrap()).unwrap().len(), 40);
            assert_eq!(loader.memory() > 0, persistent_workers);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Samples of any size under any cap, some of which can never fit, some lost, some tried again, in any
    /// order of delivery: every sample comes or is reported, the cap holds, and nothing hangs.
    #[test]
    fn any_sizes_under_any_cap_arrive_or_are_reported(
        sizes in proptest::collection::vec(0usize..4000, 1..60),
        cap in 256u64..20_000,
        batch_size in 1usize..6,
        num_workers in 1usize..6,
        prefetch in 1usize..4,
        completion: bool,
        fails in 0u8..3,
    ) {
        let runtime = runtime();
        let rates = FaultRates {
            short_reads: f64::from(fails) * 0.1,
            delays: 0.2,
            longest_delay: Duration::from_micros(300),
            ..corrupt(f64::from(fails) * 0.1)
        };
        let of_size = |i: u64| vec![i as u8; sizes[i as usize]];
        let data = runtime.block_on(sized(sizes.len() as u64, of_size, rates));
        let loader = data.loader(LoaderOptions {
            batch_size,
            num_workers,
            prefetch,
            max_bytes_in_flight: cap,
            loading_mode: if completion { LoadingMode::Completion } else { LoadingMode::Ordered },
            retries: Some(1),
            // A hang is told from a slow machine by a minute.
            timeout: Some(Duration::from_secs(60)),
            ..small(OnError::Skip { quota: 1000 })
        });
        let mut epoch = loader.start(runtime.handle()).unwrap();
        let mut seen = BTreeSet::new();
        while let Some(batch) = epoch.next_blocking() {
            let batch = batch.unwrap();
            for (i, &id) in batch.ids().iter().enumerate() {
                prop_assert_eq!(batch.sample(i), of_size(id));
                prop_assert!(seen.insert(id));
            }
        }
        let report = loader.quarantine();
        prop_assert!(report.samples().all(|lost| seen.insert(lost.sample)));
        prop_assert_eq!(seen.len(), sizes.len());
        prop_assert!(loader.budget().peak() <= cap);
        prop_assert_eq!(loader.budget().used(), 0);
        for lost in report.samples() {
            let fits = sizes[lost.sample as usize].next_multiple_of(64) as u64 <= cap;
            prop_assert!(!fits || fails > 0 || batch_size > 1, "sample {} could be had", lost.sample);
        }
    }
}
