//! What `loading_mode=streaming` promises: batches before the listing has ended, the order of the listing or a
//! shuffle in windows of it, ranks, resume, and an error where the listing changed.

use forebay_io::{Kind, ListOptions, Location, MemoryStore, PutOptions, Store};
use forebay_loader::{
    Dataset, DatasetOptions, Epoch, Format, Listing, Loader, LoaderOptions, LoadingMode, ManifestKind, State,
};
use proptest::prelude::*;
use std::num::NonZeroU64;
use std::sync::Arc;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

fn root() -> Location {
    "mem://set/train".parse().unwrap()
}

fn content(i: u64) -> Vec<u8> {
    (0..50 + i % 70).map(|k| (i * 31 + k) as u8).collect()
}

async fn put(store: &MemoryStore, key: &str, bytes: Vec<u8>) {
    store.put(&root().join(key.as_bytes()), bytes.into(), PutOptions::default()).await.unwrap();
}

/// Memory lists in the order of names, a thousand a page.
async fn data(n: u64) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    for i in 0..n {
        put(&store, &format!("{i:06}"), content(i)).await;
    }
    store
}

fn streaming(options: LoaderOptions) -> LoaderOptions {
    LoaderOptions { loading_mode: LoadingMode::Streaming, num_workers: 3, prefetch: 2, ..options }
}

fn loader(store: &Arc<MemoryStore>, options: LoaderOptions) -> Loader {
    let listing = Listing::new(&root(), DatasetOptions::default()).unwrap();
    Loader::new(store.clone(), Arc::new(listing), streaming(options)).unwrap()
}

/// At most `n` batches, every byte checked; answers the ids.
fn take(epoch: &mut Epoch, n: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for _ in 0..n {
        let Some(batch) = epoch.next_blocking() else { break };
        let batch = batch.unwrap();
        for (i, &id) in batch.ids().iter().enumerate() {
            assert_eq!(batch.sample(i), content(id), "sample {id}");
            assert!(batch.location(i).unwrap().to_string().ends_with(&format!("{id:06}")));
        }
        ids.extend(batch.ids());
    }
    ids
}

fn all(runtime: &Runtime, loader: &Loader) -> Vec<u64> {
    take(&mut loader.start(runtime.handle()).unwrap(), usize::MAX)
}

#[test]
fn batches_come_before_the_listing_has_ended() {
    let runtime = runtime();
    let store = runtime.block_on(data(3500));
    let loader = loader(&store, LoaderOptions { batch_size: 100, ..Default::default() });
    assert_eq!(loader.batches(), None);
    let mut epoch = loader.start(runtime.handle()).unwrap();
    let first = take(&mut epoch, 10);
    assert_eq!(first, (0..1000).collect::<Vec<_>>(), "in the order of the listing");
    assert_eq!(epoch.progress().batches_total, None, "with pages still to come");
    let rest = take(&mut epoch, usize::MAX);
    assert_eq!(rest, (1000..3500).collect::<Vec<_>>());
    assert_eq!(epoch.progress().batches_total, Some(35));
}

#[test]
fn every_epoch_lists_anew_and_comes_to_its_end() {
    let runtime = runtime();
    let store = runtime.block_on(data(10));
    let loader = loader(&store, LoaderOptions { batch_size: 4, ..Default::default() });
    assert_eq!(all(&runtime, &loader).len(), 10);
    assert_eq!((loader.state().epoch(), loader.state().samples_done()), (1, 0));
    runtime.block_on(put(&store, "000010", content(10)));
    assert_eq!(all(&runtime, &loader).len(), 11);
    // Also where the last batch is full, so that nobody could know that it was the last.
    runtime.block_on(put(&store, "000011", content(11)));
    assert_eq!(all(&runtime, &loader).len(), 12);
    assert_eq!((loader.state().epoch(), loader.state().samples_done()), (3, 0));
}

