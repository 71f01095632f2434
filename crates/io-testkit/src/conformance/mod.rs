//! What every store and every wrapper promises: one plain async function a promise.
//!
//! Use them through [`conformance_suite!`](crate::conformance_suite). None is ever skipped: where stores
//! may differ, [`Capability`](forebay_io::Capability) says which of two behaviours is promised, and the
//! function checks that one.
//!
//! Each takes a store and a root beneath which nothing is stored (see [`Fixture`]), and panics where a
//! promise is broken.

mod batch;
mod cancel;
mod delete;
mod get;
mod list;
mod object;
mod page_cache;
mod put;
mod stat;

pub use batch::*;
pub use cancel::*;
pub use delete::*;
pub use get::*;
pub use list::*;
pub use object::*;
pub use page_cache::*;
pub use put::*;
pub use stat::*;

use crate::Fixture;
use forebay_io::{
    Budget, Error, GetRequest, Kind, Lease, ListOptions, Location, Meta, Pool, PutOptions, ReadOptions,
    Result, Served, Store, read,
};
use futures::TryStreamExt;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A promise that is not kept within this time hangs. Long, because machines that run tests are busy.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs one case of the suite on a fresh fixture, in a runtime of its own.
///
/// # Panics
/// Where the promise is broken, or hangs.
pub fn run(
    name: &str,
    factory: impl AsyncFnOnce() -> Fixture,
    case: impl AsyncFnOnce(&dyn Store, &Location),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let fixture = factory().await;
        let case = case(&*fixture.store, &fixture.root);
        tokio::time::timeout(LIMIT, case).await.unwrap_or_else(|_| panic!("{name} hangs"));
    });
}

/// Makes a test of each promise in [`conformance`](crate::conformance), on fixtures that `$factory`, a path
/// to an `async fn() -> Fixture`, makes anew for each. Use it once a module.
#[macro_export]
macro_rules! conformance_suite {
    ($factory:path) => {
        $crate::conformance_suite!(@cases tests $factory);

        #[test]
        fn random_sequences_agree_with_the_model() {
            $crate::model::check($factory);
        }
    };
    (@tests $factory:path; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::run(stringify!($name), $factory, $crate::conformance::$name);
            }
        )*
    };
    (@names; $($name:ident)*) => { [$(stringify!($name)),*] };
    (@cases $what:ident $($factory:path)?) => {
        $crate::conformance_suite! { @$what $($factory)?;
            get_reads_whole_objects
            get_reads_ranges
            get_of_an_empty_object_places_nothing
            get_beyond_the_end_is_an_invalid_range
            get_of_a_missing_object_is_not_found
            get_of_a_directory_is_refused
            get_of_another_version_is_refused
            get_of_what_the_place_can_never_hold_is_refused
            get_waits_for_memory

            get_many_answers_in_the_order_of_requests
            get_many_members_fail_alone
            get_many_of_nothing_answers_nothing
            get_many_reads_parts_of_one_object
            get_many_checks_versions
            get_many_waits_for_memory
            get_many_never_deadlocks_under_a_small_budget

            opened_objects_serve_ranges
            opened_objects_give_the_buffer_back_on_failure
            opened_objects_read_many_in_the_order_given
            opened_objects_are_one_version
            open_of_a_missing_object_is_not_found
            open_of_a_directory_is_refused

            stat_tells_size_and_version
            stat_of_a_directory
            stat_of_a_missing_object_is_not_found

            list_finds_every_object_beneath
            list_of_one_level_shows_directories
            list_keeps_to_the_glob
            list_of_a_missing_location
            list_of_an_empty_root_is_empty
            list_of_an_object_is_that_object
            list_of_a_prefix_has_no_siblings
            list_gives_many_entries_once_each
            list_gives_details_when_asked
            list_may_be_dropped_half_way
            names_of_all_kinds_are_kept
            names_that_are_not_utf8

            put_replaces
            put_create_never_replaces
            put_create_has_one_winner
            put_takes_bodies_in_chunks
            put_durable_puts
            put_is_atomic_for_readers
            put_whose_body_fails_leaves_nothing
            put_of_another_length_than_promised_leaves_nothing
            put_dropped_half_way_leaves_nothing
            put_over_a_directory
            put_beneath_an_object

            delete_removes
            delete_of_a_missing_object
            delete_of_a_directory_keeps_what_is_in_it
            delete_many_removes_what_it_names
            delete_many_members_fail_alone
            delete_many_of_nothing_answers_nothing

            page_cache_policy_is_obeyed_or_refused

            dropped_gets_leak_nothing
            dropped_waits_leak_nothing
            dropped_reads_of_objects_leak_nothing
            dropped_calls_leave_the_store_usable
        }
    };
}

