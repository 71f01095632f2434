//! Where a value falls: the log-linear bucket layout of `hdrhistogram`, as pure arithmetic.
//!
//! A layout says which values are in range, which bucket each belongs to, and which values a bucket
//! stands for. It holds no counts. The layout is exactly that of
//! `hdrhistogram::Histogram::new_with_bounds(1, highest, digits)`, so that recorded buckets move into
//! one without loss; a property test holds the two against each other.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::Unit;

/// Significant decimal digits that a histogram keeps, 1 to 5.
///
/// A reported percentile differs from the exact one by less than `10^-digits` of its value. Three
/// digits (0.1 %) cost 8 KiB a thread for each power of two of values seen; each further digit
/// costs eight to sixteen times as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Digits(u8);

impl Digits {
    /// The default: 0.1 %, finer than any latency repeats from run to run.
    pub const THREE: Digits = Digits(3);

    /// Takes 1 to 5.
    pub fn new(digits: u8) -> Result<Digits, LayoutError> {
        match digits {
            1..=5 => Ok(Digits(digits)),
            _ => Err(LayoutError::Digits(digits)),
        }
    }

    /// The number itself.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for Digits {
    fn default() -> Digits {
        Digits::THREE
    }
}

impl TryFrom<u8> for Digits {
    type Error = LayoutError;

    fn try_from(digits: u8) -> Result<Digits, LayoutError> {
        Digits::new(digits)
    }
}

impl From<Digits> for u8 {
    fn from(digits: Digits) -> u8 {
        digits.0
    }
}

/// A layout that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Outside 1 to 5.
    #[error("{0} significant digits: a histogram keeps 1 to 5")]
    Digits(u8),
    /// The lowest value is neither 0 nor 1, or the range is empty or reaches past the largest value.
    #[error("values {lowest} to {highest}: the lowest must be 0 or 1, the highest between 2 and 2^62")]
    Range {
        /// Lowest value asked for.
        lowest: u64,
        /// Highest value asked for.
        highest: u64,
    },
}

/// The buckets of one histogram: values `lowest..=highest`, kept to so many significant digits.
///
/// Up to `2 * 10^digits` every value has a bucket of its own. Above, each power of two is cut into
/// equally wide buckets, so no bucket ever straddles a power of two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    unit: Unit,
    lowest: u64,
    highest: u64,
    digits: Digits,
    /// log2 of the buckets in a page; see [`Layout::page_len`].
    page_bits: u32,
}

impl Layout {
    /// A layout for `lowest..=highest` in this unit. `lowest` is 0 or 1: zero is a legal request size (an empty
    /// file) but not a legal duration (an operation whose start and end cannot be told apart).
    pub fn new(unit: Unit, lowest: u64, highest: u64, digits: Digits) -> Result<Layout, LayoutError> {
        if lowest > 1 || !(2..=1 << 62).contains(&highest) {
            return Err(LayoutError::Range { lowest, highest });
        }
        // Single-unit resolution up to 2 * 10^digits, rounded up to a power of two, as hdrhistogram does.
        let single_unit = 2 * 10u64.pow(u32::from(digits.0));
        Ok(Layout { unit, lowest, highest, digits, page_bits: single_unit.next_power_of_two().ilog2() - 1 })
    }

    /// Durations in nanoseconds, 1 ns to 1 h.
    pub fn latency(digits: Digits) -> Layout {
        Layout::new(Unit::Nanoseconds, 1, 3_600_000_000_000, digits).expect("a constant range is valid")
    }

    /// Waits in nanoseconds, 0 to 1 h. Unlike an operation, a wait may take no time at all.
    pub fn wait(digits: Digits) -> Layout {
        Layout::new(Unit::Nanoseconds, 0, 3_600_000_000_000, digits).expect("a constant range is valid")
    }

    /// Request sizes in bytes, 0 to 1 TiB.
    pub fn request_bytes(digits: Digits) -> Layout {
        Layout::new(Unit::Bytes, 0, 1 << 40, digits).expect("a constant range is valid")
    }

    /// What values count in.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The lowest value in range; what lies below is clamped to it.
    pub fn lowest(&self) -> u64 {
        self.lowest
    }

    /// The highest value in range; what lies above is clamped to it.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Significant digits kept.
    pub fn digits(&self) -> Digits {
        self.digits
    }

