//! Why a request failed, before it is known for which operation it was made: the kind, whether to try
//! again, and what the service said, in words without secrets.

use forebay_io::{Error, Kind, Location, Operation, PutMode, Retry, Version};
use std::fmt;
use std::time::Duration;

/// A failed request. What is said must not contain credentials, signatures or query strings that carry them.
#[derive(Debug)]
pub struct Failure {
    /// What a caller would do about it.
    pub kind: Kind,
    /// Whether to try again, where the kind's own answer is wrong.
    pub retry: Option<Retry>,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// What was found.
    pub said: String,
}

impl Failure {
    /// A failure without an answer of the service.
    pub fn new(kind: Kind, said: impl Into<String>) -> Self {
        Failure { kind, retry: None, status: None, said: said.into() }
    }

    /// What was found out before any request.
    pub fn of(error: Error) -> Self {
        let retry = Some(error.retry());
        Failure { kind: error.kind(), retry, status: None, said: error.to_string() }
    }

    /// Something between here and the service broke, and may not the next time.
    pub fn unavailable(what: &str, cause: &dyn std::error::Error) -> Self {
        Failure::new(Kind::Unavailable, format!("{what}: {}", chain(cause)))
    }

    /// A connection was lost on which a request was on its way, and the next one need not be: that says nothing
    /// about load.
    #[must_use]
    pub fn cut_off(what: impl fmt::Display, cause: Option<&dyn std::error::Error>) -> Self {
        let said = cause.map_or_else(|| what.to_string(), |cause| format!("{what}: {}", chain(cause)));
        Failure::new(Kind::Unavailable, said).with_retry(Retry::Soon)
    }

    /// An answer other than success. `code` and `message` are the service's own words; `retry_after` is its
    /// `Retry-After`, as [`retry_after`] reads it.
    pub fn status(status: u16, code: &str, message: &str, retry_after: Option<Duration>) -> Self {
        let kind = kind_of(status, code);
        let mut said = format!("status {status}");
        for part in [code, message] {
            if !part.is_empty() {
                said.push_str(if said.ends_with(code) && !code.is_empty() { ": " } else { ", " });
                said.push_str(&clipped(part));
            }
        }
        let passes = kind.default_retry() != Retry::Never;
        let retry = retry_after.filter(|_| passes).map(Retry::After);
        Failure { kind, retry, status: Some(status), said }
    }

    /// Sets whether to try again, where the kind's own answer is wrong.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// The same of a write: a condition that does not hold means that something is there, where the write must not
    /// replace.
    #[must_use]
    pub fn of_write(self, mode: PutMode) -> Self {
        match (mode, self.kind) {
            (PutMode::Create, Kind::Precondition) => Failure { kind: Kind::AlreadyExists, ..self },
            _ => self,
        }
    }

    /// Notes the status of the answer that was wrong.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds words in front.
    #[must_use]
    pub fn context(mut self, words: impl fmt::Display) -> Self {
        self.said = format!("{words}: {}", self.said);
        self
    }

    /// The error of an operation at a place.
    pub fn into_error(self, operation: Operation, location: &Location) -> Error {
        let error = Error::new(self.kind, operation, self.said).at(location);
        match self.retry {
            Some(retry) => error.with_retry(retry),
            None => error,
        }
    }
}

/// What a caller would do about an answer: first the service's own code, which is finer, then the status.
fn kind_of(status: u16, code: &str) -> Kind {
    match code {
        // AWS and what speaks like it.
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequests"
        | "BandwidthLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException" => Kind::Throttled,
        "RequestTimeout" | "RequestTimeoutException" => Kind::TimedOut,
        "NoSuchKey" | "NoSuchBucket" | "NoSuchUpload" | "NoSuchVersion" => Kind::NotFound,
        "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody" => Kind::Corrupt,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken"
        | "RequestTimeTooSkewed"
        | "RequestExpired"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "TokenRefreshRequired" => Kind::Denied,
        "PreconditionFailed" => Kind::Precondition,
        "ConditionalRequestConflict" => Kind::Unavailable,
        // Azure.
        "ServerBusy" => Kind::Throttled,
        "OperationTimedOut" => Kind::TimedOut,
        "BlobAlreadyExists" => Kind::AlreadyExists,
        "Md5Mismatch" | "Crc64Mismatch" => Kind::Corrupt,
        _ => match status {
            401 | 403 | 407 => Kind::Denied,
            404 | 410 => Kind::NotFound,
            408 | 504 => Kind::TimedOut,
            // A write that another one overtook; the service asks for another try.
            409 => Kind::Unavailable,
            412 => Kind::Precondition,
            416 => Kind::InvalidRange,
            429 => Kind::Throttled,
            501 => Kind::Unsupported,
            // 503 without a code is an overloaded front end as a rule; both are tried again.
            503 => Kind::Throttled,
            500..=599 => Kind::Unavailable,
            _ => Kind::InvalidConfig,
        },
    }
}

