//! What a loader promises about order, completeness, state and memory, over objects in memory.

use forebay_io::{Kind, ListOptions, Location, MemoryStore, PutOptions, Store};
use forebay_loader::{Batch, Dataset, Epoch, Loader, LoaderOptions, LoadingMode, Progress, State, Waited};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// The runtime takes a task off its books a moment after the task has dropped all it had.
fn no_task_is_left(runtime: &Runtime) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while runtime.metrics().num_alive_tasks() > 0 {
        assert!(std::time::Instant::now() < deadline, "{} tasks", runtime.metrics().num_alive_tasks());
        std::thread::yield_now();
    }
}

/// Sample `i` has a size and bytes that only it has.
fn content(i: u64) -> Vec<u8> {
    (0..50 + i % 70).map(|k| (i * 31 + k) as u8).collect()
}

async fn data(n: u64) -> (Arc<MemoryStore>, Arc<Dataset>) {
    let store = Arc::new(MemoryStore::new());
    let root: Location = "mem://set/train".parse().unwrap();
    for i in 0..n {
        let location = root.join(format!("{i:06}").as_bytes());
        store.put(&location, content(i).into(), PutOptions::default()).await.unwrap();
    }
    let dataset = Dataset::list(&*store, &root, ListOptions::recursive()).await.unwrap();
    (store, Arc::new(dataset))
}

fn loader(data: &(Arc<MemoryStore>, Arc<Dataset>), options: LoaderOptions) -> Loader {
    Loader::new(data.0.clone(), data.1.clone(), options).unwrap()
}

/// Takes at most `n` batches, checking every byte; answers the ids.
fn take(epoch: &mut Epoch, n: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for _ in 0..n {
        let Some(batch) = epoch.next_blocking() else { break };
        ids.extend(checked(&batch.unwrap()));
    }
    ids
}

fn checked(batch: &Batch) -> Vec<u64> {
    assert_eq!(batch.as_slice().as_ptr().align_offset(64), 0);
    for (i, &id) in batch.ids().iter().enumerate() {
        assert_eq!(batch.sample(i), content(id), "sample {id}");
        assert_eq!(batch.span(i).start % 64, 0);
    }
    batch.ids().to_vec()
}

fn small(options: LoaderOptions) -> LoaderOptions {
    LoaderOptions { batch_size: 4, num_workers: 3, prefetch: 2, ..options }
}

#[test]
fn an_epoch_delivers_every_sample_once_in_the_order_of_names() {
    let runtime = runtime();
    let data = runtime.block_on(data(50));
    let loader = loader(&data, small(LoaderOptions::default()));
    let mut epoch = loader.start(runtime.handle()).unwrap();
    assert_eq!(take(&mut epoch, usize::MAX), (0..50).collect::<Vec<_>>());
    assert_eq!(loader.batches(), Some(13));
    assert!(epoch.next_blocking().is_none(), "the end stays the end");
}

#[test]
fn orders_differ_by_seed_and_epoch_and_repeat_exactly() {
    let runtime = runtime();
    let data = runtime.block_on(data(64));
    let epochs = |seed, workers| {
        let options = small(LoaderOptions { shuffle: true, seed, ..Default::default() });
        let loader = loader(&data, LoaderOptions { num_workers: workers, ..options });
        [(); 2].map(|()| take(&mut loader.start(runtime.handle()).unwrap(), usize::MAX))
    };
    let [first, second] = epochs(1, 3);
    assert_ne!(first, second);
    assert_ne!(epochs(2, 3)[0], first);
    assert_eq!(epochs(1, 7), [first.clone(), second], "whatever the number of workers");
    let mut sorted = first;
    sorted.sort();
    assert_eq!(sorted, (0..64).collect::<Vec<_>>());
}

#[test]
fn samples_are_read_by_id_beside_an_epoch_that_fills_the_cap() {
    let runtime = runtime();
    let data = runtime.block_on(data(100));
    let loader = loader(&data, small(LoaderOptions { max_bytes_in_flight: 768, ..Default::default() }));
    let mut epoch = loader.start(runtime.handle()).unwrap();
    assert_eq!(take(&mut epoch, 1), [0, 1, 2, 3]);
    for ids in [&[7u64, 3, 7][..], &[99], &[]] {
        let batch = runtime.block_on(loader.read(ids)).unwrap();
        assert_eq!(checked(&batch), ids);
    }
    let error = runtime.block_on(loader.read(&[5, 100])).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidRange);
    assert!(error.to_string().contains("sample 100 of a dataset of 100"), "{error}");
    assert_eq!(take(&mut epoch, 1), [4, 5, 6, 7]);
}

