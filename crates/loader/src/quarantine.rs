//! Which samples could not be had, where they are, why, how often, and what became of their places.
//!
//! A loader keeps one report over all its epochs. A sample comes in when the batch that it is missing from
//! is delivered, so the report says what the consumer really went without.

use crate::Damage;
use forebay_io::{Error, Kind, Location};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What became of the place of a sample that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Treatment {
    /// Its batch came without it.
    Skipped,
    /// This sample came in its place.
    Substituted {
        /// The id of the other one.
        by: u64,
    },
    /// It was to stand in for another, which then a third one did.
    PassedOver,
}

/// A sample that was lost once.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) sample: u64,
    pub(crate) error: Error,
    pub(crate) treatment: Treatment,
}

/// A sample that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its id in the dataset.
    pub sample: u64,
    /// The object that it lies in.
    pub location: Option<Location>,
    /// The kind of its last failure.
    pub kind: Kind,
    /// Its last failure, in words.
    pub reason: String,
    /// How often it failed.
    pub times: u64,
    /// The epoch that it failed in last.
    pub epoch: u64,
    /// What became of its place then.
    pub treatment: Treatment,
}

/// Samples that could not be had, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quarantine {
    samples: BTreeMap<u64, Quarantined>,
    skipped: u64,
    substituted: u64,
    unlisted: u64,
    damage: Vec<Damage>,
}

impl Quarantine {
    /// That of a dataset of which so much was set aside before anything was loaded.
    pub(crate) fn of(damage: &[Damage]) -> Self {
        Quarantine { damage: damage.to_vec(), ..Quarantine::default() }
    }

    /// What was set aside while the dataset was indexed, of which nobody knows how many samples it was.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// So many samples are listed at most; what else fails is only counted.
    pub const MOST_LISTED: usize = 10_000;

    /// The samples, in the order of their ids.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = &Quarantined> {
        self.samples.values()
    }

    /// How often a sample was left out of its batch.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How often another sample stood in for one.
    pub fn substituted(&self) -> u64 {
        self.substituted
    }

    /// Failures of samples beyond [`Quarantine::MOST_LISTED`], which are only counted.
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// Whether every sample could be had.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.damage.is_empty()
    }

    /// The report as JSON: `skipped`, `substituted`, `unlisted`, and `samples` with `sample`, `location`,
    /// `kind`, `reason`, `times`, `epoch`, `treatment` and, of those that were replaced, `by`; and `damage` with
    /// `location`, `offset` and `reason`.
    pub fn to_json(&self) -> Value {
        let samples: Vec<_> = self.samples().map(Quarantined::to_json).collect();
        let damage: Vec<_> = self.damage.iter().map(Damage::to_json).collect();
        json!({
            "skipped": self.skipped,
            "substituted": self.substituted,
            "unlisted": self.unlisted,
            "samples": samples,
            "damage": damage,
        })
    }

    pub(crate) fn add(&mut self, epoch: u64, loss: &Loss) {
        match loss.treatment {
            Treatment::Skipped => self.skipped += 1,
            Treatment::Substituted { .. } => self.substituted += 1,
            Treatment::PassedOver => {}
        }
        let times = self.samples.get(&loss.sample).map_or(0, |known| known.times);
        if times == 0 && self.samples.len() >= Self::MOST_LISTED {
            self.unlisted += 1;
            return;
        }
        let entry = Quarantined {
            sample: loss.sample,
            location: loss.error.location().cloned(),
            kind: loss.error.kind(),
            reason: loss.error.to_string(),
            times: times + 1,
            epoch,
            treatment: loss.treatment,
        };
        self.samples.insert(loss.sample, entry);
    }
}

impl Quarantined {
    fn to_json(&self) -> Value {
        let (treatment, by) = match self.treatment {
            Treatment::Skipped => ("skipped", None),
            Treatment::Substituted { by } => ("substituted", Some(by)),
            Treatment::PassedOver => ("passed over", None),
        };
        json!({
            "sample": self.sample,
            "location": self.location.as_ref().map(Location::to_string),
            "kind": self.kind.name(),
            "reason": self.reason,
            "times": self.times,
            "epoch": self.epoch,
            "treatment": treatment,
            "by": by,
        })
    }
}
