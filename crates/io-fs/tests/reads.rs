//! Reading: what each file of a batch answers, whatever its neighbours do.

mod fixture;

use fixture::{Between, Fixture, pattern, whole};
use forebay_io::{
    CacheUse, GetRequest, Kind, Location, PageCacheMode, ReadOptions, Reservation, Retry, Store, Want,
};
use forebay_io::{Place, PutOptions};
use futures::FutureExt;
use futures::executor::block_on;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

type Expected = Result<&'static [u8], (Kind, &'static str)>;

#[test]
fn one_failure_does_not_touch_its_neighbours() {
    let f = Fixture::new(2);
    let good = f.write("good", b"0123456789");
    let empty = f.write("empty", b"");
    std::fs::create_dir(f.path("dir")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, f.path("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(f.path("socket")).unwrap();
    std::os::unix::fs::symlink("loop", f.path("loop")).unwrap();
    std::os::unix::fs::symlink("good", f.path("link")).unwrap();
    let device: Location = "file:///dev/null".parse().unwrap();
    let under_a_file = good.join(b"x");

    let range = |location: &Location, range: std::ops::Range<u64>| GetRequest {
        range: Some(range),
        ..GetRequest::whole(location.clone(), 0)
    };
    let cases: Vec<(GetRequest, Expected)> = vec![
        (GetRequest::whole(good.clone(), 0), Ok(b"0123456789")),
        (GetRequest::whole(f.at("missing"), 0), Err((Kind::NotFound, "missing"))),
        (GetRequest::whole(empty.clone(), 0), Ok(b"")),
        (GetRequest::whole(f.at("dir"), 0), Err((Kind::InvalidConfig, "is a directory"))),
        (GetRequest::whole(f.at("pipe"), 0), Err((Kind::InvalidConfig, "pipe"))),
        (GetRequest::whole(f.at("socket"), 0), Err((Kind::InvalidConfig, "socket"))),
        (GetRequest::whole(device, 0), Err((Kind::InvalidConfig, "device"))),
        (GetRequest::whole(f.at("loop"), 0), Err((Kind::InvalidConfig, "loop"))),
        (GetRequest::whole(f.at("link"), 0), Ok(b"0123456789")),
        (GetRequest::whole(under_a_file, 0), Err((Kind::NotFound, "good/x"))),
        (range(&good, 3..7), Ok(b"3456")),
        (range(&good, 10..10), Ok(b"")),
        (range(&good, 4..11), Err((Kind::InvalidRange, "4..11 is not inside the 10 bytes"))),
        #[allow(clippy::reversed_empty_ranges)]
        (range(&good, 7..3), Err((Kind::InvalidRange, "7..3"))),
        (GetRequest::whole("s3://bucket/key".parse().unwrap(), 0), Err((Kind::InvalidConfig, "file://"))),
        (GetRequest::whole(good.with_scheme("direct"), 0), Err((Kind::InvalidConfig, "direct://"))),
        (GetRequest::whole(good.clone(), 0), Ok(b"0123456789")),
    ];
    let requests = cases.iter().enumerate().map(|(i, (r, _))| GetRequest { slot: i as u32, ..r.clone() });
    let (results, block) = f.get_many(requests.collect(), ReadOptions::default());
    for (i, ((request, expected), result)) in cases.iter().zip(results).enumerate() {
        match (expected, result) {
            (Ok(bytes), Ok(served)) => {
                assert_eq!(block.slot(i), Some(*bytes), "{request:?}");
                assert_eq!(served.bytes, bytes.len() as u64);
                assert!(served.elapsed > Duration::ZERO);
                assert_eq!(served.cache, CacheUse::Applied(PageCacheMode::Default));
            }
            (Err((kind, needle)), Err(error)) => {
                assert_eq!(error.kind(), *kind, "{error}");
                assert!(error.to_string().contains(needle), "{error} does not say {needle:?}");
                assert_eq!(error.location(), Some(&request.location));
                assert_eq!(block.slot(i), None, "nothing was reserved for what was not read");
            }
            (_, result) => panic!("{request:?}: {result:?}"),
        }
    }
    assert_eq!(f.open_files(), 0);
}

#[test]
fn a_file_that_shrinks_between_its_size_and_its_read_is_an_error() {
    for size in [1000, 20 << 20] {
        let f = Fixture::new(3);
        let at = f.write("a", &pattern(size, 1));
        let file = std::fs::OpenOptions::new().write(true).open(f.path("a")).unwrap();
        let (result, _) = f.get_with(GetRequest::whole(at, 0), move || file.set_len(400).unwrap());
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Precondition, Retry::Never));
        let text = error.to_string();
        assert!(text.contains(&format!("was {size} bytes, 400 could be read")), "{text}");
    }
}

