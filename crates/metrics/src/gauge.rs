//! A level that goes up and down, and the highest it has been.
//!
//! Unlike counters it is one word for all threads, because a peak summed over threads would not be
//! a peak. It is touched once a batch, not once an operation.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// A level with its peak. The peak is exact whatever the interleaving of threads.
#[derive(Debug, Default)]
pub struct Gauge {
    level: AtomicU64,
    peak: AtomicU64,
    /// 0: no cap is known.
    cap: AtomicU64,
}

impl Gauge {
    /// At zero.
    pub const fn new() -> Gauge {
        Gauge { level: AtomicU64::new(0), peak: AtomicU64::new(0), cap: AtomicU64::new(0) }
    }

    /// Raises the level.
    pub fn add(&self, n: u64) {
        let level = self.level.fetch_add(n, Ordering::Relaxed).wrapping_add(n);
        // Negative for a moment if another thread's `sub` overtook the `add` it belongs to.
        if level as i64 > 0 {
            self.reached(level);
        }
    }

    /// Lowers the level by what was added before.
    pub fn sub(&self, n: u64) {
        self.level.fetch_sub(n, Ordering::Relaxed);
    }

    /// Notes that the level has been this high, for levels that something else keeps.
    pub fn reached(&self, level: u64) {
        if level > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(level, Ordering::Relaxed);
        }
    }

    /// Names the level that is never to be exceeded.
    pub fn set_cap(&self, cap: u64) {
        self.cap.store(cap, Ordering::Relaxed);
    }

    /// What it shows now.
    pub fn reading(&self) -> GaugeReading {
        let level = self.level.load(Ordering::Relaxed) as i64;
        let cap = self.cap.load(Ordering::Relaxed);
        GaugeReading {
            level: level.max(0) as u64,
            peak: self.peak.load(Ordering::Relaxed),
            cap: (cap > 0).then_some(cap),
        }
    }
}

/// What a [`Gauge`] showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GaugeReading {
    /// When it was read.
    pub level: u64,
    /// The highest until then.
    pub peak: u64,
    /// What it was never to exceed, if that is known.
    pub cap: Option<u64>,
}

impl GaugeReading {
    /// Joins two gauges. Levels add up. Peaks need not have happened at the same time, so the peak
    /// is the higher of the two, and the cap the wider: both speak of one gauge, not of the sum.
    pub fn merge(&mut self, other: &GaugeReading) {
        self.level = self.level.saturating_add(other.level);
        self.peak = self.peak.max(other.peak);
        self.cap = self.cap.max(other.cap);
    }

    /// Joins two readings that are not of the same moment, or are compared with one gauge's cap: the higher level.
    #[cfg(feature = "draw")]
    pub(crate) fn highest(self, other: GaugeReading) -> GaugeReading {
        GaugeReading {
            level: self.level.max(other.level),
            peak: self.peak.max(other.peak),
            cap: self.cap.max(other.cap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_stays_when_the_level_falls() {
        let gauge = Gauge::new();
        gauge.add(3);
        gauge.add(4);
        gauge.sub(6);
        gauge.add(2);
        gauge.set_cap(10);
        assert_eq!(gauge.reading(), GaugeReading { level: 3, peak: 7, cap: Some(10) });
        gauge.reached(9);
        gauge.reached(1);
        assert_eq!(gauge.reading().peak, 9);
    }

    #[test]
    fn threads_together_reach_the_peak_they_held() {
        let gauge = Gauge::new();
        let all_added = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    gauge.add(5);
                    all_added.wait();
                    gauge.sub(5);
                });
            }
        });
        assert_eq!((gauge.reading().level, gauge.reading().peak), (0, 40));
    }
}
