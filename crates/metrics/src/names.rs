//! Every metric there is: name, unit, what it says and what it does not, and whether the name stays.
//!
//! This is the only place where a metric's name is written. Snapshots, reports and exports take it
//! from here.

use serde::{Deserialize, Serialize};

/// What a metric counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Operations of a store.
    Operations,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Tries, answers or other happenings.
    Events,
    /// Recorded values.
    Values,
    /// Tasks of a pipeline's stage, or items of its queue.
    Items,
}

impl Shape {
    /// The shape as a word.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Counter => "counter",
            Shape::Gauge => "gauge",
            Shape::Histogram => "histogram",
        }
    }
}

impl Stability {
    /// The promise as a word.
    pub fn name(self) -> &'static str {
        match self {
            Stability::Stable => "stable",
            Stability::Experimental => "experimental",
        }
    }
}

impl Unit {
    /// The unit as a word.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Operations => "operations",
            Unit::Bytes => "bytes",
            Unit::Nanoseconds => "nanoseconds",
            Unit::Microseconds => "microseconds",
            Unit::Events => "events",
            Unit::Values => "values",
            Unit::Items => "items",
        }
    }
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Only grows; exact always.
    Counter,
    /// Goes up and down and keeps its peak.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Whether to build on a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// Name, unit and meaning stay until the schema version changes.
    Stable,
    /// May change with any release.
    Experimental,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The key in a snapshot.
    pub name: &'static str,
    /// How it behaves.
    pub shape: Shape,
    /// What it counts in.
    pub unit: Unit,
    /// What it counts and, where that could be mistaken, what it does not.
    pub means: &'static str,
    /// What a conspicuous value points to.
    pub diagnosis: &'static str,
    /// Whether to build on it.
    pub stability: Stability,
}

macro_rules! counters {
    ($($variant:ident, $name:literal, $unit:ident, $stability:ident, $means:literal, $diagnosis:literal;)*) => {
        /// An exact counter. Its [`Definition`] is in the registry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Counter {
            $(#[doc = $means] $variant,)*
        }

        impl Counter {
            /// Every counter, in the order of the registry.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];

            /// Name, unit and meaning.
            pub fn definition(self) -> &'static Definition {
                match self {
                    $(Counter::$variant => const { &Definition {
                        name: $name,
                        shape: Shape::Counter,
                        unit: Unit::$unit,
                        means: $means,
                        diagnosis: $diagnosis,
                        stability: Stability::$stability,
                    } },)*
                }
            }
        }
    };
}

