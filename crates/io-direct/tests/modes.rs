//! What is done is what is said to be done: engines, rungs, requests, versions, and what is left behind.

use forebay_io::{
    Budget, CacheUse, Event, GetRequest, Kind, Location, Operation, PageCacheMode, Pool, PutOptions,
    ReadOptions, Result, Served, Store,
};
use forebay_io_direct::{DirectOptions, DirectStore, Engine};
use forebay_io_testkit::{RecordingObserver, data};
use futures::executor::block_on;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DIRECT: CacheUse = CacheUse::Applied(PageCacheMode::DirectIO);

struct Fixture {
    dir: tempfile::TempDir,
    pool: Pool,
}

impl Fixture {
    fn new() -> Self {
        // Where cargo builds: more likely on a disk than the directory for temporary files.
        let dir = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        Fixture { dir, pool: Pool::new(Budget::new(64 << 20).unwrap()) }
    }

    fn at(&self, name: &str) -> Location {
        format!("direct://{}", self.dir.path().join(name).display()).parse().unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Location {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
        self.at(name)
    }

    fn read(&self, store: &DirectStore, at: &Location, options: ReadOptions) -> (Result<Served>, Vec<u8>) {
        let lease = self.pool.lease(self.pool.budget().ticket(), 1);
        let result = block_on(store.get(GetRequest::whole(at.clone(), 0), options, lease.clone()));
        (result, lease.finish().unwrap().slot(0).map(<[u8]>::to_vec).unwrap_or_default())
    }

    fn open_files(&self) -> usize {
        let links = std::fs::read_dir("/proc/self/fd").unwrap();
        let open = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
        open.filter(|path| path.starts_with(self.dir.path())).count()
    }
}

fn store(options: DirectOptions) -> DirectStore {
    DirectStore::new(options).unwrap()
}

/// Whether a ring can be set up here at all, by other means than the store's.
fn there_is_a_ring() -> bool {
    io_uring::IoUring::new(8).is_ok()
}

#[test]
fn a_ring_is_used_where_there_is_one_and_threads_where_they_are_asked_for() {
    assert_eq!(store(DirectOptions::default()).uses_ring(), there_is_a_ring());
    assert!(!store(DirectOptions { engine: Engine::Threads, ..Default::default() }).uses_ring());
    match DirectStore::new(DirectOptions { engine: Engine::Ring, ..Default::default() }) {
        Ok(store) => assert!(store.uses_ring()),
        Err(error) => assert_eq!((error.kind(), there_is_a_ring()), (Kind::Unsupported, false)),
    }
}

#[test]
fn requests_are_as_large_as_asked_for_and_each_is_told_of() {
    let f = Fixture::new();
    let bytes = data::bytes(3, 1_000_000);
    let at = f.write("a", &bytes);
    for engine in [Engine::Auto, Engine::Threads] {
        let observer = Arc::new(RecordingObserver::new());
        let store = store(DirectOptions { engine, observer: Some(observer.clone()), ..Default::default() });
        let target_request_bytes = NonZeroU64::new(65_536);
        let (result, read) = f.read(&store, &at, ReadOptions { target_request_bytes, ..Default::default() });
        assert_eq!(result.unwrap().bytes, 1_000_000);
        assert!(read == bytes);
        let mut requests = observer.requests();
        requests.sort_by_key(|request| request.range.as_ref().map(|range| range.start));
        assert_eq!(requests.len(), 16);
        let mut reached = 0;
        for request in requests {
            let range = request.range.unwrap();
            assert_eq!((range.start, request.operation, request.failed), (reached, Operation::Get, None));
            assert_eq!(request.bytes, range.end.min(1_000_000) - range.start);
            reached = range.end;
        }
        assert!((1_000_000..1_000_000 + 65_536).contains(&reached));

        // Where nothing is said, a few large ones.
        f.read(&store, &at, ReadOptions::default()).0.unwrap();
        assert_eq!(observer.requests().len(), 17);

        let options = ReadOptions { target_request_bytes, ..Default::default() };
        let object = block_on(store.open(&at, options)).unwrap();
        let (_, served) = block_on(object.read_into(0, block_on(f.pool.buffer(131_072)).unwrap()));
        served.unwrap();
        let requests = observer.requests();
        assert_eq!((requests.len(), requests[18].operation), (19, Operation::Read));
    }
}

#[test]
fn what_is_used_is_said_and_a_lesser_rung_is_noted() {
    let f = Fixture::new();
    let at = f.write("a", &data::bytes(1, 10_000));
    for engine in [Engine::Auto, Engine::Threads] {
        let observer = Arc::new(RecordingObserver::new());
        let options = DirectOptions { engine, observer: Some(observer.clone()), ..Default::default() };
        let direct = store(options.clone());
        let used = f.read(&direct, &at, ReadOptions::default()).0.unwrap().cache;
        // What one filesystem allows it allows always, and it is said each time.
        let again = f.read(&direct, &at, ReadOptions::default()).0.unwrap().cache;
        let expected =
            if used == DIRECT { vec![] } else { vec![Event::Downgraded { from: DIRECT, to: used }; 2] };
        assert_eq!((again, observer.events()), (used, expected));

        let through = store(DirectOptions { direct_io: false, ..options });
        let used = f.read(&through, &at, ReadOptions::default()).0.unwrap().cache;
        assert!(matches!(used, CacheUse::Uncached | CacheUse::Applied(PageCacheMode::DontNeed)), "{used:?}");
        let policy = ReadOptions { page_cache: PageCacheMode::DirectIO, ..Default::default() };
        let error = f.read(&through, &at, policy).0.unwrap_err();
        assert!(
            error.kind() == Kind::Unsupported && error.to_string().contains("direct_io=false"),
            "{error}"
        );
    }
}

/// Files of `/proc` are regular ones for `stat`, and nothing that `O_DIRECT` can read.
#[test]
fn strict_makes_a_step_down_an_error() {
    let f = Fixture::new();
    let at: Location = "direct:///proc/self/limits".parse().unwrap();
    let lax = store(DirectOptions::default());
    let strict = store(DirectOptions { strict: true, ..Default::default() });
    let used = f.read(&lax, &at, ReadOptions::default()).0.unwrap().cache;
    assert_ne!(used, DIRECT);
    let error = f.read(&strict, &at, ReadOptions::default()).0.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    let text = error.to_string();
    assert!(text.contains("O_DIRECT") && text.contains("direct_io") && text.contains("strict"), "{text}");
    let error = block_on(strict.open(&at, ReadOptions::default())).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (Kind::Unsupported, Operation::Open));
}

