//! Loading real files when things go wrong: what is promised about completeness, errors and what is
//! left behind. Here because it needs the loader, a real store and faults together.

use forebay_io::layer::{RetryPolicy, Retrying};
use forebay_io::{Kind, ListOptions, Location, PutOptions, Store};
use forebay_io_open::{StoreOptions, Surroundings};
use forebay_io_testkit::servers::S3Server;
use forebay_io_testkit::{Fault, FaultRates, FaultStore};
use forebay_loader::{Dataset, DatasetOptions, Epoch, Format, Loader, LoaderOptions};
use forebay_metrics::{Counter, MetricsCollector};
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

/// The runtime takes a task off its books a moment after the task has dropped all it had.
fn no_task_is_left(runtime: &Runtime) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while runtime.metrics().num_alive_tasks() > 0 {
        assert!(std::time::Instant::now() < deadline, "{} tasks", runtime.metrics().num_alive_tasks());
        std::thread::yield_now();
    }
}

fn content(i: u64) -> Vec<u8> {
    (0..1000 + (i * 37) % 3000).map(|k| (i * 7 + k) as u8).collect()
}

/// A folder of `n` files whose ids are their numbers.
fn folder(n: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    (0..n).for_each(|i| fs::write(file(folder.path(), i), content(i)).unwrap());
    folder
}

fn file(folder: &Path, i: u64) -> std::path::PathBuf {
    folder.join(format!("{i:05}"))
}

struct Job {
    runtime: Runtime,
    store: Arc<dyn Store>,
    dataset: Arc<Dataset>,
}

fn job(folder: &Path) -> Job {
    let runtime = runtime();
    let root = Location::from_path(folder).unwrap();
    let store = forebay_io_open::open(&root, &StoreOptions::default()).unwrap();
    let dataset = runtime.block_on(Dataset::list(&*store, &root, ListOptions::recursive())).unwrap();
    Job { runtime, store, dataset: Arc::new(dataset) }
}

impl Job {
    fn loader(&self, options: LoaderOptions) -> Loader {
        self.loader_of(self.store.clone(), options)
    }

    fn loader_of(&self, store: Arc<dyn Store>, options: LoaderOptions) -> Loader {
        let options = LoaderOptions { batch_size: 16, num_workers: 3, prefetch: 2, ..options };
        Loader::new(store, self.dataset.clone(), options).unwrap()
    }

    fn start(&self, loader: &Loader) -> Epoch {
        loader.start(self.runtime.handle()).unwrap()
    }
}

/// Every id that arrives, its bytes checked, and the error that ended it, if one did.
fn drain(epoch: &mut Epoch) -> (Vec<u64>, Option<forebay_io::Error>) {
    let mut ids = Vec::new();
    while let Some(batch) = epoch.next_blocking() {
        match batch {
            Err(error) => return (ids, Some(error)),
            Ok(batch) => {
                for (i, &id) in batch.ids().iter().enumerate() {
                    assert_eq!(batch.sample(i), content(id), "sample {id}");
                    ids.push(id);
                }
            }
        }
    }
    (ids, None)
}

fn faulty(job: &Job, rate: f64) -> Arc<FaultStore> {
    let rates = FaultRates {
        errors: vec![(Kind::Unavailable, rate / 2.0), (Kind::Throttled, rate / 4.0)],
        short_reads: rate / 4.0,
        ..FaultRates::none()
    };
    Arc::new(FaultStore::new(job.store.clone(), rates, 11).unwrap())
}

fn patient() -> RetryPolicy {
    let max_attempts = NonZeroU32::new(8).unwrap();
    RetryPolicy {
        max_attempts,
        base: Duration::from_micros(50),
        cap: Duration::from_millis(5),
        budget: None,
        seed: 3,
    }
}

#[test]
fn a_tenth_of_all_reads_failing_loses_and_repeats_nothing_with_retries() {
    let folder = folder(1000);
    let job = job(folder.path());
    let faults = faulty(&job, 0.1);
    let collector = Arc::new(MetricsCollector::new());
    let retrying = Arc::new(Retrying::new(faults.clone(), patient(), collector.clone()));
    let loader = job.loader_of(retrying, LoaderOptions { shuffle: true, seed: 5, ..Default::default() });
    let (mut ids, error) = drain(&mut job.start(&loader));
    assert!(error.is_none(), "{error:?}");
    ids.sort();
    assert_eq!(ids, (0..1000).collect::<Vec<_>>());
    let failures = faults.counts().failures();
    assert!((60..200).contains(&failures), "{failures} faults were injected");
    assert_eq!(collector.snapshot().counter(Counter::Retries), failures, "and every one was seen");
    assert_eq!(loader.budget().used(), 0);
}

