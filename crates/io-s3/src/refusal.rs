//! What a service refused a request with, and with which keys that was signed, carried past a client that does
//! not hand it on: noted where they are asked for and where the answer comes in, and read where the call returns.
//! All are in one task.

use crate::credentials::{Credentials, Source};
use crate::signed_client::ended;
use crate::xml;
use forebay_io::Retry;
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

#[derive(Default)]
struct Noted {
    refusal: Option<Refusal>,
    signed: Option<(Arc<Source>, Arc<Credentials>)>,
}

tokio::task_local! {
    /// What is noted of the call that this task is making.
    static NOTED: Arc<Mutex<Noted>>;
}

fn with(change: impl FnOnce(&mut Noted)) {
    let _ = NOTED.try_with(|noted| change(&mut noted.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Notes a refusal for the call that is being made.
pub(crate) fn note(refusal: Refusal) {
    with(|noted| noted.refusal = Some(refusal));
}

/// Notes whose credentials the call that is being made is signed with.
pub(crate) fn signed(source: &Arc<Source>, used: &Arc<Credentials>) {
    with(|noted| noted.signed = Some((source.clone(), used.clone())));
}

/// Makes a call. If it fails, the failure is what the service said, or else what `other` makes of the error. Where
/// it refused the credentials, and others can be had, the next try is made with those.
pub(crate) async fn said<T, E>(
    call: impl Future<Output = Result<T, E>>,
    other: impl FnOnce(E) -> Failure,
) -> Result<T, Failure> {
    let noted = Arc::new(Mutex::new(Noted::default()));
    let result = NOTED.scope(noted.clone(), call).await;
    let Noted { refusal, signed } =
        std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
    let error = match result {
        Ok(done) => {
            if let Some((source, used)) = signed {
                source.accepted(&used).await;
            }
            return Ok(done);
        }
        Err(error) => error,
    };
    let Some(Refusal { status, words, after }) = refusal else { return Err(other(error)) };
    let (code, message) = xml::error(&words);
    let failure = Failure::status(status, &code, &message, after);
    match signed.filter(|_| ended(status, &code)) {
        Some((source, used)) if source.refused(&used).await => Err(failure.with_retry(Retry::Backoff)),
        _ => Err(failure),
    }
}
