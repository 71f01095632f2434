//! Answers, as both clients read them.

use crate::transport::{Transport, failure_of};
use crate::wire;
use forebay_io::{Kind, PutMode};
use forebay_io_object::{Failure, Stored, gather};
use http::header::{ETAG, LAST_MODIFIED};
use object_store::client::HttpResponse;

/// Why the service refused, in its own words.
pub(crate) async fn refusal(response: HttpResponse) -> Failure {
    let (parts, body) = response.into_parts();
    let text = gather(&mut *Transport::body(body), wire::LONGEST).await.unwrap_or_default();
    let (code, message) = wire::error_of(&text);
    failure_of(parts.status.as_u16(), &parts.headers, &code, &message)
}

/// A body that is XML.
pub(crate) async fn text_of(response: HttpResponse) -> Result<Vec<u8>, Failure> {
    gather(&mut *Transport::body(response.into_body()), wire::LONGEST).await
}

/// What the header of a successful write says.
pub(crate) fn stored(response: &HttpResponse) -> Stored {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    Stored {
        version: text(ETAG).map(forebay_io_object::version_of),
        modified: text(LAST_MODIFIED).and_then(|date| httpdate::parse_http_date(date).ok()),
    }
}

/// A conditional write that lost is told as a failed condition by some servers.
pub(crate) fn as_write(failure: Failure, mode: PutMode) -> Failure {
    if mode == PutMode::Create && failure.kind == Kind::Precondition {
        return Failure { kind: Kind::AlreadyExists, ..failure };
    }
    failure
}