#[test]
fn drop_last_leaves_out_what_does_not_fill_a_batch() {
    let runtime = runtime();
    let data = runtime.block_on(data(10));
    let loader = loader(&data, small(LoaderOptions { drop_last: true, ..Default::default() }));
    assert_eq!(loader.batches(), Some(2));
    assert_eq!(take(&mut loader.start(runtime.handle()).unwrap(), usize::MAX).len(), 8);
    assert_eq!(loader.state().epoch(), 1);
}

#[test]
fn a_tiny_cap_slows_down_and_never_hangs() {
    let runtime = runtime();
    let data = runtime.block_on(data(200));
    // One batch of 4 samples of at most 119 bytes needs 512; there is room for one and a half.
    for order in [LoadingMode::Ordered, LoadingMode::Completion] {
        let options = LoaderOptions {
            shuffle: true,
            max_bytes_in_flight: 768,
            loading_mode: order,
            ..Default::default()
        };
        let loader = loader(&data, LoaderOptions { num_workers: 8, ..small(options) });
        let mut ids = take(&mut loader.start(runtime.handle()).unwrap(), usize::MAX);
        ids.sort();
        assert_eq!(ids, (0..200).collect::<Vec<_>>());
        assert!(loader.budget().peak() <= 768);
        assert_eq!(loader.budget().used(), 0);
    }
}

#[test]
fn completion_order_delivers_everything_too() {
    let runtime = runtime();
    let data = runtime.block_on(data(101));
    let options = LoaderOptions { loading_mode: LoadingMode::Completion, ..Default::default() };
    let loader = loader(&data, small(options));
    let mut ids = take(&mut loader.start(runtime.handle()).unwrap(), usize::MAX);
    ids.sort();
    assert_eq!(ids, (0..101).collect::<Vec<_>>());
}

#[test]
fn a_sample_larger_than_the_cap_is_named() {
    let runtime = runtime();
    let data = runtime.block_on(data(9));
    let big = data.1.root().join(b"000004");
    runtime.block_on(data.0.put(&big, vec![0; 5000].into(), PutOptions::default())).unwrap();
    let loader = loader(&data, small(LoaderOptions { max_bytes_in_flight: 4096, ..Default::default() }));
    let mut epoch = loader.start(runtime.handle()).unwrap();
    assert_eq!(take(&mut epoch, 1), [0, 1, 2, 3]);
    let error = epoch.next_blocking().unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidRange);
    assert_eq!(
        error.to_string(),
        "get mem://set/train/000004: 5000 bytes are more than max_bytes_in_flight=4096 allows; raise it"
    );
    assert!(epoch.next_blocking().is_none());
    assert_eq!(loader.state().samples_done(), 4, "what failed was not delivered");
    drop(epoch);
    assert_eq!(loader.budget().used(), 0);
}

#[test]
fn a_sample_that_vanished_is_an_error_and_not_the_end() {
    let runtime = runtime();
    let data = runtime.block_on(data(12));
    for id in [5u64, 6] {
        runtime.block_on(data.0.delete(&data.1.location(id).unwrap())).unwrap();
    }
    let loader = loader(&data, small(LoaderOptions::default()));
    let mut epoch = loader.start(runtime.handle()).unwrap();
    assert_eq!(take(&mut epoch, 1).len(), 4);
    let error = epoch.next_blocking().unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("2 of the 4 samples"), "{error}");
    assert!(error.to_string().contains("000005"), "{error}");
}

#[test]
fn an_epoch_dropped_half_way_leaves_nothing() {
    let runtime = runtime();
    let data = runtime.block_on(data(500));
    let loader = loader(&data, small(LoaderOptions::default()));
    let mut epoch = loader.start(runtime.handle()).unwrap();
    take(&mut epoch, 3);
    epoch.cancel();
    runtime.block_on(epoch.closed());
    let mut rest = 0;
    let error = loop {
        match epoch.next_blocking().expect("a cancelled epoch never looks complete") {
            Ok(batch) => rest += batch.len(),
            Err(error) => break error,
        }
    };
    assert!(rest <= 500 - 12);
    assert_eq!(error.kind(), Kind::Cancelled);
    drop(epoch);
    assert_eq!(loader.budget().used(), 0);
    no_task_is_left(&runtime);
}

