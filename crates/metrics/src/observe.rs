//! A [`MetricsCollector`] as an observer of Forebay's stores: the words of one crate in those of the other.

use std::time::Duration;

use forebay_io as io;

use crate::attempts::Attempted;
use crate::collector::MetricsCollector;
use crate::operation::{Backend, CacheUse, Ended, Extent, Failure, Happening, Operation, Outcome};

impl io::Observe for MetricsCollector {
    fn started(&self, ops: &[io::Op<'_>]) {
        MetricsCollector::started(self, ops.len() as u64);
    }

    fn ended(&self, ops: &[io::Op<'_>], ends: &[io::End]) {
        debug_assert_eq!(ops.len(), ends.len(), "one end for each operation");
        let mut backends = Backends::default();
        MetricsCollector::ended(
            self,
            ops.iter().zip(ends).map(|(op, end)| Ended {
                operation: op.operation.into(),
                backend: backends.of(op.location),
                extent: match op.range {
                    Some(_) => Extent::Part,
                    None => Extent::Whole,
                },
                outcome: end.into(),
            }),
        );
    }

    fn attempted(&self, attempts: &[io::Attempt<'_>]) {
        let mut backends = Backends::default();
        MetricsCollector::attempted(
            self,
            attempts.iter().map(|attempt| attempted(attempt, backends.of(attempt.location))),
        );
    }

    fn noted(&self, scheme: Option<&str>, event: io::Event) {
        let backend = scheme.map_or(Backend::Other, backend_of);
        let happened = |happening| self.happened(backend, happening);
        match event {
            io::Event::Retried(kind) => self.retried(backend, kind.into()),
            io::Event::Downgraded { from, to } => self.downgraded(backend, from.into(), to.into()),
            io::Event::RetryWithheld(_) => happened(Happening::RetryWithheld),
            io::Event::Hedged => happened(Happening::Hedged),
            io::Event::HedgeWon => happened(Happening::HedgeWon),
            io::Event::HedgeDenied => happened(Happening::HedgeDenied),
            io::Event::BreakerOpened => happened(Happening::BreakerOpened),
            io::Event::BreakerRefused => happened(Happening::BreakerRefused),
            io::Event::FailedOver => happened(Happening::FailedOver),
            io::Event::Connected => happened(Happening::Connected),
            io::Event::Unregistered { .. } => happened(Happening::Unregistered),
            io::Event::Mapped { made, advised } => {
                self.happened_often(backend, Happening::Mapped, made);
                self.happened_often(backend, Happening::MappingAdvised, advised);
            }
            io::Event::PageCache { reads, hit, miss, unknown } => self.cached(reads, hit, miss, unknown),
            io::Event::ConcurrencyLimit { from, to } if to >= from => {
                self.concurrency_limit().add(u64::from(to - from));
            }
            io::Event::ConcurrencyLimit { from, to } => {
                self.concurrency_limit().sub(u64::from(from - to));
                // At 0 the limit is gone, not lowered.
                if to > 0 {
                    happened(Happening::ConcurrencyCut);
                }
            }
            // The enum grows with `io`; an event without a counter here is nothing to count.
            _ => {}
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl From<&io::End> for Outcome {
    #[inline]
    fn from(end: &io::End) -> Outcome {
        match end {
            io::End::Done(served) => Outcome::Done {
                bytes: served.bytes,
                latency_ns: nanoseconds(served.elapsed),
                first_byte_ns: served.first_byte.map(nanoseconds),
                cache: served.cache.into(),
            },
            io::End::Failed(kind) => Outcome::Failed((*kind).into()),
            io::End::Cancelled => Outcome::Cancelled,
        }
    }
}

#[inline]
fn attempted(attempt: &io::Attempt<'_>, backend: Backend) -> Attempted {
    Attempted {
        operation: attempt.operation.into(),
        backend,
        asked: attempt.range.as_ref().map(|range| range.end.saturating_sub(range.start)),
        bytes: attempt.bytes,
        latency_ns: nanoseconds(attempt.elapsed),
        first_byte_ns: attempt.first_byte.map(nanoseconds),
        status: attempt.status,
        failure: attempt.failed.map(Failure::from),
    }
}

/// Tells backends by the scheme of locations. The members of a batch mostly have the same one, in the same place
/// of memory, so it is spelt out once a batch.
#[derive(Default)]
struct Backends<'a>(Option<(&'a str, Backend)>);

impl<'a> Backends<'a> {
    #[inline]
    fn of(&mut self, location: &'a io::Location) -> Backend {
        let scheme = location.scheme();
        match self.0 {
            Some((last, backend)) if std::ptr::eq(last, scheme) => backend,
            _ => self.0.insert((scheme, backend_of(scheme))).1,
        }
    }
}

fn backend_of(scheme: &str) -> Backend {
    match scheme {
        "file" => Backend::File,
        "direct" => Backend::Direct,
        "s3" => Backend::S3,
        // Blobs by the URL of their account.
        "az" | "https" => Backend::Az,
        "mem" => Backend::Memory,
        _ => Backend::Other,
    }
}

impl From<io::Operation> for Operation {
    #[inline]
    fn from(operation: io::Operation) -> Operation {
        match operation {
            io::Operation::Get => Operation::Get,
            io::Operation::Read => Operation::Read,
            io::Operation::Open => Operation::Open,
            io::Operation::Stat => Operation::Stat,
            io::Operation::List => Operation::List,
            io::Operation::Put => Operation::Put,
            io::Operation::Delete => Operation::Delete,
            io::Operation::Configure => Operation::Configure,
        }
    }
}

impl From<io::Kind> for Failure {
    fn from(kind: io::Kind) -> Failure {
        match kind {
            io::Kind::NotFound => Failure::NotFound,
            io::Kind::AlreadyExists => Failure::AlreadyExists,
            io::Kind::Denied => Failure::Denied,
            io::Kind::Precondition => Failure::Precondition,
            io::Kind::InvalidRange => Failure::InvalidRange,
            io::Kind::InvalidConfig => Failure::InvalidConfig,
            io::Kind::Unsupported => Failure::Unsupported,
            io::Kind::Throttled => Failure::Throttled,
            io::Kind::Unavailable => Failure::Unavailable,
            io::Kind::TimedOut => Failure::TimedOut,
            io::Kind::Corrupt => Failure::Corrupt,
            io::Kind::Cancelled => Failure::Cancelled,
            _ => Failure::Other,
        }
    }
}

impl From<io::PageCacheMode> for CacheUse {
    #[inline]
    fn from(mode: io::PageCacheMode) -> CacheUse {
        match mode {
            io::PageCacheMode::Default => CacheUse::Default,
            io::PageCacheMode::FadviseSequential => CacheUse::FadviseSequential,
            io::PageCacheMode::FadviseRandom => CacheUse::FadviseRandom,
            io::PageCacheMode::DontNeed => CacheUse::DontNeed,
            io::PageCacheMode::DirectIO => CacheUse::DirectIO,
        }
    }
}

impl From<io::CacheUse> for CacheUse {
    #[inline]
    fn from(used: io::CacheUse) -> CacheUse {
        match used {
            io::CacheUse::NotApplicable => CacheUse::NotApplicable,
            io::CacheUse::Applied(mode) => mode.into(),
            io::CacheUse::Uncached => CacheUse::Uncached,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::names::Counter;

    #[test]
    fn names_are_those_of_the_store_traits() {
        for operation in io::Operation::ALL {
            assert_eq!(Operation::from(operation).name(), operation.name());
        }
        assert_eq!(Operation::ALL.len(), io::Operation::ALL.len());
        for kind in io::Kind::ALL {
            assert_eq!(Failure::from(kind).name(), kind.name());
        }
        for mode in io::PageCacheMode::ALL {
            assert_eq!(CacheUse::from(mode).name(), mode.name());
        }
        assert_eq!(CacheUse::from(io::CacheUse::NotApplicable), CacheUse::NotApplicable);
    }

    #[test]
    fn backends_are_told_by_scheme() {
        let collector = MetricsCollector::new();
        let places =
            ["file:///a", "direct:///a", "s3://b/k", "az://c/k", "https://a.b/c/k", "mem://m/k", "x://y/z"];
        let places = places.map(|place| place.parse::<io::Location>().unwrap());
        let ops: Vec<_> = places.iter().chain(&places).map(|place| op(place, None)).collect();
        let ends = vec![io::End::Done(io::Served { bytes: 7, ..io::Served::default() }); ops.len()];
        io::Observe::started(&collector, &ops);
        io::Observe::ended(&collector, &ops, &ends);
        let counted: Vec<_> = collector
            .snapshot()
            .backends
            .iter()
            .map(|(name, backend)| {
                (name.clone(), backend.operations["get"].ops, backend.counters["bytes_read"])
            })
            .collect();
        let wanted = [("az", 4), ("direct", 2), ("file", 2), ("memory", 2), ("other", 2), ("s3", 2)];
        assert_eq!(counted, wanted.map(|(name, n)| (name.to_owned(), n, 7 * n)));
    }

    fn op(location: &io::Location, range: Option<std::ops::Range<u64>>) -> io::Op<'_> {
        io::Op {
            operation: io::Operation::Get,
            location,
            range,
            sample: None,
            stage: "",
            stream: None,
            epoch: None,
            attempt: 0,
            begun: Instant::now(),
        }
    }

    #[test]
    fn a_batch_is_counted_member_by_member() {
        let collector = Arc::new(MetricsCollector::new());
        let observer: Arc<dyn io::Observe> = collector.clone();
        let location: io::Location = "mem://set/a".parse().unwrap();
        let ops = [op(&location, None), op(&location, Some(0..10)), op(&location, None), op(&location, None)];
        let served = io::Served {
            bytes: 10,
            elapsed: Duration::from_micros(3),
            first_byte: Some(Duration::from_micros(2)),
            cache: io::CacheUse::Applied(io::PageCacheMode::DontNeed),
        };
        observer.started(&ops);
        assert_eq!(collector.queue_depth().reading().level, 4);
        observer.ended(
            &ops,
            &[
                io::End::Done(io::Served { bytes: 0, first_byte: None, ..served }),
                io::End::Done(served),
                io::End::Failed(io::Kind::NotFound),
                io::End::Cancelled,
            ],
        );
        observer.noted(None, io::Event::Retried(io::Kind::Throttled));
        observer.noted(
            None,
            io::Event::Downgraded {
                from: io::CacheUse::Applied(io::PageCacheMode::DirectIO),
                to: io::CacheUse::Applied(io::PageCacheMode::DontNeed),
            },
        );

        let attempt = io::Attempt {
            operation: io::Operation::Get,
            location: &location,
            range: Some(4..14),
            bytes: 10,
            elapsed: Duration::from_micros(3),
            first_byte: None,
            status: Some(206),
            failed: None,
        };
        observer.attempted(&[attempt.clone(), io::Attempt { failed: Some(io::Kind::Corrupt), ..attempt }]);
        observer.noted(None, io::Event::Hedged);
        observer.noted(None, io::Event::HedgeDenied);
        observer.noted(Some("direct"), io::Event::Unregistered { bytes: 4096 });
        observer.noted(None, io::Event::ConcurrencyLimit { from: 0, to: 8 });
        observer.noted(None, io::Event::ConcurrencyLimit { from: 8, to: 4 });

        let snapshot = collector.snapshot();
        assert_eq!((snapshot.concurrency_limit.level, snapshot.concurrency_limit.peak), (4, 8));
        for (counter, n) in [
            (Counter::Gets, 2),
            (Counter::RangeGets, 1),
            (Counter::BytesRead, 10),
            (Counter::Errors, 1),
            (Counter::Cancelled, 1),
            (Counter::Retries, 1),
            (Counter::Throttles, 1),
            (Counter::CacheHintsApplied, 2),
            (Counter::Downgrades, 1),
            (Counter::Clamped, 0),
            (Counter::Requests, 2),
            (Counter::FailedRequests, 1),
            (Counter::Bytes, 20),
            (Counter::Hedges, 1),
            (Counter::HedgesDenied, 1),
            (Counter::Unregistered, 1),
            (Counter::ConcurrencyCuts, 1),
        ] {
            assert_eq!(snapshot.counter(counter), n, "{counter:?}");
        }
        assert_eq!((snapshot.queue_depth.level, snapshot.queue_depth.peak), (0, 4));
        let gets = snapshot.operation(Operation::Get).unwrap();
        assert_eq!(gets.failures, [("not_found".to_owned(), 1)].into());
        assert_eq!(gets.latency_ns.max(), Some(3_000));
        assert_eq!((gets.first_byte_ns.n(), gets.first_byte_ns.max()), (1, Some(2_000)));
        assert_eq!(gets.attempts.as_ref().unwrap().request_bytes.max(), Some(10));
        assert_eq!((gets.request_bytes.min(), gets.request_bytes.max()), (Some(0), Some(10)));
        assert_eq!(snapshot.page_cache.applied, [("dont_need".to_owned(), 2)].into());
        assert_eq!(snapshot.page_cache.downgrades[0].from, "direct_io");
    }

    #[test]
    fn what_layers_tell_is_counted_for_the_backend_they_stand_around() {
        let collector = MetricsCollector::new();
        let retried = io::Event::Retried(io::Kind::Throttled);
        for scheme in [Some("s3"), Some("az"), Some("https"), None] {
            io::Observe::noted(&collector, scheme, retried);
            io::Observe::noted(&collector, scheme, io::Event::Connected);
        }
        let snapshot = collector.snapshot();
        for (name, n) in [("s3", 1), ("az", 2), ("other", 1)] {
            let backend = &snapshot.backends[name];
            assert_eq!((backend.counter(Counter::Retries), backend.counter(Counter::Connections)), (n, n));
            assert_eq!((backend.counter(Counter::Throttles), backend.counter(Counter::Hedges)), (n, 0));
        }
        assert_eq!(snapshot.backends.len(), 3, "nothing happened at the others");
        assert_eq!((snapshot.counter(Counter::Retries), snapshot.counter(Counter::Connections)), (4, 4));
        assert_eq!(snapshot.counter(Counter::Requests), 4, "each retry is a request that nobody reported");
    }
}
