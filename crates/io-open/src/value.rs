//! Reads the text of values. Every refusal names the key, the value and what would be valid.

use crate::Choice;
use crate::key::Text;
use forebay_io::{Error, Result, parse_size};
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// A whole number; `least` is 0 or 1 and only for the words of a refusal and types that have a 0.
pub(crate) fn count<T>(text: Text<'_>, least: u8) -> Result<T>
where
    T: FromStr + PartialOrd + TryFromSmall,
{
    let parsed = text.value.parse::<T>().ok();
    parsed.filter(|n| T::small(least).is_none_or(|least| *n >= least)).ok_or_else(|| {
        let Text { key, value } = text;
        Error::invalid(format!("{key} must be a whole number, {least} or more; it is {value:?}"))
    })
}

/// Types that a small number can be written in.
pub(crate) trait TryFromSmall: Sized {
    /// The number, if the type has it.
    fn small(n: u8) -> Option<Self>;
}

macro_rules! small {
    ($($type:ty),*) => {
        $(impl TryFromSmall for $type {
            fn small(n: u8) -> Option<Self> {
                <$type>::try_from(usize::from(n)).ok()
            }
        })*
    };
}

small!(usize, u32, u64);

impl TryFromSmall for std::num::NonZeroU32 {
    fn small(n: u8) -> Option<Self> {
        Self::new(u32::from(n))
    }
}

/// A number of bytes above 0, as `500MB` or `1GiB`.
pub(crate) fn size(text: Text<'_>) -> Result<NonZeroU64> {
    let Text { key, value } = text;
    let bytes = parse_size(value).map_err(|e| e.context(key))?;
    NonZeroU64::new(bytes)
        .ok_or_else(|| Error::invalid(format!("{key} must be 1 or more, is 0; leave it out for no limit")))
}

/// `none`, or what `read` makes of it. A refusal says that `none` would do, too.
pub(crate) fn or_none<T>(text: Text<'_>, read: impl Fn(Text<'_>) -> Result<T>) -> Result<Choice<T>> {
    match text.value {
        "none" => Ok(Choice::Without),
        _ => read(text).map(Choice::With).map_err(|e| Error::invalid(format!("{e}, or none"))),
    }
}

/// A time longer than 0, as `500ms`, `30s` or `5m`.
pub(crate) fn duration(text: Text<'_>) -> Result<Duration> {
    let Text { key, value } = text;
    let parsed = humantime::parse_duration(value).ok().filter(|duration| !duration.is_zero());
    let valid = "a time longer than 0 with its unit, as 500ms, 30s or 5m";
    parsed.ok_or_else(|| Error::invalid(format!("{key} must be {valid}; it is {value:?}")))
}

/// A number within bounds.
pub(crate) fn fraction(text: Text<'_>, valid: RangeInclusive<f64>) -> Result<f64> {
    let Text { key, value } = text;
    value.parse().ok().filter(|number| valid.contains(number)).ok_or_else(|| {
        let (least, most) = (valid.start(), valid.end());
        Error::invalid(format!("{key} must be a number from {least} to {most}; it is {value:?}"))
    })
}

/// Words between commas, at least one, none empty and none twice.
pub(crate) fn list(text: Text<'_>) -> Result<Vec<String>> {
    let Text { key, value } = text;
    let words: Vec<String> = value.split(',').map(|word| word.trim().to_owned()).collect();
    let twice = (1..words.len()).any(|at| words[..at].contains(&words[at]));
    if twice || words.iter().any(String::is_empty) {
        return Err(Error::invalid(format!(
            "{key} must be different words between commas; {} words were given, of which one is empty or \
             there twice",
            words.len()
        )));
    }
    Ok(words)
}
