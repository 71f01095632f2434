//! Few descriptors. A process of its own, because the limit is the process's: one test in this file.

mod fixture;

use fixture::{Fixture, pattern, whole};
use forebay_io::{Kind, ReadOptions, Retry, Store};
use futures::executor::block_on;
use futures::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn few_descriptors_slow_a_batch_down_and_do_not_fail_it() {
    let limit = 100;
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: before.maximum }).unwrap();
    let f = Fixture::with_cap(1, 64 << 10);
    let locations: Vec<_> = (0..200).map(|i| f.write(&i.to_string(), &pattern(100, i))).collect();

    // All but twenty are taken: less than the batch would like to have open at once.
    let mut taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open(f.path("0")).ok()).collect();
    taken.truncate(taken.len() - 20);
    let (results, block) = f.get_many(whole(&locations), ReadOptions::default());
    for (i, result) in results.iter().enumerate() {
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(block.slot(i), Some(&*pattern(100, i as u64)));
    }
    drop(block);

    // None are left: that passes, and the error says what to do.
    taken.extend(std::iter::from_fn(|| std::fs::File::open(f.path("0")).ok()));
    let error = f.read(&locations[0]).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (Kind::Unavailable, Retry::Backoff));
    assert!(error.to_string().contains("ulimit -n"), "{error}");
    drop(taken);
    assert_eq!(f.read(&locations[0]).unwrap(), pattern(100, 0));

    // Many batches wait for memory, and do not keep the process's descriptors meanwhile.
    let full = f.lease(1);
    let held = block_on(forebay_io::Place::reserve(&*full, &[forebay_io::Want::new(0, 64 << 10)])).unwrap();
    let leases: Vec<_> = (0..8).map(|_| f.lease(20)).collect();
    let mut waiting =
        Box::pin(join_all(leases.iter().zip(locations.chunks(20)).map(|(lease, part)| {
            f.store.get_many(whole(part).into(), ReadOptions::default(), lease.clone())
        })));
    let mut cx = std::task::Context::from_waker(futures::task::noop_waker_ref());
    for _ in 0..2 {
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        f.settle();
    }
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    assert!(f.open_files() as u64 <= limit / 4, "{} are open", f.open_files());
    // A file that changed while it was closed is noticed.
    std::fs::write(f.path("159"), b"shorter").unwrap();
    drop((held, full));
    let results = block_on(async {
        // Each batch needs the room that the one before gives up.
        let mut all = Vec::new();
        let results = waiting.await;
        all.extend(results.into_iter().flatten());
        all
    });
    for (i, result) in results.iter().enumerate() {
        match i {
            159 => assert_eq!(result.as_ref().unwrap_err().kind(), Kind::Precondition),
            _ => assert!(result.is_ok(), "{i}: {result:?}"),
        }
    }
    assert_eq!(f.open_files(), 0);
}
