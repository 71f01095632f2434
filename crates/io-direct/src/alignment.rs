//! The arithmetic of reading whole blocks: which blocks a span of a file lies in, how they are cut into
//! requests, and where in memory each may land. No file and no memory here, only numbers.
//!
//! A *span* is what is wanted, to the byte. A *part* is one request: it asks for whole grains, which may
//! lie before and after what is needed of it. It lands in the destination itself where the grains fit
//! there and the addresses are right, else in a buffer from which the needed bytes are copied.

use std::ops::Range;

/// What a filesystem wants of reads past the page cache. Each a power of two, in bytes; the offset's is
/// not the smaller one, so that what follows an aligned request in the file follows it in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alignment {
    /// Of the address in memory.
    pub(crate) memory: u32,
    /// Of the offset in the file, and of the length.
    pub(crate) offset: u32,
}

impl Alignment {
    /// Of reads through the page cache.
    pub(crate) const NONE: Alignment = Alignment { memory: 1, offset: 1 };

    /// Of every disk and filesystem that this is known to work on; what an unknown one is taken to want.
    pub(crate) const SAFE: Alignment = Alignment { memory: 4096, offset: 4096 };
}

/// The grains that `span` lies in.
pub(crate) fn widen(span: &Range<u64>, grain: u64) -> Range<u64> {
    if span.is_empty() {
        return span.clone();
    }
    span.start / grain * grain..span.end.checked_next_multiple_of(grain).unwrap_or(u64::MAX / grain * grain)
}

/// Memory for a span: its own bytes and spare ones around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ground {
    /// Of the first spare byte.
    pub(crate) address: usize,
    /// Spare bytes before its own.
    pub(crate) before: usize,
    /// Bytes altogether.
    pub(crate) len: usize,
}

/// How a span is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    span: Range<u64>,
    /// The grains it lies in.
    grains: Range<u64>,
    /// Bytes of a part, the last one apart: whole grains.
    step: u64,
    count: usize,
    ground: Ground,
    /// Where in the ground the span's first byte lands, before [`Plan::shift`].
    landing: usize,
    /// Whether grains may land in the ground at all.
    congruent: bool,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// What of the file is asked for: whole grains.
    pub(crate) ask: Range<u64>,
    /// What of it is needed, and has to be there.
    pub(crate) need: Range<u64>,
    /// Where in the ground `ask` lands; none if it does not fit there.
    pub(crate) at: Option<usize>,
    /// Where in the ground `need` belongs.
    pub(crate) home: usize,
}

impl Plan {
    /// To read `span` onto `ground`, whose own bytes are as many, in parts of about `request` bytes.
    pub(crate) fn new(span: Range<u64>, alignment: Alignment, ground: Ground, request: u64) -> Plan {
        let grain = u64::from(alignment.offset);
        let memory = alignment.memory as usize;
        let grains = widen(&span, grain);
        let step = (request / grain).max(1) * grain;
        // A last part of up to a grain more is better than another one of a grain.
        let total = grains.end - grains.start;
        let count = if total == 0 { 0 } else { (total - grain).div_ceil(step).max(1) as usize };
        let head = (span.start - grains.start) as usize;
        let own = ground.address + ground.before;
        let (landing, congruent) = if own.wrapping_sub(head).is_multiple_of(memory) {
            (ground.before, true)
        } else if ground.address.is_multiple_of(memory) && head <= ground.before {
            // As far forward as the grain needs, to be moved back when all is there.
            (head, true)
        } else {
            (ground.before, false)
        };
        Plan { span, grains, step, count, ground, landing, congruent }
    }

    /// How many parts there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What is wanted.
    pub(crate) fn span(&self) -> &Range<u64> {
        &self.span
    }

    /// A part; there are [`Plan::count`].
    pub(crate) fn part(&self, index: usize) -> Part {
        let start = self.grains.start + index as u64 * self.step;
        let end = if index + 1 == self.count { self.grains.end } else { start + self.step };
        let need = start.max(self.span.start)..end.min(self.span.end);
        let home = self.landing + (need.start - self.span.start) as usize;
        // Where `ask` begins in the ground: before its home by what is not needed.
        let at = home.checked_sub((need.start - start) as usize);
        let fits =
            |at: &usize| self.congruent && at.saturating_add((end - start) as usize) <= self.ground.len;
        Part { ask: start..end, need, at: at.filter(fits), home }
    }

    /// From where in the ground the span's bytes must be moved to where they belong, when all are there.
    pub(crate) fn shift(&self) -> Option<(Range<usize>, usize)> {
        let len = (self.span.end - self.span.start) as usize;
        (self.landing != self.ground.before && len > 0)
            .then(|| (self.landing..self.landing + len, self.ground.before))
    }
}

/// How far a part has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read on after this many bytes of `ask`.
    On(u64),
    /// All that is needed is there.
    Whole,
    /// The file ends here.
    Ended(u64),
}

