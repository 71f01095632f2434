//! What loaders that share a memory cap promise: together they stay under it, none keeps another waiting, and one
//! that has no room in it is refused when it is made.

use forebay_io::layer::{Limited, Limits};
use forebay_io::{Kind, ListOptions, Location, MemoryCap, MemoryStore, PutOptions, Store};
use forebay_loader::{Batch, Dataset, Epoch, Loader, LoaderOptions, LoadingMode, OnError};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

type Data = (Arc<MemoryStore>, Arc<Dataset>);

/// A dataset of samples of these sizes.
async fn data(sizes: &[usize]) -> Data {
    let store = Arc::new(MemoryStore::new());
    let root: Location = "mem://set/train".parse().unwrap();
    for (i, &size) in sizes.iter().enumerate() {
        let location = root.join(format!("{i:06}").as_bytes());
        store.put(&location, vec![i as u8; size].into(), PutOptions::default()).await.unwrap();
    }
    let dataset = Dataset::list(&*store, &root, ListOptions::recursive()).await.unwrap();
    (store, Arc::new(dataset))
}

fn options(batch_size: usize) -> LoaderOptions {
    LoaderOptions {
        batch_size,
        num_workers: 3,
        prefetch: 3,
        max_bytes_in_flight: 1 << 20,
        ..Default::default()
    }
}

fn loader((store, dataset): &Data, options: LoaderOptions) -> Loader {
    Loader::new(store.clone(), dataset.clone(), options).unwrap()
}

/// The next batch; fails in place of hanging.
fn next(epoch: &mut Epoch) -> Option<Batch> {
    match epoch.next_timeout(Duration::from_secs(60)) {
        forebay_loader::Waited::Ready(batch) => Some(batch.unwrap()),
        forebay_loader::Waited::Ended => None,
        forebay_loader::Waited::TimedOut => panic!("the loaders wait for each other"),
    }
}

