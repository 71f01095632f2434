//! Every option is seen to do what it says: a table with a test for each, held against the table of options.

use forebay_io::{Kind, ListOptions, Location, MemoryStore, PutOptions, Store};
use forebay_io_fs::{FsOptions, FsStore};
use forebay_io_testkit::{FaultRates, FaultStore, RecordingObserver};
use forebay_loader::{Dataset, DatasetOptions, Listing, Loader, LoaderOptions, OPTIONS};
use forebay_metrics::{MetricsCollector, MetricsSnapshot};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Samples of 100 bytes.
struct Scene {
    runtime: Runtime,
    store: Arc<MemoryStore>,
    dataset: Arc<Dataset>,
}

impl Scene {
    fn new(samples: u64) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let store = Arc::new(MemoryStore::new());
        let root: Location = "mem://set/train".parse().unwrap();
        let dataset = runtime.block_on(async {
            for i in 0..samples {
                let location = root.join(format!("{i:05}").as_bytes());
                store.put(&location, vec![i as u8; 100].into(), PutOptions::default()).await.unwrap();
            }
            Dataset::list(&*store, &root, ListOptions::recursive()).await.unwrap()
        });
        Scene { runtime, store, dataset: Arc::new(dataset) }
    }

    fn options(options: Value) -> forebay_io::Result<LoaderOptions> {
        LoaderOptions::from_json(options.as_object().unwrap())
    }

    fn loader(&self, options: Value) -> forebay_io::Result<Loader> {
        Loader::new(self.store.clone(), self.dataset.clone(), Self::options(options)?)
    }

    /// The ids of each batch of an epoch.
    fn batches(&self, options: Value) -> Vec<Vec<u64>> {
        self.epoch(&self.loader(options).unwrap())
    }

    fn epoch(&self, loader: &Loader) -> Vec<Vec<u64>> {
        let mut epoch = loader.start(self.runtime.handle()).unwrap();
        std::iter::from_fn(|| epoch.next_blocking()).map(|batch| batch.unwrap().ids().to_vec()).collect()
    }

    /// The ids of an epoch over a store that fails, hangs or lies.
    fn behind(&self, faults: FaultRates, options: Value) -> forebay_io::Result<Vec<u64>> {
        let store = Arc::new(FaultStore::new(self.store.clone(), faults, 5).unwrap());
        let loader = Loader::new(store, self.dataset.clone(), Self::options(options)?)?;
        let mut epoch = loader.start(self.runtime.handle()).unwrap();
        let mut ids = Vec::new();
        while let Some(batch) = epoch.next_blocking() {
            ids.extend(batch?.ids());
        }
        Ok(ids)
    }

    fn ids(&self, options: Value) -> Vec<u64> {
        self.batches(options).concat()
    }

    /// What an option that cannot be honoured here is refused with.
    fn refused(&self, options: Value, why: &str) {
        let error = self.loader(options.clone()).unwrap_err();
        assert!(matches!(error.kind(), Kind::InvalidConfig | Kind::Unsupported), "{error}");
        assert!(error.to_string().contains(why), "{options}: {error}");
    }

    /// Bytes that are read ahead while nobody takes a batch, which holds one sample in 128 bytes.
    fn ahead(&self, num_workers: u64, prefetch: u64) -> u64 {
        let options = json!({ "batch_size": 1, "num_workers": num_workers, "prefetch": prefetch });
        let loader = self.loader(options).unwrap();
        let mut epoch = loader.start(self.runtime.handle()).unwrap();
        epoch.next_blocking().unwrap().unwrap();
        let (mut before, mut same) = (0, 0);
        while same < 20 {
            std::thread::sleep(Duration::from_millis(5));
            let now = loader.budget().used();
            same = if now == before { same + 1 } else { 0 };
            before = now;
        }
        before
    }

    /// The most bytes that were ever under way or waiting.
    fn peak(&self, options: Value) -> u64 {
        let loader = self.loader(options).unwrap();
        self.epoch(&loader);
        loader.budget().peak()
    }
}

