//! Requests over kept connections, and answers as the rest of the crate reads them.

use crate::account::Account;
use bytes::{Buf as _, Bytes};
use forebay_io::{Kind, Retry};
use forebay_io_object::{Failure, HttpOptions, Incoming, Payload, chain, retry_after};
use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use http_body::Body as _;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, ReqwestConnector,
};
use object_store::{ClientOptions, PutPayload};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A pool of connections to one service.
#[derive(Debug, Clone)]
pub(crate) struct Transport(HttpClient);

impl Transport {
    /// # Errors
    /// `InvalidConfig` where TLS cannot be set up.
    pub(crate) fn new(account: &Account, options: &HttpOptions) -> Result<Self, Failure> {
        let options = ClientOptions::new()
            // Kept by the caller, who knows which wait is whose.
            .with_timeout_disabled()
            .with_connect_timeout(options.connect_timeout)
            .with_pool_idle_timeout(options.connection_idle)
            .with_pool_max_idle_per_host(options.max_idle_connections)
            .with_http1_only()
            .with_allow_http(account.is_plain());
        let connected = ReqwestConnector::default().connect(&options);
        connected.map(Transport).map_err(|error| Failure::new(Kind::InvalidConfig, chain(&error)))
    }

    pub(crate) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        self.0.execute(request).await.map_err(|error| broken("no answer", &error))
    }

    /// A body that is read piece by piece.
    pub(crate) fn body(body: HttpResponseBody) -> Box<dyn Incoming> {
        Box::new(Arriving { body, rest: Bytes::new() })
    }

    /// A body in the pieces in which it came.
    pub(crate) fn payload(payload: Payload) -> HttpRequestBody {
        match payload.chunks() {
            [] => HttpRequestBody::empty(),
            [one] => one.clone().into(),
            several => several.iter().cloned().collect::<PutPayload>().into(),
        }
    }
}

fn broken(what: &str, error: &HttpError) -> Failure {
    let failure = Failure::unavailable(what, error);
    match error.kind() {
        HttpErrorKind::Timeout => Failure { kind: Kind::TimedOut, ..failure },
        // What is wrong with a request stays wrong; everything else is between here and the service.
        HttpErrorKind::Decode => failure.with_retry(Retry::Backoff),
        _ => failure,
    }
}

/// An answer that is no success.
pub(crate) fn failure_of(status: u16, headers: &HeaderMap, code: &str, message: &str) -> Failure {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // An answer without a body, as to HEAD, has its code in the header.
    let code = if code.is_empty() { text("x-ms-error-code").unwrap_or_default() } else { code };
    let pause = retry_after(text(RETRY_AFTER.as_str()), text(DATE.as_str()));
    let failure = Failure::status(status, code, message, pause);
    match kind_of(code) {
        Some(kind) => Failure { kind, retry: None, ..failure },
        None => failure,
    }
}

/// Codes whose status says something else: most of Azure's conflicts last until somebody does something.
fn kind_of(code: &str) -> Option<Kind> {
    Some(match code {
        "BlobArchived"
        | "BlobBeingRehydrated"
        | "BlobImmutableDueToPolicy"
        | "BlobImmutableDueToLegalHold"
        | "LeaseIdMissing"
        | "LeaseIdMismatchWithBlobOperation"
        | "AccountIsDisabled" => Kind::Denied,
        "InvalidBlobType"
        | "InvalidBlobOrBlock"
        | "InvalidBlockList"
        | "BlockCountExceedsLimit"
        | "SnapshotsPresent"
        | "FeatureVersionMismatch" => Kind::InvalidConfig,
        "ContainerNotFound" | "ContainerBeingDeleted" | "ResourceNotFound" => Kind::NotFound,
        _ => return None,
    })
}

/// Names and values of a header.
pub(crate) fn fields_of(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// A body on its way.
struct Arriving {
    body: HttpResponseBody,
    rest: Bytes,
}

impl Incoming for Arriving {
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, Failure>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(Ok(0)),
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(broken("the answer was cut off", &error))),
            }
        }
        let len = self.rest.len().min(into.len());
        self.rest.copy_to_slice(&mut into[..len]);
        Poll::Ready(Ok(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_io_object::gather;

    #[test]
    fn conflicts_are_told_apart_by_their_code() {
        for (status, code, kind) in [
            (409, "BlobAlreadyExists", Kind::AlreadyExists),
            (409, "BlobArchived", Kind::Denied),
            (409, "ContainerBeingDeleted", Kind::NotFound),
            (404, "ContainerNotFound", Kind::NotFound),
            (503, "ServerBusy", Kind::Throttled),
            (412, "ConditionNotMet", Kind::Precondition),
            (403, "AuthenticationFailed", Kind::Denied),
        ] {
            assert_eq!(failure_of(status, &HeaderMap::new(), code, "").kind, kind, "{code}");
        }
        let headers =
            HeaderMap::from_iter([("x-ms-error-code".parse().unwrap(), "BlobNotFound".parse().unwrap())]);
        assert!(failure_of(404, &headers, "", "").said.contains("BlobNotFound"));
    }

    #[tokio::test]
    async fn a_body_is_copied_once_in_whatever_pieces_are_asked_for() {
        let mut body = Transport::body(HttpResponseBody::from(vec![7u8; 100_000]));
        assert_eq!(gather(&mut *body, 1 << 20).await.unwrap(), vec![7u8; 100_000]);
    }
}