#[test]
fn a_file_that_grows_between_its_size_and_its_read_is_an_error() {
    for size in [0, 1000, 20 << 20] {
        let f = Fixture::new(3);
        let at = f.write("a", &pattern(size, 1));
        let file = std::fs::OpenOptions::new().write(true).open(f.path("a")).unwrap();
        let (result, _) =
            f.get_with(GetRequest::whole(at, 0), move || file.set_len(size as u64 + 1).unwrap());
        let error = result.unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition);
        let text = error.to_string();
        assert!(text.contains(&format!("was {size} bytes, there are more now")), "{text}");
    }
}

#[test]
fn a_file_that_vanishes_between_its_size_and_its_read_is_still_read() {
    let f = Fixture::new(1);
    let at = f.write("a", b"still here");
    let path = f.path("a");
    let (result, block) = f.get_with(GetRequest::whole(at, 0), move || std::fs::remove_file(&path).unwrap());
    assert_eq!(result.unwrap().bytes, 10);
    assert_eq!(block.slot(0), Some(&b"still here"[..]));
}

#[test]
fn a_version_is_checked_before_and_after() {
    let f = Fixture::new(1);
    let at = f.write("a", b"one");
    let version = block_on(f.store.stat(&at)).unwrap().version;
    let request = GetRequest { if_version: version.clone(), ..GetRequest::whole(at.clone(), 0) };
    assert!(f.get_with(request.clone(), || ()).0.is_ok());

    // Same size, so that only the version can tell.
    let file = std::fs::OpenOptions::new().write(true).open(f.path("a")).unwrap();
    let (result, _) = f.get_with(request.clone(), move || {
        std::os::unix::fs::FileExt::write_all_at(&file, b"two", 0).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    });
    assert_eq!(result.unwrap_err().kind(), Kind::Precondition);

    let error = f.get_with(request, || ()).0.unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(error.to_string().contains(version.unwrap().as_str()), "{error}");
}

#[test]
fn large_files_arrive_whole_on_any_number_of_threads() {
    for threads in [1, 4] {
        let f = Fixture::new(threads);
        let content: Vec<_> =
            [20 << 20, 3, (9 << 20) + 1, 0].iter().enumerate().map(|(i, &n)| pattern(n, i as u64)).collect();
        let locations: Vec<_> =
            content.iter().enumerate().map(|(i, c)| f.write(&format!("{i}"), c)).collect();
        let mut requests = whole(&locations);
        requests.push(GetRequest {
            range: Some(12_345..(15 << 20)),
            ..GetRequest::whole(locations[0].clone(), 4)
        });
        requests.push(GetRequest::whole(f.at("missing"), 5));
        let (results, block) = f.get_many(requests, ReadOptions::default());
        for (i, content) in content.iter().enumerate() {
            let served = results[i].as_ref().unwrap();
            assert_eq!(served.bytes, content.len() as u64);
            assert!(block.slot(i).unwrap() == content, "file {i} on {threads} threads");
        }
        assert!(block.slot(4).unwrap() == &content[0][12_345..15 << 20]);
        assert_eq!(results[5].as_ref().unwrap_err().kind(), Kind::NotFound);
        assert_eq!(f.open_files(), 0);
    }
}

#[test]
fn batches_of_any_size_keep_their_order() {
    let f = Fixture::new(3);
    for count in [1, 63, 64, 65, 255, 700] {
        let locations: Vec<_> = (0..count)
            .map(|i| {
                if i % 50 == 7 {
                    f.at("missing")
                } else {
                    f.write(&i.to_string(), &pattern(i % 97, i as u64))
                }
            })
            .collect();
        let (results, block) = f.get_many(whole(&locations), ReadOptions::default());
        assert_eq!(results.len(), count);
        for (i, result) in results.iter().enumerate() {
            if i % 50 == 7 {
                assert_eq!(result.as_ref().unwrap_err().kind(), Kind::NotFound);
            } else {
                assert_eq!(block.slot(i), Some(&*pattern(i % 97, i as u64)), "{i} of {count}");
            }
        }
    }
    assert!(f.get_many(Vec::new(), ReadOptions::default()).0.is_empty());
}

