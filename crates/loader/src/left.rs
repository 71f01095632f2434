//! What is left of an epoch: which places of its order, as a sequence that ranks can share out.
//!
//! Batches that are delivered in order leave everything from some place on. In completion order those that were
//! overtaken are left too, and they are evenly spaced places: a batch of rank r of w is every w-th place from its
//! first on. So what is left is always some such pieces and then an evenly spaced tail without an end.

use forebay_io::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Evenly spaced places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Piece {
    pub(crate) first: u64,
    /// 1 or more.
    pub(crate) step: u64,
    /// 1 or more.
    pub(crate) count: u64,
}

/// The places that are left: those of the pieces, in this order, then all of the tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pieces: Box<[Piece]>,
    /// How many places there are up to the end of each piece.
    ends: Box<[u64]>,
    /// How many places are in pieces.
    within: u64,
    /// The first place of the tail.
    pub(crate) tail: u64,
    /// From one place of the tail to the next.
    pub(crate) step: u64,
}

impl Left {
    /// Everything from `place` on.
    pub(crate) fn from(place: u64) -> Self {
        Left::new(Vec::new(), place, 1)
    }

    /// These pieces, and every `step`-th place from `tail` on. Pieces that touch are put together.
    pub(crate) fn new(mut pieces: Vec<Piece>, tail: u64, step: u64) -> Self {
        pieces.sort_unstable();
        let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match joined.last_mut() {
                Some(last) if last.step == piece.step && last.end() == piece.first => {
                    last.count += piece.count
                }
                _ => joined.push(piece),
            }
        }
        let counts = joined.iter().scan(0, |sum, piece| {
            *sum += piece.count;
            Some(*sum)
        });
        let ends: Box<[u64]> = counts.collect();
        let within = ends.last().copied().unwrap_or(0);
        Left { pieces: joined.into(), ends, within, tail, step }
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// How many places are in pieces.
    pub(crate) fn in_pieces(&self) -> u64 {
        self.within
    }

    /// The `v`-th place that is left.
    #[inline]
    pub(crate) fn place(&self, v: u64) -> u64 {
        if v >= self.within {
            return self.tail + (v - self.within) * self.step;
        }
        let number = self.ends.partition_point(|&end| end <= v);
        let piece = &self.pieces[number];
        piece.first + (v + piece.count - self.ends[number]) * piece.step
    }

    /// How many places below `total` are left.
    pub(crate) fn len(&self, total: u64) -> u64 {
        self.within + total.saturating_sub(self.tail).div_ceil(self.step)
    }

    /// Every `world`-th place that is left from the `from`-th to before the `to`-th, as pieces, to the back of
    /// `into`.
    pub(crate) fn cut(&self, from: u64, to: u64, world: u64, into: &mut Vec<Piece>) {
        let mut v = from;
        for (piece, &end) in self.pieces.iter().zip(&self.ends) {
            let until = end.min(to);
            if v < until {
                let count = (until - v).div_ceil(world);
                let first = piece.first + (v + piece.count - end) * piece.step;
                into.push(Piece { first, step: piece.step * world, count });
                v += count * world;
            }
        }
        if v < to {
            let first = self.place(v);
            into.push(Piece { first, step: self.step * world, count: (to - v).div_ceil(world) });
        }
    }

    /// `gaps`, and what is left of it from the `v`-th place on, every `world`-th one; of pieces only what comes
    /// before the `end`-th.
    pub(crate) fn after(&self, v: u64, end: u64, world: u64, mut gaps: Vec<Piece>) -> Self {
        let within = self.within;
        self.cut(v, within.min(end), world, &mut gaps);
        // The first place of the tail that comes in steps of `world` from the `v`-th on.
        let first = if v >= within { v } else { v + (within - v).div_ceil(world) * world };
        Left::new(gaps, self.place(first), self.step * world)
    }

    /// What several ranks have left, together: each has every `world`-th place of the tail, from another one on;
    /// ranks that are not among them have nothing left.
    pub(crate) fn together(all: &[Left], world: u64, total: u64) -> Self {
        let mut pieces: Vec<Piece> = all.iter().flat_map(|left| left.pieces.iter().copied()).collect();
        // Before the furthest of the tails, and less than a round of ranks, nobody took a place; where a rank has
        // come to its end there is no round.
        let furthest = all.iter().map(|left| left.tail).max().filter(|_| all.len() as u64 == world);
        let tail = furthest.map_or(total, |furthest| (furthest + 1).saturating_sub(world)).min(total);
        for left in all.iter().filter(|left| left.tail < tail) {
            let count = (tail - left.tail).div_ceil(left.step);
            pieces.push(Piece { first: left.tail, step: left.step, count });
        }
        // What only padded the order is nobody's.
        pieces.retain_mut(|piece| {
            piece.count = piece.count.min(total.saturating_sub(piece.first).div_ceil(piece.step));
            piece.count > 0
        });
        Left::new(pieces, tail, 1)
    }
}

impl Piece {
    /// The place after its last, in steps.
    fn end(&self) -> u64 {
        self.first + self.count * self.step
    }
}

/// Pieces as they are saved: those of equal step and count together, as `[step, count, unit, first, …]`, with the
/// distance from each to the next in units.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Gaps(Vec<Vec<u64>>);

