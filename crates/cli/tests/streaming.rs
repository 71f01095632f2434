//! `loading_mode=streaming` of services and files: what comes when, what ranks have in common, and resumes. Through the
//! loader itself, because what a batch holds is looked at.

use forebay_io::{Kind, Location, PutOptions, Store};
use forebay_io_open::{FsOptions, FsStore, StoreOptions, Surroundings, open};
use forebay_io_testkit::servers::{Azurite, FastServer, S3Server};
use forebay_loader::{DatasetOptions, Epoch, Listing, Loader, LoaderOptions, LoadingMode, Remainder, State};
use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Where objects are, and the store that has them.
struct Place {
    root: Location,
    store: Arc<dyn Store>,
}

impl Place {
    #[allow(clippy::disallowed_methods)]
    fn open(root: String, options: &[(&str, &str)]) -> Self {
        let root: Location = root.parse().unwrap();
        let around = Surroundings::new(Vec::new(), SystemTime::now);
        let options = StoreOptions::parse(options.iter().copied()).unwrap().with_surroundings(around);
        Place { store: open(&root, &options).unwrap(), root }
    }

    fn s3(endpoint: &str, bucket: &str) -> Self {
        let options = [
            ("endpoint", endpoint),
            ("region", S3Server::REGION),
            ("access_key_id", S3Server::ACCESS_KEY),
            ("secret_access_key", S3Server::SECRET_KEY),
        ];
        Place::open(format!("s3://{bucket}/set"), &options)
    }

    fn azure(endpoint: &str, container: &str) -> Self {
        let options =
            [("endpoint", endpoint), ("account_name", Azurite::ACCOUNT), ("account_key", Azurite::KEY)];
        Place::open(format!("az://{container}/set"), &options)
    }

    async fn fill(&self, count: u64) {
        for i in 0..count {
            let at = self.root.join(format!("{i:06}").as_bytes());
            self.store.put(&at, i.to_le_bytes().to_vec().into(), PutOptions::default()).await.unwrap();
        }
    }

    fn loader(&self, options: LoaderOptions) -> Loader {
        self.try_loader(options).unwrap()
    }

    fn try_loader(&self, options: LoaderOptions) -> forebay_io::Result<Loader> {
        let listing = Listing::new(&self.root, DatasetOptions::default()).unwrap();
        let options = LoaderOptions { loading_mode: LoadingMode::Streaming, ..options };
        Loader::new(self.store.clone(), Arc::new(listing), options)
    }
}

fn of_rank(rank: usize, world: usize) -> LoaderOptions {
    LoaderOptions { shard_rank: rank, shard_world_size: world, batch_size: 7, ..LoaderOptions::default() }
}

/// The numbers in the samples of at most `n` batches.
fn take(epoch: &mut Epoch, n: usize) -> Vec<u64> {
    let batches = std::iter::from_fn(|| epoch.next_blocking()).take(n);
    let number = |sample: &[u8]| u64::from_le_bytes(sample.try_into().unwrap());
    let numbers =
        |batch: forebay_loader::Batch| (0..batch.len()).map(|i| number(batch.sample(i))).collect::<Vec<_>>();
    batches.flat_map(|batch| numbers(batch.unwrap())).collect()
}

fn all(runtime: &Runtime, loader: &Loader) -> Vec<u64> {
    take(&mut loader.start(runtime.handle()).unwrap(), usize::MAX)
}

fn sorted(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_unstable();
    numbers
}

/// Ranks are disjoint and complete, and others, of another number, go on where they were.
fn ranks_and_resumes_read_everything_once(runtime: &Runtime, place: &Place, count: u64) {
    let everything: Vec<_> = (0..count).collect();
    assert_eq!(all(runtime, &place.loader(of_rank(0, 1))), everything, "in the order of names");
    let ranks = (0..3).flat_map(|rank| all(runtime, &place.loader(of_rank(rank, 3)))).collect();
    assert_eq!(sorted(ranks), everything);

    let mut seen = Vec::new();
    let mut states = Vec::new();
    for rank in 0..2 {
        let loader = place.loader(of_rank(rank, 2));
        seen.extend(take(&mut loader.start(runtime.handle()).unwrap(), 2));
        states.push(State::from_json(&loader.state().to_json()).unwrap());
    }
    for rank in 0..3 {
        let loader = place.loader(of_rank(rank, 3));
        loader.load_states(&states).unwrap();
        seen.extend(all(runtime, &loader));
    }
    assert_eq!(sorted(seen), everything);
}

