//! Reads a stretch of a file in parts of the size that was asked for, and tells the observer of each.
//!
//! Without a size asked for, a stretch is one part; and without an observer nothing is noted or timed.

use crate::failure;
use crate::file::{Beyond, Filled};
use crate::mapping::Mappings;
use crate::residency::Held;
use forebay_io::{Attempt, Event, Kind, Location, Observe, Operation};
use rustix::io::Errno;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One request to the kernel that is over.
#[derive(Debug)]
pub(crate) struct Part {
    /// Of which file of the batch.
    pub(crate) index: usize,
    pub(crate) range: Range<u64>,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) failed: Option<Kind>,
}

impl Part {
    /// How a read of `range` that ended like this is told.
    pub(crate) fn new(
        index: usize,
        range: Range<u64>,
        filled: &Result<Filled, Errno>,
        elapsed: Duration,
    ) -> Part {
        let whole = range.end - range.start;
        let (bytes, failed) = match filled {
            Ok(Filled::Whole | Filled::Beyond) => (whole, None),
            Ok(Filled::Short(read)) => (*read as u64, None),
            Err(errno) => (0, Some(failure::kind(*errno))),
        };
        Part { index, range, bytes, elapsed, failed }
    }
}

/// The size of parts, and those that were read since the observer was told last.
pub(crate) struct Parts {
    target: Option<NonZeroU64>,
    mappings: Option<Arc<Mappings>>,
    observer: Option<Arc<dyn Observe>>,
    made: Vec<Part>,
    /// What of them was in the page cache, as far as that was looked at.
    held: Held,
    /// When the part that is read now began. Known to be right only with an observer.
    begin: Instant,
}

impl Parts {
    /// Read with requests of `target` bytes, or through `mappings`.
    pub(crate) fn new(
        target: Option<NonZeroU64>,
        mappings: Option<Arc<Mappings>>,
        observer: Option<Arc<dyn Observe>>,
    ) -> Self {
        Parts { target, mappings, observer, made: Vec::new(), held: Held::default(), begin: Instant::now() }
    }

    /// What they are read through, if not by calls.
    pub(crate) fn mappings(&self) -> Option<Arc<Mappings>> {
        self.mappings.clone()
    }

    /// Whether somebody wants to hear of parts.
    pub(crate) fn observed(&self) -> bool {
        self.observer.is_some()
    }

    /// So many stretches come next, of one part each at least.
    pub(crate) fn expect(&mut self, stretches: usize) {
        if self.observed() {
            self.made.reserve(stretches);
        }
    }

    /// The next part begins now, or began then.
    pub(crate) fn begin(&mut self, at: Instant) {
        self.begin = at;
    }

    /// When the last part ended: as known, or now.
    pub(crate) fn ended(&self) -> Instant {
        if self.observed() { self.begin } else { Instant::now() }
    }

    /// Fills `buf` from `offset`, part by part, each by `read`, which answers also when the part really
    /// began, where that was later. Only the last part looks beyond.
    pub(crate) fn fill(
        &mut self,
        index: usize,
        buf: &mut [u8],
        offset: u64,
        beyond: Beyond,
        mut read: impl FnMut(&mut [u8], u64, Beyond) -> (Result<Filled, Errno>, Option<Instant>),
    ) -> Result<Filled, Errno> {
        let len = buf.len();
        let step = self.target.map_or(len, |target| usize::try_from(target.get()).unwrap_or(len)).max(1);
        let mut start = 0usize;
        loop {
            let end = len.min(start.saturating_add(step));
            let look = if end == len { beyond } else { Beyond::Ignored };
            let at = offset + start as u64;
            let (filled, began) = read(&mut buf[start..end], at, look);
            if self.observed() {
                let now = Instant::now();
                let elapsed = now - began.unwrap_or(self.begin);
                self.made.push(Part::new(index, at..offset + end as u64, &filled, elapsed));
                self.begin = now;
            }
            match filled? {
                Filled::Whole if end < len => start = end,
                Filled::Short(read) => return Ok(Filled::Short(start + read)),
                filled => return Ok(filled),
            }
        }
    }

    /// Takes up parts that were read elsewhere.
    pub(crate) fn add(&mut self, parts: impl IntoIterator<Item = Part>) {
        if self.observed() {
            self.made.extend(parts);
        }
    }

    /// Takes up what was in the page cache before a read.
    pub(crate) fn looked(&mut self, held: Held) {
        self.held += held;
    }

    /// Tells the observer of what was made, and of what was in the page cache before.
    pub(crate) fn tell<'a>(&mut self, operation: Operation, locate: impl Fn(usize) -> &'a Location) {
        let Some(observer) = &self.observer else { return };
        let Held { reads, hit, miss, unknown } = std::mem::take(&mut self.held);
        if reads > 0 {
            observer.noted(Some("file"), Event::PageCache { reads, hit, miss, unknown });
        }
        if let Some((made @ 1.., advised)) = self.mappings.as_ref().map(|mappings| mappings.take_counts()) {
            observer.noted(Some("file"), Event::Mapped { made, advised });
        }
        if self.made.is_empty() {
            return;
        }
        let attempt = |part: &Part| Attempt {
            operation,
            location: locate(part.index),
            range: Some(part.range.clone()),
            bytes: part.bytes,
            elapsed: part.elapsed,
            first_byte: None,
            status: None,
            failed: part.failed,
        };
        let attempts: Vec<_> = self.made.iter().map(attempt).collect();
        observer.attempted(&attempts);
        self.made.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(parts: &mut Parts, buf: &mut [u8], size: usize) -> Result<Filled, Errno> {
        parts.fill(0, buf, 10, Beyond::Watched, |part, offset, beyond| {
            let there = (size + 10).saturating_sub(offset as usize);
            part.iter_mut().take(there).for_each(|byte| *byte += 1);
            let filled = match part.len() {
                len if there < len => Filled::Short(there),
                len if there > len && beyond == Beyond::Watched => Filled::Beyond,
                _ => Filled::Whole,
            };
            (Ok(filled), None)
        })
    }

    proptest! {
        #[test]
        fn parts_cover_every_byte_once_and_end_where_the_file_does(
            len in 0usize..300, size in 0usize..400, target in 1u64..200,
        ) {
            let mut parts = Parts::new(NonZeroU64::new(target), None, Some(Arc::new(forebay_io::Unobserved)));
            let mut buf = vec![0; len];
            let filled = fill(&mut parts, &mut buf, size).unwrap();
            let read = len.min(size);
            prop_assert!(buf[..read].iter().all(|&byte| byte == 1) && buf[read..].iter().all(|&byte| byte == 0));
            match filled {
                Filled::Short(short) => prop_assert!(size < len && short == size),
                Filled::Whole => prop_assert_eq!(size, len),
                Filled::Beyond => prop_assert!(size > len),
            }
            prop_assert_eq!(parts.made.iter().map(|part| part.bytes).sum::<u64>(), read as u64);
            prop_assert!(parts.made.iter().all(|part| part.range.end - part.range.start <= target));
        }
    }
}