impl Gaps {
    pub(crate) fn of(pieces: &[Piece]) -> Self {
        let mut alike = BTreeMap::<(u64, u64), Vec<u64>>::new();
        for piece in pieces {
            alike.entry((piece.step, piece.count)).or_default().push(piece.first);
        }
        let saved = alike.into_iter().map(|((step, count), firsts)| {
            let distances = firsts.windows(2).map(|pair| pair[1] - pair[0]);
            let unit = distances.clone().fold(0, gcd).max(1);
            let mut row = vec![step, count, unit, firsts[0]];
            row.extend(distances.map(|distance| distance / unit));
            row
        });
        Gaps(saved.collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pieces, none of which begins beyond `total` places.
    ///
    /// # Errors
    /// `InvalidConfig` if one would.
    pub(crate) fn pieces(&self, total: u64) -> Result<Vec<Piece>> {
        let bad =
            || Error::invalid(format!("the state names places that are not among the {total} of an epoch"));
        let mut pieces = Vec::new();
        for row in &self.0 {
            let [step, count, unit, first, distances @ ..] = &row[..] else { return Err(bad()) };
            if [step, count, unit].contains(&&0) {
                return Err(bad());
            }
            let mut first = *first;
            for distance in std::iter::once(&0).chain(distances) {
                let next = distance.checked_mul(*unit).and_then(|distance| first.checked_add(distance));
                first = next.filter(|first| *first < total).ok_or_else(bad)?;
                // Ranks that pad go less than a round of them beyond the end.
                let end =
                    step.checked_mul(*count).and_then(|span| first.checked_add(span)).ok_or_else(bad)?;
                if end - step > total.saturating_add(*step) {
                    return Err(bad());
                }
                pieces.push(Piece { first, step: *step, count: *count });
            }
        }
        Ok(pieces)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(left: &Left, total: u64) -> Vec<u64> {
        (0..left.len(total)).map(|v| left.place(v)).collect()
    }

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let piece = (1u64..5, 1u64..6, 0u64..30).prop_map(|(step, count, gap)| (step, count, gap));
        prop::collection::vec(piece, 0..6).prop_map(|parts| {
            let mut at = 0;
            let piece = |(step, count, gap)| {
                let first = at + gap;
                at = first + step * count;
                Piece { first, step, count }
            };
            parts.into_iter().map(piece).collect()
        })
    }

    fn tail(pieces: &[Piece]) -> u64 {
        pieces.last().map_or(0, Piece::end)
    }

    proptest! {
        #[test]
        fn places_are_those_of_the_pieces_and_then_of_the_tail(pieces in pieces(), step in 1u64..4) {
            let total = tail(&pieces) + 20;
            let left = Left::new(pieces.clone(), tail(&pieces), step);
            let of = |piece: &Piece| (0..piece.count).map(|i| piece.first + i * piece.step).collect::<Vec<_>>();
            let mut expected: Vec<_> = pieces.iter().flat_map(of).collect();
            expected.extend((tail(&pieces)..total).step_by(step as usize));
            prop_assert_eq!(all(&left, total), expected);
        }

        /// Ranks that share it out, each after some of its own, have left together what none of them took.
        #[test]
        fn what_ranks_have_left_is_what_none_took(
            pieces in pieces(), more in 0u64..60, taken in prop::collection::vec(0u64..40, 1..5),
        ) {
            let total = tail(&pieces) + more;
            let left = Left::new(pieces.clone(), tail(&pieces), 1);
            let (places, world) = (all(&left, total), taken.len() as u64);
            let mut expected = Vec::<u64>::new();
            let mut ranks = Vec::new();
            for (rank, &taken) in (0..).zip(&taken) {
                let own: Vec<_> = places.iter().skip(rank).step_by(world as usize).copied().collect();
                expected.extend(own.iter().skip(taken as usize));
                let (v, end) = (taken * world + rank as u64, left.len(total));
                if (taken as usize) < own.len() {
                    let after = left.after(v, end, world, Vec::new());
                    prop_assert_eq!(all(&after, total), own[taken as usize..].to_vec());
                    ranks.push(after);
                }
            }
            let mut together = all(&Left::together(&ranks, world, total), total);
            expected.sort_unstable();
            together.sort_unstable();
            prop_assert_eq!(together, expected);
        }

        #[test]
        fn gaps_are_written_and_read_back(pieces in pieces()) {
            let left = Left::new(pieces.clone(), tail(&pieces), 1);
            let read = Gaps::of(left.pieces()).pieces(tail(&pieces)).unwrap();
            prop_assert_eq!(Left::new(read, tail(&pieces), 1), left);
        }

        #[test]
        fn no_numbers_make_a_place_beyond_the_end(
            rows in prop::collection::vec(prop::collection::vec(prop_oneof![0u64..50, any::<u64>()], 0..8), 0..4),
            total in 0u64..1000,
        ) {
            for piece in Gaps(rows).pieces(total).unwrap_or_default() {
                prop_assert!(piece.first < total && piece.first + (piece.count - 1) * piece.step <= total + piece.step);
            }
        }
    }

    #[test]
    fn batches_of_all_ranks_that_nobody_overtook_leave_no_pieces() {
        let ranks = [0, 1, 2].map(|rank| Left::from(0).after(12 + rank, 100, 3, Vec::new()));
        assert_eq!(Left::together(&ranks, 3, 100), Left::from(12));
    }
}
