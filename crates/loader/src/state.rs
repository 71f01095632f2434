//! Where a loader is, small enough to save with every checkpoint.

use forebay_io::{Error, Kind, Operation, Result};
use serde::{Deserialize, Serialize};

/// The version of the saved form. Raised when an older reader would go on wrongly.
const VERSION: u32 = 1;

/// All that is needed to go on where a loader was left, with the same or with another number of
/// ranks, workers or samples a batch. A few hundred bytes, whatever the dataset's size.
///
/// It counts what the *consumer* was given: batches that were read ahead are read again. When ranks
/// save their states together (each after the same number of samples), any one of them resumes all;
/// at the very end of an epoch that ranks do not share evenly, the earliest one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub(crate) version: u32,
    /// The epoch that is under way or comes next, from 0.
    pub(crate) epoch: u64,
    /// How many places of the epoch's global order are done, by all ranks together.
    pub(crate) place: u64,
    /// In completion order, batches that were delivered though earlier ones were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ahead: Option<Ahead>,
    pub(crate) shuffle: bool,
    pub(crate) seed: u64,
    /// How many samples the dataset has.
    pub(crate) samples: u64,
    /// The dataset's fingerprint.
    pub(crate) fingerprint: String,
}

/// Batches by number, counted from the state's place, which means something only for the cut into
/// ranks and batches that they were delivered under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ahead {
    pub(crate) batches: Vec<u64>,
    pub(crate) batch_size: usize,
    pub(crate) shard_rank: usize,
    pub(crate) shard_world_size: usize,
}

impl State {
    pub(crate) const VERSION: u32 = VERSION;

    /// The epoch that is under way or comes next, from 0.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many samples of the epoch all ranks together have been given.
    pub fn samples_done(&self) -> u64 {
        self.place
    }

    /// The state as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and text")
    }

    /// A state from JSON.
    ///
    /// # Errors
    /// `InvalidConfig` if it is not a state that this version can read.
    pub fn from_json(text: &str) -> Result<Self> {
        let state: State = serde_json::from_str(text)
            .map_err(|e| Error::invalid(format!("this is not the state of a loader: {e}")))?;
        if state.version != VERSION {
            let context =
                format!("the state has version {}; this loader reads version {VERSION}", state.version);
            return Err(Error::invalid(context));
        }
        Ok(state)
    }
}

/// For an error about a state that does not fit.
pub(crate) fn mismatch(what: &str, saved: impl std::fmt::Display, here: impl std::fmt::Display) -> Error {
    let context = format!(
        "the state was saved with {what} {saved}, this loader has {here}: going on would repeat or lose samples"
    );
    Error::new(Kind::Precondition, Operation::Configure, context)
}