#[test]
fn every_read_failing_is_an_error_that_says_how_often_it_was_tried() {
    let folder = folder(100);
    let job = job(folder.path());
    let rates = FaultRates::errors(Kind::Unavailable, 1.0);
    let faults = Arc::new(FaultStore::new(job.store.clone(), rates, 1).unwrap());
    let loader = job.loader_of(faults.clone(), LoaderOptions::default());
    let (ids, error) = drain(&mut job.start(&loader));
    assert_eq!((ids.len(), error.unwrap().kind()), (0, Kind::Unavailable), "without retries");

    let retrying = Arc::new(Retrying::new(faults, patient(), Arc::new(MetricsCollector::new())));
    let loader = job.loader_of(retrying, LoaderOptions::default());
    let (ids, error) = drain(&mut job.start(&loader));
    let error = error.unwrap();
    assert_eq!((ids.len(), error.kind()), (0, Kind::Unavailable));
    assert!(error.to_string().contains("8 attempts") && error.to_string().contains("/00000"), "{error}");
    assert_eq!(loader.budget().used(), 0);
    assert_eq!(loader.state().samples_done(), 0);
}

#[test]
fn after_an_error_the_state_goes_on_where_it_happened() {
    let folder = folder(200);
    let job = job(folder.path());
    let faults = Arc::new(FaultStore::new(job.store.clone(), FaultRates::none(), 1).unwrap());
    faults.script(&job.dataset.location(100).unwrap(), [Fault::Error(Kind::Unavailable)]);
    let loader = job.loader_of(faults, LoaderOptions::default());
    let (before, error) = drain(&mut job.start(&loader));
    assert!(error.unwrap().to_string().contains("/00100"));
    assert_eq!(before, (0..96).collect::<Vec<_>>());
    let again = job.loader(LoaderOptions::default());
    again.load_state(&loader.state()).unwrap();
    let (after, error) = drain(&mut job.start(&again));
    assert!(error.is_none());
    assert_eq!(after, (96..200).collect::<Vec<_>>());
}

#[test]
fn files_that_vanish_shrink_or_grow_after_listing() {
    let folder = folder(64);
    let job = job(folder.path());
    let longer = [content(20), vec![9; 5000]].concat();
    fs::write(file(folder.path(), 20), &longer).unwrap();
    fs::write(file(folder.path(), 21), b"").unwrap();
    fs::remove_file(file(folder.path(), 40)).unwrap();
    let loader = job.loader(LoaderOptions::default());
    let mut epoch = job.start(&loader);
    assert_eq!(epoch.next_blocking().unwrap().unwrap().ids()[0], 0);
    let batch = epoch.next_blocking().unwrap().unwrap();
    // What is there when it is read is what is delivered, whole: sizes are not taken from the listing.
    assert_eq!(batch.sample(4), longer);
    assert_eq!(batch.sample(5), b"");
    let error = epoch.next_blocking().unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("/00040"), "{error}");
    assert!(epoch.next_blocking().is_none(), "an error ends the epoch");
}

#[test]
fn what_cannot_be_read_as_a_file_is_named() {
    let folder = folder(3);
    let job = job(folder.path());
    fs::remove_file(file(folder.path(), 1)).unwrap();
    fs::create_dir(file(folder.path(), 1)).unwrap();
    let (_, error) = drain(&mut job.start(&job.loader(LoaderOptions::default())));
    let error = error.unwrap();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(error.to_string().contains("/00001") && error.to_string().contains("directory"), "{error}");
}

#[test]
fn an_unreadable_file_is_denied_by_name() {
    if rustix::process::geteuid().is_root() {
        // Root may read anything, so a process without that right is asked to try.
        return unreadable_to_nobody();
    }
    let folder = folder(3);
    let job = job(folder.path());
    deny(&file(folder.path(), 1));
    let (_, error) = drain(&mut job.start(&job.loader(LoaderOptions::default())));
    assert_eq!(error.unwrap().kind(), Kind::Denied);
}

fn deny(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

fn unreadable_to_nobody() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let folder = folder(3);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    deny(&file(folder.path(), 1));
    // A copy that nobody can run: the build folder may be closed to others.
    let command = folder.path().with_extension("forebay");
    fs::copy(env!("CARGO_BIN_EXE_forebay"), &command).unwrap();
    let output = std::process::Command::new(&command)
        .args(["load", folder.path().to_str().unwrap()])
        .uid(65534)
        .gid(65534)
        .output();
    fs::remove_file(&command).unwrap();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("/00001") && text.contains("Permission denied"), "{text}");
}

#[test]
fn a_place_that_is_not_there_or_empty_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let list = |path: &Path| {
        let root = Location::from_path(path).unwrap();
        let store = forebay_io_open::open(&root, &StoreOptions::default()).unwrap();
        let error = runtime().block_on(Dataset::list(&*store, &root, ListOptions::recursive())).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        error.to_string()
    };
    assert!(list(&folder.path().join("no such")).contains("/no%20such"));
    assert!(list(folder.path()).contains("it holds no files"));
}