/// A pool that is large enough for everything a case reads.
fn pool() -> Pool {
    pool_of(64 << 20)
}

fn pool_of(cap: u64) -> Pool {
    Pool::new(Budget::new(cap).expect("a valid cap"))
}

async fn put(store: &dyn Store, location: &Location, bytes: &[u8]) -> Meta {
    let meta = store.put(location, bytes.into(), PutOptions::default()).await;
    let meta = meta.unwrap_or_else(|error| panic!("put: {error}"));
    assert_eq!(meta.size, bytes.len() as u64, "size in the answer to a put at {location}");
    meta
}

/// The bytes at `location`.
async fn get(store: &dyn Store, location: &Location) -> Result<Vec<u8>> {
    let block = read(store, location, None, ReadOptions::default(), &pool()).await?;
    Ok(block.slot(0).expect("a read that succeeds fills its slot").to_vec())
}

async fn get_one(store: &dyn Store, request: GetRequest, lease: &Arc<Lease>) -> Result<Served> {
    store.get(request, ReadOptions::default(), lease.clone()).await
}

async fn get_many(store: &dyn Store, requests: Vec<GetRequest>, lease: &Arc<Lease>) -> Vec<Result<Served>> {
    let count = requests.len();
    let results = store.get_many(requests.into(), ReadOptions::default(), lease.clone()).await;
    assert_eq!(results.len(), count, "one answer a request");
    results
}

/// The error of `result`, which must be of this kind and name the location.
fn fails<T: Debug>(result: Result<T>, kind: Kind, location: &Location) -> Error {
    match result {
        Ok(value) => panic!("{location}: expected {kind}, got {value:?}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error:?}");
            assert_eq!(error.location(), Some(location), "the error names another place: {error}");
            error
        }
    }
}

/// The keys beneath `root`, all objects, each once.
async fn keys(store: &dyn Store, root: &Location) -> BTreeSet<Vec<u8>> {
    match entries(store, root, ListOptions::recursive()).await {
        Ok(entries) => entries.into_iter().map(|(key, _, _)| key).collect(),
        Err(error) if error.kind() == Kind::NotFound => BTreeSet::new(),
        Err(error) => panic!("list {root}: {error}"),
    }
}

type Entry = (Vec<u8>, forebay_io::EntryKind, Option<Meta>);

/// The entries of a listing, sorted by key, each once.
async fn entries(store: &dyn Store, root: &Location, options: ListOptions) -> Result<Vec<Entry>> {
    let pages: Vec<_> = store.list(root, options).try_collect().await?;
    let mut entries: Vec<Entry> = Vec::new();
    for page in &pages {
        assert_eq!(page.root(), root);
        entries.extend(page.iter().map(|e| (e.key.to_vec(), e.kind, e.meta.cloned())));
    }
    entries.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let twice = entries.windows(2).find(|pair| (&pair[0].0, pair[0].1) == (&pair[1].0, pair[1].1));
    assert!(twice.is_none(), "listed twice: {twice:?}");
    Ok(entries)
}

/// Waits until something that happens by itself has happened: what a kernel or another thread still
/// does after a future is dropped.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < Duration::from_secs(20), "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Checks that every byte of a pool's budget came back.
async fn nothing_in_flight(pool: &Pool) {
    eventually("no byte of the budget is in use", async || pool.budget().used() == 0).await;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The suite is what the macro lists; a promise that is written and not listed would never be checked.
    #[test]
    fn the_list_in_the_macro_is_the_list_of_functions() {
        let listed: Vec<&str> = crate::conformance_suite!(@cases names).to_vec();
        let files = [
            include_str!("get.rs"),
            include_str!("batch.rs"),
            include_str!("object.rs"),
            include_str!("stat.rs"),
            include_str!("list.rs"),
            include_str!("put.rs"),
            include_str!("delete.rs"),
            include_str!("page_cache.rs"),
            include_str!("cancel.rs"),
        ];
        let written: Vec<&str> = files
            .iter()
            .flat_map(|text| text.split("pub async fn ").skip(1))
            .map(|rest| rest.split('(').next().expect("split gives one at least"))
            .collect();
        assert_eq!(listed.iter().collect::<BTreeSet<_>>(), written.iter().collect());
        assert_eq!(listed.len(), written.len());
    }
}
