//! Byte sizes as people write them: `65536`, `64KiB`, `1.5 GiB`, `10MB`. One grammar for every
//! option of every surface.

use crate::{Error, Result};

const UNITS: [(&str, u64); 11] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("", 1),
];

/// Parses a size in bytes: a number, with `_` between digits and a decimal part if one likes, then
/// a unit: none or B (bytes), KiB MiB GiB TiB (powers of 1024), kB MB GB TB (powers of 1000).
///
/// # Errors
/// `InvalidConfig`, naming the text and the valid forms. Sizes that are not a whole number of bytes,
/// negative or above 2⁶⁴ − 1 are errors: nothing is rounded.
pub fn parse_size(text: &str) -> Result<u64> {
    let bad = || {
        Error::invalid(format!(
            "{text:?} is not a size; write bytes (65536) or a number and a unit (64KiB, 1.5GiB, 10MB)"
        ))
    };
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
    let (number, unit) = (trimmed[..split].trim_end(), &trimmed[split..]);
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
    let number = number.replace('_', "");
    let (whole, part) = number.split_once('.').unwrap_or((&number, "0"));
    let digits = |s: &str| !s.is_empty() && s.len() <= 20 && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err(bad());
    }
    // Exact: in units of 10^-k bytes, so that 0.1KB is 100 bytes and 0.1KiB an error.
    let scale = 10u128.checked_pow(part.len() as u32).ok_or_else(bad)?;
    let whole: u128 = whole.parse().map_err(|_| bad())?;
    let part: u128 = part.parse().map_err(|_| bad())?;
    let scaled =
        whole.checked_mul(scale).and_then(|w| (w + part).checked_mul(factor.into())).ok_or_else(bad)?;
    if scaled % scale != 0 {
        return Err(Error::invalid(format!("{text:?} is not a whole number of bytes")));
    }
    u64::try_from(scaled / scale).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65536),
            ("65_536", 65536),
            ("64KiB", 65536),
            (" 1.5 GiB ", 3 << 29),
            ("10MB", 10_000_000),
            ("0.1kB", 100),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "KiB",
            "-1",
            "1e3",
            "64kib",
            "64 K",
            "0.1KiB",
            "1.",
            ".5",
            "18446744073709551616",
            "99999999TiB",
            "∞",
        ] {
            assert!(parse_size(text).unwrap_err().to_string().contains(&format!("{text:?}")), "{text}");
        }
    }
}
