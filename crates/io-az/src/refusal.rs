//! Answers of the service that are no success, and what a write is told.

use crate::wire;
use forebay_io::Kind;
use forebay_io_object::wire::Reply;
use forebay_io_object::{Failure, Stored, retry_after, version_of};

/// Why the service refused, in its own words.
pub(crate) async fn refusal(mut reply: Reply) -> Failure {
    let status = reply.status();
    let field = |name| reply.field(name).unwrap_or_default().to_owned();
    let (told, after, date) = (field("x-ms-error-code"), field("retry-after"), field("date"));
    let text = reply.gather(wire::LONGEST).await.unwrap_or_default();
    let (code, message) = wire::error_of(&text);
    // An answer without a body, as to HEAD, has its code in the header.
    let code = if code.is_empty() { &told } else { &code };
    let pause = retry_after(Some(&after).filter(|after| !after.is_empty()).map(String::as_str), Some(&date));
    failure_of(Failure::status(status, code, &message, pause), code)
}

/// The same where a code says more than the status.
fn failure_of(failure: Failure, code: &str) -> Failure {
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

/// What the header of a successful write says. Its body, which says nothing, is read, so that the connection can
/// be used again.
pub(crate) async fn stored(mut reply: Reply) -> Result<Stored, Failure> {
    reply.gather(wire::LONGEST).await?;
    Ok(Stored {
        version: reply.field("etag").map(version_of),
        modified: reply.field("last-modified").and_then(|date| httpdate::parse_http_date(date).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(failure_of(Failure::status(status, code, "", None), code).kind, kind, "{code}");
        }
    }
}