/// Requests that a file of this size takes.
fn requests(options: Value, size: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), vec![7; size]).unwrap();
    let observer = Arc::new(RecordingObserver::new());
    let store = FsStore::observed(FsOptions::default(), observer.clone()).unwrap();
    let root: Location = format!("file://{}", folder.path().display()).parse().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let dataset = runtime.block_on(Dataset::list(&store, &root, ListOptions::recursive())).unwrap();
    let options = Scene::options(options).unwrap();
    let loader = Loader::new(Arc::new(store), Arc::new(dataset), options).unwrap();
    let batch = loader.start(runtime.handle()).unwrap().next_blocking().unwrap().unwrap();
    assert_eq!(batch.sample(0), vec![7; size]);
    observer.requests().len()
}

/// Mappings that three files of 10,000 bytes take, and those that the kernel was advised about.
fn mappings(options: Value) -> (u64, u64) {
    let counters = three_files(options).backend_counters;
    (counters["mappings"], counters["mappings_advised"])
}

/// The policies that reading three files used, each as often as it says, and how often the kernel was told.
fn policies(options: Value) -> (Vec<(String, u64)>, u64) {
    let seen = three_files(options);
    let used = seen.page_cache.applied.iter().filter(|(_, times)| **times > 0);
    (
        used.map(|(policy, times)| (policy.clone(), *times)).collect(),
        seen.backend_counters["cache_hints_applied"],
    )
}

/// What was counted while three files of 10,000 bytes were read.
fn three_files(options: Value) -> MetricsSnapshot {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..3 {
        std::fs::write(folder.path().join(i.to_string()), vec![i; 10_000]).unwrap();
    }
    let collector = Arc::new(MetricsCollector::new());
    let store = FsStore::observed(FsOptions::default(), collector.clone()).unwrap();
    let root: Location = format!("file://{}", folder.path().display()).parse().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let dataset = runtime.block_on(Dataset::list(&store, &root, ListOptions::recursive())).unwrap();
    let options = Scene::options(options).unwrap();
    let loader =
        Loader::with_collector(Arc::new(store), Arc::new(dataset), options, Some(collector.clone())).unwrap();
    let batch = loader.start(runtime.handle()).unwrap().next_blocking().unwrap().unwrap();
    assert!((0..3).all(|i| batch.sample(i) == vec![i as u8; 10_000]));
    collector.snapshot()
}

fn sorted(mut ids: Vec<u64>) -> Vec<u64> {
    ids.sort();
    ids
}