#[test]
fn an_alignment_that_the_filesystem_refuses_is_named() {
    let f = Fixture::new();
    let at = f.write("a", &data::bytes(1, 100_000));
    let options = DirectOptions { alignment: NonZeroU32::new(1 << 16), ..Default::default() };
    let (result, bytes) = f.read(&store(options), &at, ReadOptions::default());
    result.unwrap();
    assert!(bytes == data::bytes(1, 100_000), "more than is needed is no harm");
}

#[test]
fn files_that_change_while_they_are_read_are_found_out() {
    let f = Fixture::new();
    for engine in [Engine::Auto, Engine::Threads] {
        let store = store(DirectOptions { engine, ..Default::default() });
        let at = f.write("a", &[1; 8192]);
        let object = block_on(store.open(&at, ReadOptions::default())).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(f.dir.path().join("a")).unwrap();
        file.set_len(3000).unwrap();
        let (buf, result) = block_on(object.read_into(0, block_on(f.pool.buffer(8192)).unwrap()));
        let error = result.unwrap_err();
        assert_eq!((buf.len(), error.kind()), (8192, Kind::Precondition));
        assert!(error.to_string().contains("was 8192 bytes, 3000 could be read"), "{error}");
    }
}

#[test]
fn puts_are_exact_and_survive_when_asked_to() {
    let f = Fixture::new();
    for options in [
        DirectOptions::default(),
        DirectOptions { sync_writes: true, min_io_size: 1 << 16, ..Default::default() },
        DirectOptions { direct_io: false, ..Default::default() },
    ] {
        let store = store(options);
        for size in [0, 1, 511, 512, 513, 4096, 100_001, 4 << 20, (4 << 20) + 1, 9_000_000] {
            let bytes = data::bytes(size as u64, size);
            let at = f.at("put");
            let meta = block_on(store.put(&at, bytes.clone().into(), PutOptions::default())).unwrap();
            assert_eq!(meta.size, size as u64);
            assert!(std::fs::read(f.dir.path().join("put")).unwrap() == bytes, "{size}");
            assert_eq!(meta, block_on(store.stat(&at)).unwrap());
        }
    }
}

#[test]
fn nothing_is_left_open() {
    let f = Fixture::new();
    let at: Vec<_> = (0..300).map(|i| f.write(&i.to_string(), &data::bytes(i, 5000))).collect();
    let store = store(DirectOptions::default());
    let lease = f.pool.lease(f.pool.budget().ticket(), 300);
    let requests: Vec<_> = at.iter().zip(0..).map(|(at, i)| GetRequest::whole(at.clone(), i)).collect();
    let results = block_on(store.get_many(requests.into(), ReadOptions::default(), lease.clone()));
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(f.open_files(), 0, "each is closed before the answer");
    drop(lease);
    // Far more objects than the ring has seats, one after another and some at once.
    for chunk in at.chunks(100) {
        let objects: Vec<_> =
            chunk.iter().map(|at| block_on(store.open(at, ReadOptions::default())).unwrap()).collect();
        for (object, i) in objects.iter().zip(0..) {
            let (buf, served) = block_on(object.read_into(0, block_on(f.pool.buffer(5000)).unwrap()));
            assert_eq!(served.unwrap().bytes, 5000, "{i}");
            assert_eq!(buf.len(), 5000);
        }
    }
    // The engine may hold the last of them a moment longer.
    let begin = Instant::now();
    while f.open_files() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "{} are open", f.open_files());
        std::thread::yield_now();
    }
}

#[test]
fn what_cannot_be_a_file_is_refused() {
    let f = Fixture::new();
    let store = store(DirectOptions::default());
    let error = f.read(&store, &"s3://bucket/key".parse().unwrap(), ReadOptions::default()).0.unwrap_err();
    assert!(error.kind() == Kind::InvalidConfig && error.to_string().contains("direct://"), "{error}");
    for mode in [PageCacheMode::FadviseRandom, PageCacheMode::FadviseSequential, PageCacheMode::DontNeed] {
        let options = ReadOptions { page_cache: mode, ..Default::default() };
        let error = block_on(store.open(&f.write("a", b"a"), options)).unwrap_err();
        assert!(error.kind() == Kind::Unsupported && error.to_string().contains(mode.name()), "{error}");
    }
}
