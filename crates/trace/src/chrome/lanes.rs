//! Which lane a slice goes to, so that no lane holds two at a time.

use std::collections::BTreeSet;

/// Lanes, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Until when each is taken, and its number.
    free_from: BTreeSet<(u64, u32)>,
}

impl Lanes {
    /// The lane for a slice, and whether it is a new one. Slices may come in the order of their beginnings or
    /// of their ends; in another order they are apart as well, in more lanes than need be.
    pub(super) fn take(&mut self, begin: u64, end: u64) -> (u32, bool) {
        // The one that was free for the shortest time: the others stay free for slices that begin earlier.
        let found = self.free_from.range(..=(begin, u32::MAX)).next_back().copied();
        let (lane, new) = match found {
            Some(found) => {
                self.free_from.remove(&found);
                (found.1, false)
            }
            None => (u32::try_from(self.free_from.len()).unwrap_or(u32::MAX - 1) + 1, true),
        };
        self.free_from.insert((end.max(begin), lane));
        (lane, new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn no_lane_holds_two_at_a_time_and_none_is_wasted(
            mut slices in proptest::collection::vec((0u64..1_000, 1u64..100), 1..200),
            by_end in any::<bool>(),
        ) {
            slices.sort_by_key(|&(begin, length)| if by_end { begin + length } else { begin });
            let mut lanes = Lanes::default();
            let mut taken: HashMap<u32, Vec<(u64, u64)>> = HashMap::new();
            for &(begin, length) in &slices {
                let (lane, new) = lanes.take(begin, begin + length);
                prop_assert_eq!(new, !taken.contains_key(&lane));
                let others = taken.entry(lane).or_default();
                prop_assert!(others.iter().all(|&(b, e)| e <= begin || begin + length <= b));
                others.push((begin, begin + length));
            }
            let at_once = slices
                .iter()
                .map(|&(begin, _)| slices.iter().filter(|(b, l)| *b <= begin && begin < b + l).count())
                .max();
            prop_assert_eq!(Some(taken.len()), at_once, "as many lanes as there are slices at once");
        }
    }
}