#[test]
fn waiting_for_room_takes_no_thread() {
    let f = Fixture::with_cap(1, 4096);
    let locations: Vec<_> = (0..3).map(|i| f.write(&i.to_string(), &pattern(1024, i))).collect();
    let (_, full) = f.get_many(whole(&locations), ReadOptions::default());
    assert_eq!(f.pool.budget().used(), 3072);

    let lease = f.lease(3);
    let mut waiting = f.store.get_many(whole(&locations).into(), ReadOptions::default(), lease.clone());
    let mut cx = std::task::Context::from_waker(futures::task::noop_waker_ref());
    // First the batch is opened, then its future learns that it must wait.
    assert!(waiting.poll_unpin(&mut cx).is_pending());
    f.settle();
    assert!(waiting.poll_unpin(&mut cx).is_pending());
    // The only thread is free: this does not wait behind the batch.
    f.settle();
    assert_eq!(f.open_files(), 3, "the files stay open meanwhile");

    full.take();
    let results = block_on(waiting);
    assert!(results.iter().all(Result::is_ok));
    let block = lease.finish().unwrap();
    assert_eq!(block.slot(2), Some(&*pattern(1024, 2)));
}

#[test]
fn what_is_too_large_for_the_budget_is_named_and_its_neighbours_are_read() {
    let f = Fixture::with_cap(2, 4096);
    let locations = [f.write("a", &[1; 100]), f.write("huge", &[2; 5000]), f.write("b", &[3; 100])];
    let (results, block) = f.get_many(whole(&locations), ReadOptions::default());
    let error = results[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidRange);
    let text = error.to_string();
    assert!(text.contains("/huge") && text.contains("5000") && text.contains("4096"), "{text}");
    assert_eq!((block.slot(0), block.slot(2)), (Some(&[1; 100][..]), Some(&[3; 100][..])));
}

#[test]
fn what_does_not_fit_together_is_read_as_far_as_it_fits() {
    let f = Fixture::with_cap(2, 4096);
    let locations: Vec<_> = (0..3).map(|i| f.write(&i.to_string(), &[i; 2000])).collect();
    let (results, block) = f.get_many(whole(&locations), ReadOptions::default());
    assert_eq!((block.slot(0), block.slot(1)), (Some(&[0; 2000][..]), Some(&[1; 2000][..])));
    let text = results[2].as_ref().unwrap_err().to_string();
    assert!(text.contains("/2:") && text.contains("max_bytes_in_flight=4096"), "{text}");
}

#[test]
fn a_slot_that_is_refused_does_not_refuse_the_others() {
    let f = Fixture::new(1);
    let locations = [f.write("a", b"a"), f.write("b", b"b")];
    let lease = f.lease(2);
    let Reservation::Granted(held) = lease.try_reserve(&[Want::new(0, 1)]) else { panic!() };
    let results = block_on(f.store.get_many(whole(&locations).into(), ReadOptions::default(), lease.clone()));
    assert_eq!(results[0].as_ref().unwrap_err().kind(), Kind::InvalidRange);
    assert!(results[1].is_ok());
    drop(held);
    assert_eq!(lease.finish().unwrap().slot(1), Some(&b"b"[..]));
}

