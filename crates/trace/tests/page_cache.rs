//! A replay does to the page cache what it was told, or is refused.

use forebay_io::{Attempt, End, Event, Location, Observe, Op, PageCacheMode, Store};
use forebay_io_fs::{FsOptions, FsStore};
use forebay_trace::replay::{Mode, Plan, ReplayOptions, Stop, replay};
use forebay_trace::{Action, Fidelity, Record, Result};
use rustix::fs::{Advice, fadvise, fsync};
use std::fs::File;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::{Arc, Mutex};

const FILES: u64 = 30;
/// Bytes of each file.
const BYTES: u64 = 20_000;

/// Sums of what the store saw in the page cache before it read: hit, miss.
#[derive(Default)]
struct Told(Mutex<(u64, u64)>);

impl Observe for Told {
    fn started(&self, _: &[Op<'_>]) {}
    fn ended(&self, _: &[Op<'_>], _: &[End]) {}
    fn attempted(&self, _: &[Attempt<'_>]) {}
    fn noted(&self, _: Option<&str>, event: Event) {
        if let Event::PageCache { hit, miss, .. } = event {
            let mut sums = self.0.lock().unwrap();
            *sums = (sums.0 + hit, sums.1 + miss);
        }
    }
}

struct Scene {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    plan: Plan,
    store: Arc<dyn Store>,
    told: Arc<Told>,
}

/// Files on a disk, written through to it and not in the page cache, and a trace that reads each of them once.
fn scene(op: Action) -> Scene {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |i: u64| folder.path().join(format!("{i:05}"));
    for i in 0..FILES {
        std::fs::write(path(i), vec![i as u8; BYTES as usize]).unwrap();
        let file = File::open(path(i)).unwrap();
        fsync(&file).unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
    let records: Vec<_> = (0..FILES)
        .map(|i| Record {
            offset: (op == Action::Read).then_some(0),
            len: (op == Action::Read).then_some(BYTES),
            ..Record::asked(op, Location::from_path(&path(i)).unwrap().to_string(), i)
        })
        .collect();
    let plan = Plan::new(move || Ok(Box::new(records.clone().into_iter().map(Ok))), Path::new("/tmp"));
    let told = Arc::new(Told::default());
    let options = FsOptions { threads: 2, page_cache_sampling: NonZeroU32::new(1) };
    let store = Arc::new(FsStore::observed(options, told.clone()).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    Scene { runtime, folder, plan, store, told }
}

impl Scene {
    fn try_replay(&self, page_cache: PageCacheMode) -> Result<Fidelity> {
        let mode = Mode::Closed { concurrency: 1 };
        let options = ReplayOptions { mode, page_cache, ..ReplayOptions::default() };
        let store = self.store.clone();
        let stores = move |_: &Location| Ok(store.clone());
        replay(&self.plan, &options, &stores, self.runtime.handle(), &Stop::default(), |_| {})
    }

    /// Bytes that were in the page cache before they were read, and bytes that were not.
    fn found(&self, page_cache: PageCacheMode) -> (u64, u64) {
        let fidelity = self.try_replay(page_cache).unwrap();
        assert_eq!((fidelity.done, fidelity.bytes), (FILES, FILES * BYTES), "{fidelity:?}");
        std::mem::take(&mut *self.told.0.lock().unwrap())
    }
}

#[test]
fn what_was_read_stays_in_the_page_cache_or_goes_as_the_policy_says() {
    const ALL: u64 = FILES * BYTES;
    for op in [Action::Get, Action::Read] {
        let scene = scene(op);
        for (policy, found) in [
            (PageCacheMode::Default, (0, ALL)),
            (PageCacheMode::FadviseSequential, (ALL, 0)),
            (PageCacheMode::FadviseRandom, (ALL, 0)),
            (PageCacheMode::DontNeed, (ALL, 0)),
            // It left nothing there.
            (PageCacheMode::DontNeed, (0, ALL)),
            (PageCacheMode::Default, (0, ALL)),
            (PageCacheMode::Default, (ALL, 0)),
        ] {
            assert_eq!(scene.found(policy), found, "{op} with {policy:?}");
        }
        assert!(scene.folder.path().exists());
    }
}

#[test]
fn a_policy_that_a_store_cannot_obey_is_refused_before_anything_is_replayed() {
    for op in [Action::Get, Action::Read] {
        let refused = scene(op).try_replay(PageCacheMode::DirectIO).unwrap_err().to_string();
        assert!(refused.contains("page_cache_mode=direct_io") && refused.contains("direct://"), "{refused}");
    }
}
