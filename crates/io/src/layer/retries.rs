//! When to try again, and what pays for it: one policy, one budget and one source of chance, for all that
//! shares them.

use super::retry_budget::{Purse, RetryBudget};
use crate::lock::Mutex;
use crate::{Error, Event, Observe, Result, Retry};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// How often and how patiently is tried again ([`Retrying`](super::Retrying)).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included: 1 never tries again.
    pub max_attempts: NonZeroU32,
    /// The longest pause after the first attempt. It doubles with each further one, and the pause
    /// taken is a random part of it ("full jitter", M. Brooker, *Exponential Backoff And Jitter*).
    pub base: Duration,
    /// The longest pause of all.
    pub cap: Duration,
    /// What all operations together may spend on further attempts; `None` for as many as each wants.
    pub budget: Option<RetryBudget>,
    /// Where the random parts come from: the same seed gives the same pauses.
    pub seed: u64,
}

impl Default for RetryPolicy {
    /// Five attempts, at most 50, 100, 200 and 400 ms apart: what object-store clients commonly do. With
    /// the default budget.
    fn default() -> Self {
        RetryPolicy {
            max_attempts: NonZeroU32::new(5).expect("5 is not 0"),
            base: Duration::from_millis(50),
            cap: Duration::from_secs(10),
            budget: Some(RetryBudget::default()),
            seed: 0,
        }
    }
}

/// Decides on further attempts, and pays for them. [`Retrying`](super::Retrying) asks it for each operation
/// that failed; a backend that makes many requests for one operation may be handed the same one, and ask for
/// each part of it.
pub struct Retries {
    policy: RetryPolicy,
    rng: Mutex<ChaCha8Rng>,
    purse: Option<Purse>,
    observer: Arc<dyn Observe>,
}

/// How long to wait before the next attempt: this long and a random part of the spread.
#[derive(Clone, Copy, Default)]
pub(super) struct Pause {
    least: Duration,
    spread: Duration,
}

impl Pause {
    /// One pause that is long enough for both.
    fn join(&mut self, other: Pause) {
        self.least = self.least.max(other.least);
        self.spread = self.spread.max(other.spread);
    }
}

impl Retries {
    /// By `policy`; `observer` hears of each further attempt ([`Event::Retried`]) and of those that the
    /// budget did not pay for.
    pub fn new(policy: RetryPolicy, observer: Arc<dyn Observe>) -> Self {
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(policy.seed));
        let purse = policy.budget.map(Purse::new);
        Retries { policy, rng, purse, observer }
    }

    /// The policy.
    pub fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// The pause after `made` attempts, the last of which failed with `error`; none to give up.
    fn pause(&self, error: &Error, made: u32) -> Option<Pause> {
        let RetryPolicy { max_attempts, base, cap, .. } = self.policy;
        if made >= max_attempts.get() {
            return None;
        }
        match error.retry() {
            Retry::Never => None,
            Retry::Backoff => {
                let doubled = 1u32.checked_shl(made - 1).unwrap_or(u32::MAX);
                Some(Pause { least: Duration::ZERO, spread: base.saturating_mul(doubled).min(cap) })
            }
            Retry::After(least) if least > cap => None,
            Retry::After(least) => Some(Pause { least, spread: base.min(cap) }),
        }
    }

    /// Pays for another attempt after this error.
    ///
    /// # Errors
    /// The error itself, with a word about the budget if that is spent.
    fn pay(&self, error: Error, made: u32) -> Result<()> {
        let Some(purse) = self.purse.as_ref().filter(|purse| !purse.take()) else {
            self.observer.noted(Event::Retried(error.kind()));
            return Ok(());
        };
        self.observer.noted(Event::RetryWithheld(error.kind()));
        let budget = purse.budget();
        let words = format_args!("not tried again, the retry budget is spent ({budget})");
        Err(last(error.context(words), made))
    }

    /// So many operations (or parts of one) succeeded, which pays for retries.
    pub fn succeeded(&self, operations: usize) {
        if let Some(purse) = self.purse.as_ref().filter(|_| operations > 0) {
            purse.succeeded(operations);
        }
    }

    pub(super) async fn wait(&self, pause: Pause) {
        let part = self.rng.lock().random::<f64>();
        tokio::time::sleep(pause.least + pause.spread.mul_f64(part)).await;
    }

    /// After an attempt that failed with `error`: comes back when the next one may be made, with `made` (0
    /// before the first failure) counted up. Needs a tokio runtime with time enabled.
    ///
    /// # Errors
    /// The error itself if there is to be no other attempt, with how many there were.
    pub async fn again(&self, error: Error, made: &mut u32) -> Result<()> {
        *made += 1;
        let Some(pause) = self.pause(&error, *made) else { return Err(last(error, *made)) };
        self.pay(error, *made)?;
        self.wait(pause).await;
        Ok(())
    }

    /// One member's result after `made` attempts: its last word, or none if it is to be tried again
    /// after a pause that includes this one.
    pub(super) fn settle<T>(
        &self,
        result: Result<T>,
        made: u32,
        pause: &mut Pause,
    ) -> Result<Result<T>, Again> {
        let Err(error) = result else {
            self.succeeded(1);
            return Ok(result);
        };
        match self.pause(&error, made) {
            None => Ok(Err(last(error, made))),
            Some(own) => match self.pay(error, made) {
                Err(error) => Ok(Err(error)),
                Ok(()) => {
                    pause.join(own);
                    Err(Again)
                }
            },
        }
    }
}

/// The member of a batch is to be tried again.
pub(super) struct Again;

/// The error that ends the tries says how many there were, if more than one.
pub(super) fn last(error: Error, made: u32) -> Error {
    if made > 1 { error.context(format_args!("after {made} attempts")) } else { error }
}

impl fmt::Debug for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retries").field("policy", &self.policy).finish_non_exhaustive()
    }
}