#[test]
fn a_new_start_is_the_next_epoch_and_the_old_one_no_longer_counts() {
    let runtime = runtime();
    let data = runtime.block_on(data(40));
    let loader = loader(&data, small(LoaderOptions { shuffle: true, ..Default::default() }));
    let mut old = loader.start(runtime.handle()).unwrap();
    take(&mut old, 2);
    let mut new = loader.start(runtime.handle()).unwrap();
    take(&mut old, 1);
    assert_eq!((loader.state().epoch(), loader.state().samples_done()), (1, 0));
    take(&mut new, 1);
    assert_eq!((loader.state().epoch(), loader.state().samples_done()), (1, 4));
    take(&mut new, usize::MAX);
    assert_eq!((loader.state().epoch(), loader.state().samples_done()), (2, 0));
    loader.set_epoch(0);
    let again = take(&mut loader.start(runtime.handle()).unwrap(), usize::MAX);
    loader.set_epoch(0);
    assert_eq!(take(&mut loader.start(runtime.handle()).unwrap(), usize::MAX), again);
}

#[test]
fn states_that_do_not_fit_are_refused_with_what_differs() {
    let runtime = runtime();
    let (few, many) = runtime.block_on(async { (data(10).await, data(11).await) });
    let options = small(LoaderOptions { shuffle: true, seed: 1, ..Default::default() });
    let state = loader(&few, options.clone()).state();
    let refuse = |data, options| {
        let error = loader(data, options).load_state(&state).unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition);
        error.to_string()
    };
    assert!(refuse(&many, options.clone()).contains("dataset size 10, this loader has 11"));
    let text = refuse(&few, LoaderOptions { seed: 2, ..options.clone() });
    assert!(text.contains("seed 1, this loader has 2"), "{text}");
    let text = refuse(&few, LoaderOptions { shuffle: false, ..options.clone() });
    assert!(text.contains("the order shuffled, this loader has listed"), "{text}");
    for bad in ["", "{}", &state.to_json().replace("\"version\":3", "\"version\":9"), "[1]"] {
        assert_eq!(State::from_json(bad).unwrap_err().kind(), Kind::InvalidConfig);
    }
    assert!(state.to_json().len() < 1024);
    assert_eq!(State::from_json(&state.to_json()).unwrap(), state);
}

#[test]
fn renamed_samples_are_noticed_by_a_resume() {
    let runtime = runtime();
    let before = runtime.block_on(data(10));
    let state = loader(&before, LoaderOptions::default()).state();
    let after = runtime.block_on(async {
        let root = before.1.root();
        before.0.delete(&root.join(b"000003")).await.unwrap();
        before.0.put(&root.join(b"00000x"), content(3).into(), PutOptions::default()).await.unwrap();
        Dataset::list(&*before.0, root, ListOptions::recursive()).await.unwrap()
    });
    let error =
        loader(&(before.0, Arc::new(after)), LoaderOptions::default()).load_state(&state).unwrap_err();
    assert!(error.to_string().contains("fingerprint"), "{error}");
}

#[test]
fn progress_is_told_after_each_batch() {
    let runtime = runtime();
    let data = runtime.block_on(data(10));
    let told = Arc::new(Mutex::new(Vec::<Progress>::new()));
    let sink = told.clone();
    let loader =
        loader(&data, small(LoaderOptions::default())).on_progress(move |p| sink.lock().unwrap().push(*p));
    take(&mut loader.start(runtime.handle()).unwrap(), usize::MAX);
    let told = told.lock().unwrap();
    assert_eq!(told.iter().map(|p| (p.batches, p.samples)).collect::<Vec<_>>(), [(1, 4), (2, 8), (3, 10)]);
    assert_eq!(told[2].bytes, (0..10).map(|i| content(i).len() as u64).sum::<u64>());
    assert_eq!((told[2].batches_total, told[2].epoch), (Some(3), 0));
}

