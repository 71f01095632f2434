//! Where a loader is, small enough to save with every checkpoint.

use crate::left::{Gaps, Left};
use crate::listing::STREAMED;
use forebay_io::{Error, Kind, Operation, Result};
use serde::{Deserialize, Serialize};

/// The version of the saved form. Raised when an older reader would go on wrongly.
const VERSION: u32 = 3;

/// All that is needed to go on where a loader was left, with the same or with another number of
/// ranks, workers or samples a batch. Less than a kilobyte, whatever the dataset's size.
///
/// Of a listing that is loaded while it goes on it has the number of entries that had come and their digest.
///
/// It counts what the *consumer* was given: batches that were read ahead are read again. When ranks
/// save their states together (each after the same number of samples), any one of them resumes all;
/// at the very end of an epoch that ranks do not share evenly, the earliest one does.
///
/// In completion order no rank can know what the others were given before their turn. There each state is its
/// rank's own: it resumes that rank of as many, and the states of all ranks together resume any number of them
/// ([`Loader::load_states`](crate::Loader::load_states)). Such a resume has in its state, until it is through with
/// them, the batches that were overtaken on all ranks together: more than a kilobyte if those were hundreds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub(crate) version: u32,
    /// The epoch that is under way or comes next, from 0.
    pub(crate) epoch: u64,
    /// The place of the epoch's global order from which on everything is left; see [`Left`].
    pub(crate) place: u64,
    /// In completion order, what is left before that.
    #[serde(default, skip_serializing_if = "Gaps::is_empty")]
    pub(crate) gaps: Gaps,
    /// Where it is one rank's own: every `world`-th place is meant, not every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) own: Option<Own>,
    /// What the order is, beside seed and epoch; see `Order::name`.
    pub(crate) order: String,
    pub(crate) seed: u64,
    /// How many samples the dataset has.
    pub(crate) samples: u64,
    /// The dataset's fingerprint.
    pub(crate) fingerprint: String,
}

/// Whose state it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Own {
    pub(crate) rank: u64,
    pub(crate) world: u64,
    /// The place before which this rank's samples end.
    pub(crate) end: u64,
}

/// What a loader has before it in an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Before {
    /// What all ranks together share out.
    Shared(Left),
    /// What is left of this rank's part.
    Own(Left, Own),
}

impl Before {
    /// A whole epoch.
    pub(crate) fn all() -> Self {
        Before::Shared(Left::from(0))
    }
}

impl State {
    pub(crate) const VERSION: u32 = VERSION;

    /// The epoch that is under way or comes next, from 0.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many samples of the epoch all ranks together have been given; of one rank's own state, if the others
    /// were given as many.
    pub fn samples_done(&self) -> u64 {
        if self.order.starts_with(STREAMED) {
            // How many there are in all, nobody knows.
            return self.place;
        }
        let Ok(left) = self.left() else { return 0 };
        let left = match self.own {
            None => left.len(self.samples),
            Some(own) => left.len(own.end).saturating_mul(own.world),
        };
        self.samples.saturating_sub(left)
    }

    /// What is left of the epoch.
    pub(crate) fn left(&self) -> Result<Left> {
        let world = self.own.map_or(1, |own| own.world);
        let bad = |what: &str, value: u64| {
            let samples = self.samples;
            Error::invalid(format!(
                "the state has a {what} of {value}, which no epoch of {samples} samples has"
            ))
        };
        if let Some(Own { rank, world, end }) = self.own {
            if rank >= world {
                return Err(bad("rank", rank));
            }
            if end > self.samples.saturating_add(world) {
                return Err(bad("rank's end", end));
            }
        }
        if self.place > self.samples.saturating_add(world - 1) {
            return Err(bad("place", self.place));
        }
        Ok(Left::new(self.gaps.pieces(self.samples)?, self.place, world))
    }

    /// What a loader of rank `rank` of `world` has before it, going on from these states, and in which epoch: one,
    /// or those of all ranks.
    ///
    /// # Errors
    /// `InvalidConfig` if there is none, or they make no sense together; `Precondition` if states of other ranks
    /// are needed.
    pub(crate) fn before(states: &[State], rank: u64, world: u64) -> Result<(u64, Before)> {
        let first =
            states.first().ok_or_else(|| Error::invalid("no state to go on from: give one at least"))?;
        let owns: Vec<(&State, Own)> = states.iter().filter_map(|state| Some((state, state.own?))).collect();
        if owns.is_empty() {
            // All say the same, but for ranks that are through earlier.
            let earliest =
                states.iter().min_by_key(|state| (state.epoch, state.samples_done())).unwrap_or(first);
            return Ok((earliest.epoch, Before::Shared(earliest.left()?)));
        }
        if let ([(state, own)], 1) = (&owns[..], states.len()) {
            let left = state.left()?;
            return match state.is_whole(*own, &left) {
                true => Ok((state.epoch, Before::all())),
                false if (own.rank, own.world) == (rank, world) => Ok((state.epoch, Before::Own(left, *own))),
                false => Err(one_of_many(*own, rank, world)),
            };
        }
        let ranks = first.own.map_or(0, |own| own.world);
        let mut have: Vec<_> = owns.iter().map(|(_, own)| own.rank).collect();
        have.sort_unstable();
        have.dedup();
        let alike = owns.len() == states.len() && owns.iter().all(|(_, own)| own.world == ranks);
        if !alike || have.len() != states.len() || have.len() as u64 != ranks {
            let context = format!(
                "states saved with loading_mode=completion go on together if they are those of all ranks, each once;                  these are {} states of ranks {have:?} of {ranks}",
                states.len()
            );
            return Err(Error::invalid(context));
        }
        let epoch = states.iter().map(|state| state.epoch).min().unwrap_or(first.epoch);
        let mut left = Vec::new();
        for (state, own) in owns {
            let its = state.left()?;
            match state.epoch - epoch {
                0 => left.push(its),
                // It was through with its part.
                1 if state.is_whole(own, &its) => {}
                _ => {
                    let context = format!(
                        "the states were not saved together: one is in epoch {epoch}, that of rank {} in epoch {}",
                        own.rank, state.epoch
                    );
                    return Err(Error::invalid(context));
                }
            }
        }
        Ok((epoch, Before::Shared(Left::together(&left, ranks, first.samples))))
    }

