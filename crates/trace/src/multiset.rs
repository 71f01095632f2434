//! What was asked for, as a collection with repetition that takes no memory: enough to tell two of them apart.

use crate::Action;

/// The sum of the members' hashes (M. Bellare, D. Micciancio, *A New Paradigm for Collision-Free Hashing*, with addition
/// modulo 2^128 against chance, not attack).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Multiset {
    members: u64,
    sum: u128,
}

impl Multiset {
    /// That one operation.
    pub(crate) fn of(op: Action, uri: &str, offset: Option<u64>, len: Option<u64>) -> Multiset {
        let mut hasher = blake3::Hasher::new();
        hasher.update(op.name().as_bytes()).update(&(uri.len() as u64).to_le_bytes()).update(uri.as_bytes());
        for part in [offset, len] {
            hasher.update(&[u8::from(part.is_some())]).update(&part.unwrap_or(0).to_le_bytes());
        }
        let half: [u8; 16] = hasher.finalize().as_bytes()[..16].try_into().expect("a hash has 32 bytes");
        Multiset { members: 1, sum: u128::from_le_bytes(half) }
    }

    /// Takes in what another one holds.
    pub(crate) fn add(&mut self, other: Multiset) {
        self.members += other.members;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// How many operations it holds.
    pub(crate) fn len(&self) -> u64 {
        self.members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn collections_are_equal_in_any_order_and_only_then(
            members in proptest::collection::vec((0u8..3, 0u64..4), 0..12),
            swap in any::<prop::sample::Index>(),
        ) {
            let set = |members: &[(u8, u64)]| {
                let mut set = Multiset::default();
                for (k, offset) in members {
                    set.add(Multiset::of(Action::Get, &format!("mem://h/{k}"), Some(*offset), None));
                }
                set
            };
            let mut reversed = members.clone();
            reversed.reverse();
            prop_assert_eq!(set(&members), set(&reversed));
            if !members.is_empty() {
                let mut other = members.clone();
                other[swap.index(members.len())].1 += 10;
                prop_assert_ne!(set(&members), set(&other));
            }
        }
    }
}
