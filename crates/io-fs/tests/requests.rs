//! How large requests to the kernel are, who hears of them, and which files stay open for the next.

mod fixture;

use fixture::{Fixture, open_files, pattern};
use forebay_io::layer::Coalesced;
use forebay_io::{
    Block, Budget, GetRequest, Kind, Location, Pool, ReadOptions, Result, Served, Store, Version, Want,
};
use forebay_io_fs::{FsOptions, FsStore};
use forebay_io_testkit::RecordingObserver;
use futures::FutureExt;
use futures::executor::block_on;
use std::num::NonZeroU64;
use std::sync::Arc;

fn observed(threads: usize) -> (Fixture, Arc<RecordingObserver>) {
    let observer = Arc::new(RecordingObserver::new());
    let store = FsStore::observed(FsOptions { threads, ..FsOptions::default() }, observer.clone()).unwrap();
    (Fixture { store, ..Fixture::new(threads) }, observer)
}

fn of_size(target: u64) -> ReadOptions {
    ReadOptions { target_request_bytes: NonZeroU64::new(target), ..ReadOptions::default() }
}

#[test]
fn requests_are_of_the_size_that_was_asked_for() {
    // 20 MiB are split over threads; less is not.
    for (threads, len) in [(1, 300_000), (4, 300_000), (4, 20 << 20)] {
        let (f, observer) = observed(threads);
        let content = pattern(len, 7);
        let at = f.write("a", &content);
        let (results, block) = f.get_many(vec![GetRequest::whole(at, 0)], of_size(65_536));
        assert_eq!(results[0].as_ref().unwrap().bytes, len as u64);
        assert!(block.slot(0).unwrap() == content);
        let mut parts: Vec<_> =
            observer.requests().into_iter().map(|r| (r.range.unwrap(), r.bytes)).collect();
        parts.sort_by_key(|(range, _)| range.start);
        assert_eq!(parts.len(), len.div_ceil(65_536));
        for (index, (range, bytes)) in (0..).zip(parts) {
            assert_eq!(range.start, index * 65_536);
            assert_eq!(range.end, (range.start + 65_536).min(len as u64));
            assert_eq!(bytes, range.end - range.start);
        }
    }
}

#[test]
fn without_a_size_a_file_is_one_request_and_failures_are_told() {
    let (f, observer) = observed(1);
    let at = [f.write("a", &pattern(100, 1)), f.write("b", &pattern(200_000, 2)), f.write("c", b"")];
    let (results, _) = f.get_many(fixture::whole(&at), ReadOptions::default());
    assert!(results.iter().all(Result::is_ok));
    let told: Vec<_> = observer.requests().iter().map(|r| (r.location.clone(), r.bytes)).collect();
    assert_eq!(told, at.iter().cloned().zip([100, 200_000, 0]).collect::<Vec<_>>());
    assert!(observer.requests().iter().all(|r| r.failed.is_none()));
}

#[test]
fn an_object_reads_in_requests_of_the_size_that_was_asked_for() {
    for len in [300_000, 20 << 20] {
        let (f, observer) = observed(4);
        let content = pattern(len, 3);
        let at = f.write("a", &content);
        let object = block_on(f.store.open(&at, of_size(100_000))).unwrap();
        let pool = Pool::new(Budget::new(64 << 20).unwrap());
        let lease = pool.lease(pool.budget().ticket(), 1);
        let buf = lease.reserve_now(len as u64 - 5);
        let (buf, result) = block_on(object.read_into(5, buf));
        assert_eq!(result.unwrap().bytes, len as u64 - 5);
        assert!(buf[..] == content[5..]);
        let requests = observer.requests();
        assert_eq!(requests.len(), (len - 5).div_ceil(100_000));
        assert!(requests.iter().all(|r| r.bytes <= 100_000));
    }
}

trait ReserveNow {
    fn reserve_now(&self, len: u64) -> forebay_io::Buf;
}

