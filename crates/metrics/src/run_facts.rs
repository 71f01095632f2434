//! What a report needs that no collector can count: wall and processor time, and what was delivered.
//!
//! Plain data, filled in by whoever ran the job. Nothing here reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What only the one who ran the job can know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// Wall time, in JSON in seconds.
    #[serde(rename = "elapsed_s", with = "seconds")]
    pub elapsed: Duration,
    /// Processor time of the process in user mode, in JSON in seconds.
    #[serde(rename = "cpu_user_s", with = "optional_seconds")]
    pub cpu_user: Option<Duration>,
    /// Processor time of the process in the kernel, in JSON in seconds.
    #[serde(rename = "cpu_system_s", with = "optional_seconds")]
    pub cpu_system: Option<Duration>,
    /// Samples delivered.
    pub samples: u64,
    /// Batches delivered; 0 where there are none.
    pub batches: u64,
    /// Bytes of these samples.
    pub bytes: u64,
    /// Epochs; 0 where there are none.
    pub epochs: u64,
    /// The most bytes that were allowed in flight, if there was a limit.
    pub max_bytes_in_flight: Option<u64>,
    /// The page-cache mode that was asked for. What was used is in the snapshot.
    pub page_cache_requested: Option<String>,
}

impl RunFacts {
    /// A run of this wall time of which nothing else is known yet.
    pub fn new(elapsed: Duration) -> RunFacts {
        RunFacts { elapsed, ..RunFacts::default() }
    }

    /// Processor time, user and kernel, if both are known.
    pub fn cpu(&self) -> Option<Duration> {
        Some(self.cpu_user? + self.cpu_system?)
    }

    /// Adds what another process did at the same time: wall time, epochs and caps are the larger ones,
    /// the rest adds up.
    pub fn merge(&mut self, other: &RunFacts) {
        let sum = |ours: Option<Duration>, theirs: Option<Duration>| match (ours, theirs) {
            (Some(ours), Some(theirs)) => Some(ours.saturating_add(theirs)),
            // Part of it would pass for the whole.
            _ => None,
        };
        self.elapsed = self.elapsed.max(other.elapsed);
        self.cpu_user = sum(self.cpu_user, other.cpu_user);
        self.cpu_system = sum(self.cpu_system, other.cpu_system);
        self.samples = self.samples.saturating_add(other.samples);
        self.batches = self.batches.saturating_add(other.batches);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.epochs = self.epochs.max(other.epochs);
        self.max_bytes_in_flight = self.max_bytes_in_flight.max(other.max_bytes_in_flight);
        if self.page_cache_requested != other.page_cache_requested {
            self.page_cache_requested = None;
        }
    }

    /// A number of things over the wall time.
    pub fn per_second(&self, n: u64) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (seconds > 0.0).then(|| n as f64 / seconds)
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(time.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(D::Error::custom)
    }
}

mod optional_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(from)?
            .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(D::Error::custom))
            .transpose()
    }
}
