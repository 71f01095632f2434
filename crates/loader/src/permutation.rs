//! A pseudo-random permutation of `0..n` that needs no table: a hundred million samples in random
//! order cost a few words of memory, and the sample at any place is known at once.
//!
//! Method: an alternating Feistel network, with cycle walking to stay inside `0..n` (J. Black and P. Rogaway,
//! "Ciphers with Arbitrary Finite Domains", 2002). The lower part of a number is some of its bits, and rounds
//! are XORed into it; the upper part is as few numbers as hold `n`, and rounds are added to it modulo their
//! count. So next to nothing is beyond `n` (one in 10,000 for a hundred million) and has to walk on. The round
//! function is a folded multiplication of a keyed number by a key. It shuffles well; it hides nothing, and is no cipher.

/// Each round mixes one part into the other. With eight, where neighbouring inputs go under neighbouring seeds,
/// one by one and in pairs, cannot be told from chance in a million draws (χ²), down to two numbers; with six it
/// can.
const ROUNDS: usize = 8;

/// Domains are at least this many bits wide, so that both parts have bits to mix; what is beyond
/// `n` is walked over.
const MIN_BITS: u32 = 6;

/// See the module's words.
#[derive(Debug, Clone)]
pub struct Permutation {
    domain: Domain,
    keys: Keys,
}

impl Permutation {
    /// The permutation of `0..n` that belongs to a seed and an epoch.
    pub fn new(n: u64, seed: u64, epoch: u64) -> Self {
        Permutation { domain: Domain::new(n), keys: Keys::new(seed, epoch) }
    }

    /// How many numbers are permuted.
    pub fn len(&self) -> u64 {
        self.domain.n
    }

    /// Whether there is nothing to permute.
    pub fn is_empty(&self) -> bool {
        self.domain.n == 0
    }

    /// The number at place `index`.
    ///
    /// # Panics
    /// If `index` is not below `n`.
    #[inline]
    pub fn at(&self, index: u64) -> u64 {
        assert!(index < self.domain.n, "place {index} of {}", self.domain.n);
        self.keys.at(&self.domain, 0, index)
    }

    /// Puts in place of each index, all of them below `n`, the number that is there. Several times as
    /// fast as one by one: the rounds of many indices run side by side, and only then are those few
    /// looked at that have to walk on.
    pub(crate) fn resolve(&self, indices: &mut [u64]) {
        for x in indices.iter_mut() {
            *x = self.keys.scramble(&self.domain, 0, *x);
        }
        for x in indices.iter_mut() {
            while *x >= self.domain.n {
                *x = self.keys.scramble(&self.domain, 0, *x);
            }
        }
    }
}

/// The numbers `0..n`, as an upper and a lower part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Domain {
    n: u64,
    low_bits: u32,
    low_mask: u64,
    /// How many upper parts there are; at most 2^32.
    highs: u64,
}

impl Domain {
    pub(crate) fn new(n: u64) -> Self {
        let bits = (u64::BITS - n.saturating_sub(1).leading_zeros()).max(MIN_BITS);
        let low_bits = bits / 2;
        let highs = n.div_ceil(1 << low_bits).max(1 << (MIN_BITS / 2));
        Domain { n, low_bits, low_mask: (1 << low_bits) - 1, highs }
    }

    pub(crate) fn len(&self) -> u64 {
        self.n
    }
}

/// The keys of the rounds: those of one permutation of every domain, and of many more by a tweak.
#[derive(Debug, Clone)]
pub(crate) struct Keys([Key; ROUNDS]);

/// Of one round.
#[derive(Debug, Clone, Copy)]
struct Key {
    /// What the round's input is XORed with.
    offset: u64,
    /// What it is then multiplied by; odd. Were it the same in all rounds, tiny domains would be shuffled badly.
    factor: u64,
}

impl Keys {
    pub(crate) fn new(seed: u64, epoch: u64) -> Self {
        let start = start(seed, epoch);
        let key = |i: usize| mix(start.wrapping_add(WEYL.wrapping_mul(i as u64 + 1)));
        Keys(std::array::from_fn(|round| Key { offset: key(round), factor: key(ROUNDS + round) | 1 }))
    }

    /// The number at place `index` (below the domain's length) of the permutation that belongs to a
    /// tweak; 0 for none.
    #[inline]
    pub(crate) fn at(&self, domain: &Domain, tweak: u64, index: u64) -> u64 {
        let mut x = index;
        // It ends: the walk is a cycle through `index`, which is itself below `n`.
        loop {
            x = self.scramble(domain, tweak, x);
            if x < domain.n {
                return x;
            }
        }
    }