#[test]
fn a_wait_with_a_limit_loses_nothing() {
    let runtime = runtime();
    let data = runtime.block_on(data(30));
    let loader = loader(&data, small(LoaderOptions::default()));
    let mut epoch = loader.start(runtime.handle()).unwrap();
    let mut ids = Vec::new();
    loop {
        match epoch.next_timeout(Duration::from_micros(1)) {
            Waited::Ready(batch) => ids.extend(checked(&batch.unwrap())),
            Waited::TimedOut => {}
            Waited::Ended => break,
        }
    }
    assert_eq!(ids, (0..30).collect::<Vec<_>>());
}

#[test]
fn what_was_measured_is_what_was_done() {
    let runtime = runtime();
    let data = runtime.block_on(data(30));
    let loader = loader(&data, small(LoaderOptions::default()));
    let mut epoch = loader.start(runtime.handle()).unwrap();
    take(&mut epoch, usize::MAX);
    let snapshot = epoch.snapshot();
    assert_eq!(snapshot.counter(forebay_metrics::Counter::Gets), 30);
    let bytes: u64 = (0..30).map(|i| content(i).len() as u64).sum();
    assert_eq!(snapshot.counter(forebay_metrics::Counter::BytesRead), bytes);
    assert_eq!(snapshot.inflight_bytes.cap, Some(loader.budget().cap()));
    assert_eq!(snapshot.inflight_bytes.peak, loader.budget().peak());
    assert_eq!(snapshot.queues.last().unwrap().items, 8);
    assert_eq!(snapshot.stages.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["index", "read"]);
}

