//! Where a loader is, small enough to save with every checkpoint.

use forebay_io::{Error, Kind, Operation, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The version of the saved form. Raised when an older reader would go on wrongly.
const VERSION: u32 = 2;

/// All that is needed to go on where a loader was left, with the same or with another number of
/// ranks, workers or samples a batch. Less than a kilobyte, whatever the dataset's size.
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
    /// What the order is, beside seed and epoch; see `Order::name`.
    pub(crate) order: String,
    pub(crate) seed: u64,
    /// How many samples the dataset has.
    pub(crate) samples: u64,
    /// The dataset's fingerprint.
    pub(crate) fingerprint: String,
}

/// Batches that were overtaken, which means something only for the cut into ranks and batches that they
/// were delivered under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ahead {
    pub(crate) overtaken: Overtaken,
    pub(crate) batch_size: usize,
    pub(crate) shard_rank: usize,
    pub(crate) shard_world_size: usize,
}

/// The batches that were *not* delivered before the last one that was. They are few: no more than are
/// under way and waiting at once ([`LoaderOptions::MOST_OVERTAKEN`](crate::LoaderOptions)), while those
/// that overtook them may be any number. The first is the batch at the state's place; each is the distance
/// to the one before, and the last number is the distance to the last batch that was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Overtaken(Vec<u64>);

impl Overtaken {
    /// Of the batches that were delivered beyond `first`, which was not.
    pub(crate) fn of(ahead: &BTreeSet<u64>, first: u64) -> Self {
        let (mut distances, mut before, mut next) = (Vec::new(), first, first + 1);
        for &delivered in ahead {
            for missing in next..delivered {
                distances.push(missing - before);
                before = missing;
            }
            next = delivered + 1;
        }
        distances.push((next - 1).saturating_sub(before));
        Overtaken(distances)
    }

    /// The batches that were delivered, counted from the state's place, of which `left` are left.
    ///
    /// # Errors
    /// `InvalidConfig` if it names a batch that there is not.
    pub(crate) fn batches_ahead(&self, left: u64) -> Result<BTreeSet<u64>> {
        let bad = || Error::invalid(format!("the state names batches beyond the {left} that are left"));
        let (mut ahead, mut before) = (BTreeSet::new(), 0u64);
        let (last, missing) = self.0.split_last().ok_or_else(bad)?;
        for distance in missing {
            let next = before
                .checked_add(*distance)
                .filter(|next| *next > before && *next < left)
                .ok_or_else(bad)?;
            ahead.extend(before + 1..next);
            before = next;
        }
        let last = before.checked_add(*last).filter(|last| *last < left).ok_or_else(bad)?;
        ahead.extend(before + 1..=last);
        Ok(ahead)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoaderOptions;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn overtaken_batches_are_written_and_read_back(
            first in 0u64..1000, ahead in prop::collection::btree_set(1u64..300, 1..100),
        ) {
            let absolute = ahead.iter().map(|batch| batch + first).collect();
            let left = ahead.last().unwrap() + 1;
            let overtaken = Overtaken::of(&absolute, first);
            prop_assert_eq!(overtaken.batches_ahead(left).unwrap(), ahead);
            prop_assert!(overtaken.batches_ahead(left - 1).is_err());
        }

        #[test]
        fn no_numbers_are_beyond_what_is_left(numbers in prop::collection::vec(any::<u64>(), 0..20), left in 0u64..1000) {
            if let Ok(ahead) = Overtaken(numbers).batches_ahead(left) {
                prop_assert!(ahead.iter().all(|batch| *batch > 0 && *batch < left));
            }
        }
    }

    /// The worst there is: all that may be under way were overtaken, at distances of several digits, with
    /// the largest numbers everywhere.
    #[test]
    fn a_state_is_less_than_a_kilobyte() {
        let first = 1_000_000_000;
        let missing: BTreeSet<u64> =
            (1..LoaderOptions::MOST_OVERTAKEN as u64).map(|i| first + i * 1000).collect();
        let last = missing.last().unwrap() + 5_000_000;
        let ahead = (first + 1..=last).filter(|batch| !missing.contains(batch)).collect();
        let state = State {
            version: State::VERSION,
            epoch: u64::MAX,
            place: u64::MAX,
            ahead: Some(Ahead {
                overtaken: Overtaken::of(&ahead, first),
                batch_size: 1 << 20,
                shard_rank: (1 << 20) - 1,
                shard_world_size: 1 << 20,
            }),
            order: "shuffled in windows of 18446744073709551615".to_owned(),
            seed: u64::MAX,
            samples: u64::MAX,
            fingerprint: "0123456789abcdef0123456789abcdef".to_owned(),
        };
        let text = state.to_json();
        assert!(text.len() < 1024, "{} bytes: {text}", text.len());
        assert_eq!(State::from_json(&text).unwrap(), state);
    }
}
