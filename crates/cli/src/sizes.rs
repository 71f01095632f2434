//! How large generated files are: all alike, from a list, or as real data sets are.

use forebay_io::parse_size;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};
use std::fmt;

/// The largest file of a log-normal data set: the tail of the distribution has no end, disks have.
const LARGEST: u64 = 1 << 30;

/// A rule for sizes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sizes {
    rule: Rule,
    /// As it was given.
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Fixed(u64),
    LogNormal {
        median: u64,
        sigma: f64,
    },
    /// One after another, from the start again at the end.
    List(Vec<u64>),
}

impl Sizes {
    /// `fixed:64KiB`, `lognormal:MEDIAN,SIGMA` or `list:4KiB,64KiB,1MiB`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let forms =
            "write fixed:64KiB, lognormal:MEDIAN,SIGMA (as lognormal:128KiB,1.0) or list:4KiB,64KiB,1MiB";
        let size = |text: &str| parse_size(text).map_err(|e| e.to_string());
        let (name, rest) =
            text.split_once(':').ok_or_else(|| format!("{text:?} is not a rule for sizes; {forms}"))?;
        let rule = match name {
            "fixed" => Rule::Fixed(size(rest)?),
            "list" => Rule::List(rest.split(',').map(size).collect::<Result<_, _>>()?),
            "lognormal" => {
                let (median, sigma) =
                    rest.split_once(',').ok_or_else(|| format!("{text:?} lacks a sigma; {forms}"))?;
                let median = size(median)?;
                if !(1..=LARGEST).contains(&median) {
                    return Err(format!("median {median} must be from 1 byte to 1GiB"));
                }
                let sigma = sigma.trim().parse().ok().filter(|sigma| (0.0..=10.0).contains(sigma));
                let sigma = sigma.ok_or_else(|| {
                    format!("sigma of {text:?} must be a number from 0 to 10: the spread of the logarithm")
                })?;
                Rule::LogNormal { median, sigma }
            }
            _ => return Err(format!("{name:?} is not a rule for sizes; {forms}")),
        };
        Ok(Sizes { rule, text: text.to_owned() })
    }

    /// Whether every file would be empty.
    pub(crate) fn all_empty(&self) -> bool {
        match &self.rule {
            Rule::Fixed(size) => *size == 0,
            Rule::List(sizes) => sizes.iter().all(|&size| size == 0),
            Rule::LogNormal { .. } => false,
        }
    }

    /// The sizes of files 0, 1, 2, …: always the same for the same seed.
    pub(crate) fn draw(&self, seed: u64) -> impl Iterator<Item = u64> + Send + use<> {
        let rule = self.rule.clone();
        let mut rng = ChaCha8Rng::from_seed(
            *blake3::hash(&[b"forebay sizes ", &seed.to_le_bytes()[..]].concat()).as_bytes(),
        );
        (0usize..).map(move |i| match &rule {
            Rule::Fixed(size) => *size,
            Rule::List(sizes) => sizes[i % sizes.len()],
            Rule::LogNormal { median, sigma } => {
                let draw = LogNormal::new((*median as f64).ln(), *sigma).map(|d| d.sample(&mut rng));
                // `as` saturates, and sigma was checked to be finite.
                draw.map_or(*median, |size| size.round() as u64).clamp(1, LARGEST)
            }
        })
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(text: &str, seed: u64, n: usize) -> Vec<u64> {
        Sizes::parse(text).unwrap().draw(seed).take(n).collect()
    }

    #[test]
    fn fixed_and_listed_sizes_are_exact() {
        assert_eq!(draw("fixed:1KiB", 1, 3), [1024; 3]);
        assert_eq!(draw("list:1,2KiB,0", 1, 4), [1, 2048, 0, 1]);
        assert!(Sizes::parse("list:0,0").unwrap().all_empty());
        assert!(!Sizes::parse("lognormal:1,1").unwrap().all_empty());
    }

    #[test]
    fn lognormal_sizes_have_that_median_and_spread() {
        let mut sizes = draw("lognormal:128KiB,1.0", 7, 20_000);
        sizes.sort_unstable();
        let at = |fraction: f64| sizes[(fraction * 20_000.0) as usize] as f64 / (128.0 * 1024.0);
        // One sigma up and down is a factor of e.
        for (fraction, factor) in
            [(0.5, 1.0), (0.8413, std::f64::consts::E), (0.1587, 1.0 / std::f64::consts::E)]
        {
            let found = at(fraction);
            assert!((found / factor - 1.0).abs() < 0.05, "{fraction}: {found} for {factor}");
        }
        assert!(draw("lognormal:1GiB,10", 1, 1000).iter().all(|size| (1..=LARGEST).contains(size)));
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_does_not() {
        assert_eq!(draw("lognormal:4KiB,1", 5, 100), draw("lognormal:4KiB,1", 5, 200)[..100]);
        assert_ne!(draw("lognormal:4KiB,1", 5, 100), draw("lognormal:4KiB,1", 6, 100));
    }

    #[test]
    fn other_rules_are_refused_with_the_forms_there_are() {
        for (text, why) in [
            ("64KiB", "fixed:64KiB"),
            ("normal:1,2", "lognormal:MEDIAN,SIGMA"),
            ("fixed:x", "not a size"),
            ("list:", "not a size"),
            ("lognormal:4KiB", "lacks a sigma"),
            ("lognormal:0,1", "median 0"),
            ("lognormal:2GiB,1", "1GiB"),
            ("lognormal:4KiB,-1", "from 0 to 10"),
            ("lognormal:4KiB,NaN", "from 0 to 10"),
        ] {
            let error = Sizes::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
