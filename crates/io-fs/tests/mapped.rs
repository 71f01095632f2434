//! Reading through mappings: the same bytes and the same errors as by calls, and no signal.

mod fixture;

use fixture::{Between, Fixture, pattern, whole};
use forebay_io::{
    CacheUse, Event, GetRequest, Kind, PageCacheMode, Place, ReadOptions, Store, Through, Want,
};
use forebay_io_fs::{FsOptions, FsStore};
use forebay_io_testkit::RecordingObserver;
use futures::executor::block_on;
use std::num::NonZeroU64;
use std::sync::Arc;

fn mapped() -> ReadOptions {
    ReadOptions { through: Through::Mapping, ..ReadOptions::default() }
}

fn observed(threads: usize) -> (Fixture, Arc<RecordingObserver>) {
    let observer = Arc::new(RecordingObserver::new());
    let store = FsStore::observed(FsOptions { threads, ..FsOptions::default() }, observer.clone()).unwrap();
    (Fixture { store, ..Fixture::new(threads) }, observer)
}

/// Mappings that the observer was told of, and those the kernel was advised about.
fn told(observer: &RecordingObserver) -> (u64, u64) {
    observer.events().into_iter().fold((0, 0), |(all, some), event| match event {
        Event::Mapped { made, advised } => (all + made, some + advised),
        _ => (all, some),
    })
}

#[test]
fn files_and_ranges_of_any_size_are_read_exactly() {
    for threads in [1, 4] {
        let (f, observer) = observed(threads);
        // 20 MiB are divided among threads; less is not.
        let sizes = [0, 1, 4095, 4096, 4097, 300_001, 20 << 20];
        let contents = sizes.map(|size| pattern(size, size as u64));
        let at: Vec<_> = contents.iter().enumerate().map(|(i, c)| f.write(&i.to_string(), c)).collect();
        let (results, block) = f.get_many(whole(&at), mapped());
        for (slot, (content, result)) in contents.iter().zip(results).enumerate() {
            let served = result.unwrap();
            assert_eq!(served.bytes, content.len() as u64);
            assert_eq!(served.cache, CacheUse::Applied(PageCacheMode::Default));
            assert!(block.slot(slot) == Some(content), "{} bytes", content.len());
        }
        assert!(told(&observer).0 >= sizes.len() as u64 - 1);

        let version = block_on(f.store.stat(&at[5])).unwrap().version;
        let ranges = [0..0, 0..1, 4095..4097, 100..300_001, 8192..12_288, 299_999..300_001];
        for if_version in [None, version] {
            let request = |(slot, range): (usize, &std::ops::Range<u64>)| GetRequest {
                range: Some(range.clone()),
                if_version: if_version.clone(),
                ..GetRequest::whole(at[5].clone(), slot as u32)
            };
            let (results, block) = f.get_many(ranges.iter().enumerate().map(request).collect(), mapped());
            for (slot, range) in ranges.iter().enumerate() {
                assert!(results[slot].is_ok());
                let range = range.start as usize..range.end as usize;
                assert!(block.slot(slot) == Some(&contents[5][range.clone()]), "{range:?}");
            }
        }
        assert_eq!(f.open_files(), 0);
    }
}

#[test]
fn an_opened_file_is_read_through_mappings_too() {
    for len in [300_001, 20 << 20] {
        let (f, observer) = observed(4);
        let content = pattern(len, 3);
        let at = f.write("a", &content);
        let object = block_on(f.store.open(&at, mapped())).unwrap();
        let lease = f.lease(2);
        let bufs = block_on(lease.reserve(&[Want::new(0, len as u64 - 7), Want::new(1, 7)])).unwrap();
        let ranges = std::iter::zip([7, 0], bufs).collect();
        let read = block_on(object.read_many(ranges));
        assert!(read.iter().all(|(_, result)| result.is_ok()));
        assert!(read[0].0[..] == content[7..] && read[1].0[..] == content[..7]);
        assert!(told(&observer).0 >= 2);
    }
}

#[test]
fn a_file_that_shrinks_or_grows_meanwhile_is_the_error_that_it_is_by_calls() {
    for size in [1000u64, 20 << 20] {
        for (now, said) in
            [(400, "400 could be read".to_owned()), (size + 1, "there are more now".to_owned())]
        {
            let f = Fixture::new(3);
            let at = f.write("a", &pattern(size as usize, 1));
            let file = std::fs::OpenOptions::new().write(true).open(f.path("a")).unwrap();
            let lease = f.lease(1);
            let between = Box::new(move || file.set_len(now).unwrap());
            let place = Arc::new(Between { place: lease, between });
            let error = block_on(f.store.get(GetRequest::whole(at, 0), mapped(), place)).unwrap_err();
            assert_eq!(error.kind(), Kind::Precondition);
            assert!(error.to_string().contains(&said), "{error}");
        }
    }
}

#[test]
fn the_kernel_is_told_how_pages_will_be_wanted() {
    for (mode, advised) in [
        (PageCacheMode::Default, 0),
        (PageCacheMode::FadviseSequential, 1),
        (PageCacheMode::FadviseRandom, 1),
        (PageCacheMode::DontNeed, 0),
    ] {
        let (f, observer) = observed(1);
        let content = pattern(70_000, 5);
        let at = f.write("a", &content);
        let options = ReadOptions { page_cache: mode, ..mapped() };
        let (results, block) = f.get_many(vec![GetRequest::whole(at, 0)], options);
        assert_eq!(results[0].as_ref().unwrap().cache, CacheUse::Applied(mode));
        assert!(block.slot(0) == Some(&content));
        assert_eq!(told(&observer), (1, advised), "{mode}");
        assert_eq!(observer.requests().len(), 1, "a mapping is told of as a request is");
    }
}

#[test]
fn what_contradicts_a_mapping_is_refused() {
    let f = Fixture::new(1);
    let at = f.write("a", b"abc");
    let sized = ReadOptions { target_request_bytes: NonZeroU64::new(1), ..mapped() };
    let past = ReadOptions { page_cache: PageCacheMode::DirectIO, ..mapped() };
    for (options, kind, word) in
        [(sized, Kind::InvalidConfig, "target_request_bytes=1"), (past, Kind::Unsupported, "direct_io")]
    {
        let (results, _) = f.get_many(whole(std::slice::from_ref(&at)), options.clone());
        let opened = block_on(f.store.open(&at, options)).err();
        for error in [results.into_iter().next().unwrap().unwrap_err(), opened.unwrap()] {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
