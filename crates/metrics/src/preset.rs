//! What a collector is for, as a name for how finely it keeps values.
//!
//! A preset chooses digits only: every one takes sizes from 0 B to 1 TiB and times from 1 ns to 1 h, so that no
//! choice clamps what another would have kept.

use std::str::FromStr;

use crate::layout::Digits;
use crate::recording::{RecordingError, RecordingOptions};

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
}

impl FromStr for Preset {
    type Err = RecordingError;

    fn from_str(name: &str) -> Result<Preset, RecordingError> {
        let known = Preset::ALL.into_iter().find(|preset| preset.name() == name);
        known.ok_or_else(|| RecordingError::Preset(name.to_owned()))
    }
}
