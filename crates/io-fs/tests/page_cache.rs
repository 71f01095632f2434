//! What a store tells of the page cache is what is in it.

use forebay_io::{Attempt, Budget, End, Event, GetRequest, Location, Observe, Op, Pool, ReadOptions, Store};
use forebay_io_fs::{FsOptions, FsStore};
use futures::executor::block_on;
use rustix::fs::{Advice, fadvise, fsync};
use std::fs::File;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Bytes of each file.
const BYTES: u64 = 20_000;

/// Sums of what was told: reads, hit, miss, unknown.
#[derive(Default)]
struct Told(Mutex<[u64; 4]>);

impl Told {
    fn take(&self) -> [u64; 4] {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Observe for Told {
    fn started(&self, _: &[Op<'_>]) {}
    fn ended(&self, _: &[Op<'_>], _: &[End]) {}
    fn attempted(&self, _: &[Attempt<'_>]) {}
    fn noted(&self, _: Option<&str>, event: Event) {
        if let Event::PageCache { reads, hit, miss, unknown } = event {
            let mut sums = self.0.lock().unwrap();
            sums.iter_mut().zip([reads, hit, miss, unknown]).for_each(|(sum, n)| *sum += n);
        }
    }
}

/// Files on a disk, written through to it.
fn files(n: usize) -> (tempfile::TempDir, Vec<Location>) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let locations = (0..n).map(|i| {
        let path = folder.path().join(format!("{i:05}"));
        std::fs::write(&path, vec![i as u8; BYTES as usize]).unwrap();
        fsync(File::open(&path).unwrap()).unwrap();
        Location::from_path(&path).unwrap()
    });
    let locations = locations.collect();
    (folder, locations)
}

fn drop_pages(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        fadvise(File::open(entry.unwrap().path()).unwrap(), 0, None, Advice::DontNeed).unwrap();
    }
}

fn store(every: Option<u32>) -> (FsStore, Arc<Told>) {
    let told = Arc::new(Told::default());
    let page_cache_sampling = every.map(|n| NonZeroU32::new(n).unwrap());
    let options = FsOptions { threads: 2, page_cache_sampling };
    (FsStore::observed(options, told.clone()).unwrap(), told)
}

fn read(store: &FsStore, locations: &[Location]) {
    let pool = Pool::new(Budget::new(64 << 20).unwrap());
    let lease = pool.lease(pool.budget().ticket(), locations.len() as u32);
    let requests: Vec<_> =
        locations.iter().enumerate().map(|(i, at)| GetRequest::whole(at.clone(), i as u32)).collect();
    let results = block_on(store.get_many(requests.into(), ReadOptions::default(), lease));
    assert!(results.iter().all(Result::is_ok));
}

#[test]
fn a_batch_of_dropped_files_is_missed_and_read_again_it_is_hit() {
    let (folder, locations) = files(70);
    let (store, told) = store(Some(1));
    drop_pages(folder.path());
    read(&store, &locations);
    assert_eq!(told.take(), [70, 0, 70 * BYTES, 0], "seen before each was read, whatever was fetched ahead");
    read(&store, &locations);
    assert_eq!(told.take(), [70, 70 * BYTES, 0, 0]);
}

#[test]
fn reads_of_an_opened_file_are_looked_at_range_by_range() {
    let (folder, locations) = files(1);
    let (store, told) = store(Some(1));
    drop_pages(folder.path());
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    block_on(async {
        let object = store.open(&locations[0], ReadOptions::default()).await.unwrap();
        for wanted in [[1, 0, BYTES, 0], [1, BYTES, 0, 0]] {
            let lease = pool.lease(pool.budget().ticket(), 1);
            let place: Arc<dyn forebay_io::Place> = lease.clone();
            let want = forebay_io::Want::new(0, BYTES);
            let forebay_io::Reservation::Granted(mut bufs) = place.try_reserve(&[want]) else {
                panic!("an empty budget has room")
            };
            let (buf, result) = object.read_into(0, bufs.remove(0)).await;
            assert!(result.is_ok());
            drop(buf);
            assert_eq!(told.take(), wanted);
        }
    });
}

#[test]
fn one_in_so_many_is_looked_at_and_none_if_so_asked() {
    let (_folder, locations) = files(100);
    let (some, told) = store(Some(10));
    for _ in 0..20 {
        read(&some, &locations);
    }
    let [reads, hit, miss, unknown] = told.take();
    assert!((100..=300).contains(&reads), "{reads} of 2000");
    assert_eq!((hit, miss, unknown), (reads * BYTES, 0, 0), "of those looked at, not scaled up");
    let (none, told) = store(None);
    read(&none, &locations);
    assert_eq!(told.take(), [0; 4]);
}