#[test]
fn on_s3_ranks_and_resumes_read_everything_once() {
    let (runtime, server) = (runtime(), S3Server::start().unwrap());
    let place = Place::s3(&server.endpoint(), server.bucket());
    runtime.block_on(place.fill(100));
    ranks_and_resumes_read_everything_once(&runtime, &place, 100);
}

#[test]
fn on_azure_ranks_and_resumes_read_everything_once() {
    let (runtime, azurite) = (runtime(), Azurite::shared().unwrap());
    let place = Place::azure(&azurite.endpoint(), &azurite.new_container().unwrap());
    runtime.block_on(place.fill(100));
    ranks_and_resumes_read_everything_once(&runtime, &place, 100);
}

/// 20,000 names are twenty pages on S3 and four on Azure; the first batch needs the first, and few are fetched ahead.
#[test]
fn the_first_batch_comes_while_a_service_still_lists() {
    let (runtime, server) = (runtime(), FastServer::start(1).unwrap());
    server.fill(server.bucket(), "set/", 20_000, 8);
    let places = [
        Place::s3(&server.s3_endpoint(), server.bucket()),
        Place::azure(&server.azure_endpoint(), server.bucket()),
    ];
    for place in places {
        let options = LoaderOptions { num_workers: 1, prefetch: 1, ..of_rank(0, 1) };
        let loader = place.loader(options);
        let before = server.requests();
        let mut epoch = loader.start(runtime.handle()).unwrap();
        let first = epoch.next_blocking().unwrap().unwrap();
        assert_eq!(first.len(), 7);
        let asked = server.requests() - before;
        assert!(asked < 60, "{asked} requests before the first batch of {}", place.root);
        assert_eq!((epoch.progress().batches_total, loader.batches()), (None, None));
    }
}

fn folder(count: u64) -> (tempfile::TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    let root = Location::from_path(folder.path()).unwrap();
    let store = Arc::new(FsStore::new(FsOptions::default()).unwrap());
    let place = Place { root, store };
    for i in 0..count {
        std::fs::write(folder.path().join(format!("{i:06}")), i.to_le_bytes()).unwrap();
    }
    (folder, place)
}

/// Each rank's machine has its own copy, whose directory was filled in another order.
#[test]
fn ranks_of_files_are_disjoint_whatever_order_each_sees() {
    let runtime = runtime();
    for window in [None, NonZeroU64::new(16)] {
        let mut seen = Vec::new();
        for rank in 0..3 {
            let (folder, place) = folder(0);
            let order: Vec<u64> = match rank {
                0 => (0..200).collect(),
                1 => (0..200).rev().collect(),
                _ => (0..200).map(|i| i * 77 % 200).collect::<BTreeSet<_>>().into_iter().rev().collect(),
            };
            for i in order {
                std::fs::write(folder.path().join(format!("{i:06}")), i.to_le_bytes()).unwrap();
            }
            let options =
                LoaderOptions { shuffle: window.is_some(), shuffle_window: window, ..of_rank(rank, 3) };
            seen.extend(all(&runtime, &place.loader(options)));
        }
        assert_eq!(sorted(seen), (0..200).collect::<Vec<_>>());
    }
}

#[test]
fn a_rank_of_files_goes_on_from_its_own_state_and_no_other() {
    let runtime = runtime();
    let (_folder, place) = folder(100);
    let mut seen = Vec::new();
    let mut states = Vec::new();
    for rank in 0..2 {
        let loader = place.loader(of_rank(rank, 2));
        seen.extend(take(&mut loader.start(runtime.handle()).unwrap(), 1 + rank));
        states.push(State::from_json(&loader.state().to_json()).unwrap());
    }
    for rank in 0..2 {
        let loader = place.loader(of_rank(rank, 2));
        loader.load_states(&states).unwrap();
        seen.extend(all(&runtime, &loader));
    }
    assert_eq!(sorted(seen), (0..100).collect::<Vec<_>>());
    for (rank, world, states) in [(0, 3, &states[..]), (0, 2, &states[1..])] {
        let error = place.loader(of_rank(rank, world)).load_states(states).unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition);
        assert!(error.to_string().contains("splits by name"), "{error}");
    }
}

#[test]
fn ranks_of_files_cannot_be_made_equally_long() {
    let (_folder, place) = folder(1);
    for shard_remainder in [Remainder::Drop, Remainder::Pad] {
        let error = place.try_loader(LoaderOptions { shard_remainder, ..of_rank(0, 2) }).unwrap_err();
        assert!(error.to_string().contains("lists in no defined order"), "{error}");
        place.loader(LoaderOptions { shard_remainder, ..of_rank(0, 1) });
    }
}
