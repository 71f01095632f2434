//! How a collector is read: all threads' counts together, by backend and over all of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::attempts::{self, AttemptShard, AttemptSummary};
use crate::backend::{self, BackendSummary, Reads};
use crate::collector::MetricsCollector;
use crate::names::Counter;
use crate::operation::{Backend, CacheUse, Operation};
use crate::operation_series::Series;
use crate::snapshot::{Downgrade, MetricsSnapshot, OperationSummary, PageCache, add_up, merge_operations};

impl MetricsCollector {
    /// Everything until now. Stages and queues are left for a pipeline to fill in.
    ///
    /// Writers are not stopped, so a batch that is being written may be in it in part.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let mut operations = BTreeMap::new();
        let mut backends = BTreeMap::new();
        // Where no backend tells of connections, none is not a number of them.
        let is_known = |counter: Counter, n| counter != Counter::Connections || n > 0;
        let names = Counter::ALL.iter().filter(|&&counter| is_known(counter, 0));
        let mut backend_counters: BTreeMap<String, u64> =
            names.map(|counter| (counter.definition().name.to_owned(), 0)).collect();
        let each: Vec<_> = Backend::ALL.iter().map(|&backend| (backend, self.operations(backend))).collect();
        let reported = each.iter().any(|(_, theirs)| theirs.values().any(|of| of.attempts.is_some()));
        for (backend, theirs) in each {
            let reads = self.reads(backend);
            let count = |&counter: &Counter| {
                let n = backend::count(counter, &theirs, reads, &self.told[backend as usize], reported);
                is_known(counter, n).then(|| (counter.definition().name.to_owned(), n))
            };
            let counters: BTreeMap<String, u64> = Counter::ALL.iter().filter_map(count).collect();
            if theirs.is_empty() && counters.values().all(|&n| n == 0) {
                continue;
            }
            merge_operations(&mut operations, &theirs, "operations").expect("one collector has one layout");
            add_up(&mut backend_counters, &counters);
            backends.insert(backend.name().to_owned(), BackendSummary { counters, operations: theirs });
        }
        let named: BTreeMap<String, OperationSummary> =
            self.named.summaries(&self.plans).into_iter().collect();
        // They are of no backend, and their values are clamped all the same.
        let clamped: u64 = named.values().map(OperationSummary::clamped).sum();
        if clamped > 0 {
            *backend_counters.entry(Counter::Clamped.definition().name.to_owned()).or_default() += clamped;
        }
        let downgrades = self.downgrades();
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let applied: BTreeMap<String, u64> = CacheUse::ALL
            .iter()
            .map(|&used| (used, self.all_series().map(|series| series.used(used)).sum()))
            .filter(|&(_, n): &(_, u64)| n > 0)
            .map(|(used, n)| (used.name().to_owned(), n))
            .collect();
        MetricsSnapshot {
            backend_counters,
            inflight_bytes: self.inflight_bytes().reading(),
            queue_depth: self.queue_depth().reading(),
            concurrency_limit: self.concurrency_limit().reading(),
            operations: operations.into_iter().chain(named).collect(),
            backends,
            page_cache: PageCache {
                hit: load(&self.cached.hit),
                miss: load(&self.cached.miss),
                unknown: load(&self.cached.unknown),
                reads_sampled: load(&self.cached.reads),
                applied,
                downgrades,
            },
            ..MetricsSnapshot::default()
        }
    }

    /// What one backend did, by kind of operation: those that ended or made a request.
    fn operations(&self, backend: Backend) -> BTreeMap<String, OperationSummary> {
        let summary = |&operation: &Operation| {
            let shards: Vec<&Series> =
                self.shards.all().filter_map(|shard| shard.series(backend, operation)).collect();
            let attempts = self.attempts(backend, operation);
            if shards.is_empty() && attempts.is_none() {
                return None;
            }
            let summary = OperationSummary { attempts, ..Series::summary(&shards, &self.plans) };
            Some((operation.name().to_owned(), summary))
        };
        Operation::ALL.iter().filter_map(summary).collect()
    }

    /// The requests that one backend made for one kind of operation.
    fn attempts(&self, backend: Backend, operation: Operation) -> Option<AttemptSummary> {
        let shards: Vec<&AttemptShard> =
            self.shards.all().filter_map(|shard| shard.attempts(backend, operation)).collect();
        attempts::summary(&shards, &self.plans.latency, &self.plans.bytes)
    }

    fn reads(&self, backend: Backend) -> Reads {
        let mut reads = Reads::default();
        for series in self.series_of(backend) {
            let hints = CacheUse::ALL.iter().filter(|used| used.is_hint());
            reads.range_gets += series.range_gets();
            reads.hints += hints.map(|&used| series.used(used)).sum::<u64>();
        }
        reads
    }

    fn series_of(&self, backend: Backend) -> impl Iterator<Item = &Series> {
        self.shards
            .all()
            .flat_map(move |shard| Operation::ALL.iter().filter_map(move |&op| shard.series(backend, op)))
    }

    fn all_series(&self) -> impl Iterator<Item = &Series> {
        Backend::ALL.iter().flat_map(|&backend| self.series_of(backend))
    }

    fn downgrades(&self) -> Vec<Downgrade> {
        let mut found = Vec::new();
        for &from in CacheUse::ALL {
            for &to in CacheUse::ALL {
                let n = self.downgrades[from as usize][to as usize].load(Ordering::Relaxed);
                if n > 0 {
                    found.push(Downgrade { from: from.name().to_owned(), to: to.name().to_owned(), n });
                }
            }
        }
        found
    }
}
