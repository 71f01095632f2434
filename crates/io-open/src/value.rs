//! Reads the text of values. Every refusal names the key, the value and what would be valid.

use crate::keys::Text;
use forebay_io::{Error, Result, parse_size};
use std::num::NonZeroU64;
use std::str::FromStr;

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
