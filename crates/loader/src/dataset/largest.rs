//! How long the longest sample is: what the largest batch is reckoned from.

use super::{Dataset, Objects, Samples};

impl Dataset {
    /// Bytes of the longest sample, as far as was said when they were listed; none where of some nothing was. Looks
    /// all of them through when first asked.
    pub fn largest_sample(&self) -> Option<u64> {
        let len = |id| match &self.objects {
            Objects::Listed(keys) if matches!(self.samples, Samples::Whole) => keys.size(id),
            _ => self.extent(id)?.range.map(|range| range.end - range.start),
        };
        let longest = || (0..self.len()).try_fold(0, |longest, id| Some(len(id)?.max(longest)));
        *self.largest.get_or_init(|| match &self.samples {
            Samples::Strided(strides) => Some(strides.largest()),
            Samples::Whole | Samples::Indexed => longest(),
        })
    }
}