#[test]
fn an_empty_place_and_a_glob_that_matches_nothing_are_named() {
    let runtime = runtime();
    let (store, dataset) = runtime.block_on(data(1));
    let listed = |root: &str, options: ListOptions| {
        let error = runtime.block_on(Dataset::list(&*store, &root.parse().unwrap(), options)).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        error.to_string()
    };
    assert!(listed("mem://set/nothing", ListOptions::recursive()).contains("mem://set/nothing"));
    let glob = Some(forebay_io::Glob::new("*.jpg").unwrap());
    let text = listed(&dataset.root().to_string(), ListOptions { glob, ..ListOptions::recursive() });
    assert!(text.contains("\"*.jpg\""), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Ranks read some batches, their state is saved, and other ranks with other batch sizes and
    /// workers go on: together they read every sample once.
    #[test]
    fn resume_is_exact_at_another_world_size(
        n in 1u64..90, seed: u64, world in 1usize..4, other in 1usize..5, batch in 1usize..6, rebatch in 1usize..6,
        batches in 0usize..8,
    ) {
        let runtime = runtime();
        let data = runtime.block_on(data(n));
        let options = |rank, world, batch_size| LoaderOptions {
            shard_rank: rank, shard_world_size: world, batch_size, shuffle: true, seed, num_workers: 2,
            ..Default::default()
        };
        // Synchronous training: every rank takes as many batches as the one with the fewest has whole.
        let whole = batches.min((n as usize / world) / batch);
        let mut seen = Vec::new();
        let mut states = Vec::new();
        for rank in 0..world {
            let loader = loader(&data, options(rank, world, batch));
            seen.extend(take(&mut loader.start(runtime.handle()).unwrap(), whole));
            states.push(loader.state());
        }
        // Ranks agree, but for those that an uneven epoch gave one sample less and are through.
        let earliest = states.iter().min_by_key(|s| (s.epoch(), s.samples_done())).unwrap().clone();
        prop_assert!(states.iter().all(|s| *s == earliest || s.epoch() > earliest.epoch()));
        let state = State::from_json(&earliest.to_json()).unwrap();
        // A whole epoch that was taken to its end resumes as the next one: nothing is left of it.
        if state.epoch() == 0 {
            for rank in 0..other {
                let loader = loader(&data, options(rank, other, rebatch));
                loader.load_state(&state).unwrap();
                seen.extend(take(&mut loader.start(runtime.handle()).unwrap(), usize::MAX));
            }
        }
        seen.sort();
        prop_assert_eq!(seen, (0..n).collect::<Vec<_>>());
    }

    /// In completion order too, though each rank was overtaken elsewhere and none is as far as another; and once
    /// more, before what was left over is done.
    #[test]
    fn resume_is_exact_in_completion_order(
        n in 1u64..90, seed: u64, worlds in prop::collection::vec(1usize..4, 3), sizes in prop::collection::vec(1usize..6, 3),
        batches in prop::collection::vec(0usize..9, 6),
    ) {
        let runtime = runtime();
        let data = runtime.block_on(data(n));
        let mut batches = batches.into_iter().cycle();
        let (mut seen, mut states) = (Vec::new(), Vec::<State>::new());
        for (run, (&world, &batch_size)) in worlds.iter().zip(&sizes).enumerate() {
            let last = run + 1 == worlds.len();
            if states.iter().any(|state| state.epoch() > 0) && states.iter().all(|state| state.epoch() > 0) {
                break;
            }
            let saved = std::mem::take(&mut states);
            for rank in 0..world {
                let loader = loader(&data, LoaderOptions {
                    shard_rank: rank, shard_world_size: world, batch_size, shuffle: true, seed, num_workers: 5,
                    prefetch: 3, loading_mode: LoadingMode::Completion, ..Default::default()
                });
                if !saved.is_empty() {
                    loader.load_states(&saved).unwrap();
                }
                let some = if last { usize::MAX } else { batches.next().unwrap() };
                seen.extend(take(&mut loader.start(runtime.handle()).unwrap(), some));
                let state = loader.state().to_json();
                prop_assert!(state.len() < 1024);
                states.push(State::from_json(&state).unwrap());
            }
        }
        seen.sort();
        prop_assert_eq!(seen, (0..n).collect::<Vec<_>>());
    }

    /// One rank of several goes on by its own state alone, with another batch size.
    #[test]
    fn a_rank_goes_on_by_its_own_state(
        n in 1u64..90, seed: u64, world in 1usize..4, batch in 1usize..6, rebatch in 1usize..6, batches in 0usize..9,
    ) {
        let runtime = runtime();
        let data = runtime.block_on(data(n));
        let mut seen = Vec::new();
        for rank in 0..world {
            let options = |batch_size| LoaderOptions {
                shard_rank: rank, shard_world_size: world, batch_size, shuffle: true, seed, num_workers: 5, prefetch: 3,
                loading_mode: LoadingMode::Completion, ..Default::default()
            };
            let first = loader(&data, options(batch));
            seen.extend(take(&mut first.start(runtime.handle()).unwrap(), batches));
            let state = State::from_json(&first.state().to_json()).unwrap();
            if state.epoch() == 0 {
                let second = loader(&data, options(rebatch));
                second.load_state(&state).unwrap();
                seen.extend(take(&mut second.start(runtime.handle()).unwrap(), usize::MAX));
            }
        }
        seen.sort();
        prop_assert_eq!(seen, (0..n).collect::<Vec<_>>());
    }
}

/// 200 samples, 3 ranks, batches of 33: rank 2 has two batches, the others a third one of one sample.
#[test]
fn a_rank_that_is_through_before_others_says_what_they_have_left() {
    let runtime = runtime();
    let data = runtime.block_on(data(200));
    let options = |shard_rank, loading_mode| LoaderOptions {
        batch_size: 33,
        shard_rank,
        shard_world_size: 3,
        loading_mode,
        num_workers: 2,
        prefetch: 2,
        ..LoaderOptions::default()
    };
    for mode in [LoadingMode::Ordered, LoadingMode::Completion] {
        let mut seen = Vec::new();
        let states: Vec<State> = (0..3)
            .map(|rank| {
                let loader = loader(&data, options(rank, mode));
                let mut epoch = loader.start(runtime.handle()).unwrap();
                seen.extend(take(&mut epoch, 2));
                loader.state()
            })
            .collect();
        assert!(states.iter().all(|state| state.epoch() == 0), "{mode:?}");
        // Each from its own, all from those of all; in order also all from any one.
        let mut ways: Vec<Vec<Vec<State>>> = vec![vec![states.clone(); 3]];
        ways.push(states.iter().map(|state| vec![state.clone()]).collect());
        if mode == LoadingMode::Ordered {
            ways.extend(states.iter().map(|state| vec![vec![state.clone()]; 3]));
        }
        for way in ways {
            let mut all = seen.clone();
            for (rank, states) in way.iter().enumerate() {
                let loader = loader(&data, options(rank, mode));
                loader.load_states(states).unwrap();
                let mut epoch = loader.start(runtime.handle()).unwrap();
                assert_eq!(epoch.progress().epoch, 0, "{mode:?}");
                all.extend(take(&mut epoch, usize::MAX));
                assert_eq!(loader.state().epoch(), 1);
            }
            all.sort_unstable();
            assert_eq!(all, (0..200).collect::<Vec<_>>(), "{mode:?}");
        }
    }
}
