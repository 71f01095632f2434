//! What is lent for a time (keys, tokens): kept while it is good, and asked for again when it is about to end
//! or the service has refused it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::RwLock;

/// The last loan.
pub struct Renewed<T> {
    kept: RwLock<Option<Kept<T>>>,
}

struct Kept<T> {
    loan: Arc<T>,
    /// Whether the service has refused it, so that another is due.
    refused: bool,
    /// Whether it was asked for because the one before was refused.
    in_place_of_refused: bool,
    /// Whether a request with it has succeeded.
    accepted: AtomicBool,
}

impl<T> Renewed<T> {
    /// Nothing is lent yet.
    pub fn new() -> Self {
        Renewed { kept: RwLock::new(None) }
    }

    /// What is lent: the last loan if it is `good` and was not refused, else a new one. `lender` is
    /// only then asked: by one caller, while the others wait for what that one is told.
    ///
    /// # Errors
    /// The lender's.
    pub async fn get<E>(
        &self,
        good: impl Fn(&T) -> bool,
        lender: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let good = |kept: &&Kept<T>| !kept.refused && good(&kept.loan);
        if let Some(kept) = self.kept.read().await.as_ref().filter(good) {
            return Ok(kept.loan.clone());
        }
        let mut kept = self.kept.write().await;
        if let Some(kept) = kept.as_ref().filter(good) {
            return Ok(kept.loan.clone());
        }
        let in_place_of_refused = kept.as_ref().is_some_and(|kept| kept.refused);
        let loan = Arc::new(lender.await?);
        let made = loan.clone();
        *kept =
            Some(Kept { loan: made, refused: false, in_place_of_refused, accepted: AtomicBool::new(false) });
        Ok(loan)
    }

    /// A request with this one succeeded.
    pub async fn accepted(&self, used: &Arc<T>) {
        if let Some(kept) = self.kept.read().await.as_ref().filter(|kept| Arc::ptr_eq(&kept.loan, used)) {
            kept.accepted.store(true, Ordering::Relaxed);
        }
    }

    /// The service refused this one, as it does those that have ended: whether another try will be made with
    /// another. Not after one that came in place of a refused one and was never good itself.
    pub async fn refused(&self, used: &Arc<T>) -> bool {
        match self.kept.write().await.as_mut() {
            Some(kept) if Arc::ptr_eq(&kept.loan, used) => {
                // A later operation asks again in any case: what is lent later may be good.
                kept.refused = true;
                !kept.in_place_of_refused || kept.accepted.load(Ordering::Relaxed)
            }
            // Another request has seen to it.
            _ => true,
        }
    }
}

impl<T> Default for Renewed<T> {
    fn default() -> Self {
        Renewed::new()
    }
}

/// Nothing of what is lent.
impl<T> fmt::Debug for Renewed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    async fn next(renewed: &Renewed<u32>, number: u32) -> Arc<u32> {
        renewed.get(|_| true, async { Ok::<_, Infallible>(number) }).await.unwrap()
    }

    #[tokio::test]
    async fn a_loan_is_kept_while_it_is_good() {
        let renewed = Renewed::new();
        assert_eq!(*next(&renewed, 1).await, 1);
        assert_eq!(*next(&renewed, 2).await, 1);
        let third = renewed.get(|loan| *loan > 1, async { Ok::<_, Infallible>(3) }).await.unwrap();
        assert_eq!(*third, 3);
        assert_eq!(renewed.get(|_| false, async { Err::<u32, _>("no") }).await, Err("no"));
        assert_eq!(*next(&renewed, 4).await, 3, "a lender that fails takes nothing away");
    }

    #[tokio::test]
    async fn a_refused_loan_is_replaced_once_unless_its_successor_was_good() {
        let renewed = Renewed::new();
        let first = next(&renewed, 1).await;
        assert!(renewed.refused(&first).await);
        let second = next(&renewed, 2).await;
        assert_eq!(*second, 2);
        assert!(renewed.refused(&first).await, "somebody else has asked already");
        assert!(!renewed.refused(&second).await, "it was never good: a third would not be either");
        let third = next(&renewed, 3).await;
        assert_eq!(*third, 3, "a later operation asks again");
        renewed.accepted(&third).await;
        assert!(renewed.refused(&third).await, "it was good before");
    }
}
