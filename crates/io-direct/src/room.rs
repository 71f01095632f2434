//! What a place is asked for around a slot, so that whole blocks can be read straight into it.

use crate::alignment::{Alignment, widen};
use forebay_io::{Room, SLOT_ALIGN};
use std::ops::Range;

/// The room that `span` needs on a filesystem with this alignment.
pub(crate) fn around(span: &Range<u64>, alignment: Alignment) -> Room {
    if span.is_empty() || alignment == Alignment::NONE {
        return Room::default();
    }
    let grains = widen(span, u64::from(alignment.offset));
    let before = (span.start - grains.start).next_multiple_of(SLOT_ALIGN as u64);
    Room {
        // Filesystems that want more than pages' alignment get it from a buffer of ours.
        align: alignment.memory.clamp(SLOT_ALIGN as u32, Room::MAX_ALIGN),
        before: u32::try_from(before).unwrap_or(0),
        after: u32::try_from(grains.end - span.end).unwrap_or(0),
    }
}