counters! {
    Gets, "gets", Operations, Stable,
        "One-shot reads that were served, each member of a batched read counted by itself.",
        "Fewer than the samples delivered: samples came from a cache, or several from one object.";
    RangeGets, "range_gets", Operations, Stable,
        "Served reads that asked for part of an object: gets with a range, and reads of an opened object.",
        "Many small ones: requests are not coalesced.";
    Lists, "lists", Operations, Stable,
        "Listings that ran to their end, however many pages each took.",
        "More than one an epoch: the listing is not kept.";
    Puts, "puts", Operations, Stable,
        "Objects written.",
        "Writes beside reads share the device: expect read latency to rise.";
    Stats, "stats", Operations, Stable,
        "Objects asked for size and version. Does not count a size learnt while reading.",
        "As many as reads: a round trip is spent on each object that a get would have saved.";
    Opens, "opens", Operations, Stable,
        "Objects opened for reading ranges. A one-shot get is not counted.",
        "Nearly as many as range reads: objects are not kept open.";
    Deletes, "deletes", Operations, Stable,
        "Objects removed.",
        "None expected while loading.";
    Retries, "retries", Events, Stable,
        "Attempts that failed and were made again. The operation itself counts once, by how it ended.",
        "Rising with throttles: ask for less at once. Without: the service or the network is unwell.";
    Throttles, "throttles", Events, Stable,
        "Answers that asked for fewer requests, whether or not the request was made again.",
        "Concurrency is above what the service grants: more of it makes things slower.";
    CacheHintsApplied, "cache_hints_applied", Operations, Stable,
        "Reads for which a page-cache mode other than the default was applied and the kernel took it.",
        "Fewer than reads: see `page_cache` for what was used instead.";
    Downgrades, "downgrades", Events, Stable,
        "Reads whose page-cache mode could not be obeyed and was replaced by the next best.",
        "Above 0: the figures of this run are not those of the mode that was asked for.";
    BytesRead, "bytes_read", Bytes, Stable,
        "Bytes delivered by gets and reads. Bytes of failed and cancelled reads are not in it.",
        "More than the samples hold: read amplification, by alignment or whole-object reads.";
    BytesWritten, "bytes_written", Bytes, Stable,
        "Bytes of objects written.",
        "None expected while loading.";
    Requests, "requests", Operations, Stable,
        "Requests that the backend really made: each part, try, page and hedge. For an operation whose backend reports none, the operation itself counts as one, and so does each retry.",
        "Far more than operations: objects are read in many parts, or many tries fail.";
    FailedRequests, "failed_requests", Operations, Stable,
        "Requests that failed, whether or not a later one made it good. Where the backend reports no requests: errors and retries.",
        "Above 0: see `attempts` in `operations` for which kind and status.";
    Bytes, "bytes", Bytes, Stable,
        "Bytes that requests moved, those of failed and discarded ones included. Where the backend reports no requests: bytes read and written.",
        "More than bytes_read and bytes_written: broken, repeated and hedged transfers, or blocks around what was asked for.";
    RetriesWithheld, "retries_withheld", Events, Stable,
        "Failed attempts that were not made again because the retry budget was spent.",
        "Above 0: most of what is sent fails; more tries would only add load. Look at the service first.";
    Hedges, "hedges", Events, Stable,
        "Second requests that were sent because the first took longer than most.",
        "More than one in twenty: hedge_quantile is too low for this service, or the service slowed down.";
    HedgesWon, "hedges_won", Events, Stable,
        "Hedged pairs whose second request was the one that answered.",
        "Few of the hedges: slowness is not in single requests, and hedging only adds load.";
    HedgesDenied, "hedges_denied", Events, Stable,
        "Second requests that were not sent, or were given up, because neither the caller's cap nor hedge_memory had room for them.",
        "Rising: the cap is taken up by what is read ahead; raise it, or lower prefetch or num_workers.";
    BreakerOpens, "breaker_opens", Events, Stable,
        "Times that a circuit breaker opened because requests to its endpoint kept failing.",
        "Above 0: an endpoint was out of order for a while.";
    BreakerRefusals, "breaker_refusals", Events, Stable,
        "Operations refused without being sent because a circuit breaker was open.",
        "Above 0: the endpoint was down longer than the tries last; add endpoints or retries.";
    Failovers, "failovers", Events, Stable,
        "Operations that were taken to another endpoint after one failed.",
        "Rising: one of the endpoints is out of order.";
    ConcurrencyCuts, "concurrency_cuts", Events, Stable,
        "Times that an endpoint's concurrency limit was lowered because the service asked for fewer requests.",
        "Many: the service grants less than is asked of it; see `concurrency_limit` for how much it settled on.";
    Connections, "connections", Events, Stable,
        "Connections to services that were opened, by backends that open them themselves. Absent where no backend has said: files have none, and clients of others do not tell.",
        "Many beside `requests`: connections are not kept, or the service closes them.";
    Mappings, "mappings", Events, Stable,
        "Mappings of files that were made to read through them (`reader_mode=mmap`).",
        "0: files were read by system calls.";
    MappingsAdvised, "mappings_advised", Events, Stable,
        "Those of `mappings` of which the kernel was told by `madvise` how their pages would be wanted: all with `page_cache_mode` `fadvise_sequential` or `fadvise_random`, none with others.",
        "Fewer than `mappings`: several loaders with different modes count here.";
    Unregistered, "unregistered", Events, Stable,
        "Stretches of memory that could not be registered with the ring of `direct://`. They are read into all the same.",
        "Above 0: each read there costs the kernel more: raise the limit of locked memory (`ulimit -l`), or give register_buffers=false.";
    Errors, "errors", Operations, Stable,
        "Operations that ended in failure. A failed attempt that a retry made good is not one.",
        "Above 0: see `operations` for which kind.";
    Cancelled, "cancelled", Operations, Stable,
        "Operations whose caller went away before they ended.",
        "Above 0: a loader was dropped in the middle, or deadlines or hedging gave reads up.";
    Clamped, "clamped", Values, Stable,
        "Values outside a histogram's range, recorded as the nearest value in range.",
        "Above 0: that many operations took no measurable time, over an hour, or over 1 TiB.";
}