/// Tasks let go of what they have a moment after they were given up.
fn until(done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn the_largest_batch_is_guaranteed_and_no_more_loaders_are_made_than_that_fits() {
    let runtime = runtime();
    let data = runtime.block_on(data(&[100, 1000, 30]));
    assert_eq!(data.1.largest_sample(), Some(1000));
    let cap = MemoryCap::new(5000).unwrap();
    let first = loader(&data, options(2)).under(&cap).unwrap();
    assert_eq!((first.budget().guaranteed(), first.budget().cap()), (2048, 5000));
    // Of three samples there is no batch of a hundred.
    let error = loader(&data, options(100)).under(&cap).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(error.to_string().contains("no room for 3072 bytes"), "{error}");
    let less = LoaderOptions { max_bytes_in_flight: 2000, ..options(100) };
    let second = loader(&data, less).under(&cap).unwrap();
    assert_eq!(second.budget().guaranteed(), 2000);
    drop(first);
    assert_eq!(cap.reading().guaranteed, 2000, "a loader that is gone is guaranteed nothing");
}

#[test]
fn batches_that_are_held_count_until_they_are_dropped() {
    let runtime = runtime();
    let data = runtime.block_on(data(&[640; 40]));
    let cap = MemoryCap::new(64 * 1024).unwrap();
    let loader = loader(&data, options(4)).under(&cap).unwrap();
    let mut epoch = loader.start(runtime.handle()).unwrap();
    let held: Vec<_> = (0..3).map(|_| next(&mut epoch).unwrap()).collect();
    assert_eq!(cap.reading().held, 3 * 4 * 640);
    drop(held);
    while next(&mut epoch).is_some() {}
    drop(epoch);
    until(|| cap.reading().in_flight + cap.reading().held == 0);
    let shown = loader.snapshot().shared_bytes;
    assert_eq!((shown.cap, shown.level), (Some(64 * 1024), 0));
    assert!(shown.peak >= 3 * 4 * 640 && shown.peak <= 64 * 1024);
}

#[test]
fn samples_by_id_have_a_minimum_of_their_own() {
    let runtime = runtime();
    let data = runtime.block_on(data(&[640; 40]));
    let cap = MemoryCap::new(4 * 640 * 2).unwrap();
    let loader = loader(&data, options(4)).under(&cap).unwrap();
    let mut epoch = loader.start(runtime.handle()).unwrap();
    let first = next(&mut epoch).unwrap();
    until(|| cap.reading().in_flight == 4 * 640);
    // What the epoch has read ahead is in the way of a minimum that is asked for only now.
    let error = runtime.block_on(loader.read(&[1])).unwrap_err();
    assert!(error.to_string().contains("read by id"), "{error}");
    drop((first, epoch));
    until(|| cap.reading().in_flight == 0);
    assert_eq!(runtime.block_on(loader.read(&[3, 1])).unwrap().ids(), [3, 1]);
    let mut epoch = loader.start(runtime.handle()).unwrap();
    while next(&mut epoch).is_some() {
        assert_eq!(runtime.block_on(loader.read(&[0, 1, 2, 3])).unwrap().len(), 4);
    }
    assert!(cap.reading().peak <= 3 * 4 * 640, "two batches, and one that is held");
}

/// Sizes that no request says before its answer: what a batch needs is found out while it is read.
#[test]
fn batches_of_unknown_size_keep_the_cap_and_never_hang() {
    let runtime = runtime();
    let sizes: Vec<_> = (0..60).map(|i| 100 + (i * 7919) % 3000).collect();
    let data = runtime.block_on(data(&sizes));
    for (limit, on_error) in [(1, OnError::Raise), (2, OnError::Substitute { quota: 9 }), (7, OnError::Raise)]
    {
        // Permits that readers hold while they wait for memory are the other way to hang.
        let limits = Limits { concurrency: NonZeroU32::new(limit), ..Limits::default() };
        let store: Arc<dyn Store> = Arc::new(Limited::new(data.0.clone(), limits));
        let cap = MemoryCap::new(80_000).unwrap();
        let loaders = [(); 3].map(|()| {
            let options =
                LoaderOptions { on_error, shuffle: true, max_bytes_in_flight: 26_000, ..options(8) };
            Loader::new(store.clone(), data.1.clone(), options).unwrap().under(&cap).unwrap()
        });
        let mut epochs = loaders.each_ref().map(|loader| loader.start(runtime.handle()).unwrap());
        let mut samples = 0;
        while let [Some(a), Some(b), Some(c)] = epochs.each_mut().map(next) {
            samples += a.len() + b.len() + c.len();
        }
        assert_eq!(samples, 3 * 60);
        assert!(cap.reading().in_flight <= 80_000);
        assert!(loaders.iter().all(|loader| loader.budget().peak() <= 26_000));
    }
}

#[derive(Debug, Clone)]
struct Plan {
    sizes: Vec<usize>,
    batch_size: usize,
    num_workers: usize,
    prefetch: usize,
    completion: bool,
    persistent: bool,
    holds: usize,
}

fn plan() -> impl Strategy<Value = Plan> {
    let sizes = prop::collection::vec(1usize..3000, 1..40);
    (sizes, 1usize..9, 1usize..6, 1usize..5, any::<[bool; 2]>(), 0usize..3).prop_map(
        |(sizes, batch_size, num_workers, prefetch, [completion, persistent], holds)| Plan {
            sizes,
            batch_size,
            num_workers,
            prefetch,
            completion,
            persistent,
            holds,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Zipped, one after another, or in any other order, with whatever a program holds on to.
    #[test]
    fn loaders_whose_batches_are_taken_in_any_order_never_hang_and_keep_the_cap(
        plans in prop::collection::vec(plan(), 1..4),
        more in 0u64..20_000,
        turns in prop::collection::vec(0usize..12, 1..30),
    ) {
        let runtime = runtime();
        let padded = |size: &usize| size.next_multiple_of(64) as u64;
        let largest = |plan: &Plan| {
            plan.sizes.iter().map(padded).max().unwrap() * plan.batch_size.min(plan.sizes.len()) as u64
        };
        let bytes = plans.iter().map(largest).sum::<u64>() + more;
        let cap = MemoryCap::new(bytes).unwrap();
        let loaders: Vec<_> = plans
            .iter()
            .map(|plan| {
                let Plan { batch_size, num_workers, prefetch, .. } = *plan;
                let loading_mode = if plan.completion { LoadingMode::Completion } else { LoadingMode::Ordered };
                let persistent_workers = plan.persistent;
                let options = LoaderOptions {
                    num_workers, prefetch, loading_mode, persistent_workers, shuffle: true, ..options(batch_size)
                };
                loader(&runtime.block_on(data(&plan.sizes)), options).under(&cap).unwrap()
            })
            .collect();
        for _ in 0..2 {
            let mut under_way: Vec<_> = loaders
                .iter()
                .zip(&plans)
                .map(|(loader, plan)| (loader.start(runtime.handle()).unwrap(), VecDeque::new(), plan, 0))
                .collect();
            for turn in turns.iter().cycle() {
                if under_way.is_empty() {
                    break;
                }
                let at = turn % under_way.len();
                let (epoch, held, plan, samples) = &mut under_way[at];
                let Some(batch) = next(epoch) else {
                    prop_assert_eq!(*samples, plan.sizes.len());
                    under_way.remove(at);
                    continue;
                };
                *samples += batch.len();
                held.push_back(batch);
                while held.len() > plan.holds {
                    held.pop_front();
                }
                let now = cap.reading();
                prop_assert!(now.in_flight <= bytes);
            }
        }
        drop(loaders);
        until(|| cap.reading().budgets == 0);
        let left = cap.reading();
        prop_assert_eq!((left.in_flight, left.held, left.guaranteed), (0, 0, 0));
    }
}
