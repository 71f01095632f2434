//! The reference model: what a store is, told by a sorted map. Random sequences of operations must
//! come to the same on a store as on the model.

use crate::Fixture;
use bytes::Bytes;
use forebay_io::{
    Budget, EntryKind, GetRequest, Glob, Kind, ListOptions, Location, Pool, PutMode, PutOptions, ReadOptions,
    Result, Store, read,
};
use futures::TryStreamExt;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// One operation on a key. Keys are relative to the root.
#[derive(Debug, Clone)]
pub enum Step {
    /// Write this.
    Put(String, Content, PutMode),
    /// Read the whole object.
    Get(String),
    /// Read a range.
    Range(String, Range<u64>),
    /// Read several in one batch.
    GetMany(Vec<String>),
    /// Ask for the size.
    Stat(String),
    /// Remove.
    Delete(String),
    /// List a directory, "" for the root.
    List {
        /// Which directory.
        directory: String,
        /// With everything beneath.
        recursive: bool,
        /// Only what matches.
        glob: Option<&'static str>,
    },
}

/// Bytes by seed and length, so that a failing sequence can be read.
#[derive(Debug, Clone, Copy)]
pub struct Content {
    /// As [`crate::data::bytes`] takes it.
    pub seed: u64,
    /// How many bytes.
    pub len: usize,
}

impl Content {
    fn bytes(self) -> Bytes {
        crate::data::bytes(self.seed, self.len).into()
    }
}

/// The model.
#[derive(Debug, Clone, Default)]
pub struct Model(BTreeMap<String, Bytes>);

impl Model {
    fn get(&self, key: &str) -> Result<&Bytes, Kind> {
        self.0.get(key).ok_or(Kind::NotFound)
    }

    fn range(&self, key: &str, range: &Range<u64>) -> Result<Bytes, Kind> {
        let bytes = self.get(key)?;
        let fits = range.start <= range.end && range.end <= bytes.len() as u64;
        fits.then(|| bytes.slice(range.start as usize..range.end as usize)).ok_or(Kind::InvalidRange)
    }

    fn put(&mut self, key: &str, bytes: &Bytes, mode: PutMode) -> Result<u64, Kind> {
        if mode == PutMode::Create && self.0.contains_key(key) {
            return Err(Kind::AlreadyExists);
        }
        self.0.insert(key.to_owned(), bytes.clone());
        Ok(bytes.len() as u64)
    }

    /// What a listing shows: keys relative to the directory, and whether each is a directory.
    fn list(&self, directory: &str, recursive: bool, glob: Option<&str>) -> BTreeSet<(String, EntryKind)> {
        let glob = glob.map(|pattern| Glob::new(pattern).expect("a valid pattern"));
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let keys = self.0.keys().filter_map(|key| key.strip_prefix(&prefix));
        let entries = keys.map(|key| match key.split_once('/') {
            Some((name, _)) if !recursive => (name.to_owned(), EntryKind::Directory),
            _ => (key.to_owned(), EntryKind::Object),
        });
        entries.filter(|(key, _)| glob.as_ref().is_none_or(|g| g.matches(key.as_bytes()))).collect()
    }
}

/// Directories and objects have different names, because a store may have real directories.
const DIRECTORIES: [&str; 5] = ["", "d", "d/e", "d e%", "g"];
const OBJECTS: [&str; 3] = ["a.bin", "b c.txt", "ü?.bin"];