impl Part {
    /// After `done` bytes were there and `read` more came.
    pub(crate) fn after(&self, done: u64, read: u64, grain: u64) -> Next {
        let reached = self.ask.start + done + read;
        if reached >= self.need.end {
            Next::Whole
        } else if read == 0 || !reached.is_multiple_of(grain) {
            // A block is only cut short by the end of the file.
            Next::Ended(reached)
        } else {
            Next::On(done + read)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DISK: Alignment = Alignment { memory: 512, offset: 512 };

    fn ground(address: usize, before: usize, own: u64, after: usize) -> Ground {
        Ground { address, before, len: before + own as usize + after }
    }

    #[test]
    fn an_aligned_read_is_one_part_in_place() {
        let plan = Plan::new(4096..8192, DISK, ground(1 << 20, 0, 4096, 0), 1 << 20);
        assert_eq!(plan.count(), 1);
        assert_eq!(plan.part(0), Part { ask: 4096..8192, need: 4096..8192, at: Some(0), home: 0 });
        assert_eq!(plan.shift(), None);
    }

    #[test]
    fn a_tail_lands_in_spare_bytes_or_in_another_buffer() {
        let roomy = Plan::new(0..1000, DISK, ground(512, 0, 1000, 24), 1 << 20);
        assert_eq!(roomy.part(0).at, Some(0));
        let tight = Plan::new(0..1000, DISK, ground(512, 0, 1000, 23), 1 << 20);
        assert_eq!(tight.part(0), Part { ask: 0..1024, need: 0..1000, at: None, home: 0 });
    }

    #[test]
    fn an_odd_offset_is_moved_into_place() {
        let plan = Plan::new(515..1015, DISK, ground(4096, 64, 500, 512), 1 << 20);
        assert_eq!(plan.part(0), Part { ask: 512..1024, need: 515..1015, at: Some(0), home: 3 });
        assert_eq!(plan.shift(), Some((3..503, 64)));
    }

    #[test]
    fn a_target_is_kept_to_a_grain() {
        let plan = Plan::new(100..65_636, DISK, ground(0, 0, 65_536, 0), 65_536);
        assert_eq!(plan.count(), 1);
        let plan = Plan::new(0..1 << 20, DISK, ground(0, 0, 1 << 20, 0), 65_536);
        assert_eq!((plan.count(), plan.part(15).ask), (16, 983_040..1_048_576));
    }

    #[test]
    fn the_end_of_a_file_is_told_from_a_read_that_was_cut() {
        let part = Part { ask: 0..4096, need: 0..4000, at: None, home: 0 };
        assert_eq!(part.after(0, 4000, 512), Next::Whole);
        assert_eq!(part.after(0, 1024, 512), Next::On(1024));
        assert_eq!(part.after(1024, 0, 512), Next::Ended(1024));
        assert_eq!(part.after(1024, 100, 512), Next::Ended(1124));
    }

    proptest! {
        /// Whatever is asked for: parts are whole grains, in order, about as large as asked for; they
        /// cover the span once; they land aligned and inside the ground; and once they are there and
        /// moved, each byte is where it belongs.
        #[test]
        fn every_byte_lands_where_it_belongs(
            start in 0u64..20_000,
            len in 0u64..40_000,
            grain in 0u32..5,
            memory in 0u32..5,
            address in 0usize..64,
            before in 0usize..20,
            after in 0usize..5000,
            request in 1u64..50_000,
        ) {
            let power = |n: u32| if n == 0 { 1 } else { 256 << n };
            let alignment = Alignment { memory: power(memory.min(grain)), offset: power(grain) };
            let grain = u64::from(alignment.offset);
            let ground = ground(address * 64, before * 64, len, after);
            let plan = Plan::new(start..start + len, alignment, ground, request);
            // The file's byte at `i`.
            let byte = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8;
            let mut memory = vec![0u8; ground.len];
            let mut reached = plan.grains.start;
            let mut needed = start;
            for i in 0..plan.count() {
                let part = plan.part(i);
                prop_assert!(part.ask.start == reached && part.need.start == needed);
                prop_assert!(part.ask.start.is_multiple_of(grain) && part.ask.end.is_multiple_of(grain));
                prop_assert!(!part.need.is_empty());
                prop_assert!(part.need.start >= part.ask.start && part.need.end <= part.ask.end);
                prop_assert!(part.ask.end - part.ask.start <= request.max(grain) + grain);
                (reached, needed) = (part.ask.end, part.need.end);
                if let Some(at) = part.at {
                    prop_assert!((ground.address + at).is_multiple_of(alignment.memory as usize));
                    for (k, i) in part.ask.clone().enumerate() {
                        memory[at + k] = byte(i);
                    }
                } else {
                    for (k, i) in part.need.clone().enumerate() {
                        memory[part.home + k] = byte(i);
                    }
                }
            }
            prop_assert_eq!(needed, start + len);
            if let Some((from, to)) = plan.shift() {
                memory.copy_within(from, to);
            }
            let own = &memory[ground.before..][..len as usize];
            prop_assert!((start..).zip(own).all(|(i, b)| *b == byte(i)));
        }

        /// With the room that a store asks a place for, nothing is copied out of another buffer.
        #[test]
        fn room_keeps_other_buffers_out_of_it(
            start in 0u64..20_000, len in 1u64..40_000, grain in 1u32..4, request in 4096u64..50_000,
        ) {
            let alignment = Alignment { memory: 256 << grain, offset: 256 << grain };
            let room = crate::room::around(&(start..start + len), alignment);
            let ground = ground(8192, room.before as usize, len, room.after as usize);
            let plan = Plan::new(start..start + len, alignment, ground, request);
            prop_assert!((0..plan.count()).all(|i| plan.part(i).at.is_some()));
        }
    }
}
