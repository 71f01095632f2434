//! Statistics of one bounded queue between two stages, as data.
//!
//! A pipeline measures and fills these in. Rates and means are worked out here, from sums that can
//! be merged, so that every reader gets them by the same formula.

use serde::{Deserialize, Serialize};

use crate::summary::{HistogramSummary, MergeError};

/// Where a queue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueRole {
    /// Between two stages.
    Inner,
    /// The last: the consumer, a training loop, takes from it. Its get wait is time the consumer lost.
    Sink,
}

/// What went through a queue and who waited for whom.
///
/// A long get wait with a low depth: what comes before is too slow. A long put wait with a full
/// queue: what comes after is too slow. Neither: both sides keep pace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Wire", from = "Wire")]
pub struct QueueStats {
    /// The queue's name, unique within its pipeline.
    pub name: String,
    /// Where it stands.
    pub role: QueueRole,
    /// Items it can hold.
    pub capacity: u64,
    /// Items taken out.
    pub items: u64,
    /// For how long the queue was watched, in nanoseconds.
    pub measured_ns: u64,
    /// Of that, for how long it held nothing, in nanoseconds. An interval that has not ended when
    /// this is read counts, else a queue that ran dry and stayed so would look ready.
    pub empty_ns: u64,
    /// Items held, integrated over the time watched: item-nanoseconds.
    pub depth_ns: u64,
    /// The most items it held at once.
    pub max_depth: u64,
    /// How long each get waited for an item; gets that did not wait are in it with 0. Recorded with
    /// [`Layout::wait`](crate::Layout::wait).
    pub get_wait_ns: HistogramSummary,
    /// How long each put waited for room; likewise.
    pub put_wait_ns: HistogramSummary,
}

impl QueueStats {
    /// Items taken out a second, over the time watched.
    pub fn qps(&self) -> Option<f64> {
        self.per_measured(self.items as f64).map(|n| n * 1e9)
    }

    /// Items held, on average over time.
    pub fn mean_depth(&self) -> Option<f64> {
        self.per_measured(self.depth_ns as f64)
    }

    /// The part of the time, 0 to 1, in which a get would not have had to wait:
    /// `1 - empty / measured`.
    pub fn data_readiness(&self) -> Option<f64> {
        self.per_measured(self.empty_ns as f64).map(|empty| (1.0 - empty).clamp(0.0, 1.0))
    }

    fn per_measured(&self, sum: f64) -> Option<f64> {
        (self.measured_ns > 0).then(|| sum / self.measured_ns as f64)
    }

    /// Adds another run, or another process's part, of the same queue. Times watched add up, so
    /// rates and means become averages of one queue, weighted by time. Nothing is changed on error.
    pub fn merge(&mut self, other: &QueueStats) -> Result<(), MergeError> {
        let mut merged = self.clone();
        merged.get_wait_ns.merge(&other.get_wait_ns)?;
        merged.put_wait_ns.merge(&other.put_wait_ns)?;
        merged.capacity = merged.capacity.max(other.capacity);
        merged.items = merged.items.saturating_add(other.items);
        merged.measured_ns = merged.measured_ns.saturating_add(other.measured_ns);
        merged.empty_ns = merged.empty_ns.saturating_add(other.empty_ns);
        merged.depth_ns = merged.depth_ns.saturating_add(other.depth_ns);
        merged.max_depth = merged.max_depth.max(other.max_depth);
        *self = merged;
        Ok(())
    }
}

/// The JSON form: the sums, and what follows from them for readers that want a figure.
#[derive(Serialize, Deserialize)]
struct Wire {
    name: String,
    role: QueueRole,
    capacity: u64,
    items: u64,
    #[serde(skip_deserializing)]
    qps: Option<f64>,
    #[serde(skip_deserializing)]
    mean_depth: Option<f64>,
    max_depth: u64,
    #[serde(skip_deserializing)]
    data_readiness: Option<f64>,
    measured_ns: u64,
    empty_ns: u64,
    depth_ns: u64,
    #[serde(rename = "get_wait_us_hist")]
    get_wait_ns: HistogramSummary,
    #[serde(rename = "put_wait_us_hist")]
    put_wait_ns: HistogramSummary,
}

impl From<QueueStats> for Wire {
    fn from(stats: QueueStats) -> Wire {
        Wire {
            qps: stats.qps(),
            mean_depth: stats.mean_depth(),
            data_readiness: stats.data_readiness(),
            name: stats.name,
            role: stats.role,
            capacity: stats.capacity,
            items: stats.items,
            max_depth: stats.max_depth,
            measured_ns: stats.measured_ns,
            empty_ns: stats.empty_ns,
            depth_ns: stats.depth_ns,
            get_wait_ns: stats.get_wait_ns,
            put_wait_ns: stats.put_wait_ns,
        }
    }
}

impl From<Wire> for QueueStats {
    fn from(wire: Wire) -> QueueStats {
        QueueStats {
            name: wire.name,
            role: wire.role,
            capacity: wire.capacity,
            items: wire.items,
            measured_ns: wire.measured_ns,
            empty_ns: wire.empty_ns,
            depth_ns: wire.depth_ns,
            max_depth: wire.max_depth,
            get_wait_ns: wire.get_wait_ns,
            put_wait_ns: wire.put_wait_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digits, Layout};

    fn queue(items: u64, measured_ns: u64, empty_ns: u64) -> QueueStats {
        let none = HistogramSummary::empty(Layout::wait(Digits::THREE));
        QueueStats {
            name: "batches".into(),
            role: QueueRole::Sink,
            capacity: 4,
            items,
            measured_ns,
            empty_ns,
            depth_ns: measured_ns * 2,
            max_depth: 3,
            get_wait_ns: none.clone(),
            put_wait_ns: none,
        }
    }

    #[test]
    fn readiness_is_the_time_not_empty() {
        let stats = queue(500, 2_000_000_000, 500_000_000);
        assert_eq!(stats.data_readiness(), Some(0.75));
        assert_eq!(stats.qps(), Some(250.0));
        assert_eq!(stats.mean_depth(), Some(2.0));
        assert_eq!(queue(0, 10, 10).data_readiness(), Some(0.0));
    }

    #[test]
    fn a_queue_never_watched_claims_nothing() {
        let stats = queue(0, 0, 0);
        assert_eq!((stats.data_readiness(), stats.qps(), stats.mean_depth()), (None, None, None));
    }

    #[test]
    fn merged_averages_weigh_by_time() {
        let mut stats = queue(100, 1_000_000_000, 1_000_000_000);
        stats.merge(&queue(500, 3_000_000_000, 0)).unwrap();
        assert_eq!(stats.data_readiness(), Some(0.75));
        assert_eq!(stats.qps(), Some(150.0));
    }
}