impl ReserveNow for Arc<forebay_io::Lease> {
    fn reserve_now(&self, len: u64) -> forebay_io::Buf {
        use forebay_io::Place;
        let mut bufs = self.reserve(&[Want::new(0, len)]).now_or_never().unwrap().unwrap();
        bufs.remove(0)
    }
}

/// A pinned range of a file.
fn sample(f: &Fixture, name: &str, from: u64, slot: u32) -> GetRequest {
    let location = f.at(name);
    let if_version = block_on(f.store.stat(&location)).unwrap().version;
    GetRequest { range: Some(from..from + 100), if_version, ..GetRequest::whole(location, slot) }
}

#[test]
fn a_shard_is_opened_once_while_reads_go_on_and_closed_after() {
    let f = Fixture::with_cap(1, 1 << 20);
    f.write("shard", &pattern(10_000, 1));
    f.write("other", &pattern(1 << 20, 2));
    let request = sample(&f, "shard", 50, 0);
    // A read that waits for memory keeps reads going on.
    let (_, held) = f.get_many(vec![GetRequest::whole(f.at("other"), 0)], ReadOptions::default());
    let place = f.lease(1);
    let mut waiting =
        f.store.get_many(vec![request.clone()].into(), ReadOptions::default(), place.clone()).boxed();
    let mut cx = std::task::Context::from_waker(futures::task::noop_waker_ref());
    assert!(waiting.poll_unpin(&mut cx).is_pending());
    f.settle();
    assert_eq!(open_files(f.dir.path()), 1);
    held.take();
    assert!(block_on(waiting)[0].is_ok());
    drop(place);
    assert_eq!(open_files(f.dir.path()), 0, "nothing is kept when no batch is under way");
}

#[test]
fn a_shard_that_changed_between_two_batches_is_an_error() {
    type Change = fn(&Fixture);
    let changes: [(&str, Change, Kind); 4] = [
        ("replaced", |f| drop(f.write("new", &pattern(10_000, 9))), Kind::Precondition),
        ("written to", |f| drop(f.write("shard", &pattern(10_000, 9))), Kind::Precondition),
        ("grown", |f| drop(f.write("shard", &pattern(10_001, 1))), Kind::Precondition),
        ("deleted", |f| std::fs::remove_file(f.path("shard")).unwrap(), Kind::NotFound),
    ];
    for (what, change, kind) in changes {
        let f = Fixture::with_cap(2, 1 << 20);
        f.write("shard", &pattern(10_000, 1));
        let request = sample(&f, "shard", 50, 0);
        // A batch that stays under way, so that the shard stays open.
        f.write("other", &pattern(1 << 20, 2));
        let (_, held) = f.get_many(vec![GetRequest::whole(f.at("other"), 0)], ReadOptions::default());
        let mut waiting =
            f.store.get_many(vec![request.clone()].into(), ReadOptions::default(), f.lease(1)).boxed();
        let mut cx = std::task::Context::from_waker(futures::task::noop_waker_ref());
        assert!(waiting.poll_unpin(&mut cx).is_pending());
        while open_files(f.dir.path()) == 0 {
            std::thread::yield_now();
        }
        change(&f);
        if what == "replaced" {
            std::fs::rename(f.path("new"), f.path("shard")).unwrap();
        }
        let pool = Pool::new(Budget::new(1 << 20).unwrap());
        let lease = pool.lease(pool.budget().ticket(), 1);
        let results = block_on(f.store.get_many(vec![request].into(), ReadOptions::default(), lease));
        assert_eq!(results[0].as_ref().unwrap_err().kind(), kind, "{what}");
        drop((waiting, held));
    }
}

/// Reads with neighbours taken together.
fn coalesced(f: &Fixture, requests: Vec<GetRequest>, options: ReadOptions) -> (Vec<Result<Served>>, Block) {
    let lease = f.lease(requests.len());
    let store = Coalesced::new(Arc::new(f.store.clone()));
    let results = block_on(store.get_many(requests.into(), options, lease.clone()));
    (results, lease.finish().unwrap())
}

