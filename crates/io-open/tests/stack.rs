//! The stack that `open` builds, seen from outside.

use forebay_io::{Budget, Pool, read};
use forebay_io::{
    End, Event, GetRequest, Kind, Location, MemoryStore, Observe, Op, Operation, PutOptions, ReadOptions,
    Store,
};
use forebay_io_open::{StoreOptions, open};
use futures::executor::block_on;
use parking_lot::Mutex;
use std::sync::Arc;

#[derive(Default)]
struct Seen {
    ended: Mutex<Vec<(Operation, bool)>>,
    retried: Mutex<Vec<(Option<String>, Kind)>>,
}

impl Observe for Seen {
    fn started(&self, _: &[Op<'_>]) {}

    fn ended(&self, ops: &[Op<'_>], ends: &[End]) {
        let ends = ops.iter().zip(ends).map(|(op, end)| (op.operation, matches!(end, End::Done(_))));
        self.ended.lock().extend(ends);
    }

    fn attempted(&self, _: &[forebay_io::Attempt<'_>]) {}
    fn noted(&self, scheme: Option<&str>, event: Event) {
        if let Event::Retried(kind) = event {
            assert!(scheme.is_some_and(|scheme| !scheme.is_empty()), "whose it is, is told");
            self.retried.lock().push((scheme.map(str::to_owned), kind));
        }
    }
}

fn pool() -> Pool {
    Pool::new(Budget::new(1 << 20).unwrap())
}

#[test]
fn files_are_read_through_every_layer_and_both_observers_see_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a b"), b"hello").unwrap();
    let location = Location::from_path(dir.path()).unwrap();
    let (device, caller) = (Arc::new(Seen::default()), Arc::new(Seen::default()));
    let mut options = StoreOptions::parse([
        ("threads", "2"),
        ("retries", "2"),
        ("limit_concurrency", "4"),
        ("limit_bytes_per_second", "1MiB"),
    ])
    .unwrap();
    options.device = Some(device.clone());
    options.caller = Some(caller.clone());
    let store = open(&location, &options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let block = runtime
        .block_on(read(&*store, &location.join(b"a b"), None, ReadOptions::default(), &pool()))
        .unwrap();
    assert_eq!(block.slot(0), Some(&b"hello"[..]));
    for seen in [&device, &caller] {
        assert_eq!(*seen.ended.lock(), [(Operation::Get, true)]);
    }
    let text = format!("{store:?}");
    let order = ["Observed", "Limited", "Retrying", "Observed", "FsStore { threads: 2 }"];
    let mut at = 0;
    for layer in order {
        at += text[at..].find(layer).unwrap_or_else(|| panic!("{layer} is missing or misplaced in {text}"));
    }
}

#[test]
fn what_never_passes_is_not_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::from_path(&dir.path().join("missing")).unwrap();
    let device = Arc::new(Seen::default());
    let options = StoreOptions { retries: Some(3), device: Some(device.clone()), ..Default::default() };
    let store = open(&location, &options).unwrap();
    let error = block_on(read(&*store, &location, None, ReadOptions::default(), &pool())).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(*device.ended.lock(), [(Operation::Get, false)], "no second attempt");
    assert!(device.retried.lock().is_empty());
}

#[test]
fn nothing_is_wrapped_that_was_not_asked_for() {
    let store = open(&"file:///".parse().unwrap(), &StoreOptions::default()).unwrap();
    // The outermost reads neighbours together where a read asks for it, and is out of the way of every other.
    assert!(format!("{store:?}").starts_with("Coalesced { store: FsStore"), "{store:?}");
}

#[test]
fn memory_is_opened_only_if_it_is_handed_over() {
    let location: Location = "mem://set/key".parse().unwrap();
    let error = open(&location, &StoreOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("StoreOptions::memory"), "{error}");

    let memory = MemoryStore::new();
    block_on(memory.put(&location, b"x".as_slice().into(), PutOptions::default())).unwrap();
    let options = StoreOptions { memory: Some(memory), ..Default::default() };
    let store = open(&location, &options).unwrap();
    let pool = pool();
    let lease = pool.lease(pool.budget().ticket(), 1);
    let request = GetRequest::whole(location.clone(), 0);
    assert_eq!(block_on(store.get(request, ReadOptions::default(), lease)).unwrap().bytes, 1);

    let error = open(&location, &StoreOptions { threads: Some(2), ..options }).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
}

#[test]
fn too_many_threads_are_refused() {
    let location: Location = "file:///data".parse().unwrap();
    let error =
        open(&location, &StoreOptions { threads: Some(1_000_000), ..Default::default() }).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(error.to_string().contains("1000000"), "{error}");
}

#[test]
fn direct_files_have_options_of_their_own() {
    let at: Location = "direct:///tmp".parse().unwrap();
    let parse = |key, value| StoreOptions::parse([(key, value)]);
    for (key, value) in [
        ("direct_io", "false"),
        ("alignment", "4096"),
        ("min_io_size", "4KiB"),
        ("sync_writes", "true"),
        ("strict", "true"),
        ("register_buffers", "false"),
    ] {
        let options = parse(key, value).unwrap();
        open(&at, &options).unwrap();
        let error = open(&"file:///tmp".parse().unwrap(), &options).unwrap_err();
        assert!(error.to_string().contains(&format!("{key} is an option of direct://")), "{error}");
    }
    let error = parse("alignment", "1000").unwrap_err();
    assert!(error.to_string().contains("power of two from 512"), "{error}");
    for (idle, with) in [
        (("alignment", "4096"), ("direct_io", "false")),
        (("min_io_size", "4096"), ("direct_io", "false")),
        (("queue_depth", "4"), ("io_engine", "threads")),
        (("register_buffers", "true"), ("io_engine", "threads")),
    ] {
        let error = open(&at, &StoreOptions::parse([idle, with]).unwrap()).unwrap_err().to_string();
        assert!(error.contains(&format!("{} has no meaning with {}={}", idle.0, with.0, with.1)), "{error}");
    }
}

#[test]
fn layers_tell_whose_trouble_they_had() {
    // Nobody listens there: the port is taken and let go.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let given = [("endpoint", &*endpoint), ("anonymous", "true"), ("retries", "1")];
    let caller = Arc::new(Seen::default());
    let options = StoreOptions { caller: Some(caller.clone()), ..StoreOptions::parse(given).unwrap() };
    let location: Location = "s3://bucket/key".parse().unwrap();
    let store = open(&location, &options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(read(&*store, &location, None, ReadOptions::default(), &pool())).unwrap_err();
    assert_eq!(*caller.retried.lock(), [(Some("s3".to_owned()), Kind::Unavailable)]);
}
