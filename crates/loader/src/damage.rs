//! Damage that was found while a dataset was indexed: what of which shard was set aside, and why.
//!
//! What a sample is that cannot be read the loader's `on_error` decides, sample by sample. Here nobody knows how many
//! samples are lost: beyond the damage a format has lost its way. What was found before it is as good as ever and is
//! kept; the rest of the shard, or of an array the whole of it, is set aside. How often, a quota says.

use crate::OnError;
use forebay_io::{Error, Kind, Location, Operation, Result, Retry};
use serde_json::{Value, json};

/// One place of damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The object.
    pub location: Location,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What was expected there, and found.
    pub reason: String,
}

/// The same within a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) reason: String,
}

impl Damage {
    /// As JSON: `location`, `offset` and `reason`.
    pub fn to_json(&self) -> Value {
        json!({ "location": self.location.to_string(), "offset": self.offset, "reason": self.reason })
    }

    /// As the error that it is where nothing is set aside.
    pub fn error(&self) -> Error {
        let context = format!("at offset {}: {}", self.offset, self.reason);
        Error::new(Kind::Corrupt, Operation::Get, context).at(&self.location).with_retry(Retry::Never)
    }

    /// Whether the last of `count` places of damage is within what is tolerated.
    ///
    /// # Errors
    /// `Corrupt` naming it, and why it is not.
    pub(crate) fn tolerate(&self, policy: OnError, count: u64) -> Result<()> {
        match policy {
            OnError::Raise => Err(self.error()),
            OnError::Skip { quota } if count <= quota => Ok(()),
            OnError::Skip { .. } => {
                let context = format!("on_damage={policy}: {count} places of damage while indexing; the last");
                Err(self.error().context(context))
            }
            OnError::Substitute { .. } => Err(self.error().context(format_args!(
                "on_damage={policy}: damage while indexing loses nobody knows how many samples, for which no others can \
                 stand in; use skip:QUOTA"
            ))),
        }
    }
}

impl Place {
    /// As a row of the index, of shard `shard`.
    pub(crate) fn to_bytes(&self, shard: u32) -> Vec<u8> {
        [&shard.to_le_bytes()[..], &self.offset.to_le_bytes(), self.reason.as_bytes()].concat()
    }

    /// The shard and the place that a row of the index says; none if it is no such row.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<(u32, Self)> {
        let (shard, rest) = bytes.split_first_chunk()?;
        let (offset, reason) = rest.split_first_chunk()?;
        let reason = String::from_utf8(reason.to_vec()).ok()?;
        Some((u32::from_le_bytes(*shard), Place { offset: u64::from_le_bytes(*offset), reason }))
    }

    pub(crate) fn of(self, location: &Location) -> Damage {
        Damage { location: location.clone(), offset: self.offset, reason: self.reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_index_is_read_back() {
        let place = Place { offset: 1 << 40, reason: "expected é".to_owned() };
        assert_eq!(Place::from_bytes(&place.to_bytes(7)), Some((7, place)));
        assert_eq!(Place::from_bytes(b"short"), None);
    }

    #[test]
    fn only_a_quota_tolerates_and_says_where_it_ends() {
        let location = "mem://h/shard".parse().unwrap();
        let damage = Place { offset: 9, reason: "expected a header".to_owned() }.of(&location);
        damage.tolerate(OnError::Skip { quota: 2 }, 2).unwrap();
        for (policy, count, said) in [
            (OnError::Raise, 1, "get mem://h/shard: at offset 9: expected a header"),
            (OnError::Skip { quota: 2 }, 3, "on_damage=skip:2: 3 places"),
            (OnError::Substitute { quota: 2 }, 1, "use skip:QUOTA"),
        ] {
            let error = damage.tolerate(policy, count).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.to_string().contains("at offset 9: expected a header"), "{error}");
        }
    }
}
