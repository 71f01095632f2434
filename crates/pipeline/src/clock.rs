//! The clock that statistics are read from, passed in so that a test can decide what time it is.
//!
//! It times statistics only: how long a consumer is willing to wait is real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where a pipeline reads the time for its statistics.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Monotonic(Instant),
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The operating system's monotonic clock, counted from now.
    pub fn monotonic() -> Self {
        Self(Source::Monotonic(Instant::now()))
    }

    /// The operating system's monotonic clock, counted from `origin`: one for several pipelines.
    pub fn since(origin: Instant) -> Self {
        Self(Source::Monotonic(origin))
    }

    /// A clock that stands at zero until its [`ManualClock`] advances it.
    pub fn manual() -> (Self, ManualClock) {
        let nanos = Arc::new(AtomicU64::new(0));
        (Self(Source::Manual(nanos.clone())), ManualClock(nanos))
    }

    /// Nanoseconds since the clock's origin.
    pub(crate) fn now(&self) -> u64 {
        match &self.0 {
            // 2^64 ns are 584 years.
            Source::Monotonic(origin) => origin.elapsed().as_nanos() as u64,
            Source::Manual(nanos) => nanos.load(Ordering::Acquire),
        }
    }
}

/// The hand that moves a [`Clock::manual`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as u64, Ordering::AcqRel);
    }
}
