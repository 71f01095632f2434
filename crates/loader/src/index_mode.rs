//! Draws with replacement instead of epochs that visit each sample once: which distribution they follow.

use forebay_io::{Error, Result};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// How samples are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IndexMode {
    /// Not drawn: an epoch visits each sample once.
    #[default]
    None,
    /// Each draw is any sample, all as likely. A sample may come again or not at all.
    Uniform,
    /// The k-th most popular sample is drawn with a probability proportional to k^-θ. Which samples
    /// are popular is chosen by the seed and is the same in all epochs.
    Zipfian(Theta),
}

impl IndexMode {
    /// The forms in which it is written.
    pub const FORMS: &'static [&'static str] = &["none", "uniform", "zipfian", "zipfian:THETA (0 to 2)"];
}

/// The skew of a Zipfian distribution, from 0 (uniform) to 2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Theta(f64);

impl Theta {
    /// The greatest skew: above it nearly all draws are a handful of samples.
    pub const MAX: f64 = 2.0;

    /// What `zipfian` alone means: 0.99, the default of YCSB (B. Cooper et al., 2010).
    pub const YCSB: Theta = Theta(0.99);

    /// A skew.
    ///
    /// # Errors
    /// `InvalidConfig` outside 0 to [`Theta::MAX`].
    pub fn new(theta: f64) -> Result<Self> {
        if (0.0..=Self::MAX).contains(&theta) {
            // Without the sign of -0.0, so that equal skews are written alike.
            return Ok(Theta(theta + 0.0));
        }
        Err(Error::invalid(format!(
            "the theta of random_index_mode must be from 0 to {}, is {theta}",
            Self::MAX
        )))
    }

    /// As a number.
    pub fn get(self) -> f64 {
        self.0
    }
}

// Never NaN and never -0.0.
impl Eq for Theta {}

impl Hash for Theta {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl fmt::Display for IndexMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexMode::None => f.write_str("none"),
            IndexMode::Uniform => f.write_str("uniform"),
            IndexMode::Zipfian(theta) => write!(f, "zipfian:{}", theta.0),
        }
    }
}

impl FromStr for IndexMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            let forms = Self::FORMS.join(", ");
            Error::invalid(format!("random_index_mode must be one of {forms}, is {text:?}"))
        };
        match text.split_once(':') {
            None => match text {
                "none" => Ok(IndexMode::None),
                "uniform" => Ok(IndexMode::Uniform),
                "zipfian" => Ok(IndexMode::Zipfian(Theta::YCSB)),
                _ => Err(bad()),
            },
            Some(("zipfian", theta)) => {
                let theta = theta.parse().map_err(|_| bad())?;
                Ok(IndexMode::Zipfian(Theta::new(theta)?))
            }
            Some(_) => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (text, again) in [
            ("none", "none"),
            ("uniform", "uniform"),
            ("zipfian", "zipfian:0.99"),
            ("zipfian:0", "zipfian:0"),
            ("zipfian:-0.0", "zipfian:0"),
            ("zipfian:2", "zipfian:2"),
            ("zipfian:1.25", "zipfian:1.25"),
        ] {
            let mode: IndexMode = text.parse().unwrap();
            assert_eq!(mode.to_string(), again);
            assert_eq!(again.parse::<IndexMode>().unwrap(), mode);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        for text in ["", "zipf", "zipfian:", "zipfian:2.1", "zipfian:-1", "zipfian:nan", "uniform:1", "none:"]
        {
            let error = text.parse::<IndexMode>().unwrap_err().to_string();
            assert!(error.contains("random_index_mode") && error.contains(" 2"), "{text:?}: {error}");
        }
    }
}