    /// One step of the walk: what comes out may be beyond the domain's length.
    #[inline]
    pub(crate) fn scramble(&self, domain: &Domain, tweak: u64, x: u64) -> u64 {
        let (mut high, mut low) = (x >> domain.low_bits, x & domain.low_mask);
        for (i, pair) in (0..).zip(self.0.chunks_exact(2)) {
            // Rotated, so that no two rounds meet the tweak in the same place.
            low ^= pair[0].round(high, tweak.rotate_left(16 * i)) & domain.low_mask;
            let round = pair[1].round(low, tweak.rotate_left(16 * i + 8));
            // A number below the count of upper parts, from 32 bits of the round.
            high += ((round & u64::from(u32::MAX)) * domain.highs) >> 32;
            high = high.min(high.wrapping_sub(domain.highs));
        }
        high << domain.low_bits | low
    }
}

/// The step of a Weyl sequence: 2^64 over the golden ratio, as in SplitMix64 (G. Steele, D. Lea and
/// C. Flood, 2014).
pub(crate) const WEYL: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where the keys of a seed and an epoch begin. Both are well mixed: epoch 1 of seed 1 has nothing to
/// do with epoch 0 of seed 2.
pub(crate) fn start(seed: u64, epoch: u64) -> u64 {
    mix(seed ^ WEYL) ^ mix(epoch.wrapping_add(0xd1b5_4a32_d192_ed03))
}

/// The finaliser of MurmurHash3 (A. Appleby, public domain): every input bit reaches every output bit.
#[inline]
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

impl Key {
    /// The round function: a multiplication whose halves are folded together, so that every input bit reaches
    /// every output bit in the time of one multiplication (as in Y. Wang's wyhash).
    #[inline]
    fn round(self, x: u64, tweak: u64) -> u64 {
        let product = u128::from(x ^ self.offset.wrapping_add(tweak)) * u128::from(self.factor);
        (product >> 64) as u64 ^ product as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_comes_once(n in 1u64..5000, seed: u64, epoch: u64) {
            let permutation = Permutation::new(n, seed, epoch);
            let mut seen = vec![false; n as usize];
            for i in 0..n {
                let x = permutation.at(i) as usize;
                prop_assert!(!std::mem::replace(&mut seen[x], true));
            }
        }

        #[test]
        fn the_largest_domains_work(n in u64::MAX / 2..=u64::MAX, at: u64, seed: u64) {
            let permutation = Permutation::new(n, seed, 0);
            prop_assert!(permutation.at(at % n) < n);
        }
    }

    /// χ² of where `place` goes over many seeds (or epochs), alone and with its neighbour, for small n: each cell
    /// is as likely. The bound is mean + 6 σ of the χ² distribution, so a fair shuffle fails never.
    #[test]
    fn every_place_gets_every_number_equally_often() {
        let draws = 12_000u64;
        for n in [2u64, 3, 5, 10, 33] {
            for place in [0, 1, n - 1] {
                for by_epoch in [false, true] {
                    let (mut cells, mut pairs) = (vec![0u64; n as usize], vec![0u64; (n * n) as usize]);
                    for i in 0..draws {
                        let (seed, epoch) = if by_epoch { (42, i) } else { (i, 0) };
                        let permutation = Permutation::new(n, seed, epoch);
                        let (one, next) = (permutation.at(place), permutation.at((place + 1) % n));
                        cells[one as usize] += 1;
                        pairs[(one * n + next) as usize] += 1;
                    }
                    // Nothing is beside itself.
                    let pairs =
                        (0..n * n).filter(|cell| cell / n != cell % n).map(|cell| pairs[cell as usize]);
                    for cells in [cells, pairs.collect()] {
                        let expected = draws as f64 / cells.len() as f64;
                        let chi: f64 = cells.iter().map(|&c| (c as f64 - expected).powi(2) / expected).sum();
                        let freedom = (cells.len() - 1) as f64;
                        let bound = freedom + 6.0 * (2.0 * freedom).sqrt() + 6.0;
                        assert!(chi < bound, "n {n} place {place}: {chi}");
                    }
                }
            }
        }
    }

    /// Neighbours in the data are not neighbours in the order: the distance between what stands at
    /// two successive places is spread as for a random order (mean n/3).
    #[test]
    fn neighbours_are_torn_apart() {
        let n = 100_000u64;
        let permutation = Permutation::new(n, 1, 0);
        let sum: u64 = (1..n).map(|i| permutation.at(i).abs_diff(permutation.at(i - 1))).sum();
        let mean = sum as f64 / (n - 1) as f64;
        assert!((mean / n as f64 - 1.0 / 3.0).abs() < 0.005, "{mean}");
    }

    #[test]
    fn the_order_of_a_seed_is_for_ever() {
        // Written down so that a change of method cannot go unnoticed: it would break every saved state.
        let permutation = Permutation::new(10, 42, 3);
        let order: Vec<_> = (0..10).map(|i| permutation.at(i)).collect();
        assert_eq!(order, ORDER_10_42_3);
    }

    const ORDER_10_42_3: [u64; 10] = [1, 8, 4, 9, 6, 5, 7, 3, 0, 2];
}
