//! Reads members of a batch that lie close together in one object as one request of the size that was asked for.
//!
//! Only where [`ReadOptions::target_request_bytes`] is said; see [`neighbours`] for what is close. What
//! is read as one is one operation to all that is beneath: it has one try, one deadline, one permit and one hedge, and
//! is pinned to its version. What is above has its samples, each with a result of its own: of those that failed
//! together for a reason that may lie in one of them, each is read again alone and says its own.
//!
//! They are read straight into their slots, which lie together in memory when they are first lent, so that mostly
//! nothing is copied: only where a sample's length is no multiple of [`SLOT_ALIGN`], or something lies between,
//! are its bytes moved over by that. What lies between counts under the cap like other spare bytes; in a budget that
//! a batch of these sizes could not be sure of with them, only ranges without gaps are read as one.

use super::joined_place::{JoinedPlace, Member};
use crate::{
    Body, Capability, GetRequest, Kind, ListOptions, Location, Meta, Object, Page, Place, PutOptions,
    ReadOptions, Result, SLOT_ALIGN, Served, Store, neighbours,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

/// A store that reads neighbours together. See the module's words.
#[derive(Debug)]
pub struct Coalesced {
    store: Arc<dyn Store>,
}

/// Whom an answer is for.
enum Asker {
    /// The request of this index.
    One(usize),
    /// Those of these, which were read as one.
    Run(Vec<usize>),
}

impl Coalesced {
    /// Reads neighbours in the batches of `store` together.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Coalesced { store }
    }

    /// Whether the reason of a failure is the same for all that were read as one, or may lie in one of them. To ask
    /// again costs little where a batch is one submission; a service that is in trouble is not asked for each.
    fn is_of_all(&self, kind: Kind) -> bool {
        match kind {
            Kind::InvalidRange | Kind::Corrupt => false,
            Kind::NotFound | Kind::Denied | Kind::Unsupported | Kind::InvalidConfig | Kind::Cancelled => true,
            Kind::AlreadyExists
            | Kind::Precondition
            | Kind::Throttled
            | Kind::Unavailable
            | Kind::TimedOut => !self.store.capability().native_batch,
        }
    }

    async fn read(
        &self,
        requests: &[GetRequest],
        runs: Vec<Vec<usize>>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> Vec<Result<Served>> {
        let mut run_of: Vec<Option<usize>> = vec![None; requests.len()];
        for (number, run) in runs.iter().enumerate() {
            run.iter().for_each(|&member| run_of[member] = Some(number));
        }
        let mut runs: Vec<Option<Vec<usize>>> = runs.into_iter().map(Some).collect();
        let (mut asked, mut askers, mut joined) = (Vec::new(), Vec::new(), HashMap::new());
        for (index, request) in requests.iter().enumerate() {
            match run_of[index] {
                None => {
                    asked.push(request.clone());
                    askers.push(Asker::One(index));
                }
                Some(number) => {
                    // With the first of its members all are asked for.
                    let Some(run) = runs[number].take() else { continue };
                    let (request, members) = as_one(requests, &run);
                    joined.insert(request.slot, members);
                    asked.push(request);
                    askers.push(Asker::Run(run));
                }
            }
        }
        let both = Arc::new(JoinedPlace::new(place.clone(), joined));
        let answers = self.store.get_many(asked.into(), options.clone(), both).await;
        let mut results: Vec<Option<Result<Served>>> = requests.iter().map(|_| None).collect();
        let mut alone = Vec::new();
        for (asker, answer) in askers.into_iter().zip(answers) {
            match (asker, answer) {
                (Asker::One(index), answer) => results[index] = Some(answer),
                (Asker::Run(run), Ok(served)) => {
                    // Who reads together shares the time.
                    let elapsed = served.elapsed / u32::try_from(run.len()).unwrap_or(u32::MAX);
                    for index in run {
                        let bytes = range(&requests[index]).map_or(0, |range| range.end - range.start);
                        results[index] = Some(Ok(Served { bytes, elapsed, ..served }));
                    }
                }
                (Asker::Run(run), Err(error)) if self.is_of_all(error.kind()) => {
                    run.iter().for_each(|&index| results[index] = Some(Err(error.duplicate())));
                }
                (Asker::Run(run), Err(_)) => alone.extend(run),
            }
        }
        if !alone.is_empty() {
            let again: Arc<[GetRequest]> = alone.iter().map(|&index| requests[index].clone()).collect();
            let answers = self.store.get_many(again, options, place).await;
            alone.into_iter().zip(answers).for_each(|(index, answer)| results[index] = Some(answer));
        }
        results.into_iter().map(|result| result.expect("each was asked for")).collect()
    }
}

fn range(request: &GetRequest) -> Option<&Range<u64>> {
    request.range.as_ref()
}

/// What is to be read together.
fn runs(requests: &[GetRequest], target: NonZeroU64, place: &dyn Place) -> Vec<Vec<usize>> {
    let runs = neighbours(requests, target, true);
    let len = |&index: &usize| range(&requests[index]).map_or(0, |range| range.end - range.start);
    let between = |run: &Vec<usize>| {
        let (first, last) = (range(&requests[run[0]])?, range(&requests[run[run.len() - 1]])?);
        Some(last.end - first.start - run.iter().map(len).sum::<u64>()).filter(|&bytes| bytes > 0)
    };
    let padded = |bytes: u64| bytes.checked_next_multiple_of(SLOT_ALIGN as u64);
    let gaps: Vec<u64> = runs.iter().filter_map(between).collect();
    if gaps.is_empty() {
        return runs;
    }
    let own = requests.iter().map(|request| match range(request) {
        Some(range) => padded(range.end.checked_sub(range.start)?),
        None => padded(request.size?),
    });
    let all = gaps.into_iter().map(padded).chain(own);
    let all = all.into_iter().try_fold(0u64, |sum, bytes| sum.checked_add(bytes?));
    if all.is_some_and(|all| all <= place.pool().budget().guaranteed()) {
        runs
    } else {
        neighbours(requests, target, false)
    }
}

/// The request for all of a run, and where in its answer each is.
fn as_one(requests: &[GetRequest], run: &[usize]) -> (GetRequest, Vec<Member>) {
    let of = |index: usize| range(&requests[index]).cloned().unwrap_or_default();
    let first = &requests[run[0]];
    let (start, end) = (of(run[0]).start, of(run[run.len() - 1]).end);
    let member = |&index: &usize| {
        let Range { start: from, end: to } = of(index);
        Member { slot: requests[index].slot, landing: from - start, len: to - from }
    };
    (GetRequest { range: Some(start..end), ..first.clone() }, run.iter().map(member).collect())
}

impl Store for Coalesced {
    fn capability(&self) -> Capability {
        Capability { coalesces: true, ..self.store.capability() }
    }

    fn get<'a>(
        &'a self,
        request: GetRequest,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        self.store.get(request, options, place)
    }

    fn get_many<'a>(
        &'a self,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Vec<Result<Served>>> {
        let runs = options.target_request_bytes.map(|target| runs(&requests, target, &*place));
        match runs {
            Some(runs) if !runs.is_empty() => {
                async move { self.read(&requests, runs, options, place).await }.boxed()
            }
            _ => self.store.get_many(requests, options, place),
        }
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

    fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
        self.store.list(location, options)
    }

    fn put<'a>(
        &'a self,
        location: &'a Location,
        body: Body,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<Meta>> {
        self.store.put(location, body, options)
    }

    fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
        self.store.delete(location)
    }

    fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
        self.store.delete_many(locations)
    }
}
