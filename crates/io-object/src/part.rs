//! One of the requests that an operation is made of, which is made again by itself when it fails.
//!
//! Parts of a read or an upload and later pages of a listing all go through here. The store's own
//! [`Retries`](forebay_io::layer::Retries) decide: one policy and one budget with the wrapper outside. What they
//! gave up here they do not begin again there, so tries of parts and tries of whole operations never multiply.

use crate::Failure;
use crate::backend::Shared;
use forebay_io::{Location, Operation, Result};
use futures::FutureExt;

/// Whether a request may be made again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It may, if the store was given retries.
    Alone,
    /// Only the whole operation may, which is not decided here.
    WithAll,
}

impl Shared {
    /// What `request` answers, which is called as often as it is tried.
    ///
    /// # Errors
    /// The last word on it.
    pub(crate) async fn part<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        operation: Operation,
        location: &Location,
        again: Again,
        mut request: impl FnMut() -> F,
    ) -> Result<T> {
        let request = |()| request().map(|answer| ((), answer));
        self.part_into(operation, location, again, (), request).await
    }

    /// The same where each request is lent `into` and gives it back: what it reads into.
    pub(crate) async fn part_into<S, T, F: Future<Output = (S, Result<T, Failure>)>>(
        &self,
        operation: Operation,
        location: &Location,
        again: Again,
        into: S,
        mut request: impl FnMut(S) -> F,
    ) -> Result<T> {
        let mut request = |into| {
            let said = |failure: Failure| failure.into_error(operation, location);
            request(into).map(move |(into, answer)| (into, answer.map_err(said)))
        };
        let first = request(into).await;
        match self.retries.as_ref().filter(|_| again == Again::Alone) {
            Some(retries) => retries.until_done_with(first, |into, _| request(into)).await.1,
            None => first.1,
        }
    }
}
