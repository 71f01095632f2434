//! The `Range` header: one range of bytes (RFC 9110, section 14.1.2).

/// What a range asks of an object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ranged {
    /// No range, or none that has to be understood: all of it.
    Whole,
    /// From the first offset to before the second.
    Part(u64, u64),
    /// Nothing of it is there.
    Unsatisfiable,
}

/// `header` against an object of `len` bytes.
pub(crate) fn ranged(header: Option<&str>, len: u64) -> Ranged {
    let parsed = header.and_then(|value| value.trim().strip_prefix("bytes=")).and_then(|v| v.split_once('-'));
    let Some((first, last)) = parsed else { return Ranged::Whole };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), last) if last.is_ok() || parsed.is_some_and(|(_, last)| last.is_empty()) => {
            let end = last.map_or(len, |last| last.saturating_add(1).min(len));
            if first >= len {
                Ranged::Unsatisfiable
            } else if end <= first {
                Ranged::Whole
            } else {
                Ranged::Part(first, end)
            }
        }
        (Err(_), Ok(suffix)) if first.is_empty() => match suffix.min(len) {
            0 => Ranged::Unsatisfiable,
            suffix => Ranged::Part(len - suffix, len),
        },
        _ => Ranged::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Ranged::{Part, Unsatisfiable, Whole};

    #[test]
    fn ranges_are_those_of_the_rfc() {
        for (header, len, expected) in [
            ("bytes=0-9", 100, Part(0, 10)),
            ("bytes=90-200", 100, Part(90, 100)),
            ("bytes=5-", 100, Part(5, 100)),
            ("bytes=-7", 100, Part(93, 100)),
            ("bytes=-700", 100, Part(0, 100)),
            ("bytes=100-", 100, Unsatisfiable),
            ("bytes=100-110", 100, Unsatisfiable),
            ("bytes=-0", 100, Unsatisfiable),
            ("bytes=-5", 0, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=9-5", 100, Whole),
            ("bytes=a-b", 100, Whole),
            ("lines=1-2", 100, Whole),
            ("bytes=0-18446744073709551615", 100, Part(0, 100)),
        ] {
            assert_eq!(ranged(Some(header), len), expected, "{header} of {len}");
        }
        assert_eq!(ranged(None, 100), Whole);
    }
}