#[test]
fn a_window_shuffles_as_it_does_a_dataset_that_is_listed() {
    let runtime = runtime();
    let store = runtime.block_on(data(2600));
    let options = LoaderOptions {
        shuffle: true,
        shuffle_window: NonZeroU64::new(300),
        seed: 9,
        batch_size: 50,
        ..Default::default()
    };
    let dataset = runtime.block_on(Dataset::list(&*store, &root(), ListOptions::recursive())).unwrap();
    let listed = Loader::new(store.clone(), Arc::new(dataset), options.clone()).unwrap();
    let streamed = loader(&store, options);
    for _ in 0..2 {
        let ids: Vec<u64> = {
            let mut epoch = listed.start(runtime.handle()).unwrap();
            std::iter::from_fn(|| epoch.next_blocking())
                .flat_map(|batch| batch.unwrap().ids().to_vec())
                .collect()
        };
        assert!(!ids.is_sorted());
        assert_eq!(all(&runtime, &streamed), ids);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Ranks take some batches each, save, and others go on: together they read everything once.
    #[test]
    fn ranks_and_resumes_read_everything_once(
        n in 1u64..300, world in 1usize..4, other in 1usize..4, batches in 0usize..6, batch_size in 1usize..20,
        window in prop::option::of(1u64..80),
    ) {
        let runtime = runtime();
        let store = runtime.block_on(data(n));
        let of = |shard_rank, shard_world_size, batch_size| loader(&store, LoaderOptions {
            shard_rank, shard_world_size, batch_size,
            shuffle: window.is_some(), shuffle_window: window.and_then(NonZeroU64::new),
            ..Default::default()
        });
        // As many as every rank has whole, and something is left: who has read all of an epoch is in the next.
        let batches = batches.min((n as usize / world).saturating_sub(1) / batch_size);
        let (mut seen, mut states) = (Vec::new(), Vec::new());
        for rank in 0..world {
            let loader = of(rank, world, batch_size);
            let ids = take(&mut loader.start(runtime.handle()).unwrap(), batches);
            prop_assert_eq!(ids.len(), batches * batch_size);
            seen.extend(ids);
            states.push(State::from_json(&loader.state().to_json()).unwrap());
        }
        for rank in 0..other {
            let loader = of(rank, other, batch_size + 1);
            loader.load_state(&states[rank % world]).unwrap();
            seen.extend(all(&runtime, &loader));
        }
        seen.sort();
        prop_assert_eq!(seen, (0..n).collect::<Vec<_>>());
    }
}

#[test]
fn a_listing_that_changed_is_an_error_and_not_other_samples() {
    let runtime = runtime();
    let saved = |store| {
        let loader = loader(store, LoaderOptions { batch_size: 10, ..Default::default() });
        take(&mut loader.start(runtime.handle()).unwrap(), 3);
        loader.state()
    };
    let resume = |store, state| {
        let loader = loader(store, LoaderOptions { batch_size: 10, ..Default::default() });
        loader.load_state(&state).unwrap();
        loader.start(runtime.handle()).unwrap().next_blocking().unwrap()
    };
    let store = runtime.block_on(data(100));
    let state = saved(&store);
    assert_eq!((state.samples_done(), state.to_json().len() < 1024), (30, true));
    assert_eq!(resume(&store, state.clone()).unwrap().ids()[0], 30);
    // Behind what was read: nothing that matters changed.
    runtime.block_on(put(&store, "000099b", vec![1]));
    assert!(resume(&store, state.clone()).is_ok());
    runtime.block_on(put(&store, "000011b", vec![1]));
    let error = resume(&store, state.clone()).unwrap_err();
    assert!(error.kind() == Kind::Precondition && error.to_string().contains("30 entries"), "{error}");
    let short = runtime.block_on(data(20));
    let error = resume(&short, state).unwrap_err();
    assert!(error.to_string().contains("it ends after 20"), "{error}");
}

#[test]
fn a_state_of_another_order_is_refused() {
    let runtime = runtime();
    let store = runtime.block_on(data(10));
    let dataset = runtime.block_on(Dataset::list(&*store, &root(), ListOptions::recursive())).unwrap();
    let listed = Loader::new(store.clone(), Arc::new(dataset), LoaderOptions::default()).unwrap();
    let streamed = loader(&store, LoaderOptions::default());
    assert_eq!(streamed.load_state(&listed.state()).unwrap_err().kind(), Kind::Precondition);
    assert_eq!(listed.load_state(&streamed.state()).unwrap_err().kind(), Kind::Precondition);
}

#[test]
fn remainders_are_known_when_the_listing_ends() {
    let runtime = runtime();
    let store = runtime.block_on(data(11));
    for (remainder, expected) in [("drop", [[0, 4], [3, 7]]), ("pad", [[0, 8], [3, 0]])] {
        let of = |shard_rank| {
            let shard_remainder = remainder.parse().unwrap();
            let options =
                LoaderOptions { shard_remainder, shard_rank, shard_world_size: 4, ..Default::default() };
            let ids = all(&runtime, &loader(&store, options));
            [ids[0], *ids.last().unwrap()]
        };
        assert_eq!([of(0), of(3)], expected, "{remainder}");
    }
    let last = loader(&store, LoaderOptions { batch_size: 4, drop_last: true, ..Default::default() });
    assert_eq!(all(&runtime, &last), (0..8).collect::<Vec<_>>());
}

#[test]
fn manifests_are_read_while_they_are_loaded() {
    let runtime = runtime();
    let store = runtime.block_on(data(20));
    let line = |i: u64| {
        let len = content(i).len();
        format!("{{\"uri\":\"{i:06}\",\"offset\":1,\"length\":{}}}\n", len - 1)
    };
    let mut lines: String = (0..20).map(line).collect();
    lines.push_str("{\"uri\":\"000003\",\"length\":7}\n");
    runtime.block_on(put(&store, "all.jsonl", lines.into_bytes()));
    let options = DatasetOptions { manifest: Some(ManifestKind::Jsonl), ..Default::default() };
    let listing = Listing::new(&root().join(b"all.jsonl"), options).unwrap();
    let options = streaming(LoaderOptions { batch_size: 10, ..Default::default() });
    let loader = Loader::new(store, Arc::new(listing), options).unwrap();
    let mut epoch = loader.start(runtime.handle()).unwrap();
    for i in 0..2u64 {
        let batch = epoch.next_blocking().unwrap().unwrap();
        assert_eq!(batch.sample(3), &content(i * 10 + 3)[1..]);
    }
    let error = epoch.next_blocking().unwrap().unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.to_string().contains("expected 7 bytes"), "{error}");
}