    /// Whether its rank has been given nothing of the epoch.
    fn is_whole(&self, own: Own, left: &Left) -> bool {
        left.pieces().is_empty() && self.place == own.rank
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

fn one_of_many(saved: Own, rank: u64, world: u64) -> Error {
    let context = format!(
        "the state was saved with loading_mode=completion by rank {} of {}, this loader is rank {rank} of {world}: \
         going on needs the states of all {} ranks together, because batches of the others were overtaken too",
        saved.rank, saved.world, saved.world
    );
    Error::new(Kind::Precondition, Operation::Configure, context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoaderOptions;
    use crate::left::Piece;

    fn state(gaps: &[Piece], own: Option<Own>) -> State {
        State {
            version: State::VERSION,
            epoch: u64::MAX,
            place: 1 << 60,
            gaps: Gaps::of(gaps),
            own,
            order: "shuffled in windows of 18446744073709551615".to_owned(),
            seed: u64::MAX,
            samples: 1 << 61,
            fingerprint: "0123456789abcdef0123456789abcdef".to_owned(),
        }
    }

    /// The worst there is: all that may be under way were overtaken, at distances of several digits, with
    /// large numbers everywhere.
    #[test]
    fn a_state_is_less_than_a_kilobyte() {
        let (batch, world) = (1u64 << 20, 1u64 << 20);
        let gap = |i: u64| Piece {
            first: (1_000_000 + i * i % 7 + i * 1000) * batch * world,
            step: world,
            count: batch,
        };
        let gaps: Vec<_> = (0..LoaderOptions::MOST_OVERTAKEN as u64).map(gap).collect();
        let samples = u64::MAX;
        let own = Some(Own { rank: world - 1, world, end: samples });
        let state = State { samples, place: samples - 1, ..state(&gaps, own) };
        let text = state.to_json();
        assert!(text.len() < 1024, "{} bytes: {text}", text.len());
        assert_eq!(State::from_json(&text).unwrap(), state);
    }

    #[test]
    fn nonsense_is_refused_with_what_it_says() {
        let sound =
            state(&[Piece { first: 5, step: 3, count: 2 }], Some(Own { rank: 2, world: 3, end: 1 << 61 }));
        assert_eq!(sound.left().unwrap().pieces().len(), 1);
        let own = |rank, world, end| Some(Own { rank, world, end });
        let far = Gaps::of(&[Piece { first: 1 << 60, step: 1 << 50, count: 1 << 13 }]);
        for bad in [
            State { place: u64::MAX, ..sound.clone() },
            State { own: own(3, 3, 1), ..sound.clone() },
            State { own: own(0, 0, 1), ..sound.clone() },
            State { own: own(0, 3, u64::MAX), ..sound.clone() },
            State { gaps: far, ..sound.clone() },
            State { samples: 5, place: 5, own: None, ..sound.clone() },
        ] {
            let error = bad.left().unwrap_err();
            assert!(error.to_string().contains("the state"), "{error}");
            assert_eq!(bad.samples_done(), 0);
        }
    }

    #[test]
    fn states_of_ranks_go_on_together_or_say_which_are_there() {
        let of =
            |rank, place| State { epoch: 4, place, ..state(&[], Some(Own { rank, world: 2, end: 1 << 61 })) };
        let before = |states: &[State], world| State::before(states, 0, world);
        let (epoch, both) = before(&[of(0, 10), of(1, 7)], 3).unwrap();
        let pieces = vec![Piece { first: 7, step: 2, count: 1 }];
        assert_eq!((epoch, both), (4, Before::Shared(Left::new(pieces, 9, 1))));
        // One that is through is in the next epoch.
        let through = State { epoch: 5, ..of(1, 1) };
        assert!(matches!(before(&[of(0, 10), through.clone()], 3), Ok((4, Before::Shared(_)))));
        assert_eq!(before(std::slice::from_ref(&through), 3).unwrap(), (5, Before::all()));
        assert!(matches!(before(&[of(0, 10)], 2), Ok((4, Before::Own(..)))));

        let refused = |states: &[State], world: u64, what: &str| {
            let error = before(states, world).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        refused(&[], 2, "give one at least");
        refused(&[of(0, 10)], 3, "the states of all 2 ranks together");
        refused(&[of(1, 7)], 2, "by rank 1 of 2");
        refused(&[of(0, 10), of(0, 10)], 2, "ranks [0] of 2");
        refused(&[of(0, 10), State { epoch: 6, ..through }], 2, "not saved together");
    }
}
