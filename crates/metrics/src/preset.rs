//! What a collector is for, as a name for how finely it keeps values.
//!
//! A preset chooses digits only: every one takes sizes from 0 B to 1 TiB and times from 1 ns to 1 h, so that no
//! choice clamps what another would have kept.

use crate::collector::MetricsCollector;
use crate::layout::Digits;
use crate::recording::RecordingOptions;

/// A choice of significant digits by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Loading for training: three digits, finer than any latency repeats from run to run.
    Training,
    /// Serving, where a tail is held against a promise: four digits, sixteen times the memory of three.
    Inference,
    /// Many operations on many threads: two digits, an eighth of the memory of three, which stays in
    /// nearer caches.
    HighFrequency,
}

impl Preset {
    /// Every one, in a fixed order.
    pub const ALL: [Preset; 3] = [Preset::Training, Preset::Inference, Preset::HighFrequency];

    /// How it is spelt: `training`, `inference`, `high_frequency`.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Training => "training",
            Preset::Inference => "inference",
            Preset::HighFrequency => "high_frequency",
        }
    }

    /// The digits that its histograms keep.
    pub fn digits(self) -> Digits {
        let digits = match self {
            Preset::Training => 3,
            Preset::Inference => 4,
            Preset::HighFrequency => 2,
        };
        Digits::new(digits).expect("1 to 5")
    }

    /// What its histograms keep: every value, at once.
    pub fn options(self) -> RecordingOptions {
        RecordingOptions::new(self.digits())
    }

    /// A collector of this kind.
    pub fn collector(self) -> MetricsCollector {
        MetricsCollector::with_digits(self.digits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, CacheUse, Ended, Extent, Layout, Operation, Outcome};

    #[test]
    fn every_preset_takes_a_byte_to_a_tebibyte_and_a_nanosecond_to_an_hour() {
        for preset in Preset::ALL {
            let collector = preset.collector();
            for (bytes, latency_ns) in [(1, 1), (1 << 40, 3_600_000_000_000)] {
                let outcome =
                    Outcome::Done { bytes, latency_ns, first_byte_ns: None, cache: CacheUse::Default };
                collector.started(1);
                collector.ended([Ended {
                    operation: Operation::Get,
                    backend: Backend::File,
                    extent: Extent::Whole,
                    outcome,
                }]);
            }
            let snapshot = collector.snapshot();
            let get = snapshot.operation(Operation::Get).unwrap();
            assert_eq!(get.clamped(), 0, "{}", preset.name());
            assert_eq!((get.latency_ns.min(), get.latency_ns.max()), (Some(1), Some(3_600_000_000_000)));
            assert_eq!((get.request_bytes.min(), get.request_bytes.max()), (Some(1), Some(1 << 40)));
        }
    }

    #[test]
    fn memory_is_what_the_documentation_says() {
        let [three, four, two] = Preset::ALL.map(|preset| Layout::latency(preset.digits()).page_len());
        assert_eq!((four / three, three / two), (16, 8));
    }
}