fn key() -> impl Strategy<Value = String> {
    let parts = (proptest::sample::select(&DIRECTORIES[..]), proptest::sample::select(&OBJECTS[..]));
    parts.prop_map(|(directory, name)| join(directory, name))
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Sizes around what stores round to, so that off-by-one errors show.
fn content() -> impl Strategy<Value = Content> {
    let len = prop_oneof![0usize..200, 4090usize..4100, Just(65_536usize), 65_000usize..70_000];
    (any::<u64>(), len).prop_map(|(seed, len)| Content { seed, len })
}

fn range() -> impl Strategy<Value = Range<u64>> {
    let edge = || prop_oneof![0u64..210, 4090u64..4100, 65_000u64..70_100];
    // One in four or so is inverted, and refused.
    (edge(), edge(), any::<bool>(), any::<bool>()).prop_map(|(a, b, c, d)| {
        let (start, end) = if c || d { (a.min(b), a.max(b)) } else { (a, b) };
        start..end
    })
}

/// Random steps; puts are frequent enough that most others find something.
pub fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![3 => Just(PutMode::Overwrite), 1 => Just(PutMode::Create)];
    let glob =
        proptest::option::weighted(0.3, proptest::sample::select(&["*.bin", "**/*.bin", "d*", "{a,b}*"][..]));
    let directory = proptest::sample::select(&DIRECTORIES[..]);
    prop_oneof![
        5 => (key(), content(), mode).prop_map(|(key, content, mode)| Step::Put(key, content, mode)),
        2 => key().prop_map(Step::Get),
        2 => (key(), range()).prop_map(|(key, range)| Step::Range(key, range)),
        2 => proptest::collection::vec(key(), 0..8).prop_map(Step::GetMany),
        1 => key().prop_map(Step::Stat),
        2 => key().prop_map(Step::Delete),
        2 => (directory, any::<bool>(), glob)
            .prop_map(|(directory, recursive, glob)| Step::List { directory: directory.to_owned(), recursive, glob }),
    ]
}