#[test]
fn a_dropped_future_leaks_nothing_wherever_it_was() {
    let f = Fixture::with_cap(1, 8192);
    let locations: Vec<_> = (0..4).map(|i| f.write(&i.to_string(), &[0; 1024])).collect();

    // While a thread works on it: between the two phases.
    let (entered, has_entered) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let place = Arc::new(Between {
        place: f.lease(4),
        between: Box::new(move || {
            entered.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        }),
    });
    let mut reading = f.store.get_many(whole(&locations).into(), ReadOptions::default(), place);
    assert!((&mut reading).now_or_never().is_none());
    has_entered.recv().unwrap();
    assert_eq!(f.open_files(), 4);
    drop(reading);
    go_on.send(()).unwrap();
    f.settle();
    assert_eq!((f.open_files(), f.pool.budget().used()), (0, 0));

    // While it waits for room.
    let (_, full) = f.get_many(whole(&locations), ReadOptions::default());
    let (_, fuller) = f.get_many(whole(&locations[..3]), ReadOptions::default());
    let lease = f.lease(4);
    let mut waiting = f.store.get_many(whole(&locations).into(), ReadOptions::default(), lease);
    assert!((&mut waiting).now_or_never().is_none());
    f.settle();
    assert!((&mut waiting).now_or_never().is_none());
    drop(waiting);
    drop((full, fuller));
    f.settle();
    assert_eq!((f.open_files(), f.pool.budget().used()), (0, 0));

    // Before a thread took it up, and before it was polled at all.
    drop(f.store.get_many(whole(&locations).into(), ReadOptions::default(), f.lease(4)));
    let mut early = f.store.get_many(whole(&locations).into(), ReadOptions::default(), f.lease(4));
    let _ = (&mut early).now_or_never();
    drop(early);
    f.settle();
    assert_eq!((f.open_files(), f.pool.budget().used()), (0, 0));
    assert!(f.get_many(whole(&locations), ReadOptions::default()).0.iter().all(Result::is_ok));
}

#[test]
fn a_panic_in_a_place_fails_the_batch_and_not_the_store() {
    let f = Fixture::new(1);
    let locations = [f.write("a", b"a"), f.write("b", b"b")];
    let place = Arc::new(Between { place: f.lease(2), between: Box::new(|| panic!("a test's own panic")) });
    let results = block_on(f.store.get_many(whole(&locations).into(), ReadOptions::default(), place));
    for result in results {
        assert!(result.unwrap_err().to_string().contains("panicked"));
    }
    assert_eq!((f.open_files(), f.pool.budget().used()), (0, 0));
    assert_eq!(f.read(&locations[0]).unwrap(), b"a");
}

#[test]
fn every_policy_is_applied_or_refused() {
    let f = Fixture::new(2);
    let at = f.write("a", &pattern(10_000, 3));
    for mode in PageCacheMode::ALL {
        let options = ReadOptions { page_cache: mode, ..Default::default() };
        let part = GetRequest { range: Some(5000..9000), ..GetRequest::whole(at.clone(), 1) };
        let empty = GetRequest { range: Some(7..7), ..GetRequest::whole(at.clone(), 2) };
        let requests = vec![GetRequest::whole(at.clone(), 0), part, empty];
        let (results, _) = f.get_many(requests, options.clone());
        let opened = block_on(f.store.open(&at, options));
        if mode == PageCacheMode::DirectIO {
            for error in results.into_iter().map(Result::unwrap_err).chain([opened.unwrap_err()]) {
                assert_eq!(error.kind(), Kind::Unsupported);
                let text = error.to_string();
                assert!(text.contains("direct://") && text.contains("direct_io"), "{text}");
            }
            continue;
        }
        for served in results.into_iter().map(Result::unwrap) {
            assert_eq!(served.cache, CacheUse::Applied(mode));
        }
        let buf = block_on(f.pool.buffer(100)).unwrap();
        let (_, served) = block_on(opened.unwrap().read_into(50, buf));
        assert_eq!(served.unwrap().cache, CacheUse::Applied(mode));
    }
}

/// Whether the first page of a file is in the page cache: a read that may not wait finds it or not.
fn is_cached(path: &std::path::Path) -> bool {
    let file = std::fs::File::open(path).unwrap();
    let mut byte = [0u8];
    let mut into = [std::io::IoSliceMut::new(&mut byte)];
    match rustix::io::preadv2(&file, &mut into, 0, rustix::io::ReadWriteFlags::NOWAIT) {
        Ok(read) => read == 1,
        Err(rustix::io::Errno::AGAIN) => false,
        Err(errno) => panic!("preadv2 {}: {errno}", path.display()),
    }
}