/// How long the service asks to wait: `Retry-After` in seconds, or as a date, which is read against the
/// answer's own `Date`, so that a wrong clock here does no harm.
pub fn retry_after(retry_after: Option<&str>, date: Option<&str>) -> Option<Duration> {
    let text = retry_after?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let now = httpdate::parse_http_date(date?.trim()).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// The version that an `ETag` names. Quotation marks, which some answers carry and others leave out, are
/// not part of it.
pub fn version_of(etag: &str) -> Version {
    let bare = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Version::new(bare.unwrap_or(etag))
}

/// The `If-Match` that pins to a version.
pub fn if_match(version: &Version) -> String {
    match version.as_str() {
        weak if weak.starts_with("W/") => weak.to_owned(),
        text => format!("\"{text}\""),
    }
}

/// An error with its causes, each said once: libraries tend to hide what happened in the last one.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

/// A service may say anything, at any length.
fn clipped(text: &str) -> String {
    const MOST: usize = 300;
    let clean: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() { format!("{clean}…") } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_what_a_caller_would_do() {
        for (status, code, kind) in [
            (404, "NoSuchKey", Kind::NotFound),
            (403, "AccessDenied", Kind::Denied),
            (400, "ExpiredToken", Kind::Denied),
            (412, "PreconditionFailed", Kind::Precondition),
            (416, "InvalidRange", Kind::InvalidRange),
            (429, "", Kind::Throttled),
            (503, "SlowDown", Kind::Throttled),
            (500, "InternalError", Kind::Unavailable),
            (400, "RequestTimeout", Kind::TimedOut),
            (301, "PermanentRedirect", Kind::InvalidConfig),
        ] {
            let failure = Failure::status(status, code, "words", None);
            assert_eq!((failure.kind, failure.status), (kind, Some(status)), "{status} {code}");
            assert!(failure.said.contains(code) && failure.said.contains("words"), "{}", failure.said);
        }
    }

    #[test]
    fn the_pause_that_a_service_names_is_kept_where_trying_again_makes_sense() {
        let after = retry_after(Some("7"), None);
        assert_eq!(
            Failure::status(503, "SlowDown", "", after).retry,
            Some(Retry::After(Duration::from_secs(7)))
        );
        assert_eq!(Failure::status(404, "", "", after).retry, None);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let later = retry_after(Some("Sun, 06 Nov 1994 08:50:07 GMT"), Some(date));
        assert_eq!(later, Some(Duration::from_secs(30)));
        assert_eq!(retry_after(Some(date), Some("Sun, 06 Nov 1994 08:50:07 GMT")), Some(Duration::ZERO));
        assert_eq!(retry_after(Some("soon"), Some(date)), None);
    }

    #[test]
    fn versions_are_the_same_with_and_without_quotation_marks() {
        assert_eq!(version_of("\"abc\""), version_of("abc"));
        assert_eq!(if_match(&version_of("\"abc\"")), "\"abc\"");
        assert_eq!(if_match(&version_of("W/\"abc\"")), "W/\"abc\"");
    }

    #[test]
    fn long_and_odd_words_of_a_service_are_cut() {
        let failure = Failure::status(500, "", &"x\n".repeat(1000), None);
        assert!(failure.said.len() < 400 && !failure.said.contains('\n'), "{}", failure.said);
    }
}