/// Runs random sequences of steps on fresh fixtures and on the model.
///
/// # Panics
/// With the shortest sequence found on which they differ.
pub fn check(factory: impl AsyncFn() -> Fixture) {
    // Fewer than proptest's 256: each is up to forty operations, on a disk perhaps.
    let config =
        Config { cases: Config::default().cases.min(64), failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // Alive throughout: a server that fixtures share while there are any is started once, not for each case.
    let _first = runtime.block_on(factory());
    TestRunner::new(config)
        .run(&proptest::collection::vec(step(), 1..40), |steps| {
            runtime.block_on(async {
                let fixture = factory().await;
                agrees(&*fixture.store, &fixture.root, &steps).await
            })
        })
        .unwrap_or_else(|difference| panic!("{difference}"));
}

/// Runs the steps on a store, beneath a root where nothing is stored, and on a fresh model.
///
/// # Errors
/// Names the first step whose results differ.
pub async fn agrees(store: &dyn Store, root: &Location, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let pool = Pool::new(Budget::new(16 << 20).expect("a valid cap"));
    for (number, step) in steps.iter().enumerate() {
        one(store, root, &mut model, &pool, step)
            .await
            .map_err(|error| TestCaseError::fail(format!("step {number}, {step:?}: {error}")))?;
    }
    prop_assert_eq!(pool.budget().used(), 0, "bytes of the budget are left");
    Ok(())
}

async fn one(
    store: &dyn Store,
    root: &Location,
    model: &mut Model,
    pool: &Pool,
    step: &Step,
) -> Result<(), TestCaseError> {
    let at = |key: &str| root.join(key.as_bytes());
    let fetch = async |key: &str, range: Option<Range<u64>>| {
        let block = read(store, &at(key), range, ReadOptions::default(), pool).await;
        block.map(|block| Bytes::copy_from_slice(block.slot(0).expect("filled"))).map_err(|e| e.kind())
    };
    match step {
        Step::Put(key, content, mode) => {
            let bytes = content.bytes();
            let supported = *mode == PutMode::Overwrite || store.capability().conditional_put;
            let options = PutOptions { mode: *mode, durable: false };
            let found = store.put(&at(key), bytes.clone().into(), options).await;
            let expected = if supported { model.put(key, &bytes, *mode) } else { Err(Kind::Unsupported) };
            prop_assert_eq!(found.map(|meta| meta.size).map_err(|e| e.kind()), expected);
        }
        Step::Get(key) => {
            let found = fetch(key, None).await;
            prop_assert!(found == model.get(key).cloned(), "store: {found:?}");
        }
        Step::Range(key, range) => {
            let found = fetch(key, Some(range.clone())).await;
            prop_assert!(found == model.range(key, range), "store: {found:?}");
        }
        Step::GetMany(keys) => {
            let lease = pool.lease(pool.budget().ticket(), keys.len() as u32);
            let requests = keys.iter().zip(0..).map(|(key, slot)| GetRequest::whole(at(key), slot)).collect();
            let results = store.get_many(requests, ReadOptions::default(), lease.clone()).await;
            let block = lease.finish().map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(results.len(), keys.len());
            for (slot, (key, result)) in keys.iter().zip(results).enumerate() {
                let found = result.map(|served| served.bytes).map_err(|e| e.kind());
                let expected = model.get(key);
                prop_assert_eq!(found, expected.map(|bytes| bytes.len() as u64), "slot {}", slot);
                prop_assert!(
                    expected.is_err() || block.slot(slot) == expected.ok().map(|b| &**b),
                    "slot {slot}"
                );
            }
        }
        Step::Stat(key) => {
            let found = store.stat(&at(key)).await.map(|meta| meta.size).map_err(|e| e.kind());
            prop_assert_eq!(found, model.get(key).map(|bytes| bytes.len() as u64));
        }
        Step::Delete(key) => {
            let found = store.delete(&at(key)).await.map_err(|e| e.kind());
            let removed = model.0.remove(key).is_some();
            let reported = !removed && store.capability().delete_reports_missing;
            prop_assert_eq!(found, if reported { Err(Kind::NotFound) } else { Ok(()) });
        }
        Step::List { directory, recursive, glob } => {
            let expected = model.list(directory, *recursive, *glob);
            let options = ListOptions {
                recursive: *recursive,
                glob: glob.map(|pattern| Glob::new(pattern).expect("a valid pattern")),
                details: false,
            };
            let real_directories = store.capability().real_directories;
            let pages: Vec<_> = match store.list(&at(directory), options).try_collect().await {
                Ok(pages) => pages,
                // A directory that was never made, or is gone with the last object in it.
                Err(e) if e.kind() == Kind::NotFound && real_directories => {
                    prop_assert_eq!(model.list(directory, true, None).len(), 0, "{}", e);
                    return Ok(());
                }
                Err(e) => return Err(TestCaseError::fail(e.to_string())),
            };
            let entries = || pages.iter().flat_map(|page: &forebay_io::Page| page.iter());
            let found: BTreeSet<_> =
                entries().map(|e| (String::from_utf8_lossy(e.key).into_owned(), e.kind)).collect();
            prop_assert_eq!(entries().count(), found.len(), "listed twice");
            // Real directories may stay when the last object in them is deleted.
            let extra =
                found.difference(&expected).find(|(_, k)| !real_directories || *k == EntryKind::Object);
            prop_assert_eq!(extra, None, "listed, and not there");
            prop_assert_eq!(expected.difference(&found).next(), None, "there, and not listed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_io::MemoryStore;
    use std::sync::Arc;

    /// A model that agrees with everything would prove nothing.
    #[test]
    fn a_store_that_forgets_is_found_out() {
        let root: Location = "mem://t/r".parse().unwrap();
        let steps = [
            Step::Put("a.bin".into(), Content { seed: 1, len: 1 }, PutMode::Overwrite),
            Step::Get("a.bin".into()),
        ];
        let rates = crate::FaultRates::none();
        let store = crate::FaultStore::new(Arc::new(MemoryStore::new()), rates, 0).unwrap();
        futures::executor::block_on(agrees(&store, &root, &steps)).unwrap();
        for fault in [crate::Fault::Error(Kind::NotFound), crate::Fault::Corrupt] {
            store.script(&root.join(b"a.bin"), [crate::Fault::None, fault]);
            let error = futures::executor::block_on(agrees(&store, &root, &steps)).unwrap_err();
            assert!(error.to_string().contains("step 1"), "{error}");
        }
    }
}