/// Pinned ranges of `len` bytes, each into the slot of its number.
fn samples(at: &Location, version: &Option<Version>, starts: &[u64], len: u64) -> Vec<GetRequest> {
    let request = |(slot, &start): (u32, &u64)| GetRequest {
        range: Some(start..start + len),
        if_version: version.clone(),
        ..GetRequest::whole(at.clone(), slot)
    };
    (0..).zip(starts).map(request).collect()
}

#[test]
fn neighbours_in_a_shard_are_one_request_and_land_apart() {
    for mode in [forebay_io::PageCacheMode::Default, forebay_io::PageCacheMode::FadviseRandom] {
        let (f, observer) = observed(1);
        let content = pattern(1 << 20, 5);
        let at = f.write("shard", &content);
        let version = block_on(f.store.stat(&at)).unwrap().version;
        // Two runs, out of order: 100 bytes every 110, then one far away and one behind it, and one alone.
        let starts: Vec<u64> = (0..40).rev().map(|i| i * 110).chain([900_000, 500_000, 900_100]).collect();
        let options = ReadOptions { page_cache: mode, ..of_size(2000) };
        let (results, block) = coalesced(&f, samples(&at, &version, &starts, 100), options);
        for (slot, &start) in starts.iter().enumerate() {
            assert_eq!(results[slot].as_ref().unwrap().bytes, 100);
            assert_eq!(block.slot(slot).unwrap(), &content[start as usize..start as usize + 100]);
        }
        let mut told: Vec<_> = observer.requests().iter().map(|r| r.range.clone().unwrap()).collect();
        told.sort_by_key(|range| range.start);
        assert_eq!(told, [0..1970, 1980..3950, 3960..4390, 500_000..500_100, 900_000..900_200]);
    }
}

#[test]
fn requests_peak_at_the_size_that_was_asked_for_however_small_samples_are() {
    for (len, target) in [(64u64, 1 << 20), (256, 65_536), (4096, 1 << 20)] {
        let (f, observer) = observed(2);
        let content = pattern(4 << 20, 5);
        let at = f.write("shard", &content);
        let version = block_on(f.store.stat(&at)).unwrap().version;
        let starts: Vec<u64> = (0..(4 << 20) / len).map(|i| i * len).collect();
        let (results, block) = coalesced(&f, samples(&at, &version, &starts, len), of_size(target));
        assert!(results.iter().all(Result::is_ok));
        assert!(block.as_slice() == content, "{len} bytes each: nothing was put between them");
        let sizes: Vec<_> = observer.requests().iter().map(|request| request.bytes).collect();
        assert_eq!(sizes, vec![target; ((4 << 20) / target) as usize]);
    }
}

#[test]
fn neighbours_of_which_one_is_beyond_the_end_fail_alone() {
    let (f, _) = observed(1);
    let at = f.write("shard", &pattern(1000, 5));
    let version = block_on(f.store.stat(&at)).unwrap().version;
    let (results, _) = coalesced(&f, samples(&at, &version, &[800, 900, 1000], 100), of_size(4000));
    assert!(results[0].is_ok() && results[1].is_ok());
    assert_eq!(results[2].as_ref().unwrap_err().kind(), Kind::InvalidRange);
}

#[test]
fn neighbours_of_a_cap_without_room_for_what_lies_between_are_read_all_the_same() {
    let f = Fixture::with_cap(1, 40 * 128);
    let content = pattern(10_000, 5);
    let at = f.write("shard", &content);
    let version = block_on(f.store.stat(&at)).unwrap().version;
    let starts: Vec<u64> = (0..40).map(|i| i * 110).collect();
    let (results, block) = coalesced(&f, samples(&at, &version, &starts, 100), of_size(2000));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let right =
        |(slot, &start): (usize, &u64)| block.slot(slot).unwrap() == &content[start as usize..][..100];
    assert!(starts.iter().enumerate().all(right));
    assert_eq!(f.pool.budget().peak(), 40 * 128);
}
