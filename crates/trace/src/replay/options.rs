//! How a trace is replayed.

use super::{Priority, Remap};
use crate::error::{Error, Result};
use forebay_io::PageCacheMode;
use std::time::Duration;

/// What decides when an operation is submitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// When the trace says so, whatever became of the operations before: the load does not yield to a slow store.
    Open {
        /// The trace's times are multiplied by this: 0.5 replays in half the time.
        time_scale: f64,
    },
    /// As soon as fewer than this many are in flight: as fast as the store goes.
    Closed {
        /// Operations in flight.
        concurrency: usize,
    },
    /// Each stream submits when its operation before is done and its think time is over: as the job would on
    /// this store.
    Dependency {
        /// Think times are multiplied by this.
        time_scale: f64,
    },
}

impl Mode {
    /// The modes' names.
    pub const NAMES: [&str; 3] = ["open", "closed", "dependency"];

    /// The mode of that name, with what was said about it; what was not is 1 and 32.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another name, and for what the mode has no use for.
    pub fn named(name: &str, time_scale: Option<f64>, concurrency: Option<usize>) -> Result<Mode> {
        let useless = |option: &str| {
            Err(Error::Invalid(format!(
                "{option} is of no use in mode {name}: it says nothing about its pace"
            )))
        };
        match (name, time_scale, concurrency) {
            ("open" | "dependency", _, Some(_)) => useless("concurrency"),
            ("closed", Some(_), _) => useless("time_scale"),
            ("open", scale, None) => Ok(Mode::Open { time_scale: scale.unwrap_or(1.0) }),
            ("dependency", scale, None) => Ok(Mode::Dependency { time_scale: scale.unwrap_or(1.0) }),
            ("closed", None, concurrency) => Ok(Mode::Closed { concurrency: concurrency.unwrap_or(32) }),
            _ => Err(Error::Invalid(format!("mode must be open, closed or dependency, is {name:?}"))),
        }
    }
}

/// Options of [`replay`](super::replay).
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayOptions {
    /// What decides when an operation is submitted.
    pub mode: Mode,
    /// Only operations that the trace submits from here on; times count from here.
    pub from: Duration,
    /// Only operations that the trace submits before this.
    pub until: Option<Duration>,
    /// The most operations in flight. An operation that is due while so many are is late, and counted.
    pub max_in_flight: usize,
    /// The most bytes in flight, by the sizes that the trace knows. Counted like the operations.
    pub max_bytes_in_flight: u64,
    /// What is done to the page cache. Refused before anything is replayed where a store cannot obey.
    pub page_cache: PageCacheMode,
    /// What the thread that paces asks of the kernel.
    pub priority: Priority,
    /// Where locations go.
    pub remap: Remap,
    /// Also puts (with content made up of the size recorded) and deletes. Otherwise they are left out, and counted.
    pub mutate: bool,
    /// How often the trace is replayed, one pass after the other.
    pub loops: u32,
    /// Operations at the beginning that an earlier run has done.
    pub skip: u64,
    /// Operations read ahead of their time in dependency mode.
    pub look_ahead: usize,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        ReplayOptions {
            mode: Mode::Open { time_scale: 1.0 },
            from: Duration::ZERO,
            until: None,
            max_in_flight: 1024,
            max_bytes_in_flight: 1 << 30,
            page_cache: PageCacheMode::Default,
            priority: Priority::default(),
            remap: Remap::default(),
            mutate: false,
            loops: 1,
            skip: 0,
            look_ahead: 1 << 20,
        }
    }
}

impl ReplayOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the option, its value and what would be valid.
    pub fn validate(&self) -> Result<()> {
        let invalid = |text: String| Err(Error::Invalid(text));
        match self.mode {
            Mode::Open { time_scale } | Mode::Dependency { time_scale } => {
                if !(time_scale.is_finite() && time_scale > 0.0) {
                    return invalid(format!("time_scale must be a number above 0, is {time_scale}"));
                }
            }
            Mode::Closed { concurrency: 0 } => {
                return invalid("concurrency must be 1 or more, is 0".into());
            }
            Mode::Closed { .. } => {}
        }
        for (name, value) in [
            ("max_in_flight", self.max_in_flight as u64),
            ("max_bytes_in_flight", self.max_bytes_in_flight),
            ("loops", self.loops.into()),
            ("look_ahead", self.look_ahead as u64),
        ] {
            if value == 0 {
                return invalid(format!("{name} must be 1 or more, is 0"));
            }
        }
        if self.until.is_some_and(|until| until <= self.from) {
            return invalid(format!(
                "the part of the trace that is replayed must stop after it starts; it starts at {:?} and stops at {:?}",
                self.from,
                self.until.unwrap_or_default()
            ));
        }
        Ok(())
    }
}
