//! A suite that a broken store passes proves nothing: each promise broken here is found out by its test.

use bytes::Bytes;
use forebay_io::{
    Body, Capability, GetRequest, ListOptions, Location, MemoryStore, Meta, Object, Page, Place, PutMode,
    PutOptions, ReadOptions, Result, Served, Store, Want,
};
use forebay_io_testkit::{Fixture, conformance};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One promise that [`Broken`] does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    AnswersBackwards,
    FailsTogether,
    IgnoresVersions,
    IgnoresPageCache,
    ClampsRanges,
    KeepsSlots,
    IgnoresGlobs,
    ListsTwice,
    HidesNames,
    CreateReplaces,
    KeepsParts,
    WritesInParts,
    DeletesQuietly,
    DeletesManyQuietly,
}

/// The memory store, but for one thing.
#[derive(Debug)]
struct Broken {
    store: MemoryStore,
    flaw: Flaw,
}

impl Broken {
    fn spoil(
        &self,
        mut request: GetRequest,
        mut options: ReadOptions,
        place: &dyn Place,
    ) -> (GetRequest, ReadOptions) {
        match self.flaw {
            Flaw::IgnoresVersions => request.if_version = None,
            Flaw::IgnoresPageCache => options.page_cache = Default::default(),
            Flaw::ClampsRanges => {
                if let Some(range) = &mut request.range {
                    let size = self
                        .store
                        .stat(&request.location)
                        .now_or_never()
                        .expect("at once")
                        .map_or(0, |m| m.size);
                    range.end = range.end.min(size);
                    range.start = range.start.min(range.end);
                }
            }
            // Forgotten memory: a buffer that never comes back.
            Flaw::KeepsSlots => std::mem::forget(place.try_reserve(&[Want::new(request.slot, 1)])),
            _ => {}
        }
        (request, options)
    }
}

impl Store for Broken {
    fn capability(&self) -> Capability {
        self.store.capability()
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        let (request, options) = self.spoil(request, options, &*place);
        self.store.get(request, options, place)
    }

    fn get_many<'a>(
        &'a self,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Vec<Result<Served>>> {
        async move {
            let mut results = Vec::new();
            for request in requests.iter() {
                let (request, options) = self.spoil(request.clone(), options.clone(), &*place);
                results.push(self.store.get(request, options, place.clone()).await);
            }
            if self.flaw == Flaw::AnswersBackwards {
                results.reverse();
            }
            let failed = results.iter().find_map(|r| r.as_ref().err()).map(forebay_io::Error::duplicate);
            if let Some(error) = failed.filter(|_| self.flaw == Flaw::FailsTogether) {
                results.iter_mut().for_each(|result| *result = Err(error.duplicate()));
            }
            results
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        location: &'a Location,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
        self.store.open(location, options)
    }

    fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
        self.store.stat(location)
    }

    fn list<'a>(&'a self, location: &'a Location, mut options: ListOptions) -> BoxStream<'a, Result<Page>> {
        match self.flaw {
            Flaw::IgnoresGlobs => options.glob = None,
            Flaw::HidesNames => {
                options.glob = options.glob.or_else(|| forebay_io::Glob::new("**/[!.]*").ok())
            }
            Flaw::ListsTwice => {
                let again = self.store.list(location, options.clone());
                return self.store.list(location, options).chain(again).boxed();
            }
            _ => {}
        }
        self.store.list(location, options)
    }

    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        mut options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>> {
        if self.flaw == Flaw::CreateReplaces {
            options.mode = PutMode::Overwrite;
        }
        if !matches!(self.flaw, Flaw::KeepsParts | Flaw::WritesInParts) {
            return self.store.put(location, body, options);
        }
        async move {
            let mut chunks = body.into_chunks();
            let mut all = Vec::new();
            let mut error = None;
            while let Some(chunk) = chunks.next().await {
                match chunk {
                    Ok(chunk) => all.extend_from_slice(&chunk),
                    Err(e) => {
                        error = Some(e);
                        break;
                    }
                }
                if self.flaw == Flaw::WritesInParts {
                    self.store.put(location, all.clone().into(), options).await?;
                }
            }
            let whole = stream::once(async { Ok(Bytes::from(all)) }).boxed();
            let meta = self.store.put(location, Body::stream(whole, None), options).await?;
            error.map_or(Ok(meta), Err)
        }
        .boxed()
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        async move {
            let results = self.store.delete_many(locations).await;
            match self.flaw {
                Flaw::DeletesManyQuietly => results.into_iter().map(|_| Ok(())).collect(),
                _ => results,
            }
        }
        .boxed()
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        async move { if self.flaw == Flaw::DeletesQuietly { Ok(()) } else { self.store.delete(location).await } }.boxed()
    }
}

macro_rules! found_out {
    ($($test:ident: $flaw:ident by $($case:ident)*;)*) => {
        $(
            #[test]
            fn $test() {
                let factory = async || {
                    let store = Broken { store: MemoryStore::new(), flaw: Flaw::$flaw };
                    Fixture::new(Arc::new(store), "mem://test/root".parse().unwrap())
                };
                $(
                    let passed = catch_unwind(AssertUnwindSafe(|| {
                        conformance::run(stringify!($case), factory, conformance::$case);
                    }));
                    assert!(passed.is_err(), "{} was not found by {}", stringify!($flaw), stringify!($case));
                )*
            }
        )*
    };
}

found_out! {
    answers_in_another_order: AnswersBackwards by get_many_answers_in_the_order_of_requests get_many_members_fail_alone;
    members_that_fail_together: FailsTogether by get_many_members_fail_alone;
    versions_that_are_ignored: IgnoresVersions by get_of_another_version_is_refused get_many_checks_versions;
    a_policy_that_is_dropped: IgnoresPageCache by page_cache_policy_is_obeyed_or_refused;
    ranges_that_are_cut: ClampsRanges by get_beyond_the_end_is_an_invalid_range;
    slots_that_stay_lent: KeepsSlots by dropped_gets_leak_nothing get_reads_whole_objects;
    globs_that_are_ignored: IgnoresGlobs by list_keeps_to_the_glob;
    entries_that_come_twice: ListsTwice by list_finds_every_object_beneath list_gives_many_entries_once_each;
    names_that_are_hidden: HidesNames by names_of_all_kinds_are_kept;
    a_create_that_replaces: CreateReplaces by put_create_never_replaces put_create_has_one_winner;
    parts_that_stay: KeepsParts by put_whose_body_fails_leaves_nothing put_of_another_length_than_promised_leaves_nothing;
    parts_that_show: WritesInParts by put_is_atomic_for_readers put_dropped_half_way_leaves_nothing;
    deletes_that_do_nothing: DeletesQuietly by delete_removes delete_of_a_missing_object;
    batches_of_deletes_that_tell_nothing: DeletesManyQuietly by delete_many_members_fail_alone;
}

#[test]
fn the_model_finds_a_flaw_too() {
    for flaw in [Flaw::ClampsRanges, Flaw::CreateReplaces, Flaw::IgnoresGlobs, Flaw::DeletesQuietly] {
        let factory = async || {
            let store = Broken { store: MemoryStore::new(), flaw };
            Fixture::new(Arc::new(store), "mem://test/root".parse().unwrap())
        };
        let passed = catch_unwind(AssertUnwindSafe(|| forebay_io_testkit::model::check(factory)));
        assert!(passed.is_err(), "{flaw:?}");
    }
}