/// Levels and distributions. Counters are in [`Counter::ALL`].
pub const OTHERS: &[Definition] = &[
    gauge(
        "max_qd",
        Unit::Operations,
        "The most operations in flight at once, members of a batch counted singly.",
        "Low on a slow device: it is asked for too little at once.",
    ),
    gauge(
        "queue_depth",
        Unit::Operations,
        "Operations begun and not ended when the snapshot was taken.",
        "Above 0 when nothing should be under way: somebody holds a read that nobody waits for.",
    ),
    gauge(
        "peak_inflight",
        Unit::Bytes,
        "The most bytes granted by the budget at once: arriving, or waiting in batches that were not taken yet.",
        "At `inflight_cap`: reads wait for the consumer or for a larger cap. Far below: the cap does not limit this run.",
    ),
    gauge(
        "inflight_bytes",
        Unit::Bytes,
        "Bytes granted by the budget and not given back when the snapshot was taken.",
        "Above 0 after an epoch: batches of it are still held.",
    ),
    gauge(
        "inflight_cap",
        Unit::Bytes,
        "What the bytes in flight are never to exceed; null where nothing caps them.",
        "Smaller than a few batches: little can be read ahead.",
    ),
    gauge(
        "memory",
        Unit::Bytes,
        "Bytes in flight or held by consumers, of all loaders that share a memory cap, with its `peak` and its `cap`; a cap of null where none is shared.",
        "At its cap: one loader's reading ahead waits for another's consumer. Above it: consumers hold more batches than the cap leaves room for.",
    ),
    gauge(
        "concurrency_limit",
        Unit::Operations,
        "Operations that adaptive limits allow in flight now, summed over endpoints, with its `peak`; 0 where none is adaptive.",
        "Far below its peak: the service throttles, and that is what limits this run.",
    ),
    histogram(
        "req_bytes_hist",
        Unit::Bytes,
        "Bytes of each served get, read or put, as the caller asked for it. Empty objects count with 0. Within `attempts`: what each request to the device or service asked for.",
        "Mostly below 64 KiB: the cost is in requests, not in bytes.",
    ),
    histogram(
        "latency_us_hist",
        Unit::Microseconds,
        "From the start of an operation to its last byte, of those served. In a batch, the time spent on that member alone.",
        "p99 far above p50: a few objects stall batches that wait for all their members.",
    ),
    histogram(
        "first_byte_us_hist",
        Unit::Microseconds,
        "From the start of an operation to its first byte, where the store can tell.",
        "Close to `latency_us_hist`: the round trip dominates, larger requests are cheap.",
    ),
];

/// What was in the page cache just before reads through it.
pub const PAGE_CACHE: &[Definition] = &[
    counter(
        "hit",
        Unit::Bytes,
        "Bytes that were in the page cache just before they were read, of the reads before which the store looked.",
        "Most of them, of a data set that was to be read cold: the figures are those of memory.",
    ),
    counter(
        "miss",
        Unit::Bytes,
        "Bytes that were not, of the same reads.",
        "Most of them in a second epoch: the data set does not fit into memory.",
    ),
    counter(
        "unknown",
        Unit::Bytes,
        "Bytes of the same reads of which the kernel cannot tell, or not to this user.",
        "Most of them: nothing can be said of the page cache; never take it for a miss or a hit.",
    ),
    counter(
        "reads_sampled",
        Unit::Operations,
        "Reads before which the store looked. The bytes above are of these alone, not scaled up.",
        "Few: set `page_cache_sampling` to 1 to look before every read.",
    ),
];

const fn counter(name: &'static str, unit: Unit, means: &'static str, diagnosis: &'static str) -> Definition {
    Definition { name, shape: Shape::Counter, unit, means, diagnosis, stability: Stability::Stable }
}

const fn gauge(name: &'static str, unit: Unit, means: &'static str, diagnosis: &'static str) -> Definition {
    Definition { name, shape: Shape::Gauge, unit, means, diagnosis, stability: Stability::Stable }
}

const fn histogram(
    name: &'static str,
    unit: Unit,
    means: &'static str,
    diagnosis: &'static str,
) -> Definition {
    Definition { name, shape: Shape::Histogram, unit, means, diagnosis, stability: Stability::Stable }
}

