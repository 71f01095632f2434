//! How many retries a store may make in all, whatever each operation would like.
//!
//! A count of attempts multiplies the load on a service that is already in trouble: with five attempts,
//! an outage makes five times the requests. A budget bounds that: each operation that succeeds pays in a
//! part of a retry, each retry takes one out, and a trickle by the clock lets the first operations and
//! those after a long silence try again too. (Finagle's `RetryBudget` is where the idea is from.)

use crate::lock::Mutex;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// What a store may spend on retries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudget {
    /// Retries that each success pays for: with 0.2, one retry for five successes. 0 or more.
    pub per_success: f64,
    /// Retries a second on top, whatever happens. 0 or more.
    pub per_second: f64,
    /// The most retries that are ever saved up; also what there is at the beginning. 1 or more.
    pub most: f64,
}

impl Default for RetryBudget {
    /// A fifth of the successes and ten a second, 100 at most: enough for a per cent of faults and for
    /// a burst of resets when a connection dies, and at most a fifth more load in an outage.
    fn default() -> Self {
        RetryBudget { per_success: 0.2, per_second: 10.0, most: 100.0 }
    }
}

impl fmt::Display for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for each success and {} a second", self.per_success, self.per_second)
    }
}

/// What is left of a budget.
pub(super) struct Purse {
    budget: RetryBudget,
    state: Mutex<State>,
}

struct State {
    retries: f64,
    /// When the clock last paid in; none before the first use, which may be outside a runtime.
    paid: Option<Instant>,
}

impl Purse {
    pub(super) fn new(budget: RetryBudget) -> Self {
        // A budget that can never pay for one retry would be a longer way to say "never".
        let most = budget.most.max(1.0);
        Purse {
            budget: RetryBudget { most, ..budget },
            state: Mutex::new(State { retries: most, paid: None }),
        }
    }

    pub(super) fn budget(&self) -> &RetryBudget {
        &self.budget
    }

    /// So many operations succeeded.
    pub(super) fn succeeded(&self, operations: usize) {
        let mut state = self.state.lock();
        let sum = state.retries + operations as f64 * self.budget.per_success;
        state.retries = sum.min(self.budget.most);
    }

    /// Takes one retry out, if there is one.
    pub(super) fn take(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        let since = state.paid.map_or(Duration::ZERO, |paid| now.saturating_duration_since(paid));
        state.paid = Some(now);
        state.retries = (state.retries + since.as_secs_f64() * self.budget.per_second).min(self.budget.most);
        let enough = state.retries >= 1.0;
        if enough {
            state.retries -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[tokio::test(start_paused = true)]
    async fn successes_and_time_pay_for_retries() {
        let purse = Purse::new(RetryBudget { per_success: 0.25, per_second: 2.0, most: 3.0 });
        let spend = || std::iter::from_fn(|| purse.take().then_some(())).count();
        assert_eq!(spend(), 3);
        purse.succeeded(7);
        assert_eq!(spend(), 1);
        tokio::time::advance(Duration::from_millis(1000)).await;
        assert_eq!(spend(), 2);
        tokio::time::advance(Duration::from_secs(3600)).await;
        purse.succeeded(1000);
        assert_eq!(spend(), 3, "no more is saved up");
    }

    proptest! {
        #[test]
        fn retries_stay_under_what_was_paid_in(
            per_success in 0.0f64..1.0,
            per_second in 0.0f64..20.0,
            most in 1.0f64..50.0,
            steps in proptest::collection::vec((0u8..3, 1u64..50), 0..200),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let purse = Purse::new(RetryBudget { per_success, per_second, most });
                let begin = Instant::now();
                let (mut successes, mut taken) = (0, 0);
                for (step, n) in steps {
                    match step {
                        0 => { purse.succeeded(n as usize); successes += n; }
                        1 => tokio::time::advance(Duration::from_millis(n * 7)).await,
                        _ => taken += (0..n).filter(|_| purse.take()).count(),
                    }
                    let paid = most + successes as f64 * per_success + begin.elapsed().as_secs_f64() * per_second;
                    prop_assert!(taken as f64 <= paid + 1e-6, "{taken} of {paid}");
                }
                Ok(())
            })?;
        }
    }
}