/// Takes the pages of a file out of the cache, where that is possible.
fn chill(path: &std::path::Path) {
    // Pages that are still to be written cannot be dropped.
    let file = std::fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// The first file that is not cached changes how the rest of the batch is read: what is read must not
/// depend on where that happens.
#[test]
fn what_is_cached_makes_no_difference_to_what_is_read() {
    let f = Fixture::new(2);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let sizes = [5000, 300_000, 0, 100_000, 4096, 1, 250_000, 70_000];
    let paths: Vec<_> = (0..sizes.len()).map(|i| dir.path().join(i.to_string())).collect();
    for (i, path) in paths.iter().enumerate() {
        std::fs::write(path, pattern(sizes[i], i as u64)).unwrap();
    }
    let locations: Vec<_> = paths.iter().map(|path| Location::from_path(path).unwrap()).collect();
    for mode in [PageCacheMode::Default, PageCacheMode::FadviseRandom, PageCacheMode::FadviseSequential] {
        for cold in [0b0000_0000u8, 0b1111_1111, 0b1000_0000, 0b0000_0010, 0b0101_0101] {
            for (i, path) in paths.iter().enumerate() {
                if cold >> i & 1 == 1 {
                    chill(path);
                    // The beginning of some is there nevertheless, so that a read begins well and stops.
                    if i % 3 == 0 {
                        let file = std::fs::File::open(path).unwrap();
                        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
                        std::os::unix::fs::FileExt::read_at(&file, &mut [0; 4096], 0).unwrap();
                    }
                }
            }
            let options = ReadOptions { page_cache: mode, ..Default::default() };
            let mut requests = whole(&locations);
            let range = Some(123..4567);
            requests.push(GetRequest { range, ..GetRequest::whole(locations[1].clone(), 8) });
            let (results, block) = f.get_many(requests, options);
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            for (i, size) in sizes.iter().enumerate() {
                assert!(block.slot(i).unwrap() == pattern(*size, i as u64), "{mode} {cold:b}: file {i}");
            }
            assert!(block.slot(8).unwrap() == &pattern(sizes[1], 1)[123..4567]);
        }
    }
}

#[test]
fn dont_need_takes_the_pages_out_of_the_cache() {
    const TMPFS: i64 = 0x0102_1994;
    let f = Fixture::new(1);
    // Where cargo builds: more likely on a disk than the directory for temporary files.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, pattern(64 << 10, 5)).unwrap();
    chill(&path);
    let at = Location::from_path(&path).unwrap();
    let read = |page_cache| {
        let (results, _) =
            f.get_many(whole(std::slice::from_ref(&at)), ReadOptions { page_cache, ..Default::default() });
        assert_eq!(results[0].as_ref().unwrap().cache, CacheUse::Applied(page_cache));
    };
    read(PageCacheMode::Default);
    assert!(is_cached(&path));
    read(PageCacheMode::DontNeed);
    // Files in memory have nowhere else to be.
    let in_memory = rustix::fs::statfs(&path).unwrap().f_type as i64 == TMPFS;
    assert_eq!(is_cached(&path), in_memory);
}

#[test]
fn an_object_serves_ranges_and_gives_buffers_back() {
    for size in [1000, 20 << 20] {
        let f = Fixture::new(3);
        let content = pattern(size, 9);
        let at = f.write("a", &content);
        let object = block_on(f.store.open(&at, ReadOptions::default())).unwrap();
        assert_eq!(object.meta().size, size as u64);
        // The object is what was opened, whatever the name leads to now.
        std::fs::remove_file(f.path("a")).unwrap();
        let buf = |len: usize| block_on(f.pool.buffer(len as u64)).unwrap();

        let (filled, served) = block_on(object.read_into(7, buf(size - 7)));
        assert_eq!(served.unwrap().bytes, size as u64 - 7);
        assert!(*filled == content[7..]);
        drop(filled);

        let ranges = vec![
            (0, buf(size / 2)),
            (10, buf(size)),
            (size as u64, buf(0)),
            (u64::MAX, buf(1)),
            (500, buf(size / 2)),
        ];
        let answers = block_on(object.read_many(ranges));
        assert_eq!(answers.len(), 5);
        assert!(*answers[0].0 == content[..size / 2] && answers[0].1.is_ok());
        assert!(*answers[4].0 == content[500..500 + size / 2] && answers[4].1.is_ok());
        assert!(answers[2].1.is_ok());
        for i in [1, 3] {
            let error = answers[i].1.as_ref().unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidRange);
            assert!(error.to_string().contains(&format!("the {size} bytes there are")), "{error}");
        }
        drop(answers);
        assert!(block_on(object.read_many(Vec::new())).is_empty());
        drop(object);
        assert_eq!((f.open_files(), f.pool.budget().used()), (0, 0));
    }
}

