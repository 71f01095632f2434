//! One thread's counts of one kind of operation, and how a batch of ended operations is added to them.

use crate::collector::Plans;
use crate::histogram::summarize;
use crate::histogram_shard::{Burst, HistogramShard};
use crate::operation::{Backend, CacheUse, Extent, Failure, Operation, Outcome};
use crate::snapshot::OperationSummary;
use crate::tally::{Tally, Writer};

/// One thread's counts of one kind of operation of one backend.
pub(crate) struct Series {
    done: Tally,
    bytes: Tally,
    cancelled: Tally,
    /// Of those done, the ones that read a part of an object.
    range_gets: Tally,
    /// Of those done that read, by what was done to the page cache.
    cache: [Tally; CacheUse::COUNT],
    failed: [Tally; Failure::COUNT],
    latency: HistogramShard,
    first_byte: HistogramShard,
    request_bytes: HistogramShard,
}

impl Series {
    pub(crate) fn new(plans: &Plans) -> Series {
        Series {
            done: Tally::new(0),
            bytes: Tally::new(0),
            cancelled: Tally::new(0),
            range_gets: Tally::new(0),
            cache: std::array::from_fn(|_| Tally::new(0)),
            failed: std::array::from_fn(|_| Tally::new(0)),
            latency: HistogramShard::new(&plans.latency),
            first_byte: HistogramShard::new(&plans.latency),
            request_bytes: HistogramShard::new(&plans.bytes),
        }
    }

    /// One operation that was served.
    pub(crate) fn record(&self, plans: &Plans, bytes: Option<u64>, latency_ns: u64, writer: Writer) {
        self.done.add(1, writer);
        self.latency.record_n(&plans.latency, latency_ns, 1, writer);
        if let Some(bytes) = bytes {
            self.bytes.add(bytes, writer);
            self.request_bytes.record_n(&plans.bytes, bytes, 1, writer);
        }
    }

    /// Puts what waits in lists into buckets.
    pub(crate) fn publish(&self, plans: &Plans, writer: Writer) {
        self.latency.publish(&plans.latency, writer);
        self.first_byte.publish(&plans.latency, writer);
        self.request_bytes.publish(&plans.bytes, writer);
    }

    /// Those done that read a part of an object.
    pub(crate) fn range_gets(&self) -> u64 {
        self.range_gets.get()
    }

    /// Those done for which this was done to the page cache.
    pub(crate) fn used(&self, cache: CacheUse) -> u64 {
        self.cache[cache as usize].get()
    }

    /// All threads' counts together.
    pub(crate) fn summary(shards: &[&Series], plans: &Plans) -> OperationSummary {
        let sum = |tally: fn(&Series) -> &Tally| shards.iter().map(|s| tally(s).get()).sum();
        OperationSummary {
            ops: sum(|s| &s.done),
            bytes: sum(|s| &s.bytes),
            cancelled: sum(|s| &s.cancelled),
            failures: Failure::ALL
                .iter()
                .map(|&f| (f, shards.iter().map(|s| s.failed[f as usize].get()).sum()))
                .filter(|&(_, n): &(_, u64)| n > 0)
                .map(|(f, n)| (f.name().to_owned(), n))
                .collect(),
            latency_ns: summarize(&plans.latency, shards.iter().map(|s| &s.latency)),
            first_byte_ns: summarize(&plans.latency, shards.iter().map(|s| &s.first_byte)),
            request_bytes: summarize(&plans.bytes, shards.iter().map(|s| &s.request_bytes)),
            attempts: None,
        }
    }
}

/// A stretch of a batch that goes to one series. What it adds to counters is written once, at its end.
pub(crate) struct Run<'a> {
    backend: Backend,
    operation: Operation,
    series: &'a Series,
    done: u64,
    bytes: u64,
    range_gets: u64,
    cache: [u64; CacheUse::COUNT],
    latency: Burst,
    first_byte: Burst,
    request_bytes: Burst,
}

impl<'a> Run<'a> {
    #[inline]
    pub(crate) fn new(backend: Backend, operation: Operation, series: &'a Series) -> Run<'a> {
        Run {
            backend,
            operation,
            series,
            done: 0,
            bytes: 0,
            range_gets: 0,
            cache: [0; CacheUse::COUNT],
            latency: Burst::default(),
            first_byte: Burst::default(),
            request_bytes: Burst::default(),
        }
    }

    #[inline]
    pub(crate) fn is_of(&self, backend: Backend, operation: Operation) -> bool {
        self.operation == operation && self.backend == backend
    }

    /// One more of its operations ended; says why, if it failed.
    #[inline]
    pub(crate) fn ended(
        &mut self,
        plans: &Plans,
        extent: Extent,
        outcome: Outcome,
        writer: Writer,
    ) -> Option<Failure> {
        let series = self.series;
        match outcome {
            Outcome::Done { bytes, latency_ns, first_byte_ns, cache } => {
                self.done += 1;
                self.bytes += bytes;
                self.latency.record(&series.latency, &plans.latency, latency_ns, writer);
                if let Some(first_byte_ns) = first_byte_ns {
                    self.first_byte.record(&series.first_byte, &plans.latency, first_byte_ns, writer);
                }
                if self.operation.moves_bytes() {
                    self.request_bytes.record(&series.request_bytes, &plans.bytes, bytes, writer);
                }
                match (self.operation, extent) {
                    (Operation::Read, _) | (Operation::Get, Extent::Part) => self.range_gets += 1,
                    _ => {}
                }
                if matches!(self.operation, Operation::Get | Operation::Read) {
                    self.cache[cache as usize] += 1;
                }
                None
            }
            Outcome::Failed(failure) => {
                series.failed[failure as usize].add(1, writer);
                Some(failure)
            }
            Outcome::Cancelled => {
                series.cancelled.add(1, writer);
                None
            }
        }
    }

    #[inline]
    pub(crate) fn write(self, plans: &Plans, writer: Writer) {
        let Run { series, done, bytes, range_gets, cache, latency, first_byte, request_bytes, .. } = self;
        if done == 0 {
            return;
        }
        latency.write(&series.latency, &plans.latency, writer);
        first_byte.write(&series.first_byte, &plans.latency, writer);
        request_bytes.write(&series.request_bytes, &plans.bytes, writer);
        series.done.add(done, writer);
        series.bytes.add(bytes, writer);
        if range_gets > 0 {
            series.range_gets.add(range_gets, writer);
        }
        for (tally, n) in series.cache.iter().zip(cache) {
            if n > 0 {
                tally.add(n, writer);
            }
        }
    }
}
