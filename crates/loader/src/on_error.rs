//! What becomes of an epoch when a sample cannot be had.

use forebay_io::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// What a failed or corrupt sample does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnError {
    /// It fails the batch, and ends the epoch with its error.
    #[default]
    Raise,
    /// It is left out of its batch and written into the quarantine report; one more than the quota in
    /// an epoch ends the epoch.
    Skip {
        /// How many samples of an epoch may be left out.
        quota: u64,
    },
    /// Another sample, chosen by the seed, stands in for it, and it is written into the quarantine
    /// report; one more than the quota in an epoch ends the epoch.
    Substitute {
        /// How many samples of an epoch may be replaced.
        quota: u64,
    },
}

impl OnError {
    /// The forms in which it is written.
    pub const FORMS: &'static [&'static str] = &["raise", "skip:QUOTA", "substitute:QUOTA"];
}

impl fmt::Display for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnError::Raise => f.write_str("raise"),
            OnError::Skip { quota } => write!(f, "skip:{quota}"),
            OnError::Substitute { quota } => write!(f, "substitute:{quota}"),
        }
    }
}

impl FromStr for OnError {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let quota = |quota: &str| quota.parse::<u64>().ok().filter(|&quota| quota > 0);
        let read = match text.split_once(':') {
            None if text == "raise" => Some(OnError::Raise),
            Some(("skip", n)) => quota(n).map(|quota| OnError::Skip { quota }),
            Some(("substitute", n)) => quota(n).map(|quota| OnError::Substitute { quota }),
            _ => None,
        };
        read.ok_or_else(|| {
            let forms = Self::FORMS.join(", ");
            Error::invalid(format!("on_error must be one of {forms} (samples an epoch, from 1), is {text:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["raise", "skip:1", "substitute:1000"] {
            assert_eq!(text.parse::<OnError>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_quota_is_never_guessed() {
        for text in ["", "skip", "skip:0", "skip:-1", "skip:many", "substitute", "raise:1", "ignore"] {
            let error = text.parse::<OnError>().unwrap_err().to_string();
            assert!(error.contains("skip:QUOTA"), "{text:?}: {error}");
        }
    }
}