/// An option and the test of its effect.
type Effect = (&'static str, fn(&Scene));

const EFFECTS: &[Effect] = &[
    ("batch_size", |scene| {
        assert!(scene.batches(json!({ "batch_size": 8 })).iter().all(|batch| batch.len() == 8));
    }),
    ("num_workers", |scene| {
        // With a queue of one and nobody who takes, what is read ahead is what the workers hold.
        assert!(scene.ahead(16, 1) >= scene.ahead(1, 1) + 8 * 128);
    }),
    ("prefetch", |scene| assert!(scene.ahead(1, 16) >= scene.ahead(1, 1) + 10 * 128)),
    ("shuffle", |scene| {
        let (listed, shuffled) = (scene.ids(json!({})), scene.ids(json!({ "shuffle": true })));
        assert!(listed.is_sorted() && !shuffled.is_sorted());
        assert_eq!(sorted(shuffled), listed);
    }),
    ("shuffle_window", |scene| {
        let ids = scene.ids(json!({ "shuffle": true, "shuffle_window": 4 }));
        assert!(!ids.is_sorted());
        assert!((0..).zip(&ids).all(|(place, id)| id.abs_diff(place) < 6), "{ids:?}");
    }),
    ("random_index_mode", |scene| {
        for mode in ["uniform", "zipfian:2"] {
            let mut ids = scene.ids(json!({ "random_index_mode": mode }));
            assert_eq!(ids.len(), 64);
            ids.sort();
            ids.dedup();
            assert!(
                if mode == "uniform" { (30..60).contains(&ids.len()) } else { ids.len() < 30 },
                "{mode}: {ids:?}"
            );
        }
    }),
    ("seed", |scene| {
        let ids = |seed| scene.ids(json!({ "shuffle": true, "seed": seed }));
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
    }),
    ("drop_last", |scene| {
        let last = |drop_last| {
            scene.batches(json!({ "batch_size": 10, "drop_last": drop_last })).last().unwrap().len()
        };
        assert_eq!((last(false), last(true)), (4, 10));
    }),
    ("shard_rank", |scene| {
        let ids = |rank| scene.ids(json!({ "shard_rank": rank, "shard_world_size": 2 }));
        assert!(ids(0).iter().all(|id| id % 2 == 0) && ids(1).iter().all(|id| id % 2 == 1));
    }),
    ("shard_world_size", |scene| {
        assert_eq!(scene.ids(json!({ "shard_world_size": 4 })).len(), 16);
    }),
    ("shard_remainder", |scene| {
        let lengths = |remainder| {
            [0, 4].map(|rank| {
                let options =
                    json!({ "shard_remainder": remainder, "shard_rank": rank, "shard_world_size": 5 });
                scene.ids(options).len()
            })
        };
        assert_eq!([lengths("uneven"), lengths("drop"), lengths("pad")], [[13, 12], [12, 12], [13, 13]]);
    }),
    ("loading_mode", |scene| {
        let ids = scene.ids(json!({ "loading_mode": "completion", "batch_size": 2 }));
        assert_eq!(sorted(ids), (0..64).collect::<Vec<_>>());
        // Before the end of the listing is known: names of a thousand a page, and one batch.
        let more = Scene::new(1100);
        let listing = Listing::new(more.dataset.root(), DatasetOptions::default()).unwrap();
        let options = Scene::options(json!({ "loading_mode": "streaming", "prefetch": 1 })).unwrap();
        let loader = Loader::new(more.store.clone(), Arc::new(listing), options).unwrap();
        let mut epoch = loader.start(more.runtime.handle()).unwrap();
        epoch.next_blocking().unwrap().unwrap();
        assert_eq!((loader.batches(), epoch.progress().batches_total), (None, None));
        scene.refused(json!({ "loading_mode": "streaming" }), "give the location");
    }),
    ("max_bytes_in_flight", |scene| {
        assert!(scene.peak(json!({ "max_bytes_in_flight": 600, "batch_size": 4 })) <= 600);
        assert!(scene.peak(json!({ "batch_size": 4 })) > 600);
    }),
    ("page_cache_mode", |scene| {
        assert_eq!(policies(json!({})), (vec![("default".to_owned(), 3)], 0));
        for mode in ["fadvise_sequential", "fadvise_random", "dont_need"] {
            let (used, told) = policies(json!({ "page_cache_mode": mode }));
            assert_eq!(used, [(mode.to_owned(), 3)]);
            assert!(told >= 3, "{mode}: {told}");
        }
        // Memory has no page cache: obeyed or refused.
        scene.refused(
            json!({ "page_cache_mode": "dont_need" }),
            "page_cache_mode=dont_need is not for mem://",
        );
        scene.refused(json!({ "cache_policy": "direct" }), "cache_policy=direct");
    }),
    ("cache_policy", |scene| {
        // As with page_cache_mode.
        for policy in ["sequential", "random", "direct"] {
            scene.refused(
                json!({ "cache_policy": policy }),
                &format!("cache_policy={policy}) is not for mem://"),
            );
        }
        assert_eq!(scene.ids(json!({ "cache_policy": "default" })).len(), 64);
        let advised = json!({ "reader_mode": "mmap", "cache_policy": "random" });
        assert_eq!(mappings(advised), (3, 3));
    }),
    ("persistent_workers", |scene| {
        let memory = |persistent| {
            let loader = scene.loader(json!({ "persistent_workers": persistent, "batch_size": 4 })).unwrap();
            scene.epoch(&loader);
            loader.memory()
        };
        assert!(memory(false) < memory(true));
    }),
    ("collate", |scene| scene.refused(json!({ "collate": "stack" }), "to_torch")),
    ("pin_memory", |scene| {
        scene.refused(json!({ "pin_memory": true }), "CUDA");
        assert_eq!(scene.ids(json!({ "pin_memory": "auto" })).len(), 64);
    }),
    ("non_blocking", |scene| {
        scene.refused(json!({ "non_blocking": true }), "device");
        assert_eq!(scene.ids(json!({ "non_blocking": "auto" })).len(), 64);
    }),
    ("multiprocessing_context", |scene| {
        scene.refused(json!({ "multiprocessing_context": "spawn" }), "threads");
    }),
    ("reader_mode", |scene| {
        // Two ranges of 4 MiB and the rest; in one go it is cut up as the store finds best.
        let size = (8 << 20) + (1 << 19);
        assert_eq!(requests(json!({ "reader_mode": "range" }), size), 3);
        assert_ne!(requests(json!({ "reader_mode": "sequential" }), size), 3);
        // A mapping for each sample, of which the kernel is told what page_cache_mode says.
        assert_eq!(mappings(json!({ "reader_mode": "mmap" })), (3, 0));
        let advised = json!({ "reader_mode": "mmap", "page_cache_mode": "fadvise_random" });
        assert_eq!(mappings(advised), (3, 3));
        assert_eq!(mappings(json!({ "reader_mode": "sequential" })), (0, 0));
        // Memory has no file to map, which is said before anything is read.
        let error = scene.loader(json!({ "reader_mode": "mmap", "on_error": "skip:9" })).unwrap_err();
        let text = error.to_string();
        assert!(error.kind() == Kind::InvalidConfig && text.contains("reader_mode=mmap"), "{text}");
        assert!(text.contains("mem://") && text.contains("sequential or range"), "{text}");
        for other in [json!({ "target_request_bytes": 4096 }), json!({ "page_cache_mode": "direct_io" })] {
            let mut options = other;
            options["reader_mode"] = "mmap".into();
            let error = Scene::options(options).unwrap_err();
            assert!(error.to_string().contains("reader_mode=mmap"), "{error}");
        }
    }),
    ("target_request_bytes", |_| {
        assert_eq!(requests(json!({ "target_request_bytes": "64KiB" }), 5 << 16), 5);
    }),
    ("on_error", |scene| {
        let faults = || FaultRates::errors(Kind::Corrupt, 0.2);
        let came = |on_error| scene.behind(faults(), json!({ "on_error": on_error, "batch_size": 4 }));
        assert_eq!(came("raise").unwrap_err().kind(), Kind::Corrupt);
        assert!((1..64).contains(&came("skip:60").unwrap().len()));
        assert_eq!(came("substitute:60").unwrap().len(), 64);
    }),
    ("retries", |scene| {
        let faults = || FaultRates::errors(Kind::Throttled, 0.2);
        assert!(scene.behind(faults(), json!({ "retries": 0 })).is_err());
        assert_eq!(scene.behind(faults(), json!({ "retries": 30 })).unwrap().len(), 64);
    }),
    ("deadline", |scene| {
        let hangs = FaultRates { hangs: 1.0, ..FaultRates::none() };
        let error = scene.behind(hangs, json!({ "deadline": 0.05 })).unwrap_err();
        assert!(error.to_string().contains("deadline=0.05"), "{error}");
    }),
    ("timeout", |scene| {
        let hangs = FaultRates { hangs: 1.0, ..FaultRates::none() };
        let error = scene.behind(hangs, json!({ "timeout": 0.05 })).unwrap_err();
        assert!(error.to_string().contains("timeout=0.05"), "{error}");
    }),
];

#[test]
fn every_option_has_a_test_of_its_effect() {
    let tested: Vec<_> = EFFECTS.iter().map(|(name, _)| *name).collect();
    for option in OPTIONS {
        assert!(tested.contains(&option.name), "nothing tests what {} does", option.name);
    }
    for name in &tested {
        assert!(OPTIONS.iter().any(|option| option.name == *name), "{name} is no option");
        assert_eq!(tested.iter().filter(|other| *other == name).count(), 1, "{name} stands there twice");
    }
}

#[test]
fn every_option_does_what_it_says() {
    let scene = Scene::new(64);
    for (name, effect) in EFFECTS {
        println!("{name}");
        effect(&scene);
    }
}