#[test]
fn empty_files_are_samples_of_no_bytes() {
    let folder = tempfile::tempdir().unwrap();
    (0..40).for_each(|i| fs::write(file(folder.path(), i), b"").unwrap());
    let job = job(folder.path());
    let loader = job.loader(LoaderOptions::default());
    let mut epoch = job.start(&loader);
    let mut count = 0;
    while let Some(batch) = epoch.next_blocking() {
        let batch = batch.unwrap();
        assert_eq!(batch.as_slice().len(), 0);
        count += batch.len();
    }
    assert_eq!(count, 40);
}

#[test]
fn an_epoch_dropped_half_way_leaves_no_task_thread_budget_or_descriptor() {
    let folder = folder(500);
    let job = job(folder.path());
    let loader = job.loader(LoaderOptions { shuffle: true, ..Default::default() });
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = {
        // The first epoch starts what is kept for all of them.
        drain(&mut job.start(&loader));
        descriptors()
    };
    for _ in 0..20 {
        let mut epoch = job.start(&loader);
        epoch.next_blocking().unwrap().unwrap();
        epoch.cancel();
        job.runtime.block_on(epoch.closed());
    }
    no_task_is_left(&job.runtime);
    // A read that had begun ends by itself on its thread; then nothing is left.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while loader.budget().used() > 0 || descriptors() > before {
        assert!(std::time::Instant::now() < deadline, "{:?}, {} descriptors", loader.budget(), descriptors());
        std::thread::yield_now();
    }
    assert_eq!(drain(&mut job.start(&loader)).0.len(), 500);
}

#[test]
fn a_hanging_read_does_not_keep_an_epoch_from_being_dropped() {
    let folder = folder(50);
    let job = job(folder.path());
    let faults = Arc::new(FaultStore::new(job.store.clone(), FaultRates::none(), 1).unwrap());
    faults.script(&job.dataset.location(20).unwrap(), [Fault::Hang]);
    let loader = job.loader_of(faults, LoaderOptions::default());
    let mut epoch = job.start(&loader);
    epoch.next_blocking().unwrap().unwrap();
    epoch.cancel();
    job.runtime.block_on(epoch.closed());
    drop(epoch);
    assert_eq!(loader.budget().used(), 0);
}

#[test]
fn corruption_is_seen_by_whoever_compares() {
    let folder = folder(64);
    let job = job(folder.path());
    let rates = FaultRates { corruption: 1.0, ..FaultRates::none() };
    let faults = Arc::new(FaultStore::new(job.store.clone(), rates, 1).unwrap());
    let loader = job.loader_of(faults, LoaderOptions::default());
    let batch = job.start(&loader).next_blocking().unwrap().unwrap();
    for (i, &id) in batch.ids().iter().enumerate() {
        let expected = content(id);
        let wrong = batch.sample(i).iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!((batch.sample(i).len(), wrong), (expected.len(), 1), "one byte is wrong, no more");
    }
}

/// Its listings say no versions.
#[test]
#[allow(clippy::disallowed_methods)]
fn a_shard_on_s3_that_was_replaced_since_it_was_looked_at_is_an_error() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = S3Server::start().unwrap();
    let root: Location = format!("s3://{}/shards", server.bucket()).parse().unwrap();
    let endpoint = server.endpoint();
    let keys = [
        ("endpoint", endpoint.as_str()),
        ("region", S3Server::REGION),
        ("access_key_id", S3Server::ACCESS_KEY),
        ("secret_access_key", S3Server::SECRET_KEY),
    ];
    let around = Surroundings::new(Vec::new(), SystemTime::now);
    let options = StoreOptions::parse(keys).unwrap().with_surroundings(around);
    let store = forebay_io_open::open(&root, &options).unwrap();
    let put = |byte: u8| {
        let (at, bytes) = (root.join(b"a"), [byte; 64].repeat(4));
        runtime.block_on(store.put(&at, bytes.into(), PutOptions::default())).unwrap();
    };
    put(b'1');
    let options = DatasetOptions {
        format: Format::Records { record_bytes: 64, header_bytes: 0 },
        ..DatasetOptions::default()
    };
    let dataset = Arc::new(runtime.block_on(Dataset::open(&*store, &root, options)).unwrap());
    let load = || {
        let options = LoaderOptions { batch_size: 2, ..LoaderOptions::default() };
        let loader = Loader::new(store.clone(), dataset.clone(), options).unwrap();
        loader.start(runtime.handle()).unwrap().next_blocking().unwrap()
    };
    assert_eq!(load().unwrap().sample(1), [b'1'; 64]);
    put(b'2');
    assert_eq!(load().unwrap_err().kind(), Kind::Precondition);
}
