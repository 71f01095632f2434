//! What a service refused a request with, carried past a client that does not hand it on: noted where the
//! answer comes in, and read where the call returns. Both are in one task.

use crate::xml;
use forebay_io_object::Failure;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// An answer other than success.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The body.
    pub(crate) words: Vec<u8>,
    /// The pause that the service asks for.
    pub(crate) after: Option<Duration>,
}

tokio::task_local! {
    /// The refusal of the call that this task is making.
    static NOTED: Arc<Mutex<Option<Refusal>>>;
}

/// Notes a refusal for the call that is being made.
pub(crate) fn note(refusal: Refusal) {
    let _ = NOTED.try_with(|noted| *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal));
}

/// Makes a call. If it fails, the failure is what the service said, or else what `other` makes of the error.
pub(crate) async fn said<T, E>(
    call: impl Future<Output = Result<T, E>>,
    other: impl FnOnce(E) -> Failure,
) -> Result<T, Failure> {
    let noted = Arc::new(Mutex::new(None));
    let result = NOTED.scope(noted.clone(), call).await;
    let refusal = noted.lock().unwrap_or_else(PoisonError::into_inner).take();
    result.map_err(|error| match refusal {
        Some(Refusal { status, words, after }) => {
            let (code, message) = xml::error(&words);
            Failure::status(status, &code, &message, after)
        }
        None => other(error),
    })
}