/// What a pipeline tells of each of its stages and queues.
pub const PIPELINE: &[Definition] = &[
    Definition {
        name: "tasks",
        shape: Shape::Counter,
        unit: Unit::Items,
        means: "Tasks of a stage that ended, failed ones among them.",
        diagnosis: "Standing still: look at what this stage waits for.",
        stability: Stability::Stable,
    },
    Definition {
        name: "failures",
        shape: Shape::Counter,
        unit: Unit::Items,
        means: "Tasks of a stage that failed.",
        diagnosis: "Above 0: see the quarantine report for which samples.",
        stability: Stability::Stable,
    },
    Definition {
        name: "service_us_hist",
        shape: Shape::Histogram,
        unit: Unit::Microseconds,
        means: "Time a task of a stage ran, without the waits before and after.",
        diagnosis: "The longest of all stages, with little blocked time: this stage is the work.",
        stability: Stability::Stable,
    },
    Definition {
        name: "pool_wait_us_hist",
        shape: Shape::Histogram,
        unit: Unit::Microseconds,
        means: "From when a task's input was there to when a worker took it up.",
        diagnosis: "Long: the stage wants more concurrency.",
        stability: Stability::Stable,
    },
    Definition {
        name: "blocked_us_hist",
        shape: Shape::Histogram,
        unit: Unit::Microseconds,
        means: "From when a task's result was ready to when the next queue had room.",
        diagnosis: "Long: what comes after is slower than this stage.",
        stability: Stability::Stable,
    },
    Definition {
        name: "items",
        shape: Shape::Counter,
        unit: Unit::Items,
        means: "Items taken out of a queue.",
        diagnosis: "Fewer a second than the consumer wants: look at get_wait_us_hist.",
        stability: Stability::Stable,
    },
    Definition {
        name: "empty_ns",
        shape: Shape::Counter,
        unit: Unit::Nanoseconds,
        means: "Time for which a queue held nothing, an interval that has not ended included. Data readiness is 1 - empty_ns / measured_ns.",
        diagnosis: "Most of measured_ns: what comes before the queue is too slow.",
        stability: Stability::Stable,
    },
    Definition {
        name: "measured_ns",
        shape: Shape::Counter,
        unit: Unit::Nanoseconds,
        means: "Time for which a queue was watched.",
        diagnosis: "Differs between ranks: one of them began late or ended early.",
        stability: Stability::Stable,
    },
    Definition {
        name: "max_depth",
        shape: Shape::Gauge,
        unit: Unit::Items,
        means: "The most items that a queue held at once.",
        diagnosis: "At its capacity with short put waits: the buffer absorbs what the storage does unevenly.",
        stability: Stability::Stable,
    },
    Definition {
        name: "get_wait_us_hist",
        shape: Shape::Histogram,
        unit: Unit::Microseconds,
        means: "How long each get waited for an item, with 0 for those that did not wait.",
        diagnosis: "Long at the sink: the training loop waits for data.",
        stability: Stability::Stable,
    },
    Definition {
        name: "put_wait_us_hist",
        shape: Shape::Histogram,
        unit: Unit::Microseconds,
        means: "How long each put waited for room, with 0 for those that did not wait.",
        diagnosis: "Long: what comes after the queue is too slow, which is what one wants to see of a training loop.",
        stability: Stability::Stable,
    },
];

/// Every definition, counters first.
pub fn all() -> impl Iterator<Item = &'static Definition> {
    Counter::ALL.iter().map(|counter| counter.definition()).chain(OTHERS).chain(PAGE_CACHE).chain(PIPELINE)
}

/// The definition of a metric by name.
pub fn definition(name: &str) -> Option<&'static Definition> {
    all().find(|definition| definition.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_spelt_alike() {
        let all: Vec<_> = super::all().collect();
        let names: HashSet<_> = all.iter().map(|d| d.name).collect();
        assert_eq!(names.len(), all.len());
        for definition in all {
            assert!(
                definition.name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{}",
                definition.name
            );
            assert!(definition.means.ends_with('.') && definition.diagnosis.ends_with('.'));
            assert_eq!(super::definition(definition.name), Some(definition));
        }
        assert_eq!(super::definition("get"), None);
    }
}
