//! Waiting for an instant, as exactly as the machine can, and how exactly that is.

use super::scheduling::{Pacing, Priority, Scheduling};
use crate::error::Result;
use crate::fidelity::{Line, histogram};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::fmt;
use std::time::{Duration, Instant};

/// The stretch before an instant that is waited for awake: at first, at least and at most. It follows what the machine does
/// (see [`Timer::learn`]); a processor that is kept awake for longer is taken from those who read.
const FIRST: f64 = 60e3;
const LEAST: f64 = 5e3;
const MOST: f64 = 120e3;

/// Of a hundred sleeps, so many end in time.
const IN_TIME: f64 = 0.98;

/// Nanoseconds by which one sleep may change the stretch.
const STEP: f64 = 2e3;

/// Waits for instants of an absolute schedule, on the thread that made it.
///
/// It sleeps until shortly before and spends the rest awake, because a thread that slept is woken late: by the timer's
/// own slack, which the kernel is asked to do without, and by what it takes to wake a processor, on a virtual machine tens
/// of microseconds. And by whoever has the processor: the kernel is asked for a short slice ([`Scheduling`]). Sleeping until an instant and not for a time (which is how a thread parks on Linux) adds up no
/// errors. Whatever ends in the meantime wakes it too: it is looked after before the instant comes, not at it.
pub(super) struct Timer {
    /// Nanoseconds before an instant at which to wake up.
    awake: f64,
    pacing: Pacing,
}

impl Timer {
    /// For the calling thread, whose scheduling is as it was when this is dropped.
    ///
    /// # Errors
    /// A priority that the kernel does not give.
    pub(super) fn new(priority: Priority) -> Result<Timer> {
        Ok(Timer { awake: FIRST, pacing: Pacing::begin(priority)? })
    }

    /// How the kernel schedules this thread, and how long it kept it waiting since this was made; none where it does not tell.
    pub(super) fn scheduling(&self) -> Option<Scheduling> {
        self.pacing.scheduling()
    }

    /// Sleeps if `due` is far enough away, else not at all: to be called again until `due` has come. An unpark ends the
    /// sleep early.
    pub(super) fn approach(&mut self, due: Instant) {
        let awake = Duration::from_nanos(self.awake as u64);
        let left = due.saturating_duration_since(Instant::now());
        if left <= awake {
            std::hint::spin_loop();
            return;
        }
        let sleep = left - awake;
        std::thread::park_timeout(sleep);
        if let Some(late) = Instant::now().checked_duration_since(due - awake) {
            self.learn(late);
        }
    }

    /// Follows the quantile of how late sleeps end, by steps up and down in the proportion in which they are to be (stochastic
    /// approximation: H. Robbins, S. Monro, *A Stochastic Approximation Method*).
    fn learn(&mut self, late: Duration) {
        let step = if late.as_nanos() as f64 > self.awake { IN_TIME } else { IN_TIME - 1.0 };
        self.awake = (self.awake + STEP * step).clamp(LEAST, MOST);
    }
}

/// How late this machine is for instants when there is nothing to do: what no replay can be better than.
#[derive(Clone)]
pub struct NoiseFloor {
    /// Nanoseconds between an instant and when it was noticed.
    pub lateness: Histogram<u64>,
    drift: Line,
}

impl NoiseFloor {
    /// By how many parts of a million this clock ran slow, as [`Fidelity::drift_ppm`](crate::Fidelity::drift_ppm) has it for a
    /// replay: what chance alone makes of it.
    pub fn drift_ppm(&self) -> f64 {
        self.drift.slope() * 1e6
    }

    /// Percentiles of the lateness in nanoseconds, and the drift.
    pub fn to_json(&self) -> Value {
        let mut percentiles = crate::percentiles(&self.lateness);
        if let Value::Object(percentiles) = &mut percentiles {
            percentiles.insert("drift_ppm".into(), json!(self.drift_ppm()));
        }
        percentiles
    }
}

impl fmt::Debug for NoiseFloor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoiseFloor {}", self.to_json())
    }
}

/// Waits for instants `gap` apart, for as long as `lasting`, as a replay waits for its operations.
///
/// # Errors
/// A priority that the kernel does not give.
pub fn noise_floor(gap: Duration, lasting: Duration, priority: Priority) -> Result<NoiseFloor> {
    let mut timer = Timer::new(priority)?;
    let mut floor = NoiseFloor { lateness: histogram(), drift: Line::default() };
    let gap = gap.max(Duration::from_nanos(1));
    let begin = Instant::now() + Duration::from_millis(1);
    let mut due = begin;
    while due < begin + lasting {
        let now = loop {
            let now = Instant::now();
            if now >= due {
                break now;
            }
            timer.approach(due);
        };
        let late = now - due;
        floor.lateness.saturating_record(late.as_nanos() as u64);
        floor.drift.add((due - begin).as_secs_f64(), late.as_secs_f64());
        due += gap;
    }
    Ok(floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stretch_awake_follows_how_late_sleeps_end() {
        let mut timer = Timer::new(Priority::Fair).unwrap();
        let mut settle = |late: fn(u32) -> u64| {
            (0..20_000).for_each(|i| timer.learn(Duration::from_nanos(late(i))));
            timer.awake
        };
        // One sleep in ten ends 80 µs late: awake for longer than that.
        let slow = settle(|i| if i % 10 == 0 { 80_000 } else { 1000 });
        assert!((78e3..90e3).contains(&slow), "{slow}");
        // One in a thousand is not worth it.
        let quick = settle(|i| if i % 1000 == 0 { 80_000 } else { 1000 });
        assert!((LEAST..8e3).contains(&quick), "{quick}");
        assert_eq!(settle(|_| 1_000_000), MOST);
    }
}
