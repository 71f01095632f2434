//! How often a fault store does what.

use forebay_io::{Error, Kind, Operation, Result};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// One thing to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing goes wrong.
    None,
    /// An error of this kind, before the store behind is asked.
    Error(Kind),
    /// A read leaves half of the bytes in the place, and fails as `Corrupt`. A listing breaks off
    /// after its first page, other operations before they begin: `Unavailable`.
    Short,
    /// The operation is done and its answer is lost: `TimedOut`. A listing just gives its pages.
    Lost,
    /// A read succeeds and one byte is wrong. Operations that read nothing, and reads of nothing,
    /// just succeed.
    Corrupt,
    /// The operation hangs until it is dropped.
    Hang,
}

/// Shares of operations, each from 0 to 1 and together 1 at most (delays aside, which come on top).
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRates {
    /// Errors before anything is done.
    pub errors: Vec<(Kind, f64)>,
    /// See [`Fault::Short`].
    pub short_reads: f64,
    /// See [`Fault::Lost`].
    pub lost_answers: f64,
    /// See [`Fault::Corrupt`].
    pub corruption: f64,
    /// See [`Fault::Hang`].
    pub hangs: f64,
    /// Operations that wait before they begin.
    pub delays: f64,
    /// Delays are evenly spread up to this. They pass in tokio's time, which tests may pause.
    pub longest_delay: Duration,
    /// Which pause injected `Throttled` errors name; none for backing off.
    pub throttled_for: Option<Duration>,
    /// Which operations are affected.
    pub operations: Vec<Operation>,
}

impl FaultRates {
    /// No faults.
    pub fn none() -> Self {
        FaultRates {
            errors: Vec::new(),
            short_reads: 0.0,
            lost_answers: 0.0,
            corruption: 0.0,
            hangs: 0.0,
            delays: 0.0,
            longest_delay: Duration::ZERO,
            throttled_for: None,
            operations: Operation::ALL.to_vec(),
        }
    }

    /// Errors of one kind in a share of all operations.
    pub fn errors(kind: Kind, rate: f64) -> Self {
        FaultRates { errors: vec![(kind, rate)], ..Self::none() }
    }

    /// The same rates for these operations only.
    #[must_use]
    pub fn only(mut self, operations: &[Operation]) -> Self {
        self.operations = operations.to_vec();
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let others = [self.short_reads, self.lost_answers, self.corruption, self.hangs];
        let exclusive = || self.errors.iter().map(|(_, rate)| *rate).chain(others);
        if let Some(rate) = exclusive().chain([self.delays]).find(|rate| !(0.0..=1.0).contains(rate)) {
            return Err(Error::invalid(format!("a fault rate must be from 0 to 1, is {rate}")));
        }
        let sum: f64 = exclusive().sum();
        // Ten times 0.1 is a little more than 1.
        if sum > 1.0 + 1e-9 {
            return Err(Error::invalid(format!("fault rates must sum to 1 at most, sum to {sum}")));
        }
        Ok(())
    }

    /// What happens to one operation, and after which delay.
    pub(crate) fn draw(&self, operation: Operation, rng: &mut ChaCha8Rng) -> (Fault, Option<Duration>) {
        if !self.operations.contains(&operation) {
            return (Fault::None, None);
        }
        let delay = rng.random::<f64>() < self.delays;
        let delay = delay.then(|| self.longest_delay.mul_f64(rng.random::<f64>()));
        let mut left = rng.random::<f64>();
        let errors = self.errors.iter().map(|&(kind, rate)| (Fault::Error(kind), rate));
        let others = [
            (Fault::Short, self.short_reads),
            (Fault::Lost, self.lost_answers),
            (Fault::Corrupt, self.corruption),
            (Fault::Hang, self.hangs),
        ];
        for (fault, rate) in errors.chain(others) {
            if left < rate {
                return (fault, delay);
            }
            left -= rate;
        }
        (Fault::None, delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn rates_outside_zero_to_one_are_refused() {
        for rate in [-0.1, 1.1, f64::NAN] {
            let error = FaultRates { hangs: rate, ..FaultRates::none() }.check().unwrap_err();
            assert!(error.to_string().contains(&rate.to_string()), "{error}");
        }
        let rates = FaultRates { short_reads: 0.6, corruption: 0.6, ..FaultRates::none() };
        assert!(rates.check().unwrap_err().to_string().contains("1.2"));
    }

    #[test]
    fn shares_are_as_asked() {
        let rates = FaultRates {
            errors: vec![(Kind::Throttled, 0.2), (Kind::Unavailable, 0.1)],
            short_reads: 0.1,
            ..FaultRates::none()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn: Vec<_> = (0..10_000).map(|_| rates.draw(Operation::Get, &mut rng).0).collect();
        for (fault, share) in [
            (Fault::Error(Kind::Throttled), 0.2),
            (Fault::Error(Kind::Unavailable), 0.1),
            (Fault::Short, 0.1),
            (Fault::None, 0.6),
        ] {
            let found = drawn.iter().filter(|f| **f == fault).count() as f64 / 10_000.0;
            assert!((found - share).abs() < 0.02, "{fault:?}: {found}");
        }
        let reads = rates.only(&[Operation::Get]);
        assert!((0..1000).all(|_| reads.draw(Operation::Put, &mut rng).0 == Fault::None));
    }
}