    /// The value as it will be recorded.
    #[inline]
    pub fn clamp(&self, value: u64) -> u64 {
        value.clamp(self.lowest, self.highest)
    }

    /// The bucket of a value in range.
    #[inline]
    pub fn index_of(&self, value: u64) -> usize {
        let sub_bits = self.page_bits + 1;
        let mask = (1u64 << sub_bits) - 1;
        let shift = 64 - sub_bits - (value | mask).leading_zeros();
        ((shift as usize) << self.page_bits) + (value >> shift) as usize
    }

    /// The smallest value that falls into a bucket.
    pub fn low_of(&self, index: usize) -> u64 {
        let shift = self.shift_of(index);
        ((index - (shift << self.page_bits)) as u64) << shift
    }

    /// The largest value that falls into a bucket.
    pub fn high_of(&self, index: usize) -> u64 {
        self.low_of(index) + (1u64 << self.shift_of(index)) - 1
    }

    fn shift_of(&self, index: usize) -> usize {
        (index >> self.page_bits).saturating_sub(1)
    }

    /// Buckets in a page, the unit in which memory is taken: one power of two of values (the first
    /// page: all values below).
    pub fn page_len(&self) -> usize {
        1 << self.page_bits
    }

    /// Pages there can be.
    pub fn pages(&self) -> usize {
        self.page_of(self.index_of(self.highest)) + 1
    }

    #[inline]
    pub(crate) fn page_of(&self, index: usize) -> usize {
        index >> self.page_bits
    }

    #[inline]
    pub(crate) fn offset_of(&self, index: usize) -> usize {
        index & (self.page_len() - 1)
    }

    /// An empty `hdrhistogram::Histogram` with these buckets.
    pub fn empty(&self) -> hdrhistogram::Histogram<u64> {
        hdrhistogram::Histogram::new_with_bounds(1, self.highest, self.digits.0)
            .expect("every layout is one that hdrhistogram accepts")
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layout { unit, lowest, highest, digits, .. } = self;
        write!(f, "Layout({lowest}..={highest} {}, {} digits)", unit.name(), digits.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_it_cannot_lay_out() {
        assert_eq!(Digits::new(0), Err(LayoutError::Digits(0)));
        assert_eq!(Digits::new(6), Err(LayoutError::Digits(6)));
        for (lowest, highest) in [(2, 10), (0, 1), (1, 0), (0, (1 << 62) + 1)] {
            assert_eq!(
                Layout::new(Unit::Values, lowest, highest, Digits::THREE),
                Err(LayoutError::Range { lowest, highest })
            );
        }
    }

    #[test]
    fn memory_is_what_the_documentation_says() {
        let latency = Layout::latency(Digits::THREE);
        assert_eq!(latency.page_len() * 8, 8 * 1024);
        assert_eq!(latency.pages(), 33);
        assert_eq!(Layout::request_bytes(Digits::THREE).pages(), 32);
    }

    proptest! {
        #[test]
        fn buckets_are_those_of_hdrhistogram(
            digits in 1u8..=5,
            highest in 2u64..=1 << 62,
            seed in any::<u64>(),
            narrow in 0u32..62,
        ) {
            let layout = Layout::new(Unit::Values, 0, highest, Digits::new(digits).unwrap()).unwrap();
            let value = (seed >> narrow) % (highest + 1);
            let hdr = hdrhistogram::Histogram::<u64>::new_with_bounds(1, highest.min(1 << 40), digits).unwrap();
            let index = layout.index_of(value);
            prop_assert_eq!(layout.low_of(index), hdr.lowest_equivalent(value));
            prop_assert_eq!(layout.high_of(index), hdr.highest_equivalent(value));
            prop_assert_eq!(layout.index_of(layout.low_of(index)), index);
            prop_assert_eq!(layout.index_of(layout.high_of(index)), index);
            prop_assert!(layout.page_of(index) < layout.pages());
            prop_assert_eq!(
                layout.page_of(index) * layout.page_len() + layout.offset_of(index),
                index
            );
        }

        #[test]
        fn no_bucket_straddles_a_power_of_two(digits in 1u8..=5, value in 1u64..=1 << 40) {
            let layout = Layout::request_bytes(Digits::new(digits).unwrap());
            let index = layout.index_of(value);
            prop_assert_eq!(layout.low_of(index).ilog2(), layout.high_of(index).ilog2());
        }
    }
}
