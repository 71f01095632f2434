//! When to try again, and what pays for it: one policy, one budget and one source of chance, for all that
//! shares them.

use super::retry_budget::{Purse, RetryBudget};
use crate::lock::Mutex;
use crate::{Error, Event, Observe, Result, Retry};
use futures::FutureExt;
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
    /// The longest pause after the first attempt; an eighth of it where only one connection or answer was broken
    /// ([`Retry::Soon`]). It grows fourfold with each further one, and the pause taken is a random part of it
    /// ("full jitter", M. Brooker, *Exponential Backoff And Jitter*).
    pub base: Duration,
    /// The longest pause of all.
    pub cap: Duration,
    /// What all operations together may spend on further attempts; `None` for as many as each wants.
    pub budget: Option<RetryBudget>,
    /// Where the random parts come from: the same seed gives the same pauses.
    pub seed: u64,
}

impl Default for RetryPolicy {
    /// Five attempts, at most 5, 20, 80 and 320 ms apart, with the default budget. Quick at first, because the
    /// first fault is the only one as a rule and a whole batch waits for it: of a loader that reads eight batches
    /// of 32 ahead, 4 % of faults leave over 0.85 of the rate with 5 ms, 0.83 with 10 and 0.69 with 20
    /// (`tests/rate_under_faults.rs`). Fourfold after that, to be patient soon where it is not.
    fn default() -> Self {
        RetryPolicy {
            max_attempts: NonZeroU32::new(5).expect("5 is not 0"),
            base: Duration::from_millis(5),
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

/// How much shorter the pauses are after what says nothing about load.
const SOON: u32 = 8;

/// How long to wait before the next attempt: this long and a random part of the spread.
#[derive(Clone, Copy, Default)]
struct Pause {
    least: Duration,
    spread: Duration,
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
        if made >= max_attempts.get() || error.given_up() == Some(self.id()) {
            return None;
        }
        let grown = |base: Duration| {
            let fourfold = 4u32.saturating_pow(made - 1);
            Some(Pause { least: Duration::ZERO, spread: base.saturating_mul(fourfold).min(cap) })
        };
        match error.retry() {
            Retry::Never => None,
            Retry::Soon => grown(base / SOON),
            Retry::Backoff => grown(base),
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
            self.observer.noted(None, Event::Retried(error.kind()));
            return Ok(());
        };
        self.observer.noted(None, Event::RetryWithheld(error.kind()));
        let budget = purse.budget();
        let words = format_args!("not tried again, the retry budget is spent ({budget})");
        Err(last(error.context(words).given_up_by(self.id()), made))
    }

    /// So many operations (or parts of one) succeeded, which pays for retries.
    pub fn succeeded(&self, operations: usize) {
        if let Some(purse) = self.purse.as_ref().filter(|_| operations > 0) {
            purse.succeeded(operations);
        }
    }

    async fn wait(&self, pause: Pause) {
        let part = self.rng.lock().random::<f64>();
        tokio::time::sleep(pause.least + pause.spread.mul_f64(part)).await;
    }

    /// After an attempt that failed with `error`: comes back when the next one may be made, with `made` (0
    /// before the first failure) counted up. Needs a tokio runtime with time enabled.
    ///
    /// # Errors
    /// The error itself if there is to be no other attempt, with how many there were. Once the attempts or the
    /// budget are used up for it, this policy gives it up at once wherever it is asked again: operations around
    /// the one that failed do not multiply its attempts.
    pub async fn again(&self, error: Error, made: &mut u32) -> Result<()> {
        *made += 1;
        let Some(pause) = self.pause(&error, *made) else {
            let given_up = *made >= self.policy.max_attempts.get();
            let error = if given_up { error.given_up_by(self.id()) } else { error };
            return Err(last(error, *made));
        };
        self.pay(error, *made)?;
        self.wait(pause).await;
        Ok(())
    }

    /// The result of an operation whose first attempt ended as `first`: that, or what `attempt` ends as, which is
    /// called for each further one with how many were made before it.
    ///
    /// # Errors
    /// As [`Retries::again`].
    pub async fn until_done<T, F: Future<Output = Result<T>>>(
        &self,
        first: Result<T>,
        mut attempt: impl FnMut(u32) -> F,
    ) -> Result<T> {
        let next = |(), made| attempt(made).map(|result| ((), result));
        self.until_done_with(((), first), next).await.1
    }

    /// The same where every attempt is lent something and gives it back: a buffer.
    pub async fn until_done_with<S, T, F: Future<Output = (S, Result<T>)>>(
        &self,
        first: (S, Result<T>),
        mut attempt: impl FnMut(S, u32) -> F,
    ) -> (S, Result<T>) {
        let mut made = 0;
        let (mut lent, mut result) = first;
        loop {
            let Err(error) = result else {
                self.succeeded(1);
                return (lent, result);
            };
            if let Err(error) = self.again(error, &mut made).await {
                return (lent, Err(error));
            }
            (lent, result) = attempt(lent, made).await;
        }
    }

    /// Tells this policy from others, by where it lives: an `Arc`.
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// The error that ends the tries says how many there were, if more than one.
pub(super) fn last(error: Error, made: u32) -> Error {
    if made > 1 { error.context(format_args!("after {made} attempts")) } else { error }
}

impl fmt::Debug for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retries").field("policy", &self.policy).finish_non_exhaustive()
    }
}