#[test]
fn an_object_that_shrank_is_an_error_and_not_old_bytes() {
    let f = Fixture::new(2);
    let at = f.write("a", &[1; 1000]);
    let object = block_on(f.store.open(&at, ReadOptions::default())).unwrap();
    std::fs::OpenOptions::new().write(true).open(f.path("a")).unwrap().set_len(300).unwrap();
    let buf = block_on(f.pool.buffer(1000)).unwrap();
    let (buf, result) = block_on(object.read_into(0, buf));
    assert_eq!(buf.len(), 1000, "the buffer comes back");
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(error.to_string().contains("was 1000 bytes, 300 could be read"), "{error}");
}

#[test]
fn opening_what_is_no_file_is_refused_without_waiting() {
    let f = Fixture::new(1);
    rustix::fs::mkfifoat(rustix::fs::CWD, f.path("pipe"), rustix::fs::Mode::RWXU).unwrap();
    for (name, kind) in
        [("pipe", Kind::InvalidConfig), ("", Kind::InvalidConfig), ("missing", Kind::NotFound)]
    {
        let at = f.at(name);
        assert_eq!(block_on(f.store.open(&at, ReadOptions::default())).unwrap_err().kind(), kind);
    }
    assert_eq!(block_on(f.store.stat(&f.at("pipe"))).unwrap_err().kind(), Kind::InvalidConfig);
}

#[test]
fn any_name_that_a_file_can_have_goes_through_everything() {
    let f = Fixture::new(2);
    let names: [&[u8]; 8] =
        [b"a b", b"100%", b"%41", b"new\nline", "\u{e4}\u{202e}".as_bytes(), b"\xff\xfe", b"-rf", b"?#[*]\\"];
    for name in names {
        let at = f.root().join(name);
        block_on(f.store.put(&at, name.into(), PutOptions::default())).unwrap();
        assert_eq!(f.read(&at).unwrap(), name);
        assert_eq!(at.to_string().parse::<Location>().unwrap(), at);
        assert_eq!(block_on(f.store.stat(&at)).unwrap().size, name.len() as u64);
    }
    let listed = f.keys(&f.root(), forebay_io::ListOptions::recursive()).unwrap();
    let mut expected: Vec<_> = names.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    for name in names {
        block_on(f.store.delete(&f.root().join(name))).unwrap();
    }
    assert!(f.keys(&f.root(), Default::default()).unwrap().is_empty());
}

/// Root is denied nothing, so the store's threads are another user's: a thread takes after the one that
/// starts it.
#[test]
fn what_may_not_be_read_is_denied() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let mode = |name: &str, mode| {
        std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::write(dir.path().join("secret"), b"x").unwrap();
    std::fs::write(dir.path().join("open"), b"y").unwrap();
    std::fs::create_dir(dir.path().join("closed")).unwrap();
    mode("", 0o755);
    mode("secret", 0o000);
    mode("closed", 0o000);
    let root = Location::from_path(dir.path()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65_534)).unwrap();
            }
            let store =
                forebay_io_fs::FsStore::new(forebay_io_fs::FsOptions { threads: 2, ..Default::default() })
                    .unwrap();
            let pool = forebay_io::Pool::new(forebay_io::Budget::new(1 << 20).unwrap());
            let read = |name: &[u8]| {
                let at = root.join(name);
                block_on(forebay_io::read(&store, &at, None, ReadOptions::default(), &pool))
            };
            assert_eq!(read(b"open").unwrap().slot(0), Some(&b"y"[..]));
            let error = read(b"secret").unwrap_err();
            assert_eq!(error.kind(), Kind::Denied);
            assert!(error.to_string().contains("/secret"), "{error}");

            // A directory that cannot be read does not make a listing quietly shorter.
            let pages = store.list(&root, forebay_io::ListOptions::recursive());
            let pages: Vec<_> = block_on(futures::StreamExt::collect(pages));
            let error = pages.into_iter().find_map(Result::err).unwrap();
            assert_eq!(error.kind(), Kind::Denied);
            assert!(error.to_string().contains("/closed"), "{error}");

            let put = block_on(store.put(&root.join(b"new"), b"x".as_slice().into(), PutOptions::default()));
            assert_eq!(put.unwrap_err().kind(), Kind::Denied);
            assert_eq!(block_on(store.delete(&root.join(b"open"))).unwrap_err().kind(), Kind::Denied);
        });
    });
    mode("closed", 0o755);
}