#[test]
fn lists_of_locations_are_loaded_in_their_order() {
    let runtime = runtime();
    let store = runtime.block_on(data(5));
    let uris = [3, 1, 4].map(|i| root().join(format!("{i:06}").as_bytes())).to_vec();
    let listing = Listing::of_uris(uris, DatasetOptions::default()).unwrap();
    let loader = Loader::new(store, Arc::new(listing), streaming(LoaderOptions::default())).unwrap();
    let batch = loader.start(runtime.handle()).unwrap().next_blocking().unwrap().unwrap();
    assert_eq!((batch.sample(0), batch.sample(1)), (&*content(3), &*content(1)));
    assert_eq!(batch.ids(), [0, 1, 2], "ids are places");
}

#[test]
fn nothing_to_load_is_an_error_and_not_an_empty_epoch() {
    let runtime = runtime();
    let loader = loader(&Arc::new(MemoryStore::new()), LoaderOptions::default());
    let error = loader.start(runtime.handle()).unwrap().next_blocking().unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
}

#[test]
fn what_needs_the_whole_listing_is_refused_with_what_to_use() {
    let store = Arc::new(MemoryStore::new());
    let listing = || Arc::new(Listing::new(&root(), DatasetOptions::default()).unwrap());
    let refused =
        |options: LoaderOptions| Loader::new(store.clone(), listing(), options).unwrap_err().to_string();
    let text = refused(streaming(LoaderOptions { shuffle: true, ..Default::default() }));
    assert!(text.contains("shuffle_window") && text.contains("ordered"), "{text}");
    let text = refused(streaming(LoaderOptions {
        random_index_mode: "uniform".parse().unwrap(),
        ..Default::default()
    }));
    assert!(text.contains("random_index_mode=uniform"), "{text}");
    let text =
        refused(streaming(LoaderOptions { on_error: "substitute:3".parse().unwrap(), ..Default::default() }));
    assert!(text.contains("skip"), "{text}");
    assert!(refused(LoaderOptions::default()).contains("streaming"));
    let format = DatasetOptions { format: Format::Jsonl, ..Default::default() };
    assert!(Listing::new(&root(), format).unwrap_err().to_string().contains("format=jsonl"));
    let runtime = runtime();
    let loader = Loader::new(store.clone(), listing(), streaming(LoaderOptions::default())).unwrap();
    assert_eq!(runtime.block_on(loader.read(&[0])).unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn skipped_samples_are_in_the_quarantine_by_name() {
    let runtime = runtime();
    let store = runtime.block_on(data(6));
    let mut uris: Vec<_> = (0..6).map(|i| root().join(format!("{i:06}").as_bytes())).collect();
    uris.push(root().join(b"gone"));
    let listing = Listing::of_uris(uris, DatasetOptions::default()).unwrap();
    let options = streaming(LoaderOptions { on_error: "skip:1".parse().unwrap(), ..Default::default() });
    let loader = Loader::new(store, Arc::new(listing), options).unwrap();
    assert_eq!(all(&runtime, &loader).len(), 6);
    let quarantine = loader.quarantine();
    let lost = quarantine.samples().next().unwrap();
    assert!(lost.sample == 6 && lost.location.as_ref().unwrap().to_string().ends_with("gone"));
}
